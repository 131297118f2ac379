"""Small Arrow tables, made without pandas: pyarrow's own ways load it, for a fifth of a second."""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from array import array
from collections.abc import Iterable

import pyarrow as pa


def no_rows(schema: pa.Schema) -> pa.Table:
    """A table without rows."""
    return pa.Table.from_batches([], schema)


def profile_id_table(ids: Iterable[int]) -> pa.Table:
    """The one column `profile_id`, of these."""
    values = array("q", ids)
    column = pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])
    return pa.Table.from_arrays([column], ["profile_id"])
