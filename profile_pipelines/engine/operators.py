"""An operator of a condition as SQL over one column: true or false, never NULL.

`changed_within` isn't among them: it asks about the history of profiles.
"""

from __future__ import annotations

from typing import cast

from sqlglot import exp

from profile_pipelines.catalog.operators import condition_value
from profile_pipelines.catalog.values import AttributeType
from profile_pipelines.engine.sql import literal
from profile_pipelines.engine.windows import Clock, Range, value_range


def passes(
    tested: exp.Expr, kind: AttributeType, operator: str, value: object, clock: Clock
) -> exp.Expr:
    """Whether the column, of the given type, passes. Raises ValueError for a value that doesn't
    fit the type."""
    match operator:
        case "missing":
            return tested.is_(exp.null())
        case "present":
            return exp.not_(tested.is_(exp.null()))
        case "is_not":
            return exp.not_(_among(tested, kind, [value], clock))
        case "is":
            return _among(tested, kind, [value], clock)
        case "not_in":
            return exp.not_(_among(tested, kind, _items(value), clock))
        case "in":
            return _among(tested, kind, _items(value), clock)
        case "contains":
            return or_false(exp.Contains(this=tested, expression=literal(value)))
        case "starts_with":
            return or_false(exp.StartsWith(this=tested, expression=literal(value)))
        case "has_any":
            return exp.or_(*(or_false(has(tested, item)) for item in _items(value)))
        case "has_all":
            return exp.and_(*(or_false(has(tested, item)) for item in _items(value)))
        case _:
            return or_false(within(tested, value_range(operator, kind, value, clock)))


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


def _among(tested: exp.Expr, kind: AttributeType, values: list[object], clock: Clock) -> exp.Expr:
    if kind == "timestamp":
        days = [value_range("is", "timestamp", value, clock) for value in values]
        return exp.or_(*(or_false(within(tested, day)) for day in days))
    typed = [
        value_range("is", "date", value, clock).low
        if kind == "date"
        else condition_value(kind, value)
        for value in values
    ]
    return or_false(tested.isin(*(literal(value) for value in typed)))


def _items(value: object) -> list[object]:
    return list(cast("tuple[object, ...]", value))
