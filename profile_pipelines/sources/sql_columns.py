"""How a column is asked for, so that each of its values comes: typed where the landing knows the
type, else as text, and text as the database itself means it."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from profile_pipelines.sources.sql_dialects import Column

_POSTGRES_TYPED = {
    "boolean", "smallint", "integer", "bigint", "real", "double precision", "text",
    "character varying", "name", "date", "bytea",
    "timestamp without time zone", "timestamp with time zone",
}  # fmt: skip
_DUCKDB_TYPED = {
    "tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint",
    "float", "double", "decimal", "boolean", "varchar", "date", "blob", "struct", "map",
    "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "timestamp with time zone",
}  # fmt: skip
_PADDED = {"mssql": {"char", "nchar"}, "redshift": {"character"}, "oracle": {"db_type_char"}}
"""The types of a fixed length whose padding the drivers bring; PostgreSQL's goes with its cast."""
_JSON = {"postgresql": {"json", "jsonb"}, "duckdb": {"json"}, "bigquery": {"json"}}
_MYSQL_JSON, _SNOWFLAKE_VARIANT = 245, 5


def selected(backend: str, column: Column) -> sa.ColumnElement[Any]:
    """The column in the list of a SELECT."""
    value, named = column.expression, plain_name(column)
    if backend == "postgresql":
        return _of_postgres(value, named)
    if backend == "duckdb":
        return _of_duckdb(value, column.type_name or "")
    if backend == "mssql" and named == "datetimeoffset":
        # no driver has it as a time; in UTC, as ISO 8601 has it
        in_utc = sa.func.switchoffset(value, "+00:00")
        return sa.func.convert(sa.literal_column("VARCHAR(34)"), in_utc, sa.literal_column("127"))
    return sa.func.rtrim(value) if named in _PADDED.get(backend, ()) else value


def is_json(backend: str, column: Column) -> bool:
    """Whether the column comes as JSON, in which a text has quotes and `null` is a word."""
    if backend in ("mysql", "mariadb", "snowflake"):
        return column.code == (_SNOWFLAKE_VARIANT if backend == "snowflake" else _MYSQL_JSON)
    return plain_name(column) in _JSON.get(backend, ())


def plain_name(column: Column) -> str:
    """The type's name in small letters, without lengths."""
    named = column.type_name or getattr(column.code, "name", None) or ""
    return str(named).lower().partition("(")[0].strip()


def _of_postgres(value: sa.ColumnElement[Any], named: str) -> sa.ColumnElement[Any]:
    """Arrays come as JSON, numbers by their one text, and all else that Arrow would get as opaque
    bytes as text; `character` loses its padding by the cast."""
    if named in _POSTGRES_TYPED:
        return value
    if named.endswith("[]"):
        texts = sa.cast(value, postgresql.ARRAY(sa.Text())) if named == "character[]" else value
        return sa.cast(sa.func.to_json(texts), sa.Text())
    if named not in ("numeric", "money"):
        return sa.cast(value, sa.Text())
    number = value if named == "numeric" else sa.cast(value, sa.Numeric())
    whole = sa.func.trunc(number)
    text = sa.case(
        (number == whole, sa.cast(whole, sa.Text())),
        else_=sa.func.rtrim(sa.cast(number, sa.Text()), "0"),
    )
    return sa.func.nullif(text, "NaN")


def _of_duckdb(value: sa.ColumnElement[Any], type_name: str) -> sa.ColumnElement[Any]:
    """What Arrow has no such type for comes as text, and lists of it as JSON."""
    element = re.split(r"[(\[]", type_name.lower())[0].strip()
    if element in _DUCKDB_TYPED:
        return value
    return sa.cast(sa.func.to_json(value) if type_name.endswith("]") else value, sa.String())
