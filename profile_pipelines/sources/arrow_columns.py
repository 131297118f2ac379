"""Typed columns brought to the few types that the landing knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import simplejson

from profile_pipelines.sources.reading import BATCH_ROWS

_TIMES = pa.timestamp("us", "UTC")
_EPOCH = datetime(1970, 1, 1)
_TO_FIRST = datetime(1, 1, 1) - _EPOCH
_TO_LAST = datetime(9999, 12, 31, 23, 59, 59, 999_999) - _EPOCH
_DAY, _MICROSECOND = timedelta(days=1), timedelta(microseconds=1)


def normalised(batch: pa.RecordBatch, fields: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The batch with its columns renamed, in plain types, at most `BATCH_ROWS` rows at once.

    Timestamps become UTC microseconds, those without a zone being read as UTC; dates and times
    outside the years 1 to 9999 (PostgreSQL's infinity) become null; structs, maps and lists of
    anything but plain values become JSON; large, view and dictionary types become plain ones.
    """
    columns = [plain(column) for column in batch.columns]
    renamed = pa.RecordBatch.from_arrays(columns, names=list(fields))
    for start in range(0, renamed.num_rows, BATCH_ROWS):
        yield renamed.slice(start, BATCH_ROWS)


def plain(column: pa.Array) -> pa.Array:
    """One column in the type that `normalised` promises."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column, kind = column.storage, column.type.storage_type
    if pa.types.is_dictionary(kind):
        return plain(column.cast(kind.value_type))
    if pa.types.is_timestamp(kind):
        return _within_calendar(_utc(column), _MICROSECOND)
    if pa.types.is_date(kind):
        return _within_calendar(column.cast(pa.date32()), _DAY)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_nested(kind) and not _is_plain_list(kind):
        return pa.array(
            [None if v is None else simplejson.dumps(v, default=str) for v in column.to_pylist()],
            pa.string(),
        )
    return column


def _utc(column: pa.Array) -> pa.Array:
    if column.type.tz is None:
        # naive: the same number of microseconds, now said to be UTC's
        return column.cast(pa.timestamp("us"), safe=False).cast(_TIMES)
    return column.cast(_TIMES, safe=False)


def _within_calendar(column: pa.Array, unit: timedelta) -> pa.Array:
    extremes = pc.call_function("min_max", [column])
    low, high = extremes["min"], extremes["max"]
    first, last = _TO_FIRST // unit, _TO_LAST // unit
    # not as_py: Python's own calendar ends where ours does
    if not low.is_valid or (low.value >= first and high.value <= last):
        return column
    inside = pc.call_function(
        "and",
        [
            pc.call_function("greater_equal", [column, pa.scalar(first, column.type)]),
            pc.call_function("less_equal", [column, pa.scalar(last, column.type)]),
        ],
    )
    return pc.call_function("if_else", [inside, column, pa.scalar(None, column.type)])


def _is_plain_list(kind: pa.DataType) -> bool:
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    return not pa.types.is_nested(kind.value_type)
