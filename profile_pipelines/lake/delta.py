"""Commits of Parquet files to Delta, by compare-and-swap and without personal statistics."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.schema import ArrayType, DataType, Field, PrimitiveType, Schema, StructType
from deltalake.transaction import AddAction, RemoveAction, Transaction

from profile_pipelines.engine import Written
from profile_pipelines.engine.columns import Columns, ColumnType
from profile_pipelines.errors import Conflict, LakeError, TypeChanged
from profile_pipelines.lake_place import Place
from profile_pipelines.store_errors import errno_of, using_lake

STATE_KEY = "profile_pipelines"
COMMIT_KEY = "profile_pipelines_commit"
AT = "at"
"""The key, in a commit's state, of the present of its run."""

_TEXT = PrimitiveType("string")
_TYPES: dict[ColumnType, DataType] = {
    "string": _TEXT,
    "integer": PrimitiveType("long"),
    "decimal": PrimitiveType("decimal(18,4)"),
    "boolean": PrimitiveType("boolean"),
    "date": PrimitiveType("date"),
    "timestamp": PrimitiveType("timestamp"),
    "list": ArrayType(_TEXT),
    "code": PrimitiveType("byte"),
    "quarantine": ArrayType(
        StructType([Field(name, _TEXT) for name in ("attribute", "reason", "value")])
    ),
}


def open_table(path: Place) -> DeltaTable | None:
    """The table at its latest version, or None before its first commit.

    Raises LakeError for a place where no table can be.
    """
    with using_lake(path, "read"):
        try:
            return DeltaTable(str(path))
        except TableNotFoundError:
            if isinstance(path, Path):
                # Delta says the same of a folder that isn't there, may not be read or is a file
                with suppress(FileNotFoundError):
                    path.stat()
            return None


def make_folder(path: Place) -> None:
    """The folder of a table. Raises LakeError where there can't be one."""
    with using_lake(path, "written"):
        path.mkdir(parents=True, exist_ok=True)


def create_table(path: Place, columns: Columns) -> DeltaTable:
    """An empty table; one that another process creates at the same time is taken as it is.

    Statistics are limited to `seq`: any other column may hold personal data.
    """
    make_folder(path)
    with using_lake(path, "written"):
        return DeltaTable.create(
            str(path),
            Schema([Field(name, _TYPES[kind]) for name, kind in columns.items()]),
            mode="ignore",
            configuration={"delta.dataSkippingStatsColumns": "seq"},
        )


def columns_of(table: DeltaTable) -> Columns:
    """The columns that the table has, but for what another tool added in a type of its own."""
    return {
        field.name: kind
        for field in table.schema().fields
        for kind, each in _TYPES.items()
        if each == field.type
    }


def check_types(table: DeltaTable, columns: Columns, name: str) -> None:
    """Raises TypeChanged for columns that are stored in another type than they are declared as."""
    present = {field.name: field.type for field in table.schema().fields}
    changed = {
        column: f"is stored as {_in_words(stored)}, but now declared as {_in_words(_TYPES[kind])}"
        for column, kind in columns.items()
        if (stored := present.get(column, _TYPES[kind])) != _TYPES[kind]
    }
    if changed:
        raise TypeChanged(name, changed)


def add_missing_columns(table: DeltaTable, columns: Columns) -> bool:
    """Bring new columns into the table's schema; whether there were any.

    The handle moves on to the latest version. Raises Conflict when another run does the same.
    """
    present = {field.name for field in table.schema().fields}
    missing = [Field(name, _TYPES[kind]) for name, kind in columns.items() if name not in present]
    if missing:
        with using_lake(_place(table), "written"):
            try:
                table.alter.add_columns(missing)
            except DeltaError as error:
                if errno_of(error) is not None:
                    raise
                raise Conflict("another run wrote first") from error
            table.update_incremental()
    return bool(missing)


def delete_file(path: Place) -> None:
    """Delete a data file, where it is there. Raises LakeError where that isn't allowed."""
    with using_lake(path, "written"):
        path.unlink(missing_ok=True)


def new_file(path: Place) -> Place:
    """The path for a new Parquet file of the table; it counts only once it is committed."""
    return path / f"part-{uuid4().hex}.parquet"


def commit(
    table: DeltaTable,
    path: Place,
    files: list[Written],
    state: dict[str, Any],
    seq: int,
    mode: str = "append",
    *,
    instead_of: Sequence[File] = (),
    stamp: Mapping[str, Any] | None = None,
) -> None:
    """Commit files and state from the handle that the caller has read from.

    The files that they stand `instead_of` leave the table; `stamp` is what the commit bears
    beside its state. Raises Conflict when anyone has committed since that handle was opened.
    """
    actions: list[AddAction | RemoveAction] = [
        _add_action(path, file) for file in files if file.rows
    ]
    actions += [
        RemoveAction(PurePosixPath(file.path).name, True, int(time.time() * 1000), file.size)
        for file in instead_of
    ]
    with using_lake(path, "written"):
        try:
            table.create_write_transaction(
                actions,
                mode,
                table.schema(),
                commit_properties=CommitProperties(
                    custom_metadata={
                        STATE_KEY: json.dumps(state),
                        **({COMMIT_KEY: json.dumps(dict(stamp))} if stamp else {}),
                    },
                    max_commit_retries=0,
                    app_transactions=[Transaction(STATE_KEY, seq)],
                ),
            )
        except CommitFailedError as error:
            if errno_of(error) is not None:
                raise
            raise Conflict(f"another run wrote to {path.parent.name}/{path.name} first") from error


def time_of(state: Mapping[str, Any]) -> datetime | None:
    """The present of the run that committed this state (UTC)."""
    return datetime.fromisoformat(state[AT]) if AT in state else None


def read_state(table: DeltaTable) -> dict[str, Any]:
    """What the last commit of ours carries; maintenance by other tools is passed over."""
    with using_lake(_place(table), "read"):
        for limit in (1, 10, None):
            for entry in table.history(limit):
                if STATE_KEY in entry:
                    return json.loads(entry[STATE_KEY])
    return {}


@dataclass(frozen=True)
class File:
    """A table's Parquet file by its absolute path, with its least and greatest `seq`."""

    path: str
    low: int
    high: int
    size: int


def files(table: DeltaTable, path: Place) -> list[File]:
    """The files that the table at `path` consists of."""
    with using_lake(path, "read"):
        actions = table.get_add_actions(flatten=True)
    if len(actions) == 0:
        return []
    names = actions.column_names
    columns = (
        actions.column(names.index(name)).to_pylist()
        for name in ("path", "min.seq", "max.seq", "size_bytes")
    )
    return [
        File(str(path / name), low, high, size)
        for name, low, high, size in zip(*columns, strict=True)
    ]


def _add_action(path: Place, file: Written) -> AddAction:
    name = PurePosixPath(file.path).name
    with using_lake(path / name, "written"):
        if (path / name).stat().st_size != file.size:
            raise LakeError(f"{name} isn't the file that was written; nothing was committed")
    low, high = file.statistics["seq"]
    stats = {
        "numRecords": file.rows,
        "minValues": {"seq": int(low)},
        "maxValues": {"seq": int(high)},
        "nullCount": {"seq": 0},
    }
    return AddAction(name, file.size, {}, int(time.time() * 1000), True, json.dumps(stats))


def _place(table: DeltaTable) -> str:
    return table.table_uri.removeprefix("file://").rstrip("/")


def _in_words(kind: object) -> object:
    return getattr(kind, "type", kind)
