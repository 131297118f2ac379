"""The condition tree: one language for audiences, journeys, the console's builder and explanations.

A condition is a mapping with exactly one key: `all`, `any` or `none` over further conditions,
`in_audience` or `not_in_audience` with an audience's name, or an attribute with its operators
(`catalog.operators`), all of which must hold:

    all:
      - contract_end_date: {within_next: 30 days}
      - renewal_status: {is_not: confirmed}
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from profile_pipelines.catalog.compared_values import (
    DayFromToday,
    OtherAttribute,
    comparable,
    condition_value,
    others_in,
)
from profile_pipelines.catalog.durations import format_duration
from profile_pipelines.catalog.mistakes import Path, did_you_mean, in_words
from profile_pipelines.catalog.operators import (
    NOT_EMPTY,
    OPERATORS_OF,
    Operators,
    mistake,
    without_null,
)
from profile_pipelines.catalog.periods import parse_period
from profile_pipelines.catalog.plain_words import located

if TYPE_CHECKING:
    from profile_pipelines.catalog.models import Attribute

KEYWORDS = ("all", "any", "none", "in_audience", "not_in_audience")
"""The keys with a meaning of their own: no attribute that bears such a name can be tested."""

_Conditions = Annotated[tuple["Condition", ...], *NOT_EMPTY] | None


def _one_key(schema: dict[str, Any]) -> None:
    without_null(schema)
    schema["maxProperties"] = 1


class Condition(BaseModel):
    """One node of the tree; exactly one of its keys is given."""

    model_config = ConfigDict(extra="allow", frozen=True, json_schema_extra=_one_key)
    __pydantic_extra__: dict[str, Operators]  # pyright: ignore[reportIncompatibleVariableOverride]

    all: _Conditions = Field(default=None, description="Every one of these holds.")
    any: _Conditions = Field(default=None, description="At least one of these holds.")
    none: _Conditions = Field(default=None, description="Not one of these holds.")
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
            raise mistake("must be a condition, for example {status: {is: active}} or {all: [...]}")
        nodes = cast("Mapping[object, object]", data)
        if len(nodes) > 1:
            raise mistake(
                f"a condition has one key, not {len(nodes)} ({in_words(map(str, nodes))}); "
                "write `all:` or `any:` with a list of conditions"
            )
        key, value = next(iter(nodes.items()))
        if value is None:
            raise located([((str(key),), f"`{key}` has no value")])
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
    """The attributes that the condition tests itself, not by way of other audiences, and those
    that it compares them with."""
    own = set(tested_by(*condition.test)) if condition.test else set[str]()
    return frozenset(own.union(*map(attributes_of, condition.children)))


def tested_by(name: str, operators: Operators) -> list[str]:
    """The attribute that a test is on, then those that it is compared with."""
    others = (other for _, value in operators for other in others_in(value))
    return list(dict.fromkeys((name, *others)))


def audiences_of(condition: Condition) -> frozenset[str]:
    """The audiences that the condition refers to."""
    own = {name for name in (condition.in_audience, condition.not_in_audience) if name is not None}
    return frozenset(own.union(*map(audiences_of, condition.children)))


def check_condition(
    condition: Condition, attributes: Mapping[str, Attribute], audience_names: Collection[str]
) -> list[tuple[Path, str]]:
    """What doesn't fit the catalogue, each with its place below the condition."""
    found: list[tuple[Path, str]] = []
    for key in ("all", "any", "none"):
        for index, child in enumerate(getattr(condition, key) or ()):
            for path, text in check_condition(child, attributes, audience_names):
                found.append(((key, index, *path), text))
    for key in ("in_audience", "not_in_audience"):
        name = getattr(condition, key)
        if name is not None and name not in audience_names:
            hint = did_you_mean(name, audience_names, all_of="there are")
            found.append(((key,), f"unknown audience {name}{hint}"))
    if condition.test is not None:
        name, operators = condition.test
        if name in attributes:
            for path, text in _check_test(operators, name, attributes):
                found.append(((name, *path), text))
        else:
            hint = did_you_mean(name, attributes, all_of="there are")
            found.append(((name,), f"unknown attribute {name}{hint}"))
    return found


def _check_test(
    operators: Operators, name: str, attributes: Mapping[str, Attribute]
) -> Iterator[tuple[Path, str]]:
    attribute = attributes[name]
    for operator, value in operators:
        if operator not in OPERATORS_OF[attribute.type]:
            allowed = in_words(OPERATORS_OF[attribute.type], "or")
            yield (operator,), f"doesn't apply to type {attribute.type}; write {allowed}"
            continue
        match operator:
            case (
                "within_next" | "within_last" | "more_than_ago"
                | "anniversary_within_next" | "anniversary_within_last"
            ):  # fmt: skip
                if attribute.type == "date" and parse_period(value).exact:
                    yield (operator,), "a date has no hours; write days, weeks, months or years"
            case "in" | "not_in" | "has_any" | "has_all":
                for index, item in enumerate(value):
                    for path, text in _check_value(item, name, attributes):
                        yield (operator, index, *path), text
            case "between":
                found = [
                    ((i, *path), text)
                    for i in (0, 1)
                    for path, text in _check_value(value[i], name, attributes)
                ]
                yield from (((operator, *path), text) for path, text in found)
                if not found and _reversed(value, attribute):
                    yield (operator,), "the lower end stands first: [lowest, highest]"
            case "changed_within":
                kept = attribute.keep_history
                if kept is not None and parse_period(value).longest > kept:
                    text = f"the history of this attribute is kept for {format_duration(kept)} only"
                    yield (operator,), text
            case "present" | "missing" | "empty" | "contains" | "starts_with":
                pass
            case _:
                for path, text in _check_value(value, name, attributes):
                    yield (operator, *path), text


def _check_value(
    value: object, name: str, attributes: Mapping[str, Attribute]
) -> Iterator[tuple[Path, str]]:
    attribute = attributes[name]
    if isinstance(value, OtherAttribute):
        yield from ((("attribute",), text) for text in _check_other(value, name, attributes))
        return
    try:
        typed = condition_value(attribute.type, value)
    except ValueError as error:
        yield (), str(error)
        return
    if isinstance(typed, DayFromToday):
        return
    valid = attribute.valid
    if valid.in_ is not None and attribute.type != "timestamp" and typed not in valid.in_:
        hint = did_you_mean(str(typed), map(str, valid.in_), all_of="there are")
        yield (), f"isn't among the valid values{hint}"
    order = _order(typed)
    if valid.min is not None and order < _order(valid.min):
        yield (), f"is below the lowest valid value, {valid.min}"
    if valid.max is not None and order > _order(valid.max):
        yield (), f"is above the highest valid value, {valid.max}"


def _check_other(
    value: OtherAttribute, name: str, attributes: Mapping[str, Attribute]
) -> Iterator[str]:
    other = value.attribute
    if other not in attributes:
        yield f"unknown attribute {other}{did_you_mean(other, attributes, all_of='there are')}"
    elif other == name:
        yield f"compares {name} with itself; name another attribute"
    elif not comparable(attributes[name].type, attributes[other].type):
        yield (
            f"the type of {other} is {attributes[other].type}, and that of {name} is "
            f"{attributes[name].type}; compare attributes of one type, or numbers"
        )


def _reversed(ends: tuple[object, object], attribute: Attribute) -> bool:
    """Whether nothing can lie between the ends, whatever day it is."""
    if any(isinstance(end, OtherAttribute) for end in ends):
        return False
    low, high = (condition_value(attribute.type, end) for end in ends)
    if isinstance(low, DayFromToday) and isinstance(high, DayFromToday):
        # months have 28 to 31 days
        return all(low.on(day) > high.on(day) for day in (date(2023, 2, 1), date(2024, 7, 1)))
    moving = isinstance(low, DayFromToday) or isinstance(high, DayFromToday)
    return not moving and _order(low) > _order(high)


def _order(value: Any) -> Any:
    """A sort key that compares dates, local and absolute timestamps alike, to the day or less."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value
