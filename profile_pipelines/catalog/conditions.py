"""The condition tree: one language for audiences, journeys, the console's builder and explanations.

A condition is a mapping with exactly one key: `all`, `any` or `none` over further conditions,
`in_audience` or `not_in_audience` with an audience's name, or an attribute with its operators:

    all:
      - contract_end_date: {within_next: 30 days}
      - renewal_status: {is_not: confirmed}

Several operators on one attribute must all hold. `is_not` and `not_in` are true where the value is
missing; every other test on a missing value is false, except `missing` itself. An empty list is a
value, not a missing one. Text is compared exactly, upper and lower case apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import date
from difflib import get_close_matches
from typing import Annotated, Any, Literal, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from profile_pipelines.catalog.periods import parse_period

Path = tuple[str | int, ...]
"""The keys and indexes that lead from a condition's root to a place in it."""


def _mistake(text: str) -> PydanticCustomError:
    return PydanticCustomError("condition", "{text}", {"text": text})


def _value(value: object) -> object:
    if value is None:
        raise _mistake("there is no value here; to test for a missing value write `missing: true`")
    if not isinstance(value, str | int | float | date) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        raise _mistake("write a text, a number, true, false, a date or a timestamp")
    return value


def _list(data: object) -> object:
    if not isinstance(data, list | tuple):
        raise _mistake("write a list: [first, second], or each after a dash on a line of its own")
    if not data:
        raise _mistake("the list is empty")
    return cast("object", data)


def _pair(data: object) -> object:
    if not isinstance(data, list | tuple) or len(cast("list[object]", data)) != 2:
        raise _mistake("write the two ends as a list: [lowest, highest]")
    return cast("object", data)


def _true(value: object) -> object:
    if value is not True:
        raise _mistake("write `present: true` or `missing: true`")
    return value


def _period(value: object) -> str:
    try:
        parse_period(value)
    except ValueError as error:
        raise _mistake(str(error)) from None
    return str(value)


_NOT_EMPTY = (BeforeValidator(_list), Field(json_schema_extra={"minItems": 1}))
Value = Annotated[
    Any, PlainValidator(_value), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
"""A text, number, boolean, date or timestamp as YAML reads it."""
Day = Annotated[Any, PlainValidator(_value), WithJsonSchema({"type": "string"})]
PeriodText = Annotated[
    str, BeforeValidator(_period), Field(examples=["30 days", "1 month", "12 hours"])
]
Text = Annotated[str, Field(strict=True)]
Values = Annotated[tuple[Value, ...], *_NOT_EMPTY]
Texts = Annotated[tuple[Text, ...], *_NOT_EMPTY]
Pair = Annotated[tuple[Value, Value], BeforeValidator(_pair)]
Yes = Annotated[Literal[True], BeforeValidator(_true)]


def _operator(description: str, alias: str | None = None) -> Any:
    return Field(default=None, description=description, alias=alias)


class Operators(BaseModel):
    """The tests on one attribute; all of them must hold."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        serialize_by_alias=True,
        json_schema_extra={"minProperties": 1},
    )

    is_: Value = _operator("Equal; text exactly.", alias="is")
    is_not: Value = _operator("Not equal, or missing.")
    in_: Values | None = _operator("Equal to one of these.", alias="in")
    not_in: Values | None = _operator("Equal to none of these, or missing.")
    present: Yes | None = _operator("Has a value.")
    missing: Yes | None = _operator("Has no value.")
    less_than: Value = _operator("A smaller number.")
    at_most: Value = _operator("A smaller number, or this one.")
    more_than: Value = _operator("A greater number.")
    at_least: Value = _operator("A greater number, or this one.")
    between: Pair | None = _operator(
        "From the first to the second, both included: numbers, dates, timestamps or `today`."
    )
    contains: Text | None = _operator("The text contains this text, exactly.")
    starts_with: Text | None = _operator("The text starts with this text, exactly.")
    before: Day = _operator("Strictly before a date, a timestamp or `today`.")
    after: Day = _operator("Strictly after a date, a timestamp or `today`.")
    within_next: PeriodText | None = _operator(
        "From today up to and including the day this long from now; in hours: from now on."
    )
    within_last: PeriodText | None = _operator(
        "From the day this long ago up to and including today; in hours: until now."
    )
    more_than_ago: PeriodText | None = _operator("Strictly before the day this long ago.")
    has_any: Texts | None = _operator("The list has at least one of these.")
    has_all: Texts | None = _operator("The list has every one of these.")
    changed_within: PeriodText | None = _operator(
        "Has a value, which changed this recently; a profile's first appearance is no change."
    )

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, data: object) -> object:
        if isinstance(data, Operators):
            return data
        if not isinstance(data, Mapping) or not data:
            raise _mistake("write an operator and its value, such as {is: active}")
        for operator, value in cast("Mapping[object, object]", data).items():
            if operator not in OPERATORS:
                raise _mistake(
                    f"unknown operator {operator!r}{suggestion(str(operator), OPERATORS)}"
                )
            if value is None:
                raise _mistake(
                    f"`{operator}` has no value; to test for a missing value write `missing: true`"
                )
        return cast("object", data)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        return ((name, value) for name, value in super().__repr_args__() if value is not None)

    def __iter__(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        """Each operator that is given, as it's spelled in YAML, with its value."""
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if value is not None:
                yield field.alias or name, value


OPERATORS: tuple[str, ...] = tuple(
    field.alias or name for name, field in Operators.model_fields.items()
)
KEYWORDS = ("all", "any", "none", "in_audience", "not_in_audience")
"""The keys with a meaning of their own: no attribute can bear these names."""


Conditions = Annotated[tuple["Condition", ...], *_NOT_EMPTY]


class Condition(BaseModel):
    """One node of the tree; exactly one of its keys is given."""

    model_config = ConfigDict(
        extra="allow",
        frozen=True,
        json_schema_extra={"minProperties": 1, "maxProperties": 1},
    )
    __pydantic_extra__: dict[str, Operators]  # pyright: ignore[reportIncompatibleVariableOverride]

    all: Conditions | None = Field(default=None, description="Every one of these holds.")
    any: Conditions | None = Field(default=None, description="At least one of these holds.")
    none: Conditions | None = Field(default=None, description="Not one of these holds.")
    in_audience: str | None = Field(default=None, description="Is a member of this audience.")
    not_in_audience: str | None = Field(
        default=None, description="Is not a member of this audience."
    )

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, data: object) -> object:
        if isinstance(data, Condition):
            return data
        if not isinstance(data, Mapping) or not data:
            raise _mistake("write a condition, such as `status: {is: active}` or `all: [...]`")
        nodes = cast("Mapping[object, object]", data)
        if len(nodes) > 1:
            raise _mistake(
                f"a condition has one key, not {len(nodes)} ({', '.join(map(str, nodes))}); "
                "write `all:` or `any:` with a list of conditions"
            )
        key, value = next(iter(nodes.items()))
        if value is None:
            raise _mistake(f"`{key}` has no value")
        return cast("object", data)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        return ((name, value) for name, value in super().__repr_args__() if value is not None)

    @property
    def test(self) -> tuple[str, Operators] | None:
        """The attribute and its operators, if this node is a test."""
        return next(iter(self.__pydantic_extra__.items()), None)

    @property
    def children(self) -> tuple[Condition, ...]:
        """The conditions below an `all`, `any` or `none`."""
        return self.all or self.any or self.none or ()


def attributes_of(condition: Condition) -> frozenset[str]:
    """The attributes that the condition tests, itself and not by way of other audiences."""
    own = {condition.test[0]} if condition.test else set[str]()
    return frozenset(own.union(*map(attributes_of, condition.children)))


def audiences_of(condition: Condition) -> frozenset[str]:
    """The audiences that the condition refers to."""
    own = {name for name in (condition.in_audience, condition.not_in_audience) if name}
    return frozenset(own.union(*map(audiences_of, condition.children)))


def suggestion(word: str, known: Mapping[str, object] | tuple[str, ...] | frozenset[str]) -> str:
    """`; did you mean …?` with the nearest known word, or an empty text."""
    near = get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
