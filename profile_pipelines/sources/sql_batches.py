"""Rows of databases other than PostgreSQL as Arrow batches, a bounded number at once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import exc

from profile_pipelines.catalog.values import number_text
from profile_pipelines.sources.arrow_columns import NOT_TEXT, normalised
from profile_pipelines.sources.json_columns import text_array
from profile_pipelines.sources.json_records import as_text, parse
from profile_pipelines.sources.reading import problem_of
from profile_pipelines.sources.sql_dialects import Column

_MYSQL_BIT = 16
_BYTES = (bytes, bytearray, memoryview)


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
            yield from normalised(batch, fields, keep_json=True)
        return
    streaming = connection.execution_options(stream_results=True, max_row_buffer=rows)
    result = streaming.execute(statement)
    driver: Any = result.cursor
    try:
        for part in result.partitions(rows):
            arrays, problems = list[pa.Array](), dict[str, pa.Array]()
            for field, column, cells in zip(fields, columns, zip(*part, strict=True), strict=True):
                texts, reasons = _texts(backend, column, cells)
                arrays.append(texts)
                if reasons is not None:
                    problems[problem_of(field)] = reasons
            yield pa.RecordBatch.from_arrays(
                [*arrays, *problems.values()], names=[*fields, *problems]
            )
    except exc.DBAPIError:
        _give_up(driver)
        raise


def _give_up(cursor: Any) -> None:
    """PyMySQL would look for the rest of the rows once more when the result is forgotten, and
    Python would print that there is no connection any more."""
    unread: Any = getattr(cursor, "_result", None)
    if getattr(unread, "unbuffered_active", False):
        unread.unbuffered_active = False


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


def _texts(backend: str, column: Column, values: Sequence[Any]) -> tuple[pa.Array, pa.Array | None]:
    """A column's cells as text, and the reasons of those that aren't."""
    if backend in ("mysql", "mariadb"):
        values = _without_mysql_ways(column, values)
    if all(value is None or type(value) is str for value in values):
        return pa.array(values, pa.string()), None
    texts = [_text(value) for value in values]
    reasons = [
        NOT_TEXT if isinstance(value, _BYTES) and (text or "").encode() != bytes(value) else None
        for value, text in zip(values, texts, strict=True)
    ]
    told = pa.array(reasons, pa.string()) if any(reasons) else None
    return pa.array(texts, pa.string()), told


def _without_mysql_ways(column: Column, values: Sequence[Any]) -> Sequence[Any]:
    """Zero dates, which the driver gives as text, are missing; TIMESTAMPs come in the session's
    zone, which is UTC; bits are numbers."""
    if column.kind in ("day", "wall_time", "instant"):
        zone = UTC if column.kind == "instant" else None
        return [
            value.replace(tzinfo=zone)
            if isinstance(value, datetime)
            else None
            if isinstance(value, str) and value.startswith("0000-00-00")
            else value
            for value in values
        ]
    if column.code == _MYSQL_BIT:
        return [value if value is None else int.from_bytes(value) for value in values]
    return values


def _text(value: Any) -> str | None:
    """A value as text. A time keeps its offset, and has none where the database knows none."""
    kind = type(value)
    if value is None or kind is str:
        return value
    if kind is int:
        return str(value)
    match value:
        case datetime() if value.tzinfo is not None:
            return value.astimezone(UTC).isoformat()
        case timedelta():
            return _clock(value)
        case Decimal():
            return number_text(value)  # exact, however large
        case bytes() | bytearray() | memoryview():
            return bytes(value).decode("utf-8", "replace")
        case _:
            return as_text(value)


def _clock(span: timedelta) -> str:
    """MySQL's TIME, which may have more than 24 hours and be negative: `-01:30:00`."""
    minutes, seconds = divmod(abs(span), timedelta(minutes=1))
    whole = f"{minutes // 60:02}:{minutes % 60:02}:{seconds.seconds:02}"
    fraction = f".{seconds.microseconds:06}" if seconds.microseconds else ""
    return f"{'-' if span < timedelta() else ''}{whole}{fraction}"


def json_scalars(column: pa.Array) -> pa.Array:
    """A column of JSON with its texts without quotes, its numbers by their one spelling, and its
    `null` as a missing value; objects and lists stay JSON."""
    return text_array([_of_json(text) for text in column.to_pylist()])


def _of_json(text: str | None) -> str | None:
    if text is None or text.startswith(("{", "[")):
        return text
    try:
        return as_text(parse(text))
    except ValueError:
        return text
