"""The tables that lie in a lake, with all columns that they ever had: declared or not any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from profile_pipelines.lake import delta
from profile_pipelines.lake.column_types import CHANGE_COLUMNS
from profile_pipelines.lake.table import LakeTable
from profile_pipelines.lake_place import Place


def stored_tables(root: Place, folder: str, depth: int, key: Sequence[str]) -> Iterator[LakeTable]:
    """Every table `depth` folders below a folder of the lake, in the order of their names."""
    for path in _folders(root / folder, depth):
        name = "/".join(path.parts[-depth:])
        found = stored_table(root, f"{folder}/{name}", key)
        if found is not None:
            yield found


def stored_table(root: Place, name: str, key: Sequence[str]) -> LakeTable | None:
    """The table of this name as it lies there; None when nothing was ever committed."""
    changes = delta.open_table(root / name / "changes")
    if changes is None:
        return None
    fields = [each for each in pa.schema(changes.schema()) if each.name not in CHANGE_COLUMNS.names]
    return LakeTable(root, name, key, pa.schema(fields))


def _folders(place: Place, depth: int) -> Iterator[Place]:
    if depth == 0:
        yield place
    elif place.exists():
        for each in sorted(place.iterdir(), key=lambda each: each.name):
            if each.is_dir():
                yield from _folders(each, depth - 1)
