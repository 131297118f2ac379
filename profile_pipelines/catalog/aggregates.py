"""Attributes that are made of a customer's child records: orders, tickets, subscriptions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self, cast, get_args

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from profile_pipelines.catalog.compared_values import moves_with_the_clock
from profile_pipelines.catalog.conditions import Condition, attributes_of
from profile_pipelines.catalog.declaration import Declaration, Name
from profile_pipelines.catalog.mapped_fields import MappedField
from profile_pipelines.catalog.operators import BY_THE_CLOCK
from profile_pipelines.catalog.values import AttributeType

Function = Literal["count", "last", "sum", "min", "max", "list_distinct", "any", "all"]
FUNCTIONS: tuple[str, ...] = get_args(Function)
CHILDLESS = "__childless"
"""The column of the customers' records that says that no child is left."""


class ChildField(MappedField):
    """A value of a child record: its type, and where it stands."""

    type: AttributeType = Field(examples=["string"])
    field: str = ""
    """The source field; without it, the one of the same name."""

    def paths(self, name: str) -> tuple[str, ...]:
        """The paths of the source fields that are read for it."""
        return self.reads if self.field else (name,)

    def under(self, name: str) -> dict[str, Any]:
        """The declaration of a mapped field that reads it."""
        return self.declared if self.field else {**self.declared, "field": name}


class Order(BaseModel, frozen=True):
    """Which of a customer's children comes last: that with the greatest value of a field."""

    field: Name
    words: tuple[str, ...] = ()
    """Words of the field, the first of which wins; other words come after them. Of children that
    are alike in this the newest wins."""

    @classmethod
    def read(cls, value: object) -> object:
        """Let a field's name stand for itself, and `{status: [active, ended]}` for its words."""
        if isinstance(value, str):
            return {"field": value}
        entries = cast("dict[object, object]", value) if isinstance(value, dict) else {}
        if len(entries) != 1:
            raise ValueError("must be a field, or one field with its words: {status: [open, done]}")
        [(field, words)] = entries.items()
        listed = cast("list[object]", words) if isinstance(words, list) else []
        if not listed or not all(isinstance(word, str) for word in listed):
            raise ValueError(f"needs the words of {field}, the first of which wins: [open, done]")
        texts = cast("list[str]", listed)
        if twice := next((word for word in texts if texts.count(word) > 1), None):
            raise ValueError(f"has the word {twice} twice")
        return {"field": field, "words": texts}


class Aggregate(Declaration):
    """One function over those of a customer's children for which `where` holds."""

    count: Literal[True] | None = None
    """How many there are."""
    last: Name | None = None
    """This field of the last child, the newest, that has it."""
    sum: Name | None = None
    min: Name | None = None
    max: Name | None = None
    list_distinct: Name | None = None
    """All different values of this field, in order."""
    any: Name | None = None
    """Whether this field of one of them is true."""
    all: Name | None = None
    """Whether this field is true of all that have it."""
    by: Annotated[
        Order | None,
        BeforeValidator(Order.read, json_schema_input_type=Name | dict[Name, list[str]]),
    ] = None
    """What makes a child the last: a field, or the order of its words; without it `updated_at`."""
    where: Condition | None = None
    """Which children count; without it, all of them."""

    @classmethod
    def read(cls, value: object) -> object:
        """Let `count` stand for `{count: true}`."""
        if isinstance(value, str):
            if value != "count":
                raise ValueError("must be count, or for example {max: ordered_at, where: …}")
            return {"count": True}
        return value

    @model_validator(mode="after")
    def _one_function(self) -> Self:
        given = [name for name in FUNCTIONS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of {', '.join(FUNCTIONS)}")
        if self.by is not None and self.last is None:
            raise ValueError("`by` goes with `last` only")
        return self

    @property
    def function(self) -> Function:
        """The function that is given."""
        return next(cast(Function, name) for name in FUNCTIONS if getattr(self, name) is not None)

    @property
    def of(self) -> str | None:
        """The field that the function takes; None for `count`."""
        return None if self.count else getattr(self, self.function)

    @property
    def uses(self) -> set[str]:
        """All child fields on which the value depends."""
        tested = attributes_of(self.where) if self.where is not None else frozenset[str]()
        by = None if self.by is None else self.by.field
        return {name for name in (self.of, by, *tested) if name is not None}

    @property
    def moves_with_the_clock(self) -> bool:
        """Whether the value may change though no child does."""
        return self.where is not None and any(_by_the_clock(self.where))

    @property
    def in_words(self) -> str:
        """For people: `max of ordered_at`."""
        return f"{self.function} of {self.of or 'the records'}"


def order_columns(
    name: str, aggregate: Aggregate, fields: Mapping[str, ChildField]
) -> dict[str, AttributeType]:
    """The columns that keep, beside an attribute made by `last`, why that child was the last.

    They are compared one after the other, and the greatest wins, where a customer has several
    accounts. Other functions need none: two sums give the sum of both.
    """
    if aggregate.function != "last":
        return {}
    by = aggregate.by
    if by is None:
        compared: list[AttributeType] = ["timestamp"]
    elif by.words:
        compared = ["integer", "timestamp"]
    else:
        compared = [fields[by.field].type]
    kinds: list[AttributeType] = [*compared, "string"]
    return {f"{name}__by_{number}": kind for number, kind in enumerate(kinds, start=1)}


def attribute_of(column: str) -> str:
    """The attribute that a column of `order_columns` stands beside; of any other it is itself."""
    return column.partition("__by_")[0]


def _by_the_clock(condition: Condition) -> Iterator[bool]:
    for child in condition.children:
        yield from _by_the_clock(child)
    if condition.test is not None:
        for operator, value in condition.test[1]:
            yield operator in BY_THE_CLOCK or moves_with_the_clock(value)
