"""Every type of Arrow: what it becomes, or which words say that a cell can't be read."""

from __future__ import annotations

import math
import uuid
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profile_pipelines.sources.arrow_columns import NO_CLOCK, NO_DAY, NOT_TEXT, plain, values
from profile_pipelines.sources.json_records import Unreadable, parse
from profile_pipelines.sources.reading import problem_of
from profile_pipelines_tests.sources.reads import source, table

TEXT, LIST = pa.string(), pa.list_(pa.string())
NAIVE, UTC = pa.timestamp("us"), pa.timestamp("us", "UTC")
LAST = datetime(9999, 12, 31, 23, 59, 59, 999_999)
NAN, INF = math.nan, math.inf
STRUCT = pa.struct(
    [
        pa.field(name, kind)
        for name, kind in {
            "number": pa.float64(),
            "sum": pa.decimal128(9, 2),
            "day": pa.date32(),
            "bytes": pa.binary(),
            "at": pa.timestamp("ns", "Europe/Berlin"),
            "tags": pa.list_(pa.string()),
            "map": pa.map_(pa.string(), pa.float32()),
        }.items()
    ]
)


def numbers(kind: pa.DataType, *cells: int | None) -> pa.Array:
    """Cells by their stored numbers, also those that Python's calendar hasn't got."""
    stored = pa.int32() if kind.bit_width == 32 else pa.int64()
    return pa.array(cells, stored).view(kind)


def extension(kind: Any, storage: pa.Array) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, storage)


def union(codes: list[int], *children: pa.Array, dense: list[int] | None = None) -> pa.Array:
    types, parts = pa.array(codes, pa.int8()), list(children)
    if dense is None:
        return pa.UnionArray.from_sparse(types, parts)
    return pa.UnionArray.from_dense(types, pa.array(dense, pa.int32()), parts)


Row = tuple[pa.Array, pa.DataType, list[Any], list[str | None] | None]


def row(
    column: pa.Array, kind: pa.DataType, *cells: Any, problems: list[str | None] | None = None
) -> Row:
    return column, kind, list(cells), problems


WORDS = ["ü", None, ""]
BYTES = [b"ab", None, b"\xfc!"]
BROKEN = [None, None, NOT_TEXT]
NOON = datetime(2024, 5, 1, 12)
MATRIX: list[Row] = [
    row(pa.nulls(2), TEXT, None, None),
    row(pa.array([True, None]), pa.bool_(), True, None),
    *(
        row(pa.array([7, None], kind), kind, 7, None)
        for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())
    ),
    *(
        row(pa.array([7, None], kind), kind, 7, None)
        for kind in (pa.uint8(), pa.uint16(), pa.uint32())
    ),
    row(pa.array([2**64 - 1, None], pa.uint64()), pa.uint64(), 2**64 - 1, None),
    row(pa.array([1.5, INF], pa.float16()), pa.float32(), 1.5, INF),
    row(pa.array([1.5, None], pa.float32()), pa.float32(), 1.5, None),
    row(pa.array([1e300, -INF], pa.float64()), pa.float64(), 1e300, -INF),
    *(
        row(pa.array([Decimal("1.50"), None], kind), pa.decimal128(9, 2), Decimal("1.50"), None)
        for kind in (pa.decimal32(9, 2), pa.decimal64(9, 2), pa.decimal128(9, 2))
    ),
    row(pa.array([Decimal("1.50")], pa.decimal256(9, 2)), pa.decimal128(9, 2), Decimal("1.50")),
    row(pa.array([Decimal(10) ** 40], pa.decimal256(50, 2)), TEXT, str(10**40)),
    row(pa.array([Decimal(1200), None], pa.decimal128(5, -2)), TEXT, "1200", None),
    *(
        row(pa.array(WORDS, kind), TEXT, *WORDS)
        for kind in (pa.string(), pa.large_string(), pa.string_view())
    ),
    row(pa.array([b"a", b"\xfc"]).view(pa.string()), TEXT, "a", "�", problems=[None, NOT_TEXT]),
    *(
        row(pa.array(BYTES, kind), TEXT, "ab", None, "�!", problems=BROKEN)
        for kind in (pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2))
    ),
    row(pa.array([b"ab", None], pa.binary()), TEXT, "ab", None),
    *(
        row(pa.array([date.min, date.max, None], kind), pa.date32(), date.min, date.max, None)
        for kind in (pa.date32(), pa.date64())
    ),
    row(
        numbers(pa.date32(), -719_163, 2**31 - 1, 10**8, None),
        pa.date32(),
        *[None] * 4,
        problems=[NO_DAY, None, NO_DAY, None],
    ),
    row(
        numbers(pa.date64(), -86_400_000, 2**62),
        pa.date32(),
        *(date(1969, 12, 31), None),
        problems=[None, NO_DAY],
    ),
    row(
        numbers(pa.time32("s"), 36_000, 86_400, None),
        TEXT,
        *("10:00:00", None, None),
        problems=[None, NO_CLOCK, None],
    ),
    row(numbers(pa.time32("ms"), 1), TEXT, "00:00:00.001"),
    row(numbers(pa.time64("us"), 86_399_500_000), TEXT, "23:59:59.5"),
    row(
        numbers(pa.time64("ns"), 1, -1), TEXT, "00:00:00.000000001", None, problems=[None, NO_CLOCK]
    ),
    *(
        row(pa.array([NOON, None], pa.timestamp(unit)), NAIVE, NOON, None)
        for unit in ("s", "ms", "us", "ns")
    ),
    *(
        row(
            pa.array([NOON, None], pa.timestamp(unit, "UTC")).cast(pa.timestamp(unit, zone)),
            UTC,
            *(pa.scalar(NOON, UTC).as_py(), None),
        )
        for unit in ("s", "ms", "us", "ns")
        for zone in ("UTC", "Europe/Berlin", "+02:00")
    ),
    row(pa.array([datetime.min, LAST], NAIVE), NAIVE, datetime.min, LAST),
    row(
        numbers(pa.timestamp("s"), 2**40, -(2**62), 253_402_300_799),
        NAIVE,
        *(None, None, LAST.replace(microsecond=0)),
        problems=[NO_DAY, NO_DAY, None],
    ),
    row(numbers(NAIVE, 2**63 - 1, -(2**63) + 1), NAIVE, None, None),
    row(
        # the last nanosecond of a year is none of the next; nor is the first that there is
        numbers(pa.timestamp("ns"), -1, -(2**63) + 1, 1_500),
        NAIVE,
        datetime(1969, 12, 31, 23, 59, 59, 999_999),
        datetime(1677, 9, 21, 0, 12, 43, 145_224),
        datetime(1970, 1, 1, 0, 0, 0, 1),
    ),
    row(
        numbers(pa.duration("ms"), 90_061_500, -500, None, 0),
        *(TEXT, "P1DT1H1M1.5S", "-PT0.5S", None, "PT0S"),
    ),
    row(numbers(pa.duration("s"), 2**62), TEXT, "P53375995583650DT7H45M4S"),
    row(
        pa.array([pa.MonthDayNano([14, -2, -3_500_000_000]), None], pa.month_day_nano_interval()),
        *(TEXT, "P14M-2DT-3.5S", None),
    ),
    *(
        row(pa.array([[1, None], None, []], kind), LIST, ["1", None], None, [])
        for kind in (
            *(pa.list_(pa.int64()), pa.large_list(pa.int8())),
            *(pa.list_view(pa.uint64()), pa.large_list_view(pa.int32())),
        )
    ),
    row(pa.array([[1, 2], None], pa.list_(pa.int64(), 2)), LIST, ["1", "2"], None),
    row(pa.array([["a", None]], pa.list_(pa.string_view())), LIST, ["a", None]),
    row(pa.array([[True, 1.5 > 2]], pa.list_(pa.bool_())), LIST, ["true", "false"]),
    row(pa.array([[1.0, 0.1, NAN]], pa.list_(pa.float32())), LIST, ["1", "0.1", None]),
    row(pa.array([[Decimal("1.50")]], pa.list_(pa.decimal128(9, 2))), LIST, ["1.5"]),
    row(pa.array([[date(2024, 5, 1)]], pa.list_(pa.date32())), LIST, ["2024-05-01"]),
    row(pa.array([[timedelta(1)]], pa.list_(pa.duration("s"))), LIST, ["P1D"]),
    row(
        pa.array([[b"a", b"\xff"], None, [b"b"]], pa.list_(pa.binary())),
        *(LIST, ["a", "�"], None, ["b"]),
        problems=[NOT_TEXT, None, None],
    ),
    row(pa.array([[[1], None], None]), TEXT, "[[1], null]", None),
    row(
        pa.array(
            [
                {
                    "number": NAN,
                    "sum": Decimal("1.50"),
                    "day": date.max,
                    "bytes": b"\xff",
                    "at": NOON,
                    "tags": ["a", None],
                    "map": [("x", INF), ("y", 0.1)],
                },
                None,
            ],
            STRUCT,
        ),
        TEXT,
        '{"number": null, "sum": 1.5, "day": "9999-12-31", "bytes": null, '
        '"at": "2024-05-01T12:00:00+00:00", "tags": ["a", null], "map": {"x": null, "y": 0.1}}',
        None,
        problems=[NOT_TEXT, None],
    ),
    row(pa.array([{}, None], pa.struct([])), TEXT, "{}", None),
    row(
        pa.array([[("a", 1)], None, [("b", None), ("c", 3)]], pa.map_(pa.string(), pa.int64())),
        *(TEXT, '{"a": 1}', None, '{"b": null, "c": 3}'),
    ),
    row(pa.array([[(1, [1])]], pa.map_(pa.int8(), pa.list_(pa.int8()))), TEXT, '{"1": [1]}'),
    row(pa.array(["a", None, "a"]).dictionary_encode(), TEXT, "a", None, "a"),
    row(
        pa.DictionaryArray.from_arrays(pa.array([1, None, 1]), pa.array([["x"], ["y"]])),
        *(LIST, ["y"], None, ["y"]),
    ),
    row(pc.run_end_encode(pa.array(["a", "a", None, "b"])), TEXT, "a", "a", None, "b"),
    row(
        union([0, 1, 0], pa.array([1, None]), pa.array([b"\xff"]), dense=[0, 0, 1]),
        *(TEXT, "1", "�", None),
        problems=[None, NOT_TEXT, None],
    ),
    row(union([0, 1, 0], pa.array([1, 2, None]), pa.array([["a"]] * 3)), TEXT, "1", '["a"]', None),
    row(pa.array([uuid.UUID(int=5).bytes, None], pa.uuid()), TEXT, str(uuid.UUID(int=5)), None),
    row(pa.array(['{"a": 1}', None], pa.json_()), TEXT, '{"a": 1}', None),
    row(extension(pa.bool8(), pa.array([1, 0, None], pa.int8())), pa.bool_(), True, False, None),
    row(extension(pa.opaque(pa.binary(), "t", "v"), pa.array([b"a", None])), TEXT, "a", None),
    row(
        extension(
            pa.fixed_shape_tensor(pa.int32(), [2]), pa.array([[1, 2]], pa.list_(pa.int32(), 2))
        ),
        *(LIST, ["1", "2"]),
    ),
]
IDS = [f"{number}-{column.type}"[:60] for number, (column, *_) in enumerate(MATRIX)]


@pytest.mark.parametrize(("column", "kind", "cells", "problems"), MATRIX, ids=IDS)
def test_every_type_becomes_one_that_the_landing_knows(
    column: pa.Array, kind: pa.DataType, cells: list[Any], problems: list[str | None] | None
) -> None:
    """Whole, in part, empty or all null, a type leads to one type, which Polars reads."""
    for start in range(len(column)):
        found, reasons = plain(column.slice(start))
        assert found.type == kind
        assert found.to_pylist() == cells[start:]
        told = None if reasons is None else reasons.to_pylist()
        assert told == (problems[start:] if problems and any(problems[start:]) else None)
        assert len(pl.Series(pl.from_arrow(found))) == len(found)
    for empty in (column.slice(0, 0), pa.nulls(3, column.type)):
        found, reasons = plain(empty)
        assert (found.type, found.null_count, reasons) == (kind, len(empty), None)


@pytest.mark.parametrize(("column", "kind", "cells", "problems"), MATRIX, ids=IDS)
def test_nothing_within_a_struct_or_list_fails_the_rest(
    column: pa.Array, kind: pa.DataType, cells: list[Any], problems: list[str | None] | None
) -> None:
    """Beside an odd member the others are read; what isn't JSON is null there."""
    count = len(column)
    struct = pa.StructArray.from_arrays([column, pa.array(range(count))], ["odd", "n"])
    found = [parse(cell) for cell in plain(struct)[0].to_pylist()]
    assert [cell["n"] for cell in found] == list(range(count))
    has_parts = pa.types.is_nested(column.type) and not pa.types.is_union(column.type)
    assert [cell["odd"] is None for cell in found] == [
        cell in (None, INF, -INF) or (reason is not None and not has_parts)
        for cell, reason in zip(cells, problems or [None] * count, strict=True)
    ]
    whole = pa.ListArray.from_arrays(pa.array([0, 0, count], pa.int32()), struct)
    assert [parse(cell) for cell in plain(whole)[0].to_pylist()] == [[], found]


@pytest.mark.parametrize(("column", "kind", "cells", "problems"), MATRIX, ids=IDS)
def test_parquet_brings_every_type_that_it_can_hold(
    tmp_path: Path,
    column: pa.Array,
    kind: pa.DataType,
    cells: list[Any],
    problems: list[str | None] | None,
) -> None:
    """What a file holds comes out as the column itself would, with its problems beside it."""
    try:
        pq.write_table(pa.table({"v": column}), tmp_path / "a.parquet")
        pq.read_table(tmp_path / "a.parquet")
    except (pa.ArrowException, OSError):
        assert str(column.type).startswith(NOT_IN_PARQUET)
        return
    opened = source({"type": "files", "root": str(tmp_path)}, path="a.parquet")
    found = table(opened, "v")
    assert found.column("v").type == kind
    assert found.column("v").to_pylist() == cells
    if problems:
        assert found.column(problem_of("v")).to_pylist() == problems
    else:
        assert found.column_names == ["v"]


NOT_IN_PARQUET = (
    "decimal128(5, -2)", "timestamp[s]", "month_day_nano_interval", "struct<>", "dictionary<",
    "run_end_encoded<", "dense_union<", "sparse_union<",
)  # fmt: skip
"""What the format has no place for, in part: years that milliseconds don't reach, and lists in a
dictionary."""

SCALARS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(),
    pa.string(): st.text(),
    pa.binary(): st.binary(max_size=5),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(),
}


def nested(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    structs = st.lists(inner, min_size=1, max_size=3).map(
        lambda kinds: pa.struct([(f"m{at}", kind) for at, kind in enumerate(kinds)])
    )
    maps = inner.map(lambda kind: pa.map_(pa.string(), kind))
    return st.one_of(inner.map(pa.list_), inner.map(pa.large_list), structs, maps)


TYPES = st.recursive(st.sampled_from(list(SCALARS)), nested, max_leaves=5)


def cells_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_struct(kind):
        some = st.fixed_dictionaries({field.name: cells_of(field.type) for field in kind})
    elif pa.types.is_map(kind):
        some = st.dictionaries(st.text(), cells_of(kind.item_type), max_size=3)
        some = some.map(lambda found: list(found.items()))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        some = st.lists(cells_of(kind.value_type), max_size=3)
    else:
        some = SCALARS[kind]
    return st.none() | some


def in_json(cell: Any, kind: pa.DataType) -> Any:
    """What JSON would say, in plain Python."""
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return None
    if pa.types.is_struct(kind):
        return {field.name: in_json(cell[field.name], field.type) for field in kind}
    if pa.types.is_map(kind):
        return {key: in_json(item, kind.item_type) for key, item in cell}
    if isinstance(cell, list):
        return [in_json(entry, kind.value_type) for entry in cell]
    if isinstance(cell, bytes):
        try:
            return cell.decode()
        except UnicodeDecodeError:
            return Unreadable(NOT_TEXT)
    return cell.isoformat() if isinstance(cell, date) else cell


@given(st.data())
def test_nested_values_of_any_shape_are_read(data: st.DataObject) -> None:
    """Lists, structs and maps of each other, in any part of a column."""
    kind = data.draw(TYPES)
    cells = data.draw(st.lists(cells_of(kind), max_size=4))
    start = data.draw(st.integers(0, len(cells)))
    column = pa.array(cells, kind).slice(start)
    assert values(column) == [in_json(cell, kind) for cell in cells[start:]]
    found, _ = plain(column)
    assert len(found) == len(column)
    assert found.type == plain(pa.nulls(1, kind))[0].type
