"""Times in files: every date of the years 1 to 9999 stays, whatever they are written with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from profile_pipelines.errors import SourceError
from profile_pipelines.sources import Source
from profile_pipelines.sources.json_records import parse
from profile_pipelines_tests.sources.reads import source, table, values

FIRST, NEVER = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)
DATES = [FIRST, datetime(1582, 10, 4), datetime(1969, 12, 31), datetime(2300, 1, 1), NEVER]
AT = pa.timestamp("us")
NESTED = pa.struct({"at": AT, "all": pa.list_(AT)})


def dated(zone: str | None = None) -> pa.Table:
    column = pa.array(DATES, AT).cast(pa.timestamp("us", zone))
    nested = pa.array([{"at": each, "all": [each]} for each in DATES], NESTED)
    return pa.table({"at": column, "nested": nested})


def files(root: Path, path: str, **sync: Any) -> Source:
    return source({"type": "files", "root": str(root)}, path=path, **sync)


def _parquet(folder: Path, data: pa.Table, **writing: Any) -> Source:
    pq.write_table(data, folder / "people.parquet", **writing)
    return files(folder, "*.parquet")


def _delta(folder: Path, data: pa.Table, **writing: Any) -> Source:
    write_deltalake(folder / "people", data)
    (file,) = (folder / "people").glob("*.parquet")
    # the file that Spark would write
    pq.write_table(data, file, **writing)
    return files(folder, "people", format="delta")


def _iceberg(folder: Path, data: pa.Table, **writing: Any) -> Source:
    from pyiceberg.catalog.sql import SqlCatalog

    with closing(SqlCatalog("c", uri="sqlite://", warehouse=str(folder))) as catalog:
        catalog.create_namespace("crm")
        made = catalog.create_table("crm.people", data.schema, location=f"{folder}/people")
        pq.write_table(data, folder / "people/data.parquet")
        made.add_files([f"{folder}/people/data.parquet"])
        # as a table that was taken over from Hive has it
        pq.write_table(data, folder / "people/data.parquet", **writing)
    return files(folder, "people", format="iceberg")


@pytest.mark.parametrize("zone", [None, "UTC"])
@pytest.mark.parametrize("int96", [False, True])
@pytest.mark.parametrize("written", [_parquet, _delta, _iceberg])
def test_no_date_becomes_another(
    tmp_path: Path, written: Callable[..., Source], int96: bool, zone: str | None
) -> None:
    """INT96, as Spark, Hive and Impala write times, has them all; so have structs and lists."""
    opened = written(tmp_path, dated(zone), use_deprecated_int96_timestamps=int96)
    found = table(opened, "at", "nested", "nested.at", "nested.all[0]")
    # INT96 itself has no zone
    is_naive = zone is None or (int96 and written is _parquet)
    wanted = [each.replace(tzinfo=None if is_naive else UTC) for each in DATES]
    assert found.column("at").to_pylist() == wanted
    assert found.column("nested.at").to_pylist() == DATES
    texts = [each.isoformat() for each in DATES]
    assert found.column("nested.all[0]").to_pylist() == texts
    assert [parse(cell)["at"] for cell in found.column("nested").to_pylist()] == texts


def test_files_with_times_of_several_units_are_read_together(tmp_path: Path) -> None:
    """Nanoseconds beside microseconds and milliseconds, also in structs; each keeps its dates."""
    units = {"ns": datetime(2026, 1, 1, 0, 0, 0, 1), "us": NEVER, "ms": FIRST, "s": NEVER}
    for unit, each in units.items():
        kind = pa.timestamp(unit)
        column = pa.array([each], kind)
        nested = pa.array([{"at": each}], pa.struct({"at": kind}))
        data = pa.table({"unit": [unit], "at": column, "nested": nested})
        pq.write_table(data, tmp_path / f"{unit}.parquet")
    exact = pa.array([1_500], pa.int64()).cast(pa.timestamp("ns"))
    finer = pa.table({"unit": ["exact"], "at": exact, "more": [1]})
    pq.write_table(finer, tmp_path / "x.parquet")
    opened = files(tmp_path, "*.parquet", updated_at="at")
    found = table(opened, "unit", "at", "nested.at", "more").to_pylist()
    assert {row["unit"]: row["at"] for row in found} == {
        **units,
        "exact": datetime(1970, 1, 1, 0, 0, 0, 1),
    }
    assert {row["unit"]: row["nested.at"] for row in found} == {**units, "exact": None}
    assert {row["more"] for row in found} == {1, None}
    assert opened.inspect()["at"] == "timestamp[us]"
    since = datetime(2025, 1, 1, tzinfo=UTC)
    # a time before there were computers stands for none
    assert set(values(opened, "unit", since=since)) == {"ns", "us", "ms", "s", "exact"}


def test_types_that_do_not_go_together_are_named(tmp_path: Path) -> None:
    """The message says which column, which types and which files."""
    pq.write_table(pa.table({"id": [1], "at": ["x"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": [1], "at": pa.array([NEVER], AT)}), tmp_path / "b.parquet")
    said = r"column at is string in a\.parquet and timestamp\[us\] in b\.parquet"
    with pytest.raises(SourceError, match=said):
        values(files(tmp_path, "*.parquet"), "id")


@pytest.mark.parametrize("kind", ["parquet", "delta"])
def test_the_broken_file_of_several_is_named(tmp_path: Path, kind: str) -> None:
    """What can be read by itself isn't said to be broken."""
    data = pa.table({"id": [f"{n:x}" * 9 for n in range(5000)]})
    root = tmp_path / "people"
    for name in ("a", "b"):
        root.mkdir(exist_ok=True)
        if kind == "delta":
            write_deltalake(root, data, mode="append")
        else:
            pq.write_table(data, root / f"{name}.parquet")
    broken = sorted(root.glob("*.parquet"))[-1]
    content = bytearray(broken.read_bytes())
    content[4:2000] = bytes(1996)
    broken.write_bytes(content)
    path = "people" if kind == "delta" else "people/*.parquet"
    opened = files(tmp_path, path, format=kind)
    with pytest.raises(SourceError, match=f"people/{broken.name} is cut or broken; write it again"):
        values(opened, "id")
    if kind == "delta":
        broken.unlink()
        with pytest.raises(SourceError, match=r"that the table people under .* names isn't there"):
            values(opened, "id")


def test_nanoseconds_of_iceberg_are_read(tmp_path: Path) -> None:
    """Format version 3 has them, with a zone and without."""
    noon = datetime(2024, 5, 1, 12)
    data = pa.table(
        {
            "at": pa.array([noon, None], AT),
            "zoned": pa.array([noon.replace(tzinfo=UTC), None], pa.timestamp("us", "UTC")),
        }
    )
    opened = _iceberg(tmp_path, data)
    finer = pa.schema({"at": pa.timestamp("ns"), "zoned": pa.timestamp("ns", "UTC")})
    pq.write_table(data.cast(finer), tmp_path / "people/data.parquet")
    # pyiceberg reads this version, and doesn't write it
    for file in (tmp_path / "people/metadata").glob("*.metadata.json"):
        metadata = file.read_text().replace('"format-version":2', '"format-version":3')
        metadata = metadata.replace('"timestamp"', '"timestamp_ns"')
        metadata = metadata.replace('"timestamptz"', '"timestamptz_ns"')
        file.write_text(metadata[:-1] + ',"next-row-id":0}')
    assert opened.inspect() == {"at": "timestamp[ns]", "zoned": "timestamp[ns, tz=UTC]"}
    opened = files(tmp_path, "people", format="iceberg", updated_at="at")
    assert values(opened, "at") == [noon, None]
    assert values(opened, "zoned") == [noon.replace(tzinfo=UTC), None]
    assert values(opened, "at", since=noon.replace(tzinfo=UTC)) == [noon, None]
    # pyiceberg compares no nanoseconds: more comes than is asked for, and nothing is missed
    assert values(opened, "at", since=noon.replace(tzinfo=UTC, hour=13)) == [noon, None]


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
QUARTERS = [
    start + timedelta(minutes=15 * n)
    for start in (datetime(2026, 3, 5, tzinfo=UTC), datetime(2026, 10, 20, tzinfo=UTC))
    for n in range(32 * 24 * 4)
]
"""Every quarter of an hour of the weeks in which clocks are changed."""


@pytest.fixture(scope="module")
def quarters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quarters on the clocks of several zones."""
    folder = tmp_path_factory.mktemp("quarters")
    walls = {
        zone.replace("/", "_"): pa.array(
            [each.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for each in QUARTERS], AT
        )
        for zone in ZONES
    }
    data = pa.table({"instant": pa.array(QUARTERS, pa.timestamp("us", "UTC")), **walls})
    pq.write_table(data, folder / "quarters.parquet")
    return folder


@settings(max_examples=40, deadline=None)
@given(since=st.sampled_from(QUARTERS), minutes=st.integers(0, 14), zone=st.sampled_from(ZONES))
def test_local_times_are_compared_on_their_own_clock(
    quarters: Path, since: datetime, minutes: int, zone: str
) -> None:
    """No record at or after the cursor is left out, also on the night when clocks go back."""
    since += timedelta(minutes=minutes)
    opened = files(quarters, "*.parquet", updated_at=zone.replace("/", "_"), zone=zone)
    came = table(opened, "instant", since=since).column("instant").to_pylist()
    newer = [each for each in QUARTERS if each >= since]
    assert came[len(came) - len(newer) :] == newer
    # nor is much more read than has to be
    assert len(came) <= len(newer) + 8
