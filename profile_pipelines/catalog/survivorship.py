"""Which of a customer's records in one sync speaks for it: each attribute's, or one record's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from pydantic import BaseModel, Field

from profile_pipelines.catalog.aggregates import Order
from profile_pipelines.catalog.values import AttributeType

if TYPE_CHECKING:
    from profile_pipelines.catalog.models import Attribute
    from profile_pipelines.catalog.systems import Sync

Survivorship = Literal["attribute", "record"]
UPDATED_AT = "updated_at"


class Compared(Order, frozen=True):
    """As `by` of an aggregate; its field is an attribute of the sync, or a source field."""

    field: str


class Winner(BaseModel, frozen=True):
    """What makes one of a customer's records win: what is compared, one after the other."""

    keys: tuple[Compared, ...] = Field(min_length=1)

    @classmethod
    def read(cls, value: object) -> object:
        """Let a field stand for itself, `{status: [active, ended]}` for the order of its words, and
        `then` lead to what is compared of records that are alike so far."""
        return {"keys": _keys(value)}


class WinnerKey(NamedTuple):
    """One of the columns of a sync's records that are compared: the greatest value wins, or the
    first of the words; a record without a value comes last."""

    column: str
    type: AttributeType
    words: tuple[str, ...] = ()

    @property
    def in_words(self) -> str:
        """For people: `status (active, then ended)`."""
        return f"{self.column} ({', then '.join(self.words)})" if self.words else self.column


def column_of(name: str, sync: Sync) -> str | None:
    """The column of a sync's records that a `winner` names: the attribute of this name, or the one
    that is read from this field; None where there is none."""
    if name in sync.attributes or name == UPDATED_AT:
        return name
    if sync.updated_at is not None and sync.updated_at.field == name:
        return UPDATED_AT
    return next((each for each, field in sync.attributes.items() if field.field == name), None)


def winner_keys(sync: Sync, attributes: Mapping[str, Attribute]) -> tuple[WinnerKey, ...] | None:
    """What decides which record gives a sync's values; None where each attribute is the newest
    record's that has it. Of records that are alike in all of it the newest wins."""
    if sync.survivorship != "record":
        return None
    found: list[WinnerKey] = []
    for each in sync.winner.keys if sync.winner is not None else ():
        column = column_of(each.field, sync)
        assert column is not None, "the catalogue was checked"
        kind = "timestamp" if column == UPDATED_AT else attributes[column].type
        found.append(WinnerKey(column, kind, each.words))
    return tuple(found)


def _keys(value: object) -> list[object]:
    if isinstance(value, list):
        return [key for each in cast("list[object]", value) for key in _keys(each)]
    if isinstance(value, dict) and "then" in value:
        entries = dict(cast("dict[object, object]", value))
        then = entries.pop("then")
        return [Order.read(entries), *_keys(then)]
    return [Order.read(cast("object", value))]
