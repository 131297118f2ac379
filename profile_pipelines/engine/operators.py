"""An operator of a condition as SQL over one column: true or false, never NULL.

`changed_within` isn't among them: it asks about the history of profiles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from sqlglot import exp

from profile_pipelines.catalog.compared_values import OtherAttribute, condition_value
from profile_pipelines.catalog.local_time import ALWAYS
from profile_pipelines.catalog.values import AttributeType
from profile_pipelines.engine.anniversaries import anniversaries
from profile_pipelines.engine.sql import literal
from profile_pipelines.engine.windows import Clock, Range, value_range

Columns = Callable[[str], exp.Expr]
"""The column of another attribute, by its name."""

_COMPARISONS: dict[str, type[exp.Binary]] = {
    "is": exp.EQ,
    "less_than": exp.LT,
    "before": exp.LT,
    "at_most": exp.LTE,
    "more_than": exp.GT,
    "after": exp.GT,
    "at_least": exp.GTE,
}


def passes(
    tested: exp.Expr,
    kind: AttributeType,
    operator: str,
    value: object,
    clock: Clock,
    others: Columns,
) -> exp.Expr:
    """Whether the column, of the given type, passes. Raises ValueError for a value that doesn't
    fit the type."""
    match operator:
        case "missing":
            return tested.is_(exp.null())
        case "present":
            return exp.not_(tested.is_(exp.null()))
        case "is_not":
            return exp.not_(_among(tested, kind, [value], clock, others))
        case "is":
            return _among(tested, kind, [value], clock, others)
        case "not_in":
            return exp.not_(_among(tested, kind, _items(value), clock, others))
        case "in":
            return _among(tested, kind, _items(value), clock, others)
        case "between":
            low, high = _items(value)
            return or_false(
                exp.and_(
                    _compared(tested, kind, "at_least", low, clock, others),
                    _compared(tested, kind, "at_most", high, clock, others),
                )
            )
        case "contains":
            return or_false(exp.Contains(this=tested, expression=literal(value)))
        case "starts_with":
            return or_false(exp.StartsWith(this=tested, expression=literal(value)))
        case "has_any":
            return exp.or_(*(or_false(has(tested, item)) for item in _items(value)))
        case "has_all":
            return exp.and_(*(or_false(has(tested, item)) for item in _items(value)))
        case "empty":
            size = exp.ArraySize(this=tested.copy())
            zero = literal(0)
            held = exp.EQ(this=size, expression=zero) if value else size > zero
            return exp.and_(exp.not_(tested.is_(exp.null())), or_false(held))
        case "anniversary_within_next" | "anniversary_within_last":
            return or_false(_comes_round(tested, operator, value, clock))
        case _:
            return or_false(_compared(tested, kind, operator, value, clock, others))


def within(tested: exp.Expr, window: Range) -> exp.Expr:
    """Whether the column lies in the range; NULL where it's missing."""
    bounds: list[exp.Expr] = []
    if window.low is not None:
        low = literal(window.low)
        bounds.append(tested >= low if window.low_included else tested > low)
    if window.high is not None:
        high = literal(window.high)
        bounds.append(tested <= high if window.high_included else tested < high)
    return exp.and_(*bounds)


def has(tested: exp.Expr, item: object) -> exp.Expr:
    """Whether a list has the entry; NULL where it's missing."""
    return exp.ArrayContains(this=tested.copy(), expression=literal(item))


def or_false(expression: exp.Expr) -> exp.Expr:
    """False where the expression is NULL."""
    return exp.func("COALESCE", expression, exp.false())


def _compared(
    tested: exp.Expr,
    kind: AttributeType,
    operator: str,
    value: object,
    clock: Clock,
    others: Columns,
) -> exp.Expr:
    """NULL where the column, or the one that it is compared with, is missing."""
    if isinstance(value, OtherAttribute):
        comparison = _COMPARISONS[operator]
        return comparison(this=tested.copy(), expression=others(value.attribute))
    return within(tested, value_range(operator, kind, value, clock))


def _among(
    tested: exp.Expr, kind: AttributeType, values: list[object], clock: Clock, others: Columns
) -> exp.Expr:
    apart = [
        _compared(tested, kind, "is", value, clock, others)
        for value in values
        if kind == "timestamp" or isinstance(value, OtherAttribute)
    ]
    constants = [
        value_range("is", "date", value, clock).low
        if kind == "date"
        else condition_value(kind, value)
        for value in values
        if kind != "timestamp" and not isinstance(value, OtherAttribute)
    ]
    if constants:
        apart.insert(0, tested.isin(*map(literal, constants)))
    return exp.or_(*map(or_false, apart))


def _comes_round(tested: exp.Expr, operator: str, value: object, clock: Clock) -> exp.Expr:
    day_of_year = exp.Month(this=tested.copy()) * literal(100) + exp.Day(this=tested.copy())
    found = anniversaries(operator, value, clock)
    parts = [
        exp.and_(
            day_of_year.copy() >= literal(each.first),
            day_of_year.copy() <= literal(each.last),
            tested < literal(each.begun_before),
        )
        for each in found
    ]
    return exp.and_(tested > literal(ALWAYS.date()), exp.or_(*parts))


def _items(value: object) -> list[object]:
    return list(cast("tuple[object, ...]", value))
