"""Keeps a lake from growing in files: small ones are put together, those that no version has go.

Both leave what is read as it was, now and as of any moment.
"""

from __future__ import annotations

from datetime import datetime

from sqlglot import exp

from profile_pipelines.engine import DuckDBEngine
from profile_pipelines.engine.duckdb import ParquetFiles
from profile_pipelines.engine.sql import column, named
from profile_pipelines.errors import Conflict
from profile_pipelines.lake import delta
from profile_pipelines.lake.commits import commit
from profile_pipelines.lake.stored import PARTS, table_names
from profile_pipelines.lake.table import LakeTable
from profile_pipelines.lake_place import Place
from profile_pipelines.store_errors import using_lake

_MANY_FILES = 64
_SMALL_BYTES = 16 * 1024 * 1024
_HISTORY = "history"


def merge_small_files(table: LakeTable, engine: DuckDBEngine, *, many: int = _MANY_FILES) -> int:
    """Put the small files of a change log together once there are many; how many became one.

    Only of what the snapshot holds: newer commits are still read one by one. The first commit
    stays apart, since history begins with it. Raises Conflict when another run was faster.
    """
    handle, snapshot = delta.open_table(table.changes_path), delta.open_table(table.snapshot_path)
    if handle is None or snapshot is None:
        return 0
    folded_to = delta.read_state(snapshot).get("folded_to", 0)
    small = [
        file
        for file in delta.files(handle, table.changes_path)
        if file.low > 1 and file.high <= folded_to and file.size < _SMALL_BYTES
    ]
    if len(small) < many:
        return 0
    # whoever asks for a customer's history finds it in one place
    rows = exp.select(exp.Star()).from_(named(_HISTORY)).order_by(*map(column, (*table.key, "seq")))
    paths = {_HISTORY: ParquetFiles([file.path for file in small], delta.columns_of(handle))}
    target = delta.new_file(table.changes_path)
    written = engine.write(rows, paths, str(target))
    state = delta.read_state(handle)
    try:
        commit(
            handle, table.changes_path, [written], state, state["seq"], instead_of=small,
            part=f"{table.name}/changes", witness=table.witness,
        )  # fmt: skip
    except Conflict:
        delta.delete_file(target)
        raise
    return len(small)


def sweep(root: Place, *, before: datetime) -> int:
    """Delete the data files that no table's latest version has; how many there were.

    Compactions replace them, and killed runs leave them behind. `before` tells by the clock of
    the file system which are so old that neither a reader has them pinned nor a writer is about
    to commit them.
    """
    deleted = 0
    for file in _older(root, ".*.unfinished", before):
        delta.delete_file(file)
    for name in table_names(root):
        for part in PARTS:
            path = root / name / part
            old = _older(path, "part-*.parquet", before)
            for file in _older(path / "_delta_log", "*.json#*", before):
                delta.delete_file(file)  # a commit that a killed run was about to write
            handle = delta.open_table(path) if old else None
            if handle is None:
                continue
            standing = {file.path for file in delta.files(handle, path)}
            for file in old:
                if str(file) not in standing:
                    delta.delete_file(file)
                    deleted += 1
    return deleted


def _older(folder: Place, pattern: str, before: datetime) -> list[Place]:
    with using_lake(folder, "read"):
        return [
            file
            for file in (folder.glob(pattern) if folder.exists() else [])
            if file.stat().st_mtime < before.timestamp()
        ]
