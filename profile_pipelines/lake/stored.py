"""The tables that lie in a lake, with all columns that they ever had: declared or not any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from profile_pipelines.engine.columns import Columns
from profile_pipelines.lake import delta
from profile_pipelines.lake.table import CHANGE_COLUMNS, LakeTable
from profile_pipelines.lake_place import Place
from profile_pipelines.store_errors import using_lake

PARTS = ("snapshot", "changes")
"""The two Delta tables that each table of the lake consists of."""


def table_names(root: Place) -> list[str]:
    """The tables that lie in a lake, declared or not, as paths below its root."""
    # a place in an object store has URLs for paths
    prefix = len(str(root).rstrip("/")) + 1
    with using_lake(root, "read"):
        if not root.exists():
            return []
        logs = (path for path in root.rglob("_delta_log") if path.parent.name in PARTS)
        return sorted({str(log.parent.parent)[prefix:] for log in logs})


def stored_tables(root: Place, folder: str, key: Sequence[str]) -> Iterator[LakeTable]:
    """Every table below a folder of the lake, in the order of their names."""
    for name in table_names(root):
        if name.startswith(f"{folder}/"):
            found = stored_table(root, name, key)
            if found is not None:
                yield found


def stored_table(root: Place, name: str, key: Sequence[str]) -> LakeTable | None:
    """The table of this name as it lies there; None when nothing was ever committed."""
    changes = delta.open_table(root / name / "changes")
    if changes is None:
        return None
    stored = delta.columns_of(changes).items()
    columns: Columns = {column: kind for column, kind in stored if column not in CHANGE_COLUMNS}
    return LakeTable(root, name, key, columns)
