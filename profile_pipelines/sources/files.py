"""Parquet, Delta, Iceberg, CSV and JSON lines under one root, on a local disk or an object store.

CSV and JSON lines give text and are read whole: `since` isn't applied to them. The others keep
their types and skip what is older than `since`, if `updated_at` is a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from profile_pipelines.catalog.connections import FilesConnection
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.errors import MissingField, SourceError, SourceUnreachable
from profile_pipelines.sources import columnar, file_tree, text_files
from profile_pipelines.sources.json_columns import batches
from profile_pipelines.sources.json_records import flattened
from profile_pipelines.sources.reading import ReadRequest, near

if TYPE_CHECKING:
    from profile_pipelines.sources.iceberg import IcebergTable

_SUFFIXES = {
    ".parquet": "parquet",
    ".csv": "csv",
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
        self.format = sync.format or self._format_of(sync.path)

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        with self._readable():
            match self.format:
                case "csv":
                    yield from text_files.read_csv(self.where, self.tree, request.fields)
                case "jsonl":
                    yield from self._read_jsonl(request)
                case _:
                    data = self._dataset(request)
                    yield from columnar.read(
                        self.where, data, request.fields, self.sync.updated_at, request.since
                    )

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
                    mapped = self.sync.mapped_fields
                    header = text_files.csv_header(self.where, self.tree, mapped)
                    return dict.fromkeys(header, "string")
                case "jsonl":
                    lines = text_files.json_lines(self.where, self.tree)
                    return flattened(islice(lines, _INSPECTED_LINES))
                case _:
                    schema = (
                        self._iceberg().schema()
                        if self.format == "iceberg"
                        else self._dataset(ReadRequest(())).schema
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

    def _dataset(self, request: ReadRequest) -> Any:
        if self.format == "iceberg":
            return self._iceberg().dataset(request.fields, self.sync.updated_at, request.since)
        if self.format == "delta":
            return columnar.delta_dataset(self.where, self.tree)
        return columnar.parquet_dataset(self.where, self.tree)

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
            raise SourceError(
                f"{self.where}: a file of {self.sync.path} under {root} is cut or broken "
                f"({type(error).__name__})"
            ) from None
        except DeltaError as error:
            raise SourceError(
                f"{self.where}: the Delta table {self.sync.path} under {root} can't be read "
                f"({type(error).__name__})"
            ) from None
        except OSError as error:
            # Arrow reports a cut Parquet file so, without a number
            if self.tree.is_local and error.errno is None:
                raise SourceError(
                    f"{self.where}: a file of {self.sync.path} under {root} is cut or broken"
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
                f"({type(error).__name__})"
            ) from None
