"""Fields of JSON records as text columns: one field of many records at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from profile_pipelines.sources.arrow_columns import batches_of
from profile_pipelines.sources.json_records import (
    ABSENT,
    as_text,
    getter,
    problem,
    scalar_number,
)

_AT_ONCE = 100
"""Records that are held as objects at once: they take several times the memory of their text, and
Python's search for garbage goes through all of them."""
_BATCH_ROWS = 10_000
_TEXTUAL = {str, type(None)}
_NUMERIC = {int, Decimal, float, type(None)}
_OF_PARTS = {list, tuple, dict}
_ALWAYS_READ = {str, int, bool, type(None), type(ABSENT)}


def batches(
    pages: Iterable[Iterable[Any]],
    fields: Sequence[str],
    seen: set[str] | None = None,
    *,
    limit: int | None = None,
) -> Iterator[pa.RecordBatch]:
    """The fields of the records (of the first `limit`) as text columns, with columns that say
    which cells can't be read.

    Adds the fields that occurred to `seen`.
    """
    getters = [column_getter(field) for field in fields]
    seen = set() if seen is None else seen
    records = islice(chain.from_iterable(pages), limit)
    while True:
        columns: list[list[str | None]] = [[] for _ in fields]
        problems: dict[int, dict[int, str]] = {}
        rows = 0
        while rows < _BATCH_ROWS and (part := list(islice(records, _AT_ONCE))):
            for number, (field, get) in enumerate(zip(fields, getters, strict=True)):
                values = get(part)
                if field not in seen and any(value is not ABSENT for value in values):
                    seen.add(field)
                texts, told = _texts(values)
                columns[number] += texts
                for at, reason in told.items():
                    problems.setdefault(number, {})[rows + at] = reason
            rows += len(part)
        if not rows:
            return
        found = [
            (text_array(column), _reasons(problems.get(number), rows))
            for number, column in enumerate(columns)
        ]
        yield from batches_of(fields, found)


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


def _texts(values: list[Any]) -> tuple[list[str | None], dict[int, str]]:
    """The values as text, and by position why some can't be read."""
    kinds = set(map(type, values))
    if kinds <= _TEXTUAL:
        return values, {}
    if kinds <= _NUMERIC:
        texts = [None if value is None else scalar_number(value) for value in values]
    else:
        texts = list(map(as_text, values))
    if kinds <= _ALWAYS_READ or (None not in texts and kinds.isdisjoint(_OF_PARTS)):
        return texts, {}
    told: dict[int, str] = {}
    for at, value in enumerate(values):
        if (texts[at] is None or type(value) in _OF_PARTS) and (found := problem(value)):
            texts[at], told[at] = texts[at] or found.shown, found.reason
    return texts, told


def _reasons(told: dict[int, str] | None, rows: int) -> pa.Array | None:
    return None if not told else pa.array([told.get(at) for at in range(rows)], pa.string())


def text_array(texts: list[str | None]) -> pa.Array:
    """The texts as a column."""
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        # JSON may escape half a surrogate pair, which no UTF-8 text can hold
        return pa.array(
            [text and text.encode("utf-8", "replace").decode() for text in texts], pa.string()
        )
