"""Which known customers the records of a sync still reach, once they are told apart otherwise.

Where the keys are others no record stays what it was. A customer is found again by an identifier
that is as it was, or by one that another system's records of the customer bear. Everybody else
would go, and come back as somebody new.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine import Written
from profile_pipelines.engine.duckdb import Relation
from profile_pipelines.engine.sql import column, literal, named
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.lake import RECORDS
from profile_pipelines.lake.table import LakeTable, Rows, rows_of

_VALUE = ("name", "value")


def not_regained(catalogue: Catalogue, lake: Lake, pinned: Pinned, written: Written) -> int:
    """How many living records of the table are of customers whom no written record reaches."""
    engine, columns = lake.engine, pinned.table.columns
    landed: list[str] = pinned.state[RECORDS]["identifiers"]
    declared = [name.removeprefix("id_") for name in columns if name.startswith("id_")]
    both = sorted({*landed, *declared})
    table = LakeTable(
        lake.root, pinned.table.name, pinned.table.key,
        {**columns, **{f"id_{name}": "string" for name in landed}},
    ).pin()  # fmt: skip
    known = table.current(["record_id", "deleted", *(f"id_{name}" for name in both)], "known")
    alive = exp.not_(column("deleted", "r"))
    new = engine.query(*_values(rows_of(written), declared, where=alive))
    again = new
    identities = lake.identities(catalogue, both).pin()
    if identities.exists:
        every = sorted({*catalogue.identifiers, *both})
        bearers = identities.current(["profile_id", *(f"id_{name}" for name in every)], "bearers")
        borne = engine.query(*_values(bearers, every, of="profile_id"))
        again = engine.query(_of_reached(), {"borne": borne, "new": new})
    before = engine.query(*_values(known, both, of="record_id", where=alive))
    return engine.rows(_missed(), {"known": before, "again": again})[0]["records"]


def _values(
    rows: Rows, names: Sequence[str], *, of: str | None = None, where: exp.Expr | None = None
) -> tuple[exp.Query, dict[str, Relation]]:
    """One row for each identifier that a row bears: whose it is, its name and its value."""
    parts: list[exp.Query] = []
    for name in names:
        value = column(f"id_{name}", "r")
        part = (
            exp.select(
                *([column(of, "r")] if of else []),
                exp.alias_(literal(name), "name", quoted=True),
                exp.alias_(value, "value", quoted=True),
            )
            .distinct()
            .from_(rows.sql.copy().subquery("r"))
            .where(exp.not_(value.copy().is_(exp.null())))
        )
        parts.append(part if where is None else part.where(where.copy()))
    return exp.union(*parts, distinct=False) if len(parts) > 1 else parts[0], rows.relations


def _of_reached() -> exp.Query:
    """The identifiers of the profiles that bear a new one, and the new ones."""
    reached = (
        exp.select(column("profile_id", "b"))
        .from_(named("borne", "b"))
        .join(named("new", "n"), on=_same("n", "b"), join_type="semi")
    )
    theirs = (
        exp.select(*(column(name, "b") for name in _VALUE))
        .from_(named("borne", "b"))
        .where(column("profile_id", "b").isin(query=reached))
    )
    return exp.union(theirs, exp.select(*map(column, _VALUE)).from_(named("new")))


def _missed() -> exp.Select:
    found = (
        exp.select(column("record_id", "k"))
        .from_(named("known", "k"))
        .join(named("again", "a"), on=_same("a", "k"), join_type="semi")
    )
    missed = exp.not_(column("record_id", "k").isin(query=found))
    count = exp.Count(this=exp.Distinct(expressions=[column("record_id", "k")]))
    return (
        exp.select(exp.alias_(count, "records", quoted=True))
        .from_(named("known", "k"))
        .where(missed)
    )


def _same(one: str, other: str) -> exp.Expr:
    return exp.and_(
        *(exp.EQ(this=column(name, one), expression=column(name, other)) for name in _VALUE)
    )
