"""Typed columns brought to the few types that the landing knows; every type of Arrow has a branch.

What stays is true or false, whole numbers, floats, decimals of up to 38 digits, days and times of
the years 1 to 9999, text, and lists of text. All else becomes text: times of day and spans of time
as ISO 8601, structs, maps and nested lists as JSON. A cell that can't be read so costs that cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from math import isfinite
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from profile_pipelines.catalog.values import number_text
from profile_pipelines.sources.json_records import Unreadable, as_json, as_text, problem
from profile_pipelines.sources.reading import BATCH_ROWS, problem_of

NOT_TEXT = "isn't text in UTF-8"
NO_DAY = "is outside the years 1 to 9999"
NO_CLOCK = "isn't a time of day"

Plain = tuple[pa.Array, pa.Array | None]
"""A column in a type that the landing knows, and the reasons of the cells that can't be read."""

_EPOCH = datetime(1970, 1, 1)
_TO_FIRST = datetime(1, 1, 1) - _EPOCH
_TO_LAST = datetime(9999, 12, 31, 23, 59, 59, 999_999) - _EPOCH
_UNITS = {
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
    "us": timedelta(microseconds=1),
}
_PER_MICROSECOND = {"s": 10**6, "ms": 10**3, "us": 1}
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FOR_EVER = {32: 2_147_000_000, 64: 9_200_000_000_000_000_000}
"""From so many days, or units of time, before or after 1970 on, databases mean infinity."""
_MOST_DIGITS = 38


def normalised(
    batch: pa.RecordBatch,
    fields: Sequence[str],
    *,
    in_utf8: bool = False,
    keep_json: bool = False,
) -> Iterator[pa.RecordBatch]:
    """The batch with its columns renamed, as `plain` has them, at most `BATCH_ROWS` rows at once.

    Where cells of a field can't be read, the batch has its `problem_of` the field, too. What is
    known to be `in_utf8` isn't looked through for other bytes. With `keep_json` columns that would
    become JSON stay as they are: a path into them finds more than JSON can say.
    """
    columns = [
        (column, None) if keep_json and becomes_json(column) else plain(column, in_utf8=in_utf8)
        for column in batch.columns
    ]
    return batches_of(fields, columns)


def becomes_json(column: pa.Array) -> bool:
    """Whether the column is of structs, maps or lists of either."""
    kind = _stored(column.type)
    is_of_plain = _is_list(kind) and not pa.types.is_nested(_stored(kind.value_type))
    return pa.types.is_nested(kind) and not is_of_plain


def batches_of(fields: Sequence[str], columns: Sequence[Plain]) -> Iterator[pa.RecordBatch]:
    """The columns with their problems as batches of at most `BATCH_ROWS` rows."""
    problems: dict[str, pa.Array] = {}
    for field, (_, reasons) in zip(fields, columns, strict=True):
        if reasons is not None:
            problems[problem_of(field)] = reasons
    renamed = pa.RecordBatch.from_arrays(
        [*(column for column, _ in columns), *problems.values()], names=[*fields, *problems]
    )
    for start in range(0, renamed.num_rows, BATCH_ROWS):
        yield renamed.slice(start, BATCH_ROWS)


def plain(column: pa.Array, *, in_utf8: bool = False) -> Plain:
    """One column in the type that this module's first lines promise.

    Times with a zone are in UTC, those without keep none. What databases have for infinity is
    null. In JSON NaN is null, too; a cell of which a part can't be read is a problem.
    """
    column = _decoded(column)
    kind = column.type
    types = pa.types
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return (column, None) if in_utf8 and types.is_string(kind) else _text(column)
    if types.is_boolean(kind) or types.is_integer(kind):
        return column, None
    if types.is_floating(kind):
        return (column.cast(pa.float32()) if types.is_float16(kind) else column), None
    if types.is_timestamp(kind):
        return _times(column)
    if types.is_date(kind):
        return _days(column)
    if types.is_decimal(kind):
        return _decimals(column), None
    if types.is_null(kind):
        return pa.nulls(len(column), pa.string()), None
    if _is_binary(kind):
        return _decoded_bytes(column)
    if types.is_time(kind):
        return _clock_times(column)
    if types.is_duration(kind):
        return _spelled(column.cast(pa.int64()).to_pylist(), _span(kind.unit)), None
    if types.is_interval(kind):
        return _spelled(column.to_pylist(), _interval), None
    if _is_list(kind) and not types.is_nested(_stored(kind.value_type)):
        return _list_of_text(column)
    if types.is_union(kind):
        cells = values(column)
        reasons = [cell.reason if isinstance(cell, Unreadable) else None for cell in cells]
        texts = [cell.shown if isinstance(cell, Unreadable) else as_text(cell) for cell in cells]
        return pa.array(texts, pa.string()), _reasons(reasons)
    cells = values(column)
    told = [found and found.reason for found in map(problem, cells)]
    return _spelled(cells, as_json), _reasons(told)


def values(column: pa.Array) -> list[Any]:
    """The cells as JSON has them: texts, numbers, lists, objects; `Unreadable` for what isn't."""
    column = _decoded(column)
    kind = column.type
    valid = column.is_valid().to_pylist()
    if pa.types.is_struct(kind):
        names = [kind.field(at).name for at in range(kind.num_fields)]
        members = [values(column.field(at)) for at in range(kind.num_fields)]
        if not members:
            return [{} if is_there else None for is_there in valid]
        rows = zip(*members, strict=True)
        return [
            dict(zip(names, row, strict=True)) if is_there else None
            for is_there, row in zip(valid, rows, strict=True)
        ]
    if pa.types.is_map(kind):
        offsets = column.offsets.to_pylist()
        keys, items = map(as_text, values(column.keys)), values(column.items)
        pairs = list(zip(keys, items, strict=True))
        return [
            dict(pairs[start:end]) if is_there else None
            for is_there, start, end in zip(valid, offsets, offsets[1:], strict=False)
        ]
    if _is_list(kind):
        entries = iter(values(column.flatten()))
        lengths = pc.call_function("list_value_length", [column]).to_pylist()
        return [None if n is None else list(islice(entries, n)) for n in lengths]
    if pa.types.is_union(kind):
        return _union_values(column)
    return _scalars(column)


def _scalars(column: pa.Array) -> list[Any]:
    found, reasons = plain(column)
    kind = found.type
    if pa.types.is_temporal(kind):
        cells = list(map(as_text, found.to_pylist()))
    elif pa.types.is_float32(kind):
        # its own shortest spelling, not that of the double that it becomes
        texts = found.cast(pa.string()).to_pylist()
        cells = [None if text is None else _finite(float(text)) for text in texts]
    elif pa.types.is_floating(kind):
        cells = [None if cell is None else _finite(cell) for cell in found.to_pylist()]
    elif pa.types.is_decimal(kind):
        # exact, which a whole number with a point isn't taken for
        cells = [_whole_or_not(cell) for cell in found.to_pylist()]
    else:
        cells = found.to_pylist()
    if reasons is None:
        return cells
    told = zip(cells, reasons.to_pylist(), strict=True)
    return [cell if reason is None else Unreadable(reason, as_text(cell)) for cell, reason in told]


def _whole_or_not(number: Decimal | None) -> Decimal | int | None:
    return number if number is None or number != number.to_integral_value() else int(number)


def _finite(number: float) -> float | Unreadable | None:
    return number if isfinite(number) else problem(number)


def _union_values(column: pa.UnionArray) -> list[Any]:
    # a slice's parts don't know that they are
    column, kind = pa.concat_arrays([column]), column.type
    children = [values(column.field(at)) for at in range(kind.num_fields)]
    position = {code: at for at, code in enumerate(kind.type_codes)}
    codes = column.type_codes.to_pylist()
    rows = column.offsets.to_pylist() if kind.mode == "dense" else range(len(column))
    return [children[position[code]][row] for code, row in zip(codes, rows, strict=True)]


def _decoded(column: pa.Array) -> pa.Array:
    """The column without what only says how it is stored."""
    while True:
        kind = column.type
        if isinstance(kind, pa.UuidType):
            return _spelled(column.to_pylist(), str)
        if isinstance(kind, pa.Bool8Type):
            return column.storage.cast(pa.bool_())
        if isinstance(kind, pa.BaseExtensionType):
            column = column.storage
        elif pa.types.is_dictionary(kind):
            column = column.dictionary_decode()
        elif pa.types.is_run_end_encoded(kind):
            column = _without_runs(column)
        else:
            return column


def _stored(kind: pa.DataType) -> pa.DataType:
    """The type that `_decoded` leads to."""
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
            kind = kind.value_type
        else:
            return kind


def _without_runs(column: pa.Array) -> pa.Array:
    first, ends = column.offset, column.run_ends.to_pylist()
    rows: list[int] = []
    for run, end in enumerate(ends):
        rows += [run] * (min(end, first + len(column)) - first - len(rows))
    return column.values.take(pa.array(rows, pa.int64()))


def _is_binary(kind: pa.DataType) -> bool:
    types = pa.types
    return (
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    )


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return (
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def _text(column: pa.Array) -> Plain:
    text = column if pa.types.is_string(column.type) else column.cast(pa.string())
    try:
        # files and drivers say that it is UTF-8, and nothing checks it before Polars, which trusts
        text.validate(full=True)
    except pa.ArrowInvalid:
        return _decoded_bytes(text.cast(pa.binary()))
    return text, None


def _decoded_bytes(column: pa.Array) -> Plain:
    try:
        if pa.types.is_fixed_size_binary(column.type):
            column = column.cast(pa.binary())
        return column.cast(pa.string()), None
    except pa.ArrowInvalid:
        pass
    texts, reasons = list[str | None](), list[str | None]()
    for content in column.to_pylist():
        text = None if content is None else content.decode("utf-8", "replace")
        texts.append(text)
        is_whole = text is None or text.encode() == content
        reasons.append(None if is_whole else NOT_TEXT)
    return pa.array(texts, pa.string()), _reasons(reasons)


def _reasons(reasons: Sequence[str | None]) -> pa.Array | None:
    return pa.array(reasons, pa.string()) if any(reasons) else None


def _spelled(cells: Sequence[Any], spell: Callable[[Any], str | None]) -> pa.Array:
    return pa.array([None if cell is None else spell(cell) for cell in cells], pa.string())


def _list_of_text(column: pa.Array) -> Plain:
    """Its entries as text; one that can't be read is a problem of the whole cell."""
    if pa.types.is_list(column.type) and pa.types.is_string(column.type.value_type):
        try:
            column.validate(full=True)
            return column.cast(pa.list_(pa.string())), None
        except pa.ArrowInvalid:
            pass
    cells = _scalars(column.flatten())
    texts = [cell.shown if isinstance(cell, Unreadable) else as_text(cell) for cell in cells]
    told = [cell.reason if isinstance(cell, Unreadable) else None for cell in cells]
    found, reasons = list[list[str | None] | None](), list[str | None]()
    at = 0
    for length in pc.call_function("list_value_length", [column]).to_pylist():
        end = at + (length or 0)
        found.append(None if length is None else texts[at:end])
        reasons.append(next(filter(None, told[at:end]), None))
        at = end
    return pa.array(found, pa.list_(pa.string())), _reasons(reasons)


def _decimals(column: pa.Array) -> pa.Array:
    """As decimals that Polars knows, or, where they have too many digits, as text."""
    kind = column.type
    if kind.precision <= _MOST_DIGITS and 0 <= kind.scale <= kind.precision:
        if pa.types.is_decimal128(kind):
            return column
        return column.cast(pa.decimal128(kind.precision, kind.scale))
    return _spelled(column.to_pylist(), number_text)


def _times(column: pa.Array) -> Plain:
    kind = column.type
    unit, reasons = _UNITS.get(kind.unit), None
    if unit is not None:  # nanoseconds can't leave the calendar
        column, reasons = _within_calendar(column, unit)
        numbers = column.cast(pa.int64())
        if _PER_MICROSECOND[kind.unit] > 1:
            factor = pa.scalar(_PER_MICROSECOND[kind.unit], pa.int64())
            numbers = pc.call_function("multiply", [numbers, factor])
    else:
        numbers = _whole_microseconds(column.cast(pa.int64()))
    return numbers.cast(pa.timestamp("us", None if kind.tz is None else "UTC")), reasons


def _whole_microseconds(numbers: pa.Array) -> pa.Array:
    """Of nanoseconds. Never later: the last ones of a year are none of the next."""
    thousand, one = pa.scalar(1000, pa.int64()), pa.scalar(1, pa.int64())
    whole = pc.call_function("divide", [numbers, thousand])
    later = pc.call_function("greater", [pc.call_function("multiply", [whole, thousand]), numbers])
    earlier = pc.call_function("subtract", [whole, one])
    return pc.call_function("if_else", [later, earlier, whole])


def _days(column: pa.Array) -> Plain:
    if pa.types.is_date64(column.type):
        column = column.cast(pa.int64()).cast(pa.timestamp("ms"))
        column, reasons = _within_calendar(column, _UNITS["ms"])
        return column.cast(pa.date32(), safe=False), reasons
    return _within_calendar(column, timedelta(days=1))


def _within_calendar(column: pa.Array, unit: timedelta) -> Plain:
    """Without what no calendar of ours has; infinity is missing, other years are a problem."""
    extremes = pc.call_function("min_max", [column])
    low, high = extremes["min"], extremes["max"]
    first, last = _TO_FIRST // unit, _TO_LAST // unit
    # not as_py: Python's own calendar ends where ours does
    if not low.is_valid or (low.value >= first and high.value <= last):
        return column, None
    bits = column.type.bit_width
    numbers = column.cast(pa.int32() if bits == 32 else pa.int64()).to_pylist()
    for_ever = _FOR_EVER[bits]
    inside = pa.array([n is not None and first <= n <= last for n in numbers])
    reasons = [
        NO_DAY if n is not None and not first <= n <= last and abs(n) < for_ever else None
        for n in numbers
    ]
    missing = pa.scalar(None, column.type)
    return pc.call_function("if_else", [inside, column, missing]), _reasons(reasons)


def _clock_times(column: pa.Array) -> Plain:
    per_second = _PER_SECOND[column.type.unit]
    bits = pa.int32() if column.type.bit_width == 32 else pa.int64()
    texts, reasons = list[str | None](), list[str | None]()
    for number in column.cast(bits).to_pylist():
        if number is None or not 0 <= number < 86_400 * per_second:
            texts.append(None)
            reasons.append(number if number is None else NO_CLOCK)
        else:
            texts.append(_clock(number, per_second))
            reasons.append(None)
    return pa.array(texts, pa.string()), _reasons(reasons)


def _clock(number: int, per_second: int) -> str:
    seconds, rest = divmod(number, per_second)
    minutes, second = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}{_fraction(rest, per_second)}"


def _fraction(rest: int, per_second: int) -> str:
    return "." + str(rest + per_second)[1:].rstrip("0") if rest else ""


def _span(unit: str) -> Callable[[int], str]:
    per_second = _PER_SECOND[unit]

    def spell(number: int) -> str:
        seconds, rest = divmod(abs(number), per_second)
        days, seconds = divmod(seconds, 86_400)
        return ("-" if number < 0 else "") + _iso_span(0, days, seconds, rest, per_second)

    return spell


def _interval(span: pa.MonthDayNano) -> str:
    months, days, nanoseconds = span
    seconds, rest = divmod(abs(nanoseconds), 10**9)
    return _iso_span(months, days, seconds, rest, 10**9, "-" if nanoseconds < 0 else "")


def _iso_span(
    months: int, days: int, seconds: int, rest: int, per_second: int, sign: str = ""
) -> str:
    """ISO 8601: `P1M2DT3H`; a month, a day and a second have signs of their own."""
    hours, minutes = seconds // 3600, seconds // 60 % 60
    fraction = _fraction(rest, per_second)
    parts = [f"{months}M" * (months != 0), f"{days}D" * (days != 0)]
    clock = [f"{sign}{hours}H" * (hours != 0), f"{sign}{minutes}M" * (minutes != 0)]
    if seconds % 60 or rest:
        clock.append(f"{sign}{seconds % 60}{fraction}S")
    text = "P" + "".join(parts) + ("T" + "".join(clock) if any(clock) else "")
    return "PT0S" if text == "P" else text
