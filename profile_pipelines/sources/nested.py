"""Paths into columns: members of JSON, structs, maps and lists that a source has in a column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa

from profile_pipelines.catalog.convert_steps import gives_one_value
from profile_pipelines.catalog.field_paths import parse_path, split_path
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.catalog.values import MISSING
from profile_pipelines.errors import MissingField, SourceError
from profile_pipelines.sources.arrow_columns import (
    Plain,
    batches_of,
    becomes_json,
    plain,
    values,
)
from profile_pipelines.sources.json_records import Unreadable, as_text, getter, parse
from profile_pipelines.sources.reading import ReadRequest, Source, near, problem_of

NOT_JSON = "isn't JSON"
NO_MEMBERS = "isn't a JSON object or list"


@dataclass(frozen=True)
class Place:
    """Where a field stands: in a column, or a member of it that has a type; and the path on from
    there, which `members` follows."""

    names: tuple[str, ...]
    rest: str
    kind: pa.DataType
    """The type there."""


def place_of(where: str, schema: pa.Schema, field: str) -> Place:
    """Where the field stands in typed columns. Raises MissingField when it doesn't."""
    names, rest, kind = list[str](), field, pa.struct(list(schema))
    while not names or (rest and pa.types.is_struct(kind)):
        known = [kind.field(at).name for at in range(kind.num_fields)]
        found = split_path(rest, known)
        if found is None:
            told = f"{where}: there is no column {field!r}: {near(rest, known)}"
            if names:
                told = f"{where}: {'.'.join(names)} has no member {rest!r}: {near(rest, known)}"
            raise MissingField(field, told)
        name, rest = found
        names.append(name)
        kind = kind.field(known.index(name)).type
    check_rest(where, field, kind, rest)
    return Place(tuple(names), rest, kind)


def read_at(place: Place, column: pa.Array) -> Plain:
    """What the place's column, or the member of it that has a type, leads to."""
    return members(column, place.rest) if place.rest else plain(column)


def check_rest(where: str, field: str, kind: pa.DataType, rest: str) -> None:
    """Raises MissingField where a column of the type can't be followed along the rest of a path."""
    if not rest:
        return
    if not (_is_text(kind) or pa.types.is_nested(kind)):
        column = field.removesuffix(rest).removesuffix(".")
        raise MissingField(
            field,
            f"{where}: the column {column} holds {kind}, in which nothing stands by a path; "
            f"write {column}",
        )
    try:
        parse_path(rest)
    except ValueError as error:
        raise MissingField(field, f"{where}: {field!r} {error}") from None


def members(column: pa.Array, rest: str) -> Plain:
    """What stands by the path in each cell, as text; cells that hold something else than JSON, or
    that can't be read, are a problem."""
    get, texts, reasons = getter(rest), list[str | None](), list[str | None]()
    for cell in _cells(column):
        found = cell if isinstance(cell, Unreadable) else get(cell)
        is_read = not isinstance(found, Unreadable)
        texts.append(as_text(found) if is_read else found.shown)
        reasons.append(None if is_read else found.reason)
    return pa.array(texts, pa.string()), pa.array(reasons, pa.string()) if any(reasons) else None


def refuse_lists(where: str, sync: Sync, schema: pa.Schema) -> None:
    """Raises SourceError for a list where only one value can be meant."""
    for path, each in sync.roles:
        for field in each.reads:
            at = schema.get_field_index(field)
            is_list = at >= 0 and pa.types.is_list(schema.field(at).type)
            if is_list and (each.join or not gives_one_value(each.convert)):
                raise SourceError(
                    f"{where}: {'.'.join(path)} takes one value, and {field} is a list; "
                    f"write {field}[0] for its first"
                )


@dataclass(frozen=True)
class NestedColumns:
    """A source of plain columns, whose fields may also be paths into a column's JSON."""

    where: str
    sync: Sync
    columns: Source

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        split = self._split(request.fields)
        wanted = tuple(dict.fromkeys(column for column, _ in split))
        for batch in self.columns.read(replace(request, fields=wanted)):
            refuse_lists(self.where, self.sync, batch.schema)
            if not any(rest for _, rest in split) and not any(map(becomes_json, batch.columns)):
                yield batch
                continue
            found: list[Plain] = []
            for field, (column, rest) in zip(request.fields, split, strict=True):
                cells, told = batch.column(column), _column(batch, problem_of(column))
                check_rest(self.where, field, cells.type, rest)
                if rest and told is None:
                    found.append(members(cells, rest))
                else:
                    found.append(plain(cells) if becomes_json(cells) else (cells, told))
            yield from batches_of(request.fields, found)

    @property
    def dialects(self) -> Mapping[str, str]:
        """How the CSV files are written that were read so far."""
        return getattr(self.columns, "dialects", {})

    @property
    def place(self) -> str | None:
        """What is read, for people."""
        return getattr(self.columns, "place", None)

    def cancel(self) -> None:
        """End what the source is at, from another thread."""
        cancel = getattr(self.columns, "cancel", None)
        if cancel is not None:
            cancel()

    def change_mark(self) -> str | None:
        return self.columns.change_mark()

    def has_newer(self, since: datetime) -> bool | None:
        return self.columns.has_newer(since)

    def inspect(self) -> dict[str, str]:
        return self.columns.inspect()

    def _split(self, fields: Sequence[str]) -> list[tuple[str, str]]:
        """Each field's column and rest; one that begins with no column is left to the source."""
        if not any("." in field or "[" in field for field in fields):
            return [(field, "") for field in fields]
        known = self.columns.inspect()
        return [split_path(field, known) or (field, "") for field in fields]


def _column(batch: pa.RecordBatch, name: str) -> pa.Array | None:
    at = batch.schema.get_field_index(name)
    return None if at < 0 else batch.column(at)


def _is_text(kind: pa.DataType) -> bool:
    return plain(pa.nulls(0, kind))[0].type == pa.string()


def _cells(column: pa.Array) -> list[Any]:
    """The cells as JSON has them, be they JSON in a text or of a type of their own."""
    if not _is_text(column.type) or pa.types.is_nested(column.type):
        return values(column)
    texts, reasons = plain(column)
    told = [None] * len(texts) if reasons is None else reasons.to_pylist()
    return [
        _parsed(text) if reason is None else Unreadable(reason, text)
        for text, reason in zip(texts.to_pylist(), told, strict=True)
    ]


def _parsed(text: str | None) -> Any:
    if text is None or (said := text.strip()) in MISSING or not said:
        return None
    try:
        value = parse(text)
    except ValueError:
        return Unreadable(NOT_JSON, text)
    is_whole = value is None or isinstance(value, dict | list)
    return value if is_whole else Unreadable(NO_MEMBERS, text)
