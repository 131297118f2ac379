"""Iceberg tables by their metadata files, without a catalogue service (extra `iceberg`).

The newest metadata file below the table's folder says what the table holds; every file that it
leads to is opened through the tree, so that nothing outside the root is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow import fs

from profile_pipelines.catalog.field_paths import split_path
from profile_pipelines.catalog.time_zones import least_wall_time
from profile_pipelines.errors import SourceError
from profile_pipelines.sources.file_tree import FileTree
from profile_pipelines.sources.files_read import FileMark
from profile_pipelines.sources.reading import FIRST_KNOWN, ReadRequest

_METADATA = re.compile(r"(?:v(\d+)|(\d+)-[0-9a-f-]{36})(?:\.gz)?\.metadata\.json(?:\.gz)?")


class IcebergTable:
    """One table at its present snapshot."""

    def __init__(self, where: str, tree: FileTree) -> None:
        if tree.has_wildcards:
            raise SourceError(f"{where}: an Iceberg table's path has no wildcards")
        self.where = where
        self.tree = tree

    def mark(self) -> str:
        """The table's id and present snapshot, from the metadata file alone."""
        content: bytes = self._file_io.new_input(self._metadata_path()).open().read()
        found = json.loads(content)
        return f"{found.get('table-uuid')}:{found.get('current-snapshot-id')}"

    def schema(self) -> pa.Schema:
        """The present schema, as Arrow has it."""
        return self._table.schema().as_arrow()

    def dataset(self, request: ReadRequest, updated_at: str | None, zone: tzinfo) -> ds.Dataset:
        """The columns that the fields need; older records of files that are known may be left out.

        Adds to the request the files that there are.
        """
        known = self.schema().names
        wanted = (*request.fields, *([updated_at] if updated_at else ()))
        columns = {found[0] for f in wanted if (found := split_path(f, known)) is not None}
        selected = tuple(sorted(columns)) or ("*",)
        whole = self._table.scan(selected_fields=selected)
        tasks = {FileMark(task.file.file_path, None): task for task in whole.plan_files()}
        request.files.extend(tasks)
        newer = self._table.scan(
            row_filter=self._not_before(updated_at, request.since, zone), selected_fields=selected
        )
        others = [task for mark, task in tasks.items() if not request.is_known(mark)]
        if request.since is None or not others:
            return ds.dataset(newer.to_arrow_batch_reader())
        new = {task.file.file_path for task in others}
        known = [task for task in newer.plan_files() if task.file.file_path not in new]
        return ds.dataset(_reader(((newer, known), (whole, others))))

    def _not_before(self, updated_at: str | None, since: datetime | None, zone: tzinfo) -> Any:
        """Which files may be left out; the records themselves are compared as those of others."""
        from pyiceberg import expressions
        from pyiceberg.types import DateType, TimestampType, TimestamptzType

        if since is None or updated_at not in self._table.schema().column_names:
            return expressions.AlwaysTrue()
        utc = max(since.astimezone(UTC), FIRST_KNOWN).replace(microsecond=0)
        wall = least_wall_time(utc, zone).replace(tzinfo=None, microsecond=0)
        match self._table.schema().find_type(updated_at):
            case DateType():
                bounds = [wall.date().isoformat(), FIRST_KNOWN.date().isoformat()]
            case TimestampType():
                bounds = [wall.isoformat(), FIRST_KNOWN.replace(tzinfo=None).isoformat()]
            case TimestamptzType():
                bounds = [utc.isoformat(), FIRST_KNOWN.isoformat()]
            case _:
                return expressions.AlwaysTrue()
        # its models take these by position, which type checkers don't see
        tests = cast(Any, expressions)
        return tests.Or(
            tests.GreaterThanOrEqual(updated_at, bounds[0]),
            tests.LessThan(updated_at, bounds[1]),
            tests.IsNull(updated_at),
        )

    @cached_property
    def _table(self) -> Any:
        from pyiceberg.catalog.noop import NoopCatalog
        from pyiceberg.serializers import FromInputFile
        from pyiceberg.table import StaticTable

        path = self._metadata_path()
        metadata = FromInputFile.table_metadata(self._file_io.new_input(path))
        return StaticTable(
            identifier=("table",),
            metadata=metadata,
            metadata_location=path,
            io=self._file_io,
            catalog=NoopCatalog("table"),
        )

    def _metadata_path(self) -> str:
        """The metadata file itself where the path names one, or else the newest in its folder."""
        if self.tree.path.endswith((".metadata.json", ".metadata.json.gz")):
            return self.tree.full_path(self.tree.path)
        folder = self.tree.full_path(f"{self.tree.path}/metadata")
        selector = fs.FileSelector(folder, allow_not_found=True)
        infos = cast(list[fs.FileInfo], self.tree.filesystem.get_file_info(selector))
        versions = {
            int(found[1] or found[2]): info.base_name
            for info in infos
            if (found := _METADATA.fullmatch(info.base_name))
        }
        if not versions:
            raise SourceError(
                f"{self.where}: there is no Iceberg table {self.tree.path} under "
                f"{self.tree.shown_root} (no metadata/*.metadata.json)"
            )
        return self.tree.full_path(f"{self.tree.path}/metadata/{versions[max(versions)]}")

    @cached_property
    def _file_io(self) -> Any:
        try:
            from pyiceberg.io import pyarrow as iceberg_files
        except ImportError:
            raise SourceError(
                f"{self.where}: Iceberg tables need one more package: "
                "pip install 'profile-pipelines[iceberg]'"
            ) from None
        _repair(iceberg_files)
        tree = self.tree

        class ConfinedFiles(iceberg_files.PyArrowFileIO):
            """Opens what the metadata names, if it lies below the root."""

            def new_input(self, location: str) -> Any:
                # paths of our own have no scheme, those of the metadata may have one
                is_own = not tree.is_local and location.startswith(tree.full_path("").rstrip("/"))
                path = location if is_own else tree.located(location)
                return iceberg_files.PyArrowFile(location=location, path=path, fs=tree.filesystem)

        return ConfinedFiles()


def _repair(reader: Any) -> None:
    """Keep pyiceberg from changing values as it reads files: a date of INT96 before 1677 or after
    2262 would be another, and a missing list of structs an empty one."""
    if getattr(reader, "_is_repaired", False):
        return
    file_format, visitor = reader._get_file_format, reader.ArrowProjectionVisitor
    projected = visitor.list

    def whole_days(kind: Any, **options: Any) -> Any:
        if kind == reader.FileFormat.PARQUET:
            options["coerce_int96_timestamp_unit"] = "us"
        return file_format(kind, **options)

    def with_nulls(self: Any, kind: Any, column: Any, entries: Any) -> Any:
        found = projected(self, kind, column, entries)
        if found is None or not column.null_count or found.null_count == column.null_count:
            return found
        missing = pa.scalar(None, found.type)
        return pc.call_function("if_else", [column.is_valid(), found, missing])

    reader._get_file_format, visitor.list = whole_days, with_nulls
    reader._is_repaired = True


def _reader(scans: Sequence[tuple[Any, Iterable[Any]]]) -> pa.RecordBatchReader:
    """What several scans read of their files, one after the other."""
    from pyiceberg.io.pyarrow import ArrowScan, schema_to_pyarrow

    schema = schema_to_pyarrow(scans[0][0].projection())

    def batches() -> Iterator[pa.RecordBatch]:
        for scan, tasks in scans:
            found = ArrowScan(scan.table_metadata, scan.io, scan.projection(), scan.row_filter)
            yield from found.to_record_batches(tasks)

    return pa.RecordBatchReader.from_batches(schema, batches()).cast(schema)
