"""Aggregates of a customer who has several accounts: three tickets of two addresses are three.

What is aggregated of child records is kept for each value of their identifier, as a record of
its own. Where several of these belong to one profile, its value is that of all their children
together: counts and sums are added, lists are joined, of the last ones the last counts. This is
here twice: as SQL for the merge, and in plain Python for receipts; a property test holds the two
together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlglot import exp

from profile_pipelines.catalog.aggregates import order_columns
from profile_pipelines.catalog.models import Attribute
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.engine.columns import SQL_TYPES
from profile_pipelines.engine.sql import column, literal

NOT_VALID = "not valid, once its records are combined"


def combined_value(name: str, attribute: Attribute, sync: Sync, table: str) -> exp.Expr:
    """What the records in a group of `table` make together of an attribute; NULL where one of
    them has a value that was refused, since nobody knows then what they make."""
    value, aggregate = column(name, table), sync.attributes[name].aggregate
    assert aggregate is not None
    match aggregate.function:
        case "count" | "sum":
            kind = exp.DataType.build(SQL_TYPES[attribute.type])
            total = exp.TryCast(this=exp.Sum(this=value), to=kind)
            result = exp.Case().when(_is_valid(total, attribute), total)
        case "min":
            result = exp.Min(this=value)
        case "max":
            result = exp.Max(this=value)
        case "any":
            result = exp.LogicalOr(this=value)
        case "all":
            result = exp.LogicalAnd(this=value)
        case "list_distinct":
            present = exp.Where(this=exp.not_(value.is_(exp.null())))
            lists = exp.Filter(this=exp.ArrayAgg(this=value.copy()), expression=present)
            entries = exp.func("LIST_DISTINCT", exp.Flatten(this=lists))
            result = exp.func("LIST_SORT", entries)
        case "last":
            kept = [*order_columns(name, aggregate, sync.fields), "updated_at", "record_id"]
            order = exp.Struct(
                expressions=[
                    exp.PropertyEQ(
                        this=exp.to_identifier(f"k{number}"), expression=column(each, table)
                    )
                    for number, each in enumerate(kept)
                ]
            )
            present = exp.Where(this=exp.not_(value.copy().is_(exp.null())))
            result = exp.Filter(this=exp.ArgMax(this=value, expression=order), expression=present)
    refused = exp.CountIf(this=_is_refused(name, table))
    return exp.Case().when(refused.eq(literal(0)), result)


def combine(
    name: str, attribute: Attribute, sync: Sync, records: Sequence[Mapping[str, Any]]
) -> tuple[Any, str | None]:
    """The same in plain Python, over a profile's living records, and why it is refused."""
    aggregate = sync.attributes[name].aggregate
    assert aggregate is not None
    for record in records:
        for entry in record["quarantine"] or []:
            if entry["attribute"] == name and entry["value"] is not None:
                return None, entry["reason"]
    given = [record for record in records if record[name] is not None]
    values = [record[name] for record in given]
    if not values:
        return None, None
    match aggregate.function:
        case "count" | "sum":
            total, valid = sum(values), attribute.valid
            refused = (
                (valid.in_ is not None and total not in valid.in_)
                or (valid.min is not None and total < valid.min)
                or (valid.max is not None and total > valid.max)
            )
            return (None, NOT_VALID) if refused else (total, None)
        case "min":
            return min(values), None
        case "max":
            return max(values), None
        case "any":
            return any(values), None
        case "all":
            return all(values), None
        case "list_distinct":
            return sorted({entry for value in values for entry in value}), None
        case "last":
            kept = [*order_columns(name, aggregate, sync.fields), "updated_at", "record_id"]
            return max(given, key=lambda record: [_last(record[each]) for each in kept])[name], None


def _last(value: Any) -> tuple[bool, Any]:
    """As the engine orders them: what is missing comes last."""
    return (True, None) if value is None else (False, value)


def _is_valid(total: exp.Expr, attribute: Attribute) -> exp.Expr:
    valid, tests = attribute.valid, list[exp.Expr]()
    if valid.in_ is not None:
        tests.append(exp.In(this=total.copy(), expressions=[literal(each) for each in valid.in_]))
    if valid.min is not None:
        tests.append(exp.GTE(this=total.copy(), expression=literal(valid.min)))
    if valid.max is not None:
        tests.append(exp.LTE(this=total.copy(), expression=literal(valid.max)))
    return exp.and_(*tests) if tests else exp.true()


def _is_refused(name: str, table: str) -> exp.Expr:
    """Whether a value of the attribute lies in the record's quarantine; what is only required
    there may stand in another record."""
    entry = exp.column("entry")
    attribute, value = (
        exp.Dot(this=entry.copy(), expression=exp.to_identifier(part))
        for part in ("attribute", "value")
    )
    test = exp.and_(attribute.eq(literal(name)), exp.not_(value.is_(exp.null())))
    found = exp.ArrayFilter(
        this=column("quarantine", table),
        expression=exp.Lambda(this=test, expressions=[exp.to_identifier("entry")]),
    )
    size = exp.func("COALESCE", exp.ArraySize(this=found), literal(0))
    return exp.GT(this=size, expression=literal(0))
