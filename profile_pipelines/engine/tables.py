"""Small Arrow tables, made without pandas: pyarrow's own ways load it, for a fifth of a second."""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from array import array
from collections.abc import Iterable

import pyarrow as pa

from profile_pipelines.engine.columns import Columns, ColumnType

ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "decimal": pa.decimal128(18, 4),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "list": pa.list_(pa.string()),
    "code": pa.int8(),
    "quarantine": pa.list_(
        pa.struct([("attribute", pa.string()), ("reason", pa.string()), ("value", pa.string())])
    ),
}


def arrow_schema(columns: Columns) -> pa.Schema:
    """The columns in Arrow's types."""
    return pa.schema([(name, ARROW_TYPES[kind]) for name, kind in columns.items()])


def no_rows(columns: Columns) -> pa.Table:
    """A table without rows."""
    return pa.Table.from_batches([], arrow_schema(columns))


def profile_id_table(ids: Iterable[int]) -> pa.Table:
    """The one column `profile_id`, of these."""
    values = array("q", ids)
    column = pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])
    return pa.Table.from_arrays([column], ["profile_id"])
