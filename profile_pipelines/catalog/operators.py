"""The operators of conditions: how they are written, and which of them each type takes.

`is_not` and `not_in` are true where the value is missing; every other test on a missing value is
false, except `missing` itself; a value to compare with is missing likewise, where another
attribute is named. An empty list is a value: it is there, and has none of any entries.
Text is compared exactly, upper and lower case apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Any, Literal, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from profile_pipelines.catalog.compared_values import OtherAttribute
from profile_pipelines.catalog.mistakes import Path, did_you_mean
from profile_pipelines.catalog.periods import parse_period
from profile_pipelines.catalog.plain_words import located
from profile_pipelines.catalog.values import AttributeType

_EVERY = ("present", "missing", "changed_within")
_CHOICES = ("is", "is_not", "in", "not_in")
_NUMBERS = (*_CHOICES, "less_than", "at_most", "more_than", "at_least", "between", *_EVERY)
_WINDOWS = ("within_next", "within_last", "more_than_ago")
_DAYS = (*_CHOICES, "before", "after", "between", *_WINDOWS, *_EVERY)
_ANNIVERSARIES = ("anniversary_within_next", "anniversary_within_last")
OPERATORS_OF: Mapping[AttributeType, tuple[str, ...]] = {
    "string": (*_CHOICES, "contains", "starts_with", *_EVERY),
    "integer": _NUMBERS,
    "decimal": _NUMBERS,
    "boolean": ("is", "is_not", *_EVERY),
    "date": (*_DAYS, *_ANNIVERSARIES),
    "timestamp": _DAYS,
    "list": ("has_any", "has_all", "empty", *_EVERY),
}
"""The operators that an attribute of each type takes."""
BY_THE_CLOCK = frozenset([*_WINDOWS, *_ANNIVERSARIES])
"""What holds of a value changes with the clock."""


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
    if isinstance(value, OtherAttribute | Mapping):
        return _other(cast(object, value))
    if not isinstance(value, str | int | float | date) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        raise mistake("must be a text, a number, true, false, a date or a timestamp")
    return _without_nul(value)


def _other(value: object) -> OtherAttribute:
    try:
        return OtherAttribute.model_validate(value)
    except ValidationError:
        raise mistake(
            "must be a value, or an attribute to compare with: {attribute: renewal_date}"
        ) from None


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


def _schema(*types: str) -> WithJsonSchema:
    other = {
        "type": "object",
        "properties": {"attribute": {"type": "string"}},
        "required": ["attribute"],
        "additionalProperties": False,
        "description": "Another attribute of the same profile.",
    }
    return WithJsonSchema({"oneOf": [{"type": list(types)}, other]})


Value = Annotated[Any, PlainValidator(_value), _schema("string", "number", "boolean")]
Number = Annotated[Any, PlainValidator(_value), _schema("number", "string")]
Day = Annotated[Any, PlainValidator(_value), _schema("string")]
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
        "From the first to the second, both included: numbers, dates, timestamps or `today`, "
        "`tomorrow`, `today + 7 days`."
    )
    contains: Text | None = _operator("The text contains this text, exactly.")
    starts_with: Text | None = _operator("The text starts with this text, exactly.")
    before: Day = _operator(
        "Strictly before a date, a timestamp, `today`, `tomorrow`, `yesterday` or `today + 7 days`."
    )
    after: Day = _operator(
        "Strictly after a date, a timestamp, `today`, `tomorrow`, `yesterday` or `today + 7 days`."
    )
    within_next: PeriodText | None = _operator(
        "From today up to and including the day this long from now; in hours: from now on."
    )
    within_last: PeriodText | None = _operator(
        "From the day this long ago up to and including today; in hours: until now."
    )
    more_than_ago: PeriodText | None = _operator("Strictly before the day this long ago.")
    anniversary_within_next: PeriodText | None = _operator(
        "Its day of the year comes round from today up to the day this long from now, both "
        "included; the first time a year after it. 29 February is kept on the 28th of a common "
        "year."
    )
    anniversary_within_last: PeriodText | None = _operator(
        "Its day of the year came round from the day this long ago up to today, both included."
    )
    has_any: Annotated[tuple[Text, ...], *NOT_EMPTY] | None = _operator(
        "The list has at least one of these."
    )
    has_all: Annotated[tuple[Text, ...], *NOT_EMPTY] | None = _operator(
        "The list has every one of these."
    )
    empty: Annotated[bool, Field(strict=True)] | None = _operator(
        "The list is there and has no entry; with false: it has some."
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
        wrong: list[tuple[Path, str]] = []
        for operator, value in cast("Mapping[str, object]", data).items():
            if operator not in OPERATORS:
                hint = did_you_mean(str(operator), OPERATORS, all_of="there are")
                wrong.append(((operator,), f"unknown operator {operator}{hint}"))
            elif value is None and operator not in _TAKE_VALUES:
                # those that do say so themselves
                todo = "to test for a missing value write `missing: true`"
                wrong.append(((operator,), f"`{operator}` has no value; {todo}"))
        if wrong:
            raise located(wrong)
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
