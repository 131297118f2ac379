"""Fields of JSON records as text columns: one field of many records at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from profile_pipelines.sources.json_records import ABSENT, as_text, getter

_AT_ONCE = 100
"""Records that are held as objects at once: they take several times the memory of their text, and
Python's search for garbage goes through all of them."""
_BATCH_ROWS = 10_000
_TEXTUAL = {str, type(None)}


def batches(
    pages: Iterable[Iterable[Any]],
    fields: Sequence[str],
    seen: set[str] | None = None,
    *,
    limit: int | None = None,
) -> Iterator[pa.RecordBatch]:
    """The fields of the records (of the first `limit`) as text columns.

    Adds the fields that occurred to `seen`.
    """
    getters = [column_getter(field) for field in fields]
    schema = pa.schema([pa.field(field, pa.string()) for field in fields])
    seen = set() if seen is None else seen
    records = islice(chain.from_iterable(pages), limit)
    while True:
        columns: list[list[str | None]] = [[] for _ in fields]
        rows = 0
        while rows < _BATCH_ROWS and (part := list(islice(records, _AT_ONCE))):
            rows += len(part)
            for field, get, column in zip(fields, getters, columns, strict=True):
                values = get(part)
                if field not in seen and any(value is not ABSENT for value in values):
                    seen.add(field)
                column += _texts(values)
        if not rows:
            return
        yield pa.RecordBatch.from_arrays([_array(column) for column in columns], schema=schema)


def column_getter(path: str) -> Callable[[Sequence[Any]], list[Any]]:
    """What `getter` reads of each of many values, faster where all of them are alike."""
    get = getter(path)
    parts = path.split(".")
    steps = [(part, ".".join(parts[at:])) for at, part in enumerate(parts)]

    def column(records: Sequence[Any]) -> list[Any]:
        values = list(records)
        for part, rest in steps:
            kinds = set(map(type, values))
            # a key that itself contains the dots would win
            if kinds == {dict} and (rest == part or not any(rest in v for v in values)):
                values = [value.get(part, ABSENT) for value in values]
            elif kinds == {list} and part.isdecimal():
                at = int(part)
                values = [value[at] if at < len(value) else ABSENT for value in values]
            else:
                return [get(record) for record in records]
        return values

    return (lambda records: [get(record) for record in records]) if "[" in path else column


def _texts(values: list[Any]) -> list[str | None]:
    return values if set(map(type, values)) <= _TEXTUAL else [as_text(value) for value in values]


def _array(texts: list[str | None]) -> pa.Array:
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        # JSON may escape half a surrogate pair, which no UTF-8 text can hold
        return pa.array(
            [text and text.encode("utf-8", "replace").decode() for text in texts], pa.string()
        )
