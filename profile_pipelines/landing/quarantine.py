"""What of a sync lies in quarantine: the entries of its living records as they stand."""

from __future__ import annotations

from sqlglot import exp

from profile_pipelines.engine.sql import column, literal
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.table import Rows

_ENTRIES = exp.alias_(exp.Unnest(expressions=[column("quarantine", "r")]), "e")
_HAVE_ANY = exp.and_(
    exp.not_(column("deleted", "r")), exp.not_(column("quarantine", "r").is_(exp.null()))
)


def quarantine_entries(system: str, sync: str, pinned: Pinned) -> Rows:
    """One row for each value: system, sync, record_key, attribute (empty: the whole record),
    reason, value (as the source gave it), source_updated_at, recorded_at, run_id."""
    newest = exp.Window(
        this=exp.RowNumber(),
        partition_by=[column("record_id")],
        order=exp.Order(expressions=[exp.Ordered(this=column("seq"), desc=True)]),
    )
    columns = ["record_id", "record_key", "updated_at", "deleted", "quarantine"]
    log = pinned.changes(columns, "q")
    latest = log.sql.qualify(exp.EQ(this=newest, expression=literal(1)))
    entries = (
        exp.select(
            *(column(name, "r") for name in ("record_key", "updated_at", "recorded_at", "run_id")),
            _ENTRIES.copy(),
        )
        .from_(latest.subquery("r"))
        .where(_HAVE_ANY.copy())
    )
    select = (
        exp.select(
            exp.alias_(literal(system), "system", quoted=True),
            exp.alias_(literal(sync), "sync", quoted=True),
            column("record_key", "u"),
            *(_part(name) for name in ("attribute", "reason", "value")),
            exp.alias_(column("updated_at", "u"), "source_updated_at", quoted=True),
            column("recorded_at", "u"),
            column("run_id", "u"),
        )
        .from_(entries.subquery("u"))
        .order_by(column("record_key", "u"), exp.to_identifier("attribute", quoted=True))
    )
    return Rows(select, log.relations)


def quarantined_by_attribute(lake: Lake, pinned: Pinned) -> dict[str, int]:
    """How many values of each attribute lie in quarantine; under "" the whole records."""
    if not pinned.exists:
        return {}
    rows = pinned.current(["deleted", "quarantine"], "q")
    entries = exp.select(_ENTRIES.copy()).from_(rows.sql.subquery("r")).where(_HAVE_ANY.copy())
    named = exp.select(_part("attribute")).from_(entries.subquery("u"))
    counts = (
        exp.select(column("attribute", "n"), exp.alias_(exp.Count(this=exp.Star()), "entries"))
        .from_(named.subquery("n"))
        .group_by(column("attribute", "n"))
    )
    found = lake.engine.rows(counts, rows.relations)
    return {row["attribute"]: row["entries"] for row in found}


def _part(name: str) -> exp.Expr:
    entry = exp.Dot(this=column("e", "u"), expression=exp.to_identifier(name, quoted=True))
    return exp.alias_(entry, name, quoted=True)
