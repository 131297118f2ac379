"""`keep_history`: values that were replaced long ago are forgotten; what stands stays.

Kept is what stood at any moment within the period, so that as-of reads of such a moment are whole.
Before it the rows of the history stay, as what happened when, without the attribute's values.
"""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.sql import column, distinct, literal, named, null_of
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.rewrite import Doomed, rewrite
from profile_pipelines.lake.table import LakeTable, Rows
from profile_pipelines.landing.children import children_table

_WHOLE_RECORD = ""


def forget_history(catalogue: Catalogue, lake: Lake, *, now: datetime) -> dict[str, int]:
    """Forget what `keep_history` says, as of `now`; by table, the rows that lost values.

    Raises Conflict when another run committed meanwhile; done again, it goes on.
    """
    forgotten: dict[str, int] = {}
    for table, attributes in _tables(catalogue, lake):
        periods = {period for period in attributes.values() if period is not None}
        for period in sorted(periods):
            names = [name for name, each in attributes.items() if each == period]
            pinned = table.pin()
            doomed = _expired(lake, pinned, names, now - period) if pinned.exists else None
            if doomed is None:
                continue
            counted: list[int] = []
            rewrite(lake.root, table.name, lake.engine, doomed, before=counted.append)
            forgotten[table.name] = forgotten.get(table.name, 0) + sum(counted)
    return {name: count for name, count in forgotten.items() if count}


def _tables(
    catalogue: Catalogue, lake: Lake
) -> Iterator[tuple[LakeTable, Mapping[str, timedelta | None]]]:
    """The tables with values of attributes, and how long those of each column are kept."""
    periods = {name: each.keep_history for name, each in catalogue.attributes.items()}
    yield lake.profiles(catalogue), periods
    for system, declared in catalogue.systems.items():
        for name, sync in declared.syncs.items():
            yield lake.source(catalogue, system, name), {a: periods[a] for a in sync.attributes}
            if sync.is_aggregating:
                # a field may serve all of the sync's attributes
                of_all = [periods[a] for a in sync.attributes]
                longest = None if None in of_all else max(filter(None, of_all), default=None)
                fields = dict.fromkeys(sync.fields, longest)
                yield children_table(catalogue, lake, system, name), fields


def _expired(lake: Lake, pinned: Pinned, names: Sequence[str], until: datetime) -> Doomed | None:
    """The rows that were replaced before, and hold a value of the attributes; None without any."""
    table = pinned.table
    instead = dict(_emptied(table, names))
    replaced = _replaced(pinned, until)
    found = lake.engine.query(replaced.sql, replaced.relations)
    if found.num_rows == 0:
        return None
    same = [
        exp.EQ(this=column(key, "r"), expression=column(key, "rewritten"))
        for key in [*table.key, "seq"]
    ]
    listed = exp.Exists(this=exp.select(exp.Star()).from_(named("replaced", "r")).where(*same))
    differs = exp.or_(
        *(distinct(column(name, "rewritten"), value.copy()) for name, value in instead.items())
    )

    def condition(columns: Sequence[str]) -> exp.Expr | None:
        return exp.and_(differs, listed) if {"recorded_at", *instead} <= set(columns) else None

    return Doomed(condition, {"replaced": found}, instead=instead)


def _emptied(table: LakeTable, names: Sequence[str]) -> Iterator[tuple[str, exp.Expr]]:
    """What stands in the columns once the attributes are forgotten."""
    columns = table.columns
    for name in names:
        for each in (name, f"{name}__source", f"{name}__sources"):
            if each in columns:
                yield each, null_of(table.columns[each])
    if "quarantine" in columns:
        yield "quarantine", _without("quarantine", [*names, _WHOLE_RECORD], "attribute")
    if "changed" in columns:
        yield "changed", _without("changed", names, None)


def _without(name: str, values: Sequence[str], part: str | None) -> exp.Expr:
    """A list without the entries for some attributes; NULL stays NULL."""
    entry = exp.column("entry")
    tested = exp.Dot(this=entry, expression=exp.to_identifier(part)) if part else entry
    keeps = exp.Lambda(
        this=exp.not_(exp.In(this=tested, expressions=[literal(value) for value in values])),
        expressions=[exp.to_identifier("entry")],
    )
    return exp.ArrayFilter(this=column(name, "rewritten"), expression=keeps)


def _replaced(pinned: Pinned, until: datetime) -> Rows:
    """Key and `seq` of the rows of the log after which a newer one came before the moment."""
    keys = list(pinned.table.key)
    past = exp.LTE(this=column("recorded_at"), expression=literal(until))
    log = pinned.changes(keys, "l", where=past)
    newest = exp.Window(
        this=exp.Max(this=column("seq", "l")), partition_by=[column(key, "l") for key in keys]
    )
    select = (
        exp.select(*(column(key, "l") for key in keys), column("seq", "l"))
        .from_(log.sql.subquery("l"))
        .qualify(exp.LT(this=column("seq", "l"), expression=newest))
    )
    return Rows(select, log.relations)
