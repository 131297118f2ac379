"""What keeps a lake's files few: nothing that is read changes by it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlglot import exp

from profile_pipelines.engine import DuckDBEngine, Written
from profile_pipelines.engine.columns import Columns
from profile_pipelines.engine.sql import named
from profile_pipelines.errors import Conflict
from profile_pipelines.lake import LakeTable
from profile_pipelines.lake.table import Rows
from profile_pipelines.lake.upkeep import merge_small_files, sweep

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ENGINE = DuckDBEngine(threads=1)
COLUMNS: Columns = {"key": "integer", "value": "string"}
WEEK = timedelta(days=7)


@pytest.fixture
def table(tmp_path: Path) -> LakeTable:
    return LakeTable(tmp_path, "things", ["key"], COLUMNS)


def _commit(table: LakeTable, values: dict[int, str], hour: int, **state: Any) -> None:
    given = {**dict(zip(("key", "value"), zip(*values.items(), strict=True), strict=True))}
    rows = pa.table({**given, "removed": [False] * len(values)})
    select = exp.select(exp.Star()).from_(named("given"))
    table.pin().commit(
        ENGINE,
        Rows(select, {"given": rows}),
        now=NOON + timedelta(hours=hour),
        run_id=f"run{hour}",
        state=state,
    )


def _log(table: LakeTable) -> list[dict[str, Any]]:
    rows = table.pin().changes(["key", "value"], "t")
    return sorted(ENGINE.query(rows.sql, rows.relations).to_pylist(), key=str)


def _files(table: LakeTable) -> list[Path]:
    return sorted(Path(str(table.changes_path)).glob("part-*.parquet"))


def _read(table: LakeTable) -> int:
    """How many files a reader of the whole change log opens."""
    rows = table.pin().changes(["key"], "t")
    return sum(len(getattr(each, "paths", [])) for each in rows.relations.values())


def _aged(files: list[Path], by: timedelta) -> None:
    for file in files:
        old = file.stat().st_mtime - by.total_seconds()
        os.utime(file, (old, old))


def test_a_long_history_lies_in_few_files(table: LakeTable) -> None:
    """Once the log is folded, its many small files become one, sorted by key; the newest stay."""
    for hour in range(70):
        _commit(table, {hour % 3: str(hour), 7: str(hour)}, hour, cursor=hour)
    assert merge_small_files(table, ENGINE) == 0
    assert table.pin().compact(ENGINE)
    _commit(table, {9: "new"}, 70, cursor=70)
    before, state = _log(table), table.pin().state
    assert _read(table) == 71
    assert merge_small_files(table, ENGINE) == 69
    assert _read(table) == 3
    assert (_log(table), table.pin().state) == (before, state)
    assert merge_small_files(table, ENGINE) == 0
    largest = max(_files(table), key=lambda file: file.stat().st_size)
    keys = pq.read_table(largest, columns=["key"])["key"].to_pylist()
    assert keys == sorted(keys)


def test_a_merge_that_is_overtaken_leaves_everything(table: LakeTable) -> None:
    """Of a merge and a run that commits meanwhile the later one is refused, and leaves no file."""
    for hour in range(4):
        _commit(table, {1: str(hour)}, hour)
    table.pin().compact(ENGINE, force=True)

    class Overtaken(DuckDBEngine):
        def write(self, sql: exp.Expr, relations: Any, path: str) -> Written:
            _commit(table, {1: "faster"}, 9)
            return super().write(sql, relations, path)

    with pytest.raises(Conflict):
        merge_small_files(table, Overtaken(threads=1), many=2)
    assert len(_files(table)) == _read(table) == 5

    slow = table.pin()
    assert merge_small_files(table, ENGINE, many=2) == 3
    with pytest.raises(Conflict):
        slow.commit(ENGINE, None, now=NOON, run_id="slow", state={"cursor": 1})
    assert [row["value"] for row in _log(table)] == ["0", "1", "2", "3", "faster"]


def test_files_that_no_version_has_are_deleted_once_they_are_old(table: LakeTable) -> None:
    """What compactions and merges replaced, and what killed runs left, goes after its time."""
    for hour in range(4):
        _commit(table, {1: str(hour), hour: "x"}, hour)
    for hour in (4, 5):
        table.pin().compact(ENGINE, force=True)
        _commit(table, {1: str(hour)}, hour)
    merge_small_files(table, ENGINE, many=2)
    orphan = _files(table)[0].with_name("part-orphan.parquet")
    orphan.write_bytes(b"of a killed run")
    root = Path(str(table.changes_path)).parent.parent
    everything = sorted(root.rglob("part-*.parquet"))
    before = _log(table)

    now = datetime.now(UTC)
    assert sweep(root, before=now - WEEK) == 0
    _aged(everything, WEEK + timedelta(minutes=1))
    fresh = orphan.with_name("part-fresh.parquet")
    fresh.write_bytes(b"about to be committed")
    # the first snapshot, four merged files, the orphan
    assert sweep(root, before=now - WEEK) == 6
    assert fresh.exists()
    assert _log(table) == before
    assert len(sorted(root.rglob("part-*.parquet"))) == len(everything) - 6 + 1
    assert sweep(root, before=now - WEEK) == 0


def test_a_folder_without_a_table_is_left_alone(tmp_path: Path) -> None:
    """Where nothing was committed yet, nothing is taken for a leftover."""
    file = tmp_path / "things" / "changes" / "part-1.parquet"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"the first commit is under way")
    _aged([file], 2 * WEEK)
    assert sweep(tmp_path, before=datetime.now(UTC)) == 0
    assert sweep(tmp_path / "nowhere", before=datetime.now(UTC)) == 0
    assert file.exists()
