"""Parquet, Delta, Iceberg, CSV and JSON lines under one root, on a local disk or an object store.

CSV and JSON lines give text and are read whole: `since` isn't applied to them. The others keep
their types and skip what is older than `since`, if `updated_at` is a time; but not in a file that
wasn't there at the earlier reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import pyarrow as pa

from profile_pipelines.catalog.connections import FilesConnection
from profile_pipelines.catalog.csv_options import CsvOptions
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.errors import MissingField, SourceError, SourceUnreachable
from profile_pipelines.sources import columnar, file_tree, text_files
from profile_pipelines.sources.csv_files import CsvFiles
from profile_pipelines.sources.files_read import FileMark
from profile_pipelines.sources.json_columns import batches
from profile_pipelines.sources.json_records import flattened
from profile_pipelines.sources.nested import refuse_lists
from profile_pipelines.sources.reading import ReadRequest, near

if TYPE_CHECKING:
    from profile_pipelines.sources.iceberg import IcebergTable

_SUFFIXES = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_COMPRESSED = (".gz", ".bz2", ".zst", ".lz4")
_INSPECTED_LINES = 1000


class FilesSource:
    """The files that a path with wildcards names, or one Delta table."""

    def __init__(self, where: str, connection: FilesConnection, sync: Sync) -> None:
        if sync.path is None:
            raise SourceError(f"{where}: give `path`, a path below the root such as orders/*.csv")
        self.where = where
        self.sync = sync
        options = {name: resolve(value) for name, value in connection.options.items()}
        self.tree = file_tree.FileTree(where, resolve(connection.root), sync.path, options)
        self.format = sync.format or ("csv" if sync.csv else self._format_of(sync.path))
        self.csv = CsvFiles(where, self.tree, sync.csv or CsvOptions(), sync.mapped_fields)
        newest = sync.updated_at
        # what is joined, or made by steps, can't be compared before
        self._updated_at = None if newest is None or newest.join or newest.convert else newest.field
        self.zone = ZoneInfo(sync.zone or connection.zone)

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        with self._readable():
            match self.format:
                case "csv":
                    yield from self.csv.read(request)
                case "jsonl":
                    yield from self._read_jsonl(request)
                case _:
                    data = self._datasets(request)
                    marks = self._marks(data)
                    request.files.extend(marks.values())
                    for batch in columnar.read(
                        self.where,
                        data,
                        request.fields,
                        self._updated_at,
                        # an Iceberg table has left out what is older by itself
                        None if self.format == "iceberg" else request.since,
                        self.zone,
                        lambda path: request.is_known(marks[path]),
                    ):
                        refuse_lists(self.where, self.sync, batch.schema)
                        yield batch

    @property
    def place(self) -> str:
        """What is read, for people."""
        return f"{self.sync.path} under {self.tree.shown_root}"

    @property
    def dialects(self) -> Mapping[str, str]:
        """How the CSV files are written that were read so far, by path."""
        return self.csv.dialects

    def _marks(self, data: Sequence[Any]) -> dict[str, FileMark]:
        """The files of Parquet or a Delta table, by their path in the dataset."""
        if self.format == "parquet":
            return {
                self.tree.full_path(f.path): FileMark(
                    f"{f.path}\t{f.size}\t{f.mtime_ns}", f.mtime_ns
                )
                for f in self.tree.files()
            }
        # a Delta table's files are never written again
        tables = data if self.format == "delta" else ()
        files = [file.path for table in tables for file in table.get_fragments()]
        return {path: FileMark(path, None) for path in files}

    def change_mark(self) -> str | None:
        """The files' names, sizes and times, or the Delta table's version."""
        with self._readable():
            if self.format == "iceberg":
                return self._iceberg().mark()
            if self.format == "delta":
                table = self.tree.delta_table()
                return f"{table.metadata().id}:{table.version()}"
            files = "\n".join(f"{f.path}\t{f.size}\t{f.mtime_ns}" for f in self.tree.files())
            return hashlib.sha256(files.encode()).hexdigest()

    def has_newer(self, since: datetime) -> bool | None:
        """None: files say nothing about their records' times without being read."""
        return None

    def inspect(self) -> dict[str, str]:
        with self._readable():
            match self.format:
                case "csv":
                    return dict.fromkeys(self.csv.header(), "string")
                case "jsonl":
                    lines = text_files.json_lines(self.where, self.tree)
                    return flattened(islice(lines, _INSPECTED_LINES))
                case _:
                    schema = (
                        self._iceberg().schema()
                        if self.format == "iceberg"
                        else columnar.schema_of(self._datasets(ReadRequest(())))
                    )
                    return {field.name: str(field.type) for field in schema}

    def _read_jsonl(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        seen: set[str] = set()
        count = 0

        def counted() -> Iterator[Any]:
            nonlocal count
            for record in text_files.json_lines(self.where, self.tree):
                count += 1
                yield record

        yield from batches([counted()], request.fields, seen)
        missing = [field for field in request.fields if field not in seen]
        if count and missing:
            first = islice(text_files.json_lines(self.where, self.tree), _INSPECTED_LINES)
            raise MissingField(
                missing[0],
                f"{self.where}: no record of {self.sync.path} has {missing[0]!r}: "
                f"{near(missing[0], flattened(first))}",
            )

    def _datasets(self, request: ReadRequest) -> list[Any]:
        if self.format == "iceberg":
            return [self._iceberg().dataset(request, self._updated_at, self.zone)]
        if self.format == "delta":
            return [columnar.delta_dataset(self.where, self.tree)]
        return columnar.parquet_datasets(self.where, self.tree)

    def _iceberg(self) -> IcebergTable:
        from profile_pipelines.sources.iceberg import IcebergTable

        return IcebergTable(self.where, self.tree)

    def _format_of(self, path: str) -> str:
        name = path.rstrip("/").lower()
        for suffix in _COMPRESSED:
            name = name.removesuffix(suffix)
        for suffix, known in _SUFFIXES.items():
            if name.endswith(suffix):
                return known
        with self._readable():
            if not self.tree.has_wildcards and self.tree.is_folder(f"{self.tree.path}/_delta_log"):
                return "delta"
        raise SourceError(
            f"{self.where}: can't tell the format of {path}; "
            "declare `format`: parquet, delta, iceberg, csv or jsonl"
        )

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Turns the libraries' errors into ones for people, which quote no record."""
        from deltalake.exceptions import DeltaError

        root = self.tree.shown_root
        try:
            yield
        except pa.ArrowException as error:
            raise self._unreadable(error) from None
        except DeltaError as error:
            raise SourceError(
                f"{self.where}: the Delta table {self.sync.path} under {root} can't be read "
                f"({type(error).__name__}); if another reader can't either, restore its _delta_log"
            ) from None
        except OSError as error:
            # Arrow reports a cut Parquet file so, without a number
            if self.tree.is_local and error.errno is None:
                raise self._unreadable(error) from None
            if isinstance(error, FileNotFoundError) and self.format in ("delta", "iceberg"):
                raise SourceError(
                    f"{self.where}: a file that the table {self.sync.path} under {root} names "
                    "isn't there; if it was removed while the table was read, read it again; "
                    "else restore it"
                ) from None
            raise SourceUnreachable(
                f"{self.where}: can't read {root} ({error.strerror or type(error).__name__})"
            ) from None
        except Exception as error:
            # pyiceberg's errors have no base, and quote what they read
            if self.format != "iceberg" or isinstance(error, SourceError):
                raise
            raise SourceError(
                f"{self.where}: the Iceberg table {self.sync.path} under {root} can't be read "
                f"({type(error).__name__}); if another reader can't either, restore its metadata"
            ) from None

    def _unreadable(self, error: Exception) -> SourceError:
        """Which file it is that can't be read, if it is one by itself."""
        path, root = self.sync.path, self.tree.shown_root
        kind = type(error).__name__
        if self.format in ("parquet", "delta"):
            broken = columnar.first_broken(self.tree, self._data_files())
            if broken is not None:
                return columnar.broken(self.where, broken)
            return SourceError(
                f"{self.where}: each file of {path} under {root} can be read, but not all as one "
                f"table ({kind}); write the columns that are mapped with one type in all of them"
            )
        if self.format == "iceberg":
            return SourceError(
                f"{self.where}: a file of the Iceberg table {path} under {root} is cut or broken, "
                f"or has other types than the table ({kind}); write it again"
            )
        return SourceError(f"{self.where}: a file of {path} under {root} is cut or broken ({kind})")

    def _data_files(self) -> list[str]:
        if self.format == "delta":
            added = pa.table(self.tree.delta_table().get_add_actions(flatten=True))
            return [f"{self.tree.path}/{unquote(file)}" for file in added["path"].to_pylist()]
        return [file.path for file in self.tree.files()]
