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
            rewrite(
                lake.root, table.name, lake.engine, doomed,
                before=counted.append, witness=lake.witness,
            )  # fmt: skip
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
    """The rows that were replaced before, and hold a value of the attributes that was, too.

    None without any.
    """
    table = pinned.table
    replaced = _replaced(pinned, names, until)
    found = lake.engine.query(replaced.sql, replaced.relations)
    if found.num_rows == 0:
        return None
    instead = dict(_emptied(table, names))
    differs = exp.or_(
        *(distinct(column(name, "rewritten"), value.copy()) for name, value in instead.items())
    )
    listed = _among_replaced(table)

    def condition(columns: Sequence[str]) -> exp.Expr | None:
        return exp.and_(listed, differs) if {"recorded_at", *instead} <= set(columns) else None

    return Doomed(condition, {"replaced": found}, instead=instead)


def _among_replaced(table: LakeTable, *more: exp.Expr) -> exp.Expr:
    """Whether the row is one of those that were replaced, of which `more` is true."""
    same = [
        exp.EQ(this=column(key, "r"), expression=column(key, "rewritten"))
        for key in [*table.key, "seq"]
    ]
    rows = exp.select(exp.Star()).from_(named("replaced", "r")).where(*same, *more)
    return exp.Exists(this=rows)


def _emptied(table: LakeTable, names: Sequence[str]) -> Iterator[tuple[str, exp.Expr]]:
    """What stands in the columns of a replaced row once the attributes are forgotten.

    A value that still stood afterwards stays: it tells since when it has stood.
    """
    columns = table.columns
    changed = column("changed", "rewritten")
    for name in names:
        gone = _among_replaced(table, column(_another(name), "r"))
        for each in (name, f"{name}__source", f"{name}__sources"):
            if each in columns:
                null, kept = null_of(columns[each]), column(each, "rewritten")
                yield each, exp.Case().when(gone.copy(), null).else_(kept)
        changed = exp.Case().when(gone.copy(), _without(changed, [name], None)).else_(changed)
    if "quarantine" in columns:
        quarantine = column("quarantine", "rewritten")
        yield "quarantine", _without(quarantine, [*names, _WHOLE_RECORD], "attribute")
    if "changed" in columns:
        yield "changed", changed


def _another(name: str) -> str:
    """The column that says whether the attribute had another value afterwards."""
    return f"{name}__another"


def _without(entries: exp.Expr, values: Sequence[str], part: str | None) -> exp.Expr:
    """A list without the entries for some attributes; NULL stays NULL."""
    entry = exp.column("entry")
    tested = exp.Dot(this=entry, expression=exp.to_identifier(part)) if part else entry
    keeps = exp.Lambda(
        this=exp.not_(exp.In(this=tested, expressions=[literal(value) for value in values])),
        expressions=[exp.to_identifier("entry")],
    )
    return exp.ArrayFilter(this=entries.copy(), expression=keeps)


def _replaced(pinned: Pinned, names: Sequence[str], until: datetime) -> Rows:
    """Key and `seq` of the rows of the log after which a newer one came before the moment, and
    for each attribute whether its value was another in one of those."""
    keys = list(pinned.table.key)
    past = exp.LTE(this=column("recorded_at"), expression=literal(until))
    log = pinned.changes([*keys, *names], "l", where=past)

    def of_key(value: exp.Expr, *, before: bool = False) -> exp.Window:
        order = exp.Order(expressions=[column("seq", "l")]) if before else None
        partition = [column(key, "l") for key in keys]
        return exp.Window(this=value, partition_by=partition, order=order)

    flagged = exp.select(
        *(column(key, "l") for key in keys),
        column("seq", "l"),
        *(
            exp.alias_(
                exp.Case().when(
                    distinct(
                        column(name, "l"), of_key(exp.Lag(this=column(name, "l")), before=True)
                    ),
                    column("seq", "l"),
                ),
                name,
                quoted=True,
            )
            for name in names
        ),
    ).from_(log.sql.subquery("l"))
    select = (
        exp.select(
            *(column(key, "l") for key in keys),
            column("seq", "l"),
            *(
                exp.alias_(
                    exp.LT(
                        this=column("seq", "l"),
                        expression=of_key(exp.Max(this=column(name, "l"))),
                    ),
                    _another(name),
                    quoted=True,
                )
                for name in names
            ),
        )
        .from_(flagged.subquery("l"))
        .qualify(
            exp.LT(this=column("seq", "l"), expression=of_key(exp.Max(this=column("seq", "l"))))
        )
    )
    return Rows(select, log.relations)
