"""Attributes that are made of a customer's child records: orders, tickets, subscriptions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Self, cast, get_args

from pydantic import Field, model_validator

from profile_pipelines.catalog.conditions import Condition, attributes_of
from profile_pipelines.catalog.convert_steps import ConvertStep
from profile_pipelines.catalog.declaration import Declaration, Name
from profile_pipelines.catalog.values import AttributeType

Function = Literal["count", "last", "sum", "min", "max", "list_distinct"]
FUNCTIONS: tuple[str, ...] = get_args(Function)
_BY_THE_CLOCK = frozenset({"within_next", "within_last", "more_than_ago"})


class ChildField(Declaration):
    """A value of a child record: its type, and where it stands."""

    type: AttributeType = Field(examples=["string"])
    field: str | None = None
    """The source field; without it, the one of the same name."""
    convert: list[ConvertStep] = []
    """The steps, in order, that turn what stands there into the type."""


class Aggregate(Declaration):
    """One function over those of a customer's children for which `where` holds."""

    count: Literal[True] | None = None
    """How many there are."""
    last: Name | None = None
    """This field of the newest child that has it."""
    sum: Name | None = None
    min: Name | None = None
    max: Name | None = None
    list_distinct: Name | None = None
    """All different values of this field, in order."""
    by: Name | None = None
    """The time by which `last` finds the newest; without it, `updated_at`."""
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
        return {name for name in (self.of, self.by, *tested) if name is not None}

    @property
    def moves_with_the_clock(self) -> bool:
        """Whether the value may change though no child does."""
        return self.where is not None and any(_by_the_clock(self.where))

    @property
    def in_words(self) -> str:
        """For people: `max of ordered_at`."""
        return f"{self.function} of {self.of or 'the records'}"


def _by_the_clock(condition: Condition) -> Iterator[bool]:
    for child in condition.children:
        yield from _by_the_clock(child)
    if condition.test is not None:
        for operator, value in condition.test[1]:
            values = cast("tuple[object, ...]", value if isinstance(value, tuple) else (value,))
            yield operator in _BY_THE_CLOCK or "today" in values
