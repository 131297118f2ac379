"""Paths into columns: members of JSON that a database, a CSV or a Parquet file has in a column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa

from profile_pipelines.catalog.field_paths import is_nested
from profile_pipelines.sources.json_records import as_text, getter, parse
from profile_pipelines.sources.reading import ReadRequest, Source


@dataclass(frozen=True)
class NestedColumns:
    """A source of columns, whose fields may also be paths into a column's JSON.

    What such a path leads to comes as text; where the column isn't JSON, nothing does.
    """

    columns: Source

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        if not any(map(is_nested, request.fields)):
            yield from self.columns.read(request)
            return
        known = self.columns.inspect()
        split = [_split(field, known) for field in request.fields]
        wanted = tuple(dict.fromkeys(column for column, _ in split))
        schema: pa.Schema | None = None
        for batch in self.columns.read(replace(request, fields=wanted)):
            arrays = [_value(batch.column(column), get) for column, get in split]
            schema = schema or pa.schema(
                [(field, a.type) for field, a in zip(request.fields, arrays, strict=True)]
            )
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    def change_mark(self) -> str | None:
        return self.columns.change_mark()

    def has_newer(self, since: datetime) -> bool | None:
        return self.columns.has_newer(since)

    def inspect(self) -> dict[str, str]:
        return self.columns.inspect()


def _split(field: str, columns: Mapping[str, str]) -> tuple[str, Callable[[Any], Any] | None]:
    """The column that the path begins with, and what reads the rest from its values.

    The longest column wins. A path that begins with none is left to the source, which says so;
    and so is one through structs alone, since the source reads their members with their types.
    """
    found = [c for c in columns if field.startswith((f"{c}.", f"{c}["))]
    column = max(found, key=len, default=field)
    is_struct = columns.get(column, "").startswith("struct") and "[" not in field
    if field in columns or not found or is_struct:
        return field, None
    return column, getter(field[len(column) :].removeprefix("."))


def _value(column: pa.Array, get: Callable[[Any], Any] | None) -> pa.Array:
    if get is None:
        return column

    def read(cell: Any) -> str | None:
        try:
            return as_text(get(parse(cell) if isinstance(cell, str | bytes) else cell))
        except ValueError:
            return None

    return pa.array([None if v is None else read(v) for v in column.to_pylist()], pa.string())
