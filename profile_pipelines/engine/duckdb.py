"""The embedded engine: DuckDB in memory, streaming, spilling to a temporary folder."""

from __future__ import annotations

import errno
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Union
from uuid import uuid4

import duckdb
from sqlglot import exp

from profile_pipelines.engine.columns import SQL_TYPES, Columns
from profile_pipelines.engine.sql import null_of
from profile_pipelines.errors import MachineError, ProfilePipelinesError
from profile_pipelines.private_files import own_folder
from profile_pipelines.store_errors import (
    damaged,
    errno_of,
    lake_error,
    missing_or_cut,
    temporary_error,
)

if TYPE_CHECKING:
    import pyarrow as pa
    from fsspec import AbstractFileSystem

_READERS = 4
_T = TypeVar("_T")


@dataclass(frozen=True)
class ParquetFiles:
    """Files of one schema family; one of `columns` that none of them has is NULL in all."""

    paths: list[str]
    columns: Columns


# a union of a name, so that pyarrow is loaded only by whoever makes Arrow tables
Relation = Union["pa.Table", list[str], ParquetFiles]
"""What a name in the SQL stands for: an Arrow table, or Parquet files."""


@dataclass(frozen=True)
class Written:
    """A Parquet file that the engine wrote; `statistics` has min and max by column, as text.

    `nulls` counts the rows without a value by column.
    """

    path: str
    rows: int
    size: int
    statistics: dict[str, tuple[str, str]]
    nulls: dict[str, int] = field(default_factory=dict[str, int])


class DuckDBEngine:
    """Statements run one at a time, but for those of `side_by_side`; no state outlives a call."""

    def __init__(self, threads: int | None = None, memory_limit: str | None = None) -> None:
        self._temporary = str(own_folder() / f"spill-{uuid4().hex[:8]}")
        settings: dict[str, Any] = {
            "preserve_insertion_order": False,
            "temp_directory": self._temporary,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        if threads:
            settings["threads"] = threads
        if memory_limit:
            settings["memory_limit"] = memory_limit
        self._connection = duckdb.connect(config=settings)
        _set_up(self._connection)
        self._lock = threading.Lock()
        self._reader = threading.local()
        opened = [self._connection]
        self._readers = ThreadPoolExecutor(
            _READERS, initializer=_open_reader, initargs=(self._connection, self._reader, opened)
        )
        # what was spilled goes at the end of the process, too, when objects are no longer collected
        weakref.finalize(self, _close, opened)

    def reach(self, filesystem: AbstractFileSystem) -> None:
        """Let files lie in an object store; paths then begin with the store's `scheme://`."""
        from profile_pipelines.engine.store_files import StoreFiles

        self._connection.register_filesystem(StoreFiles(filesystem))

    def query(self, sql: exp.Expr, relations: Mapping[str, Relation]) -> pa.Table:
        """The whole result as an Arrow table."""
        with self._with_relations(relations) as connection:
            return connection.sql(sql.sql(dialect="duckdb")).to_arrow_table()

    def rows(self, sql: exp.Expr, relations: Mapping[str, Relation]) -> list[dict[str, Any]]:
        """The whole result as Python values: for a few rows, without the cost of Arrow."""
        with self._with_relations(relations) as connection:
            result = connection.execute(sql.sql(dialect="duckdb"))
            names = [each[0] for each in result.description or []]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def side_by_side(self, questions: Iterable[Callable[[], _T]]) -> list[_T]:
        """The answers of questions to this engine that don't wait for one another, in order.

        For many small ones: each costs more to prepare than to answer. One that asks side by side
        itself is answered one at a time.
        """
        if hasattr(self._reader, "connection"):
            return [ask() for ask in questions]
        return list(self._readers.map(lambda ask: ask(), questions))

    def write(self, sql: exp.Expr, relations: Mapping[str, Relation], path: str) -> Written:
        """Write the result as one Parquet file (zstd, row groups of about 120k rows)."""
        copy = exp.Copy(
            this=exp.Subquery(this=sql),
            kind=False,
            files=[exp.Literal.string(path)],
            params=[
                _parameter("format", exp.var("parquet")),
                _parameter("compression", exp.var("zstd")),
                # The files get no smaller by a higher level, only dearer.
                _parameter("compression_level", exp.Literal.number(1)),
                # Pages of the second version hold numbers and texts as differences: a sixth less.
                _parameter("parquet_version", exp.var("v2")),
                # Identifiers, all distinct, aren't gathered in a dictionary for long.
                _parameter("dictionary_size_limit", exp.Literal.number(4000)),
                _parameter("row_group_size", exp.Literal.number(122880)),
                _parameter("return_stats", exp.true()),
            ],
        )
        with self._with_relations(relations, path) as connection:
            rows = connection.execute(copy.sql(dialect="duckdb")).fetchall()
        if not rows:
            return Written(path, 0, 0, {})
        _, count, size, _, columns, *_ = rows[0]
        statistics = {
            name.strip('"'): (stats["min"], stats["max"])
            for name, stats in columns.items()
            if "min" in stats and "max" in stats
        }
        nulls = {
            name.strip('"'): int(stats["null_count"])
            for name, stats in columns.items()
            if "null_count" in stats
        }
        return Written(path, count, size, statistics, nulls)

    @contextmanager
    def _with_relations(
        self, relations: Mapping[str, Relation], target: str | None = None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """The connection, with the relations under their names; `target` is being written."""
        own: duckdb.DuckDBPyConnection | None = getattr(self._reader, "connection", None)
        connection = own or self._connection
        with nullcontext() if own else self._lock:
            try:
                for name, relation in relations.items():
                    if isinstance(relation, list | ParquetFiles):
                        _parquet(connection, relation).create_view(name, replace=True)
                    else:
                        connection.register(name, relation)
                yield connection
            except (duckdb.Error, OSError) as error:
                told = self._of_the_store(error, relations, target)
                if told is None:
                    raise
                raise told from None
            finally:
                for name, relation in relations.items():
                    if not isinstance(relation, list | ParquetFiles):
                        connection.unregister(name)

    def _of_the_store(
        self, error: Exception, relations: Mapping[str, Relation], target: str | None
    ) -> ProfilePipelinesError | None:
        """The error for people where the disk, the memory or a file is at fault; else None."""
        said, number = str(error), errno_of(error)
        reason = type(error).__name__ if number is None else os.strerror(number)
        if str(own_folder()) in said and number is not None:
            return temporary_error(own_folder(), reason, number)
        if isinstance(error, duckdb.OutOfMemoryException):
            more = "give it more, or run fewer things at once"
            if "max_temp_directory_size" in said:
                return temporary_error(own_folder(), os.strerror(errno.ENOSPC), errno.ENOSPC)
            return MachineError(f"there isn't enough memory; {more}")
        if target is not None and target in said:
            return lake_error(target, "written", reason, number)
        for relation in relations.values():
            paths = relation.paths if isinstance(relation, ParquetFiles) else relation
            for path in paths if isinstance(paths, list) else ():
                how = missing_or_cut(Path(path)) if "://" not in path else None
                if how is None and path in said:
                    how = "the file's content is damaged" if number is None else reason
                if how is not None:
                    return damaged(path, how)
        if isinstance(error, OSError | duckdb.IOException):
            return lake_error(target or "an unnamed place", "written" if target else "read", reason)
        return None


def _set_up(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("SET TimeZone = 'UTC'")
    # in notebooks it would draw bars of its own between ours
    connection.execute("SET enable_progress_bar = false")


def _open_reader(
    shared: duckdb.DuckDBPyConnection,
    reader: threading.local,
    opened: list[duckdb.DuckDBPyConnection],
) -> None:
    """Give the thread a connection of its own, with a schema for the names in its statements."""
    reader.connection = connection = shared.cursor()
    opened.append(connection)
    schema = f"reader_{len(opened)}_{threading.get_ident()}"
    connection.execute(f"CREATE SCHEMA {schema}")
    connection.execute(f"USE {schema}")
    _set_up(connection)


def _close(opened: list[duckdb.DuckDBPyConnection]) -> None:
    for connection in opened:
        connection.close()


def _parquet(
    connection: duckdb.DuckDBPyConnection, files: list[str] | ParquetFiles
) -> duckdb.DuckDBPyRelation:
    if isinstance(files, list):
        return connection.read_parquet(files, union_by_name=True)
    if not files.paths:
        return connection.sql(_no_rows(files.columns).sql(dialect="duckdb"))
    relation = connection.read_parquet(files.paths, union_by_name=True)
    there = set(relation.columns)
    nulls = [
        duckdb.ConstantExpression(None).cast(duckdb.sqltype(SQL_TYPES[kind])).alias(name)
        for name, kind in files.columns.items()
        if name not in there
    ]
    return relation.project(duckdb.StarExpression(), *nulls) if nulls else relation


def _no_rows(columns: Columns) -> exp.Select:
    nulls = (exp.alias_(null_of(kind), name, quoted=True) for name, kind in columns.items())
    return exp.select(*nulls).where(exp.false())


def _parameter(name: str, value: exp.Expr) -> exp.CopyParameter:
    return exp.CopyParameter(this=exp.var(name), expression=value)
