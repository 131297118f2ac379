"""A lake table against a plain dictionary, and its promises to writers and readers."""

from __future__ import annotations

import contextlib
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.schema import Field, PrimitiveType
from hypothesis import given, settings
from sqlglot import exp

from profile_pipelines.engine import DuckDBEngine
from profile_pipelines.engine.columns import Columns
from profile_pipelines.engine.sql import column, literal, named
from profile_pipelines.errors import Conflict, LakeError
from profile_pipelines.lake import LakeTable
from profile_pipelines.lake.rewrite import Doomed, rewrite
from profile_pipelines.lake.stored import stored_table
from profile_pipelines.lake.table import Pinned, Rows
from profile_pipelines.lake.upkeep import merge_small_files
from profile_pipelines_tests.strategies import Commit, Compaction, Merging, table_operations

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ENGINE = DuckDBEngine(threads=1)
COLUMNS: Columns = {"key": "integer", "value": "string"}


def _table(root: Path, columns: Columns = COLUMNS) -> LakeTable:
    return LakeTable(root, "things", ["key"], columns)


def _rows(values: dict[int, str | None], name: str = "value") -> Rows:
    table = pa.table(
        {
            "key": pa.array(list(values), pa.int64()),
            name: pa.array(list(values.values()), pa.string()),
            "removed": [value is None for value in values.values()],
        }
    )
    return Rows(exp.select(exp.Star()).from_(named("given")), {"given": table})


def _commit(pinned: Pinned, values: dict[int, str | None], hour: int = 0, **state: Any) -> None:
    pinned.commit(
        ENGINE,
        _rows(values),
        now=NOON + timedelta(hours=hour),
        run_id=f"run{hour}",
        state=state,
    )


def _read(rows: Rows) -> list[dict[str, Any]]:
    return ENGINE.query(rows.sql, rows.relations).to_pylist()


def _current(pinned: Pinned) -> dict[int, str]:
    rows = _read(pinned.current(["key", "value"], "t"))
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["key"]: row["value"] for row in rows}


def _as_of(pinned: Pinned, moment: datetime) -> dict[int, str]:
    return {r["key"]: r["value"] for r in _read(pinned.as_of(moment, ["key", "value"], "t"))}


def _after(state: dict[int, str], rows: dict[int, str | None]) -> dict[int, str]:
    merged = {**state, **rows}
    return {key: value for key, value in merged.items() if value is not None}


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(table_operations())
def test_any_commits_and_upkeep_read_like_a_dictionary(
    operations: list[Commit | Compaction | Merging],
) -> None:
    """Current, as of every past moment, and the changes since every commit are the model's."""
    with tempfile.TemporaryDirectory() as folder:
        table = _table(Path(folder))
        states: list[dict[int, str]] = [{}]
        commits: list[dict[int, str | None]] = []
        for operation in operations:
            match operation:
                case Commit(rows):
                    _commit(table.pin(), rows, hour=len(states))
                    states.append(_after(states[-1], rows))
                    commits.append(rows)
                case Compaction():
                    table.pin().compact(ENGINE, force=True)
                case Merging():
                    merge_small_files(table, ENGINE, many=2)
            assert _current(table.pin()) == states[-1]
        pinned = table.pin()
        assert pinned.seq == len(commits)
        for seq, state in enumerate(states):
            at = NOON + timedelta(hours=seq)
            assert _as_of(pinned, at) == state
            assert _as_of(pinned, at + timedelta(minutes=59)) == state
            changes = _read(pinned.changes(["key", "value"], "t", since=seq))
            expected = {
                (number, key, value, value is None)
                for number, rows in enumerate(commits, 1)
                for key, value in rows.items()
                if number > seq
            }
            found = {(r["seq"], r["key"], r["value"], r["removed"]) for r in changes}
            assert found == expected
            assert len(changes) == len(expected)
        wanted = exp.EQ(this=column("key"), expression=literal(3))
        filtered = _read(pinned.current(["key", "value"], "t", where=wanted))
        assert {r["key"]: r["value"] for r in filtered} == {
            key: value for key, value in states[-1].items() if key == 3
        }


def test_a_pinned_table_does_not_move(tmp_path: Path) -> None:
    """What a reader has pinned stays the same while others commit and compact."""
    table = _table(tmp_path)
    _commit(table.pin(), {1: "a"})
    pinned = table.pin()
    _commit(table.pin(), {1: "b", 2: "c"}, hour=1)
    table.pin().compact(ENGINE, force=True)
    _commit(table.pin(), {1: None}, hour=2)
    assert _current(pinned) == {1: "a"}
    assert _current(table.pin()) == {2: "c"}


def test_of_two_writers_one_conflicts(tmp_path: Path) -> None:
    """A commit from a handle that another commit has overtaken fails and changes nothing."""
    table = _table(tmp_path)
    _commit(table.pin(), {1: "a"})
    slow, fast = table.pin(), table.pin()
    _commit(fast, {1: "fast"}, hour=1)
    with pytest.raises(Conflict, match="things/changes"):
        _commit(slow, {1: "slow"}, hour=1)
    assert _current(table.pin()) == {1: "fast"}
    _commit(table.pin(), {1: "slow"}, hour=2)
    assert _current(table.pin()) == {1: "slow"}


def test_of_two_first_writers_one_conflicts(tmp_path: Path) -> None:
    """Two runs that both found no table can't both make the first commit."""
    table = _table(tmp_path)
    slow, fast = table.pin(), table.pin()
    _commit(fast, {1: "fast"})
    with pytest.raises(Conflict):
        _commit(slow, {1: "slow", 2: "slow"})
    assert _current(table.pin()) == {1: "fast"}
    assert table.pin().seq == 1


def test_of_two_writers_with_a_new_column_one_conflicts(tmp_path: Path) -> None:
    """Adding a column doesn't lift a writer over a commit that it hasn't seen."""
    _commit(_table(tmp_path).pin(), {1: "a"})
    wider = _table(tmp_path, {**COLUMNS, "extra": "string"})
    slow, fast = wider.pin(), _table(tmp_path).pin()
    _commit(fast, {1: "fast"}, hour=1)
    rows = Rows(
        exp.select(exp.Star()).from_(named("given")),
        {"given": pa.table({"key": [1], "value": ["slow"], "extra": ["x"], "removed": [False]})},
    )
    with pytest.raises(Conflict):
        slow.commit(ENGINE, rows, now=NOON, run_id="r", state={})
    assert _current(wider.pin()) == {1: "fast"}


def test_a_compaction_from_an_old_handle_loses_nothing(tmp_path: Path) -> None:
    """Whoever compacts late, the table reads the same."""
    table = _table(tmp_path)
    for hour, value in enumerate("abc"):
        _commit(table.pin(), {1: value, hour + 5: value}, hour=hour)
    old = table.pin()
    _commit(table.pin(), {1: "d", 5: None}, hour=3)
    table.pin().compact(ENGINE, force=True)
    with contextlib.suppress(Conflict):
        old.compact(ENGINE, force=True)
    _commit(table.pin(), {9: "e"}, hour=4)
    assert _current(table.pin()) == {1: "d", 6: "b", 7: "c", 9: "e"}


def test_nothing_is_written_without_rows_and_news(tmp_path: Path) -> None:
    """A commit without rows and with the state as it was leaves no version and no file."""
    table = _table(tmp_path)
    _commit(table.pin(), {1: "a"}, cursor="x")
    before = sorted(tmp_path.rglob("*"))
    _commit(table.pin(), {}, hour=1, cursor="x")
    assert sorted(tmp_path.rglob("*")) == before
    _commit(table.pin(), {}, hour=2, cursor="y")
    pinned = table.pin()
    assert pinned.state == {"cursor": "y", "seq": 2}
    assert _current(pinned) == {1: "a"}


def test_the_state_is_committed_with_the_rows(tmp_path: Path) -> None:
    """The newest state is read back, also where other tools have written to the log since."""
    table = _table(tmp_path)
    _commit(table.pin(), {1: "a"}, cursor="x")
    DeltaTable(str(table.changes_path)).alter.set_table_properties(
        {"delta.logRetentionDuration": "interval 400 days"}
    )
    assert table.pin().state == {"cursor": "x", "seq": 1}
    _commit(table.pin(), {2: "b"}, hour=1, cursor="y")
    assert table.pin().state == {"cursor": "y", "seq": 2}
    assert _current(table.pin()) == {1: "a", 2: "b"}


@pytest.mark.parametrize("compacted", [False, True])
def test_a_new_column_is_empty_in_old_rows(tmp_path: Path, compacted: bool) -> None:
    """Rows from before a column was declared read as missing it; new ones bring it."""
    _commit(_table(tmp_path).pin(), {1: "a"})
    _commit(_table(tmp_path).pin(), {2: "b"}, hour=1)
    if compacted:
        _table(tmp_path).pin().compact(ENGINE, force=True)
    wider = _table(tmp_path, {**COLUMNS, "extra": "integer"})
    assert _read(wider.pin().current(["extra"], "t")) == [{"extra": None}] * 2
    rows = Rows(
        exp.select(exp.Star()).from_(named("given")),
        {"given": pa.table({"key": [3], "value": ["c"], "extra": [7], "removed": [False]})},
    )
    wider.pin().commit(ENGINE, rows, now=NOON + timedelta(hours=2), run_id="r", state={})
    pinned = wider.pin()
    found = {r["key"]: r["extra"] for r in _read(pinned.current(["key", "extra"], "t"))}
    assert found == {1: None, 2: None, 3: 7}
    assert len(_read(pinned.changes(["key", "extra"], "t"))) == 3
    assert len(_read(pinned.as_of(NOON, ["key", "extra"], "t"))) == 1
    pinned.compact(ENGINE, force=True)
    found = {r["key"]: r["extra"] for r in _read(wider.pin().current(["key", "extra"], "t"))}
    assert found == {1: None, 2: None, 3: 7}


def test_a_column_may_go_and_come_back(tmp_path: Path) -> None:
    """A narrower declaration reads and writes; a wider one later finds what old files hold."""
    _commit(_table(tmp_path).pin(), {1: "a"})
    narrow = _table(tmp_path, {"key": "integer"})
    rows = Rows(
        exp.select(exp.Star()).from_(named("given")),
        {"given": pa.table({"key": [2], "removed": [False]})},
    )
    narrow.pin().commit(ENGINE, rows, now=NOON, run_id="r", state={})
    assert _current(_table(tmp_path).pin()) == {1: "a", 2: None}


def test_a_column_of_another_type_is_refused_in_words(tmp_path: Path) -> None:
    """A changed type is named with what to do, before anything is compared or written."""
    _commit(_table(tmp_path).pin(), {1: "a"})
    other = _table(tmp_path, {"key": "integer", "value": "integer"})
    with pytest.raises(LakeError, match=r"things: column value .* string, .* long; .*new name"):
        other.pin()


def test_a_column_that_another_tool_added_is_in_nobodys_way(tmp_path: Path) -> None:
    """What is of a type that we never write stays where it is; rows are erased and files merged."""
    table = _table(tmp_path)
    for key, value in enumerate("abc", start=1):
        _commit(table.pin(), {key: value})
    handle = DeltaTable(str(table.changes_path))
    handle.alter.add_columns([Field("score", PrimitiveType("double"))])
    stored = stored_table(tmp_path, "things", ["key"])
    assert stored is not None
    assert stored.columns == COLUMNS
    first = exp.EQ(this=column("key"), expression=literal(1))
    rewrite(tmp_path, "things", ENGINE, Doomed(lambda columns: first))
    assert _current(table.pin()) == {2: "b", 3: "c"}
    table.pin().compact(ENGINE, force=True)
    assert merge_small_files(table, ENGINE, many=2) == 2
    assert _current(table.pin()) == {2: "b", 3: "c"}
    handle.update_incremental()
    assert [field.name for field in handle.schema().fields][-1] == "score"


def test_an_orphan_file_is_never_read(tmp_path: Path) -> None:
    """A data file that a killed run left behind doesn't count."""
    table = _table(tmp_path)
    _commit(table.pin(), {1: "a"})
    committed = next(table.changes_path.glob("*.parquet"))
    (table.changes_path / "part-orphan.parquet").write_bytes(committed.read_bytes())
    assert _current(table.pin()) == {1: "a"}
    assert len(_read(table.pin().changes(["key"], "t"))) == 1


def test_a_table_that_is_not_there_is_empty(tmp_path: Path) -> None:
    """Reading before the first commit gives no rows, with the declared columns."""
    pinned = _table(tmp_path).pin()
    assert not pinned.exists
    assert _current(pinned) == {}
    assert _as_of(pinned, NOON) == {}
    assert _read(pinned.changes(["key"], "t")) == []
    assert not pinned.compact(ENGINE, force=True)


def test_a_long_change_log_is_folded_by_itself(tmp_path: Path) -> None:
    """Compaction waits until the log has grown against the snapshot."""
    table = _table(tmp_path)
    _commit(table.pin(), dict.fromkeys(range(50), "a"))
    _commit(table.pin(), {1: "b"}, hour=1)
    assert not table.pin().compact(ENGINE)
    for hour in range(2, 7):
        _commit(table.pin(), {1: str(hour)}, hour=hour)
    assert table.pin().compact(ENGINE)
    assert not table.pin().compact(ENGINE)
    assert _current(table.pin())[1] == "6"
