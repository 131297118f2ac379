"""One table of the lake: a change log, folded from time to time into a snapshot.

A reader pins both at one version; what it reads then doesn't move. A writer commits from the
handle that it pinned, so that of two writers one fails with Conflict and reads again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from deltalake import DeltaTable
from sqlglot import exp

from profile_pipelines.engine import DuckDBEngine, Written
from profile_pipelines.engine.columns import Columns
from profile_pipelines.engine.duckdb import ParquetFiles, Relation
from profile_pipelines.engine.sql import column, literal, named, select_from
from profile_pipelines.errors import Conflict
from profile_pipelines.high_water import Witness
from profile_pipelines.lake import delta
from profile_pipelines.lake.commits import commit
from profile_pipelines.lake.fold import fold
from profile_pipelines.lake_place import Place

CHANGE_COLUMNS: Columns = {
    "seq": "integer",
    "recorded_at": "timestamp",
    "run_id": "string",
    "removed": "boolean",
}
"""The lake's own columns in every change log; see docs/architecture.md."""

_EMPTY = "empty"
"""The key, in a table's state, of that it has numbers to go on above, and nothing else yet."""
_COMPACT_SHARE = 0.2
_COMPACT_FILES = 64


@dataclass(frozen=True)
class Rows:
    """A SELECT with what its names stand for: ready for the engine, or to stand in a larger one."""

    sql: exp.Select
    relations: dict[str, Relation] = field(default_factory=dict[str, Relation])


def rows_of(written: Written) -> Rows:
    """What a file holds that was written for a commit."""
    committed = exp.select(exp.Star()).from_(named("committed"))
    return Rows(committed, {"committed": [written.path]})


class LakeTable:
    """A table by its place, key and columns (without the lake's own).

    The witness is told of each commit.
    """

    def __init__(
        self,
        root: Place,
        name: str,
        key: Sequence[str],
        columns: Columns,
        witness: Witness | None = None,
    ) -> None:
        self.name = name
        self.witness = witness
        self.key = tuple(key)
        self.columns = columns
        self.changes_path = root / name / "changes"
        self.snapshot_path = root / name / "snapshot"

    def pin(self) -> Pinned:
        """The table as it stands now.

        Raises LakeError when a column is stored in another type than is declared.
        """
        # The snapshot first: the change log that is opened after it is never behind it.
        snapshot = delta.open_table(self.snapshot_path)
        changes = delta.open_table(self.changes_path)
        if changes is not None:
            delta.check_types(changes, self.columns, self.name)
        return Pinned(self, changes, snapshot)


class Pinned:
    """A table pinned at one version."""

    def __init__(
        self, table: LakeTable, changes: DeltaTable | None, snapshot: DeltaTable | None
    ) -> None:
        self.table = table
        self._changes = changes
        self._snapshot = snapshot
        self.state: dict[str, Any] = delta.read_state(changes) if changes is not None else {}
        self.committed_at = delta.time_of(self.state)
        self.state.pop(delta.AT, None)
        """The time of the last commit, as its run took the present (UTC)."""
        self.seq: int = self.state.get("seq", 0)
        files = delta.files(changes, table.changes_path) if changes is not None else []
        snapshot_state = delta.read_state(snapshot) if snapshot is not None else {}
        self._folded_to: int = snapshot_state.get("folded_to", 0)
        self._files = [file for file in files if file.low <= self.seq]
        if snapshot is not None and self._folded_to:
            self._base = delta.files(snapshot, table.snapshot_path)
            self._recent = [file for file in self._files if file.high > self._folded_to]
        else:
            # The first commit has unique keys and removes nothing: it is a snapshot already.
            self._folded_to = 1 if self._files else 0
            self._base = [file for file in self._files if file.high == 1]
            self._recent = [file for file in self._files if file.high > 1]

    @property
    def exists(self) -> bool:
        """Whether anything was ever committed, but for numbers to go on above."""
        return self.seq > 0 and _EMPTY not in self.state

    def current(self, columns: Iterable[str], alias: str, *, where: exp.Expr | None = None) -> Rows:
        """Each key's row as it stands now. `where` is applied early and may only test the key."""
        return self._fold(list(columns), alias, self._base, self._recent, self._folded_to, where)

    def as_of(
        self,
        moment: datetime | None,
        columns: Iterable[str],
        alias: str,
        *,
        where: exp.Expr | None = None,
    ) -> Rows:
        """Each key's row as it stood at a moment, by the times at which runs recorded changes; None
        stands for now, as `current` gives it."""
        if moment is None:
            return self.current(columns, alias, where=where)
        base = [file for file in self._files if file.high == 1]
        recent = [file for file in self._files if file.high > 1]
        past = exp.LTE(this=column("recorded_at"), expression=literal(moment))
        condition = past if where is None else exp.and_(past, where)
        return self._fold(list(columns), alias, base, recent, 1, condition)

    def changes(
        self,
        columns: Iterable[str],
        alias: str,
        *,
        since: int = 0,
        where: exp.Expr | None = None,
    ) -> Rows:
        """The rows of the change log after commit `since`, with the lake's own columns."""
        files = [file for file in self._files if file.high > since]
        name = f"{alias}_log"
        select = select_from(name, [*columns, *CHANGE_COLUMNS]).where(
            exp.GT(this=column("seq"), expression=literal(since))
        )
        if where is not None:
            select = select.where(where.copy())
        return Rows(select, {name: self._relation(files)})

    def commit(
        self,
        engine: DuckDBEngine,
        rows: Rows | None,
        *,
        now: datetime,
        run_id: str,
        state: dict[str, Any],
    ) -> Rows | None:
        """Append the rows (key, columns and `removed`) and the state as one commit.

        Answers with the rows as they were committed, or None when there were none. Where there
        are no rows and the state is what it was, nothing is written at all. Raises Conflict
        when another run was faster.
        """
        written = None if rows is None else self.write(engine, rows, now=now, run_id=run_id)
        return self.commit_written(written, now=now, state=state)

    def write(
        self, engine: DuckDBEngine, rows: Rows, *, now: datetime, run_id: str
    ) -> Written | None:
        """Write the rows for the next commit, where nobody sees them yet; None without any."""
        table = self.table
        delta.make_folder(table.changes_path)
        stamped = exp.select(
            *(column(name, "r") for name in table.columns),
            exp.alias_(exp.cast(literal(self.seq + 1), "BIGINT"), "seq", quoted=True),
            exp.alias_(literal(self._stamp(now)), "recorded_at", quoted=True),
            exp.alias_(literal(run_id), "run_id", quoted=True),
            column("removed", "r"),
        ).from_(rows.sql.subquery("r", copy=False), copy=False)
        path = delta.new_file(table.changes_path)
        written = engine.write(stamped, rows.relations, str(path))
        if not written.rows:
            delta.delete_file(path)
            return None
        return written

    def discard(self, written: Written) -> None:
        """Take away what `write` wrote, in place of a commit."""
        delta.delete_file(self.table.changes_path / PurePosixPath(written.path).name)

    def commit_written(
        self, written: Written | None, *, now: datetime, state: dict[str, Any]
    ) -> Rows | None:
        """Commit what `write` wrote, as `commit` does."""
        table = self.table
        handle = self._changes
        seq = self.seq + 1
        if written is None and state == {k: v for k, v in self.state.items() if k != "seq"}:
            return None
        if handle is None:
            handle = delta.create_table(table.changes_path, {**table.columns, **CHANGE_COLUMNS})
            self._refuse_newer(handle)
        if delta.add_missing_columns(handle, table.columns):
            self._refuse_newer(handle)
        files = [written] if written else []
        stamped = {**state, "seq": seq, delta.AT: self._stamp(now).isoformat()}
        commit(
            handle, table.changes_path, files, stamped, seq,
            part=f"{table.name}/changes", witness=table.witness,
        )  # fmt: skip
        return None if written is None else rows_of(written)

    def go_on_above(self, seq: int, *, now: datetime, state: dict[str, Any]) -> None:
        """Commit this state alone, with a number above this one: what follows on its commits by
        number passes over none of those to come. A table that isn't there is made, and still
        counts as one that doesn't exist."""
        table = self.table
        handle = self._changes
        if handle is None:
            handle = delta.create_table(table.changes_path, {**table.columns, **CHANGE_COLUMNS})
            self._refuse_newer(handle)
        above = max(self.seq, seq) + 1
        if not self.exists:
            state = {**state, _EMPTY: True}
        stamped = {**state, "seq": above, delta.AT: self._stamp(now).isoformat()}
        commit(
            handle, table.changes_path, [], stamped, above,
            part=f"{table.name}/changes", witness=table.witness,
        )  # fmt: skip

    def compact(self, engine: DuckDBEngine, *, force: bool = False) -> bool:
        """Fold the change log into a new snapshot when it has grown; whether it did."""
        if self._changes is None or not self._recent:
            return False
        if not force and not self._worth_compacting():
            return False
        table = self.table
        handle = self._snapshot or delta.create_table(
            table.snapshot_path, {**table.columns, "seq": "integer"}
        )
        delta.add_missing_columns(handle, table.columns)
        names = list(table.columns)
        rows = self.current(names, "compacted")
        select = (
            exp.select(
                *(column(name, "r") for name in names),
                exp.alias_(exp.cast(literal(self.seq), "BIGINT"), "seq", quoted=True),
            )
            .from_(rows.sql.subquery("r"))
            .order_by(*(column(name, "r") for name in table.key))
        )
        file = engine.write(select, rows.relations, str(delta.new_file(table.snapshot_path)))
        commit(
            handle, table.snapshot_path, [file], {"folded_to": self.seq}, self.seq, "overwrite",
            part=f"{table.name}/snapshot", witness=table.witness,
        )  # fmt: skip
        return True

    def _stamp(self, now: datetime) -> datetime:
        """Times in the log never go back, also when a run commits that began before the last."""
        return now if self.committed_at is None else max(now, self.committed_at)

    def _refuse_newer(self, handle: DeltaTable) -> None:
        """A handle that was opened or moved on since the pin may know of commits that it doesn't.

        Raises Conflict then.
        """
        if delta.read_state(handle).get("seq", 0) != self.seq:
            raise Conflict(f"another run wrote to {self.table.name} first")

    def _worth_compacting(self) -> bool:
        if len(self._recent) >= _COMPACT_FILES:
            return True
        size = sum(file.size for file in self._recent)
        base = sum(file.size for file in self._base)
        return len(self._recent) > 4 and size > base * _COMPACT_SHARE

    def _fold(
        self,
        columns: list[str],
        alias: str,
        base: list[delta.File],
        recent: list[delta.File],
        folded_to: int,
        where: exp.Expr | None,
    ) -> Rows:
        relations: dict[str, Relation] = {f"{alias}_base": self._relation(base)}
        if recent:
            relations[f"{alias}_recent"] = self._relation(recent)
        select = fold(
            columns,
            self.table.key,
            alias,
            base=f"{alias}_base",
            recent=f"{alias}_recent" if recent else None,
            folded_to=folded_to,
            where=where,
        )
        return Rows(select, relations)

    def _relation(self, files: list[delta.File]) -> Relation:
        columns: Columns = {**self.table.columns, **({} if files else CHANGE_COLUMNS)}
        return ParquetFiles([file.path for file in files], columns)
