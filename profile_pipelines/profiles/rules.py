"""The merge rules as SQL: one value and its provenance from what each system gives.

Every expression is over one row in which each giver stands under its own alias, with the
attribute's column and, for `latest`, `<attribute>__at`. The same rules in plain Python are in
`profiles.receipts`; a property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlglot import exp

from profile_pipelines.catalog.models import COMBINING, Attribute
from profile_pipelines.engine.sql import column, literal, null_of

LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


class Giver(NamedTuple):
    """A system that maps an attribute: the alias of its rows and its code."""

    alias: str
    code: int


def within_system(name: str, attribute: Attribute, table: str) -> exp.Expr | None:
    """What all records in a group of `table` make together of an attribute by a combining rule, as
    the systems do in `merged_value`; None for the other rules."""
    value = column(name, table)
    match attribute.merge:
        case "most_restrictive":
            return exp.LogicalAnd(this=value)
        case "min":
            return exp.Min(this=value)
        case "max":
            return exp.Max(this=value)
        case _:
            return None


def merged_value(name: str, attribute: Attribute, givers: Sequence[Giver]) -> exp.Expr:
    """The value that wins among the givers, which stand in order of trust."""
    values = [column(name, giver.alias) for giver in givers]
    if not values:
        return null_of(attribute.type)
    match attribute.merge:
        case "priority":
            return _coalesce(values)
        case "latest":
            case = exp.Case()
            for test, value in zip(_is_latest(name, givers), values, strict=True):
                case = case.when(test, value)
            return case
        case "most_restrictive":
            return (
                exp.Case()
                .when(
                    exp.or_(*(exp.EQ(this=v, expression=exp.false()) for v in values)), exp.false()
                )
                .when(exp.or_(*(exp.EQ(this=v, expression=exp.true()) for v in values)), exp.true())
            )
        case "min":
            return exp.Least(this=values[0], expressions=values[1:], ignore_nulls=True)
        case "max":
            return exp.Greatest(this=values[0], expressions=values[1:], ignore_nulls=True)


def provenance(name: str, attribute: Attribute, givers: Sequence[Giver]) -> exp.Expr:
    """The winner's code, or for combining rules the bit mask of all that gave a value."""
    if attribute.merge in COMBINING:
        bits: list[exp.Expr] = [
            exp.Case()
            .when(_given(name, giver), exp.cast(literal(1 << giver.code), "BIGINT"))
            .else_(exp.cast(literal(0), "BIGINT"))
            for giver in givers
        ]
        mask = bits[0] if bits else literal(0)
        for bit in bits[1:]:
            mask = exp.Add(this=mask, expression=bit)
        return exp.Nullif(this=exp.paren(mask), expression=literal(0))
    tests = (
        _is_latest(name, givers)
        if attribute.merge == "latest"
        else [_given(name, giver) for giver in givers]
    )
    case = exp.Case()
    for test, giver in zip(tests, givers, strict=True):
        case = case.when(test, literal(giver.code))
    return exp.cast(case if givers else exp.null(), "TINYINT")


def outranked(
    attribute: Attribute, value: exp.Expr, origin: exp.Expr, over: Giver
) -> tuple[exp.Expr, exp.Expr]:
    """Value and provenance of a consent, where `over` has a row for those who unsubscribed."""
    unsubscribed = exp.not_(exp.Is(this=column("profile_id", over.alias), expression=exp.null()))
    if attribute.merge in COMBINING:
        own = exp.cast(literal(1 << over.code), "BIGINT")
    else:
        own = exp.cast(literal(over.code), "TINYINT")
    return (
        exp.Case().when(unsubscribed, exp.false()).else_(value),
        exp.Case().when(unsubscribed.copy(), own).else_(origin),
    )


def _is_latest(name: str, givers: Sequence[Giver]) -> list[exp.Expr]:
    """For each system whether its value is the newest; of equals the more trusted one is."""
    tests: list[exp.Expr] = []
    for position, giver in enumerate(givers):
        parts = [_given(name, giver)]
        for other_position, other in enumerate(givers):
            if other == giver:
                continue
            compare = exp.GT if other_position < position else exp.GTE
            newer = compare(this=_at(name, giver), expression=_at(name, other))
            parts.append(exp.paren(exp.or_(exp.not_(_given(name, other)), newer)))
        tests.append(exp.and_(*parts))
    return tests


def _given(name: str, giver: Giver) -> exp.Expr:
    return exp.not_(exp.Is(this=column(name, giver.alias), expression=exp.null()))


def _at(name: str, giver: Giver) -> exp.Expr:
    return _coalesce([column(f"{name}__at", giver.alias), literal(LONG_AGO)])


def _coalesce(values: Sequence[exp.Expr]) -> exp.Expr:
    return values[0] if len(values) == 1 else exp.func("COALESCE", *values)
