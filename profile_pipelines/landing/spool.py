"""Validated records on their way into the lake: in memory, or on disk once they are many."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from profile_pipelines.engine.columns import Columns
from profile_pipelines.engine.duckdb import Relation
from profile_pipelines.engine.tables import no_rows
from profile_pipelines.private_files import temporary_folder
from profile_pipelines.store_errors import using_temporary

if TYPE_CHECKING:
    import polars as pl

_MEMORY_LIMIT = 512 * 1024 * 1024
"""Bytes that all spools of the process may hold together: several systems are read at once."""


class Spool:
    """Collects frames of the same columns; a context manager that removes its files at the end."""

    _lock = Lock()
    _held: ClassVar[int] = 0
    """Bytes in all spools of the process."""

    def __init__(self, columns: Columns, memory_limit: int = _MEMORY_LIMIT) -> None:
        self._columns = columns
        self._limit = memory_limit
        self._tables: list[pa.Table] = []
        self._bytes = 0
        self._opened = ExitStack()
        self._folder: Path | None = None
        self._files: list[str] = []
        self._keys: list[pl.Series] = []
        self._counted_at = self._repeated = 0
        self.rows = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._let_go()
        self._opened.close()

    def add(self, frame: pl.DataFrame) -> None:
        """Append one batch; `ordinal` numbers the rows in the order of arrival."""
        numbered = frame.with_row_index("ordinal", offset=self.rows)
        table = numbered.to_arrow().select(list(self._columns))
        self._keys.append(frame["record_key"].hash())
        self.rows += len(frame)
        self._tables.append(table)
        with Spool._lock:
            self._bytes += table.nbytes
            Spool._held += table.nbytes
            is_too_much = Spool._held > self._limit
        if is_too_much:
            self._spill()

    @property
    def repeated(self) -> int:
        """How many rows have a key that a row before them has; never 0 when there is one."""
        import polars as pl

        if self._counted_at != self.rows:
            self._counted_at = self.rows
            self._repeated = self.rows - pl.concat(self._keys).n_unique()
        return self._repeated

    def relation(self) -> Relation:
        """All that was added, for the engine."""
        if not self._files:
            return pa.concat_tables(self._tables) if self._tables else no_rows(self._columns)
        if self._tables:
            self._spill()
        return self._files

    def _spill(self) -> None:
        import pyarrow.parquet as pq

        if self._folder is None:
            self._folder = self._opened.enter_context(temporary_folder("landing"))
        path = self._folder / f"{len(self._files)}.parquet"
        with using_temporary(self._folder):
            pq.write_table(pa.concat_tables(self._tables), path, compression="lz4")
        self._files.append(str(path))
        self._let_go()

    def _let_go(self) -> None:
        self._tables.clear()
        with Spool._lock:
            Spool._held -= self._bytes
            self._bytes = 0
