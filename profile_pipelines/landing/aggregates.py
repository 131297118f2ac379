"""What a sync's aggregates are for the customers whose children moved, as SQL.

A customer is a value of the sync's one identifier. Whoever has or ever had a child that changed
is computed anew, whole, from all of the children as they stand: so updates, late and repeated
children, those that move to another customer and those that go are all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from sqlglot import exp

from profile_pipelines.catalog.aggregates import CHILDLESS, Aggregate, order_columns
from profile_pipelines.catalog.conditions import Condition
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.engine.operators import passes
from profile_pipelines.engine.sql import as_sorted, column, literal
from profile_pipelines.engine.windows import Clock
from profile_pipelines.lake import Pinned
from profile_pipelines.lake.table import Rows

_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)

_CHILD, _CUSTOMER = "c", "a"


def aggregated(
    catalogue: Catalogue,
    sync: Sync,
    chosen: Sequence[str],
    children: Pinned,
    customers: Pinned,
    *,
    since: int,
    now: datetime,
) -> Rows:
    """A row for each customer with a child that changed after the children's commit `since`.

    Its columns are the identifier, `updated_at` (the newest time of the children that it has and
    of those that moved; it never goes back) and the chosen attributes, with the columns that
    stand beside them; and whether no child is left. A customer without one has counts of 0 and
    nothing else.
    """
    identifier = next(iter(sync.identifiers))
    column_name = f"id_{identifier}"
    fields = sorted({"updated_at", *(f for a in chosen for f in aggregate_of(sync, a).uses)})
    current = children.current(["record_id", "record_key", column_name, "deleted", *fields], "now")
    moved = children.changes(["record_id", "updated_at"], "moved", since=since)
    ever = children.changes(["record_id", column_name], "ever")
    affected = (
        exp.select(
            exp.alias_(column(column_name, "e"), "customer", quoted=True),
            exp.alias_(exp.Max(this=column("updated_at", "m")), "moved_at", quoted=True),
        )
        .from_(ever.sql.subquery("e"))
        .join(
            moved.sql.subquery("m"),
            on=column("record_id", "e").eq(column("record_id", "m")),
        )
        .where(exp.not_(column(column_name, "e").is_(exp.null())))
        .group_by(column(column_name, "e"))
    )
    relations = {**current.relations, **moved.relations, **ever.relations}
    times = [
        exp.Max(this=column("moved_at", _CUSTOMER)),
        exp.Max(this=column("updated_at", _CHILD)),
    ]
    alive = exp.select(exp.Star()).from_(current.sql.subquery("n"))
    alive = alive.where(exp.not_(column("deleted", "n")))
    joined = (
        exp.select()
        .from_(affected.subquery(_CUSTOMER))
        .join(
            alive.subquery(_CHILD),
            on=column(column_name, _CHILD).eq(column("customer", _CUSTOMER)),
            join_type="left",
        )
        .group_by(column("customer", _CUSTOMER))
    )
    if customers.exists:
        known = customers.current([column_name, "updated_at"], "known")
        relations |= known.relations
        times.append(exp.Max(this=column("updated_at", "k")))
        joined = joined.join(
            known.sql.subquery("k"),
            on=column(column_name, "k").eq(column("customer", _CUSTOMER)),
            join_type="left",
        )
    clock = Clock(now, ZoneInfo(catalogue.settings.timezone))
    select = joined.select(
        exp.alias_(column("customer", _CUSTOMER), identifier, quoted=True),
        exp.alias_(exp.Greatest(this=times[0], expressions=times[1:]), "updated_at", quoted=True),
        *(
            exp.alias_(value, each, quoted=True)
            for name in chosen
            for each, value in _values(name, sync, clock).items()
        ),
        exp.alias_(
            exp.Count(this=column("record_id", _CHILD)).eq(literal(0)), CHILDLESS, quoted=True
        ),
    )
    return Rows(select, relations)


def aggregate_of(sync: Sync, attribute: str) -> Aggregate:
    """The aggregate that an aggregating sync declares for the attribute."""
    aggregate = sync.attributes[attribute].aggregate
    assert aggregate is not None
    return aggregate


def _values(name: str, sync: Sync, clock: Clock) -> dict[str, exp.Expr]:
    """The attribute's value, and those of its columns for the order."""
    aggregate = aggregate_of(sync, name)
    wanted = [] if aggregate.where is None else [_holds(aggregate.where, sync, clock)]
    if aggregate.function != "last":
        return {name: _value(aggregate, sync, wanted)}
    keys = _order(aggregate, sync)
    of = column(aggregate.of or "", _CHILD)
    wanted += [exp.not_(each.copy().is_(exp.null())) for each in (of, *keys)]
    columns = order_columns(name, aggregate, sync.fields)
    return {
        each: _filtered(exp.ArgMax(this=what.copy(), expression=_struct(keys)), wanted)
        for each, what in zip((name, *columns), (of, *keys), strict=True)
    }


def _value(aggregate: Aggregate, sync: Sync, wanted: Sequence[exp.Expr]) -> exp.Expr:
    """Missing values, and a customer's row without children, count for nothing."""
    counted = column(aggregate.of or "record_id", _CHILD)
    wanted = [exp.not_(counted.is_(exp.null())), *wanted]
    result: exp.Expr
    match aggregate.function:
        case "count":
            result = exp.Count(this=counted)
        case "sum":
            result = exp.Sum(this=counted)
        case "min":
            result = exp.Min(this=counted)
        case "max":
            result = exp.Max(this=counted)
        case "list_distinct":
            result = exp.ArrayAgg(this=counted)
        case "any":
            result = exp.LogicalOr(this=counted)
        case "all":
            result = exp.LogicalAnd(this=counted)
        case _:
            raise AssertionError(aggregate.function)
    result = _filtered(result, wanted)
    if aggregate.function == "sum":
        # as text: a sum may be longer than a number of the lake, which is told, not cut
        return exp.cast(result, "VARCHAR")
    if aggregate.function == "list_distinct":
        is_list = sync.fields[aggregate.of or ""].type == "list"
        entries = exp.Flatten(this=result) if is_list else result
        return as_sorted(entries)
    return result


def _filtered(result: exp.Expr, wanted: Sequence[exp.Expr]) -> exp.Expr:
    return exp.Filter(this=result, expression=exp.Where(this=exp.and_(*wanted)))


def _order(aggregate: Aggregate, sync: Sync) -> list[exp.Expr]:
    """What is compared of children, one after the other, to find the last; none may be missing."""
    by, newest = aggregate.by, column("updated_at", _CHILD)
    if by is None:
        keys: list[exp.Expr] = [newest]
    elif not by.words:
        keys = [column(by.field, _CHILD)]
    else:
        rank = exp.Case()
        for number, word in enumerate(reversed(by.words), start=1):
            rank = rank.when(column(by.field, _CHILD).eq(literal(word)), literal(number))
        # without a time of its own a record has that of its reading
        time = exp.null() if sync.updated_at is None else newest
        keys = [
            exp.cast(rank.else_(literal(0)), "BIGINT"),
            exp.func("COALESCE", time, literal(_LONG_AGO)),
        ]
    return [*keys, column("record_key", _CHILD)]


def _struct(keys: Sequence[exp.Expr]) -> exp.Expr:
    return exp.Struct(
        expressions=[
            exp.PropertyEQ(this=exp.to_identifier(f"k{number}"), expression=key.copy())
            for number, key in enumerate(keys)
        ]
    )


def _column_of_child(name: str) -> exp.Expr:
    return column(name, _CHILD)


def _holds(node: Condition, sync: Sync, clock: Clock) -> exp.Expr:
    parts = [_holds(child, sync, clock) for child in node.children]
    if node.all is not None:
        return exp.and_(*parts)
    if node.any is not None:
        return exp.or_(*parts)
    if node.none is not None:
        return exp.not_(exp.or_(*parts))
    assert node.test is not None
    name, operators = node.test
    kind = sync.fields[name].type
    return exp.and_(
        *(
            passes(column(name, _CHILD), kind, operator, value, clock, _column_of_child)
            for operator, value in operators
        )
    )
