"""What the columns of tables hold, in the catalogue's words, and what those are in SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from profile_pipelines.catalog.values import AttributeType

ColumnType = AttributeType | Literal["code", "quarantine"]
"""An attribute's type; `code` is a system's small number, `quarantine` a record's bad values."""

Columns = Mapping[str, ColumnType]
"""A table's columns by name, in order."""

SQL_TYPES: Mapping[ColumnType, str] = {
    "string": "VARCHAR",
    "integer": "BIGINT",
    "decimal": "DECIMAL(18, 4)",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMPTZ",
    "list": "VARCHAR[]",
    "code": "TINYINT",
    "quarantine": "STRUCT(attribute VARCHAR, reason VARCHAR, value VARCHAR)[]",
}
