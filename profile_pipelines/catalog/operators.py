"""The operators of conditions: how they are written, and which of them each type takes.

`is_not` and `not_in` are true where the value is missing; every other test on a missing value is
false, except `missing` itself. An empty list is a missing value: what a source delivers as one
never reaches a profile. Text is compared exactly, upper and lower case apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
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

from profile_pipelines.catalog.mistakes import did_you_mean
from profile_pipelines.catalog.periods import parse_period
from profile_pipelines.catalog.values import AttributeType, typed_value

_EVERY = ("present", "missing", "changed_within")
_CHOICES = ("is", "is_not", "in", "not_in")
_NUMBERS = (*_CHOICES, "less_than", "at_most", "more_than", "at_least", "between", *_EVERY)
_WINDOWS = ("within_next", "within_last", "more_than_ago")
_DAYS = (*_CHOICES, "before", "after", "between", *_WINDOWS, *_EVERY)
OPERATORS_OF: Mapping[AttributeType, tuple[str, ...]] = {
    "string": (*_CHOICES, "contains", "starts_with", *_EVERY),
    "integer": _NUMBERS,
    "decimal": _NUMBERS,
    "boolean": ("is", "is_not", *_EVERY),
    "date": _DAYS,
    "timestamp": _DAYS,
    "list": ("has_any", "has_all", *_EVERY),
}
"""The operators that an attribute of each type takes."""

ConditionValue = str | int | Decimal | bool | date | datetime


def mistake(text: str) -> PydanticCustomError:
    """A complaint of a validator, in words for people."""
    return PydanticCustomError("mistake", "{text}", {"text": text})


def list_of(data: object) -> object:
    """Refuse what isn't a list, or an empty one."""
    if not isinstance(data, list | tuple):
        raise mistake("write a list: [first, second], or each after a dash on a line of its own")
    if not data:
        raise mistake("is empty; at least one entry is needed")
    return cast("object", data)


def _value(value: object) -> object:
    if value is None:
        raise mistake("has no value; to test for a missing value write `missing: true`")
    if not isinstance(value, str | int | float | date) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        raise mistake("must be a text, a number, true, false, a date or a timestamp")
    return _without_nul(value)


def _without_nul(value: object) -> object:
    if isinstance(value, str) and "\0" in value:
        raise mistake("holds a NUL character, which no stored text holds")
    return value


def _text(value: object) -> object:
    if value == "":
        raise mistake("is empty; write the text to look for")
    return _without_nul(value)


def _pair(data: object) -> object:
    if not isinstance(data, list | tuple) or len(cast("list[object]", data)) != 2:
        raise mistake("must be the two ends as a list: [lowest, highest]")
    return cast("object", data)


def _true(value: object) -> object:
    if value is not True:
        raise mistake("must be true; for the opposite write `present: true` or `missing: true`")
    return value


def _period(value: object) -> str:
    try:
        parse_period(value)
    except ValueError as error:
        raise mistake(str(error)) from None
    return str(value)


NOT_EMPTY = (BeforeValidator(list_of), Field(json_schema_extra={"minItems": 1}))
"""Annotations of a tuple that is written as a list with at least one entry."""
_Scalar = {"type": ["string", "number", "boolean"]}
Value = Annotated[Any, PlainValidator(_value), WithJsonSchema(_Scalar)]
Number = Annotated[Any, PlainValidator(_value), WithJsonSchema({"type": ["number", "string"]})]
Day = Annotated[Any, PlainValidator(_value), WithJsonSchema({"type": "string"})]
PeriodText = Annotated[
    str, BeforeValidator(_period), Field(examples=["30 days", "1 month", "12 hours"])
]
Text = Annotated[
    str, BeforeValidator(_text), Field(strict=True, json_schema_extra={"minLength": 1})
]


def _operator(description: str, alias: str | None = None) -> Any:
    return Field(default=None, description=description, alias=alias)


def without_null(schema: dict[str, Any]) -> None:
    """Take null, which stands for a key that isn't given, out of a JSON schema."""
    for field in schema["properties"].values():
        field.pop("default")
        if "anyOf" in field:
            field.update(field.pop("anyOf")[0])
    schema["minProperties"] = 1


class Operators(BaseModel):
    """The tests on one attribute; all of them must hold. Iterating gives (operator, value)."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        serialize_by_alias=True,
        json_schema_extra=without_null,
    )

    is_: Value = _operator("Equal; a date stands for the whole day.", alias="is")
    is_not: Value = _operator("Not equal, or missing.")
    in_: Annotated[tuple[Value, ...], *NOT_EMPTY] | None = _operator(
        "Equal to one of these.", alias="in"
    )
    not_in: Annotated[tuple[Value, ...], *NOT_EMPTY] | None = _operator(
        "Equal to none of these, or missing."
    )
    present: Annotated[Literal[True], BeforeValidator(_true)] | None = _operator("Has a value.")
    missing: Annotated[Literal[True], BeforeValidator(_true)] | None = _operator("Has no value.")
    less_than: Number = _operator("A smaller number.")
    at_most: Number = _operator("A smaller number, or this one.")
    more_than: Number = _operator("A greater number.")
    at_least: Number = _operator("A greater number, or this one.")
    between: Annotated[tuple[Value, Value], BeforeValidator(_pair)] | None = _operator(
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
    has_any: Annotated[tuple[Text, ...], *NOT_EMPTY] | None = _operator(
        "The list has at least one of these."
    )
    has_all: Annotated[tuple[Text, ...], *NOT_EMPTY] | None = _operator(
        "The list has every one of these."
    )
    changed_within: PeriodText | None = _operator(
        "Has a value, which changed this recently; a profile's first appearance is no change."
    )

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, data: object) -> object:
        if isinstance(data, Operators):
            return data
        if not isinstance(data, Mapping) or not data:
            raise mistake("must be an operator and its value, for example {is: active}")
        for operator, value in cast("Mapping[object, object]", data).items():
            if operator not in OPERATORS:
                hint = did_you_mean(str(operator), OPERATORS, all_of="there are")
                raise mistake(f"unknown operator {operator}{hint}")
            if value is None and operator not in _TAKE_VALUES:
                # those that do say so themselves, at their own place
                raise mistake(
                    f"`{operator}` has no value; to test for a missing value write `missing: true`"
                )
        return cast("object", data)

    def __iter__(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        """Each operator that is given, as it's spelled in YAML, with its value."""
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if value is not None:
                yield field.alias or name, value

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        return ((name, value) for name, value in super().__repr_args__() if value is not None)


OPERATORS: tuple[str, ...] = tuple(
    field.alias or name for name, field in Operators.model_fields.items()
)
_TAKE_VALUES = frozenset(
    field.alias or name
    for name, field in Operators.model_fields.items()
    if any(isinstance(each, PlainValidator) for each in field.metadata)
)


def condition_value(attribute_type: AttributeType, value: object) -> ConditionValue:
    """Bring a value in a condition to the type that it's compared in.

    For a list that's the type of its items. `today` stays as it is for dates and timestamps; for a
    timestamp a date stands for the whole day, and a timestamp without offset is local time in the
    catalogue's time zone: both come back as they are. Raises ValueError, saying what would be
    right, when the value doesn't fit.
    """
    if attribute_type not in ("date", "timestamp"):
        item_type = "string" if attribute_type == "list" else attribute_type
        return cast("ConditionValue", typed_value(item_type, value))
    if value == "today":
        return "today"
    if attribute_type == "date":
        return _or_today(typed_value, "date", value)
    if isinstance(value, str):
        for read in (date.fromisoformat, datetime.fromisoformat):
            try:
                return read(value)
            except ValueError:
                continue
    if not isinstance(value, date):
        return _or_today(typed_value, "timestamp", value)
    return value


def _or_today(
    read: Callable[[AttributeType, object], object], attribute_type: AttributeType, value: object
) -> ConditionValue:
    try:
        return cast("ConditionValue", read(attribute_type, value))
    except ValueError as error:
        raise ValueError(f"{error}, or today") from None
