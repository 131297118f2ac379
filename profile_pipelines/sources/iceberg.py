"""Iceberg tables by their metadata files, without a catalogue service (extra `iceberg`).

The newest metadata file below the table's folder says what the table holds; every file that it
leads to is opened through the tree, so that nothing outside the root is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, cast

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

from profile_pipelines.errors import SourceError
from profile_pipelines.sources.file_tree import FileTree

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

    def dataset(
        self, fields: Sequence[str], updated_at: str | None, since: datetime | None
    ) -> ds.Dataset:
        """The columns that `fields` need; files of older records may be left out."""
        known = set(self._table.schema().column_names)
        wanted = [f for f in (*fields, *([updated_at] if updated_at else ())) if f]
        columns = {name for f in wanted for name in (f, f.split(".")[0]) if name in known}
        scan = self._table.scan(
            row_filter=self._not_before(updated_at, since),
            selected_fields=tuple(sorted(columns)) or ("*",),
        )
        reader = scan.to_arrow_batch_reader()
        return ds.dataset(reader)

    def _not_before(self, updated_at: str | None, since: datetime | None) -> Any:
        from pyiceberg import expressions
        from pyiceberg.types import DateType, TimestampType, TimestamptzType

        if since is None or updated_at not in self._table.schema().column_names:
            return expressions.AlwaysTrue()
        utc = since.astimezone(UTC).replace(microsecond=0)
        match self._table.schema().find_type(updated_at):
            case DateType():
                bound = utc.date().isoformat()
            case TimestampType():
                bound = utc.replace(tzinfo=None).isoformat()
            case TimestamptzType():
                bound = utc.isoformat()
            case _:
                return expressions.AlwaysTrue()
        # its models take these by position, which type checkers don't see
        tests = cast(Any, expressions)
        return tests.Or(tests.GreaterThanOrEqual(updated_at, bound), tests.IsNull(updated_at))

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
        tree = self.tree

        class ConfinedFiles(iceberg_files.PyArrowFileIO):
            """Opens what the metadata names, if it lies below the root."""

            def new_input(self, location: str) -> Any:
                # paths of our own have no scheme, those of the metadata may have one
                is_own = not tree.is_local and location.startswith(tree.full_path("").rstrip("/"))
                path = location if is_own else tree.located(location)
                return iceberg_files.PyArrowFile(location=location, path=path, fs=tree.filesystem)

        return ConfinedFiles()
