"""The Arrow types of the lake's columns."""

from __future__ import annotations

import pyarrow as pa
from sqlglot import exp

from profile_pipelines.engine.sql import null_of

ARROW_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "decimal": pa.decimal128(18, 4),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "list": pa.list_(pa.string()),
}
"""The Arrow type of each attribute type."""

CHANGE_COLUMNS = pa.schema(
    [
        ("seq", pa.int64()),
        ("recorded_at", pa.timestamp("us", tz="UTC")),
        ("run_id", pa.string()),
        ("removed", pa.bool_()),
    ]
)
"""The lake's own columns in every change log; see docs/architecture.md."""


def null_literal(arrow_type: pa.DataType) -> exp.Expr:
    """NULL with the SQL type of a column."""
    for name, candidate in ARROW_TYPES.items():
        if arrow_type == candidate:
            return null_of(name)
    if arrow_type == pa.int8():
        return exp.cast(exp.null(), "TINYINT")
    return exp.null()
