"""Rows of databases other than PostgreSQL as Arrow batches, a bounded number at once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from profile_pipelines.sources.arrow_columns import normalised
from profile_pipelines.sources.json_records import as_text
from profile_pipelines.sources.sql_dialects import Column

_MYSQL_BIT = 16
_DUCKDB_PLAIN = ("INT", "BIGINT", "SMALLINT", "TINYINT", "DOUBLE", "FLOAT", "DECIMAL", "BOOLEAN")
_DUCKDB_TYPED = (*_DUCKDB_PLAIN, "VARCHAR", "DATE", "TIMESTAMP", "STRUCT", "MAP")


def readable(backend: str, column: Column) -> sa.ColumnElement[Any]:
    """The column, as text where DuckDB would give a type that the landing doesn't know."""
    is_known = str(column.type_name).upper().startswith(_DUCKDB_TYPED)
    if backend == "duckdb" and not is_known:
        return sa.cast(column.expression, sa.String())
    return column.expression


def read(
    connection: sa.Connection,
    backend: str,
    statement: sa.Select[Any],
    columns: Sequence[Column],
    fields: Sequence[str],
    rows: int,
) -> Iterator[pa.RecordBatch]:
    """The statement's rows, `rows` at once; columns are named by `fields`."""
    if backend in ("duckdb", "snowflake", "databricks", "bigquery"):
        for batch in _arrow(connection, backend, statement, rows):
            yield from normalised(batch, fields)
        return
    schema = pa.schema([pa.field(field, pa.string()) for field in fields])
    streaming = connection.execution_options(stream_results=True, max_row_buffer=rows)
    for part in streaming.execute(statement).partitions(rows):
        values = zip(*part, strict=True)
        arrays = [
            _texts(backend, column, cells) for column, cells in zip(columns, values, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _arrow(
    connection: sa.Connection, backend: str, statement: sa.Select[Any], rows: int
) -> Iterator[pa.RecordBatch]:
    """By each driver's own way to Arrow."""
    if backend == "duckdb":
        sql = str(statement.compile(connection, compile_kwargs={"literal_binds": True}))
        raw: Any = connection.connection.dbapi_connection
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield from raw.sql(sql).to_arrow_reader(rows)
        return
    cursor: Any = connection.execute(statement).cursor
    match backend:
        case "snowflake":
            for table in cursor.fetch_arrow_batches():
                yield from table.to_batches(rows)
        case "databricks":
            while (table := cursor.fetchmany_arrow(rows)).num_rows:
                yield from table.to_batches(rows)
        case _:
            yield from cursor.query_job.result().to_arrow_iterable()


def _texts(backend: str, column: Column, values: Sequence[Any]) -> pa.Array:
    if backend in ("mysql", "mariadb"):
        values = _without_mysql_ways(column, values)
    if all(value is None or type(value) is str for value in values):
        return pa.array(values, pa.string())
    return pa.array([_text(value) for value in values], pa.string())


def _without_mysql_ways(column: Column, values: Sequence[Any]) -> Sequence[Any]:
    """Zero dates, which the driver gives as text, are missing; bits are numbers."""
    if column.kind in ("day", "wall_time"):
        return [
            None if isinstance(value, str) and value.startswith("0000-00-00") else value
            for value in values
        ]
    if column.code == _MYSQL_BIT:
        return [value if value is None else int.from_bytes(value) for value in values]
    return values


def _text(value: Any) -> str | None:
    kind = type(value)
    if value is None or kind is str:
        return value
    if kind is int:
        return str(value)
    match value:
        case float():
            return repr(value)
        case datetime():
            aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
            return aware.astimezone(UTC).isoformat()
        case date() | time():
            return value.isoformat()
        case bytes() | memoryview():
            return bytes(value).decode("utf-8", "replace")
        case str() | bool() | int() | Decimal() | list() | dict():
            return as_text(value)
        case _:
            return str(value)
