"""PostgreSQL's records through ADBC: one COPY statement, one snapshot, as Arrow batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from profile_pipelines.errors import SourceError, SourceUnreachable
from profile_pipelines.sources.arrow_columns import normalised
from profile_pipelines.sources.sql_dialects import Column

_AS_IT_IS = {
    "boolean", "smallint", "integer", "bigint", "real", "double precision", "text",
    "character varying", "character", "name", "date",
    "timestamp without time zone", "timestamp with time zone",
}  # fmt: skip
_PASSING = ("PQgetCopyData", "terminating connection", "canceling statement", "server closed")


def type_names(connection: sa.Connection, described: Mapping[str, int]) -> dict[str, str]:
    """PostgreSQL's own names of the columns' types, by the driver's type codes."""
    names: dict[int, str] = {
        row.oid: row.name
        for row in connection.execute(
            sa.text(
                "select oid::bigint as oid, format_type(oid, null) as name "
                "from pg_catalog.pg_type where oid = any(:oids)"
            ),
            {"oids": sorted(set(described.values()))},
        )
    }
    return {column: names.get(code, "unknown") for column, code in described.items()}


def select_postgres(columns: Sequence[Column]) -> sa.Select[Any]:
    """The columns, with arrays as JSON and all that Arrow would get as opaque bytes as text."""
    selected: list[sa.ColumnElement[Any]] = []
    for position, column in enumerate(columns):
        value, type_name = column.expression, column.type_name or ""
        if type_name.endswith("[]"):
            value = sa.cast(sa.func.to_json(value), sa.Text())
        elif type_name not in _AS_IT_IS:
            value = sa.cast(value, sa.Text())
        selected.append(value.label(f"c{position}"))
    return sa.select(*selected)


def read_postgres(
    where: str, place: str, url: sa.URL, statement: sa.Select[Any], fields: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Streams the statement's rows; columns are named by `fields`.

    Values are written into the statement, by SQLAlchemy's own rendering: COPY takes no
    parameters, and without COPY the driver would hold the whole result in memory.
    """
    # its DB-API would import pandas and Polars, for a third of a second of CPU
    import adbc_driver_postgresql
    from adbc_driver_manager import AdbcConnection, AdbcStatement, Error

    dialect = postgresql.dialect(paramstyle="named")
    sql = str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    with ExitStack() as opened:
        try:
            database = opened.enter_context(adbc_driver_postgresql.connect(_libpq(url)))
            connection = opened.enter_context(AdbcConnection(database))
        except (Error, OSError) as error:
            kind = type(error).__name__
            raise SourceUnreachable(f"{where}: can't connect to {place} ({kind})") from None
        asked = opened.enter_context(AdbcStatement(connection))
        try:
            connection.set_autocommit(False)
            asked.set_sql_query("SET TRANSACTION READ ONLY")
            asked.execute_update()
            asked.set_sql_query(sql)
            stream, _ = asked.execute_query()
            for batch in opened.enter_context(pa.RecordBatchReader.from_stream(stream)):
                yield from normalised(batch, fields)
        except Error as error:
            raise _failed(where, place, error.sqlstate or type(error).__name__, error) from None
        except OSError as error:
            raise _failed(where, place, "broken off", error) from None


def _failed(where: str, place: str, kind: str, error: Exception) -> SourceError:
    # the server's text may quote values of records: only its kind is shown
    text = str(error)
    if kind.startswith(("08", "53", "57")) or any(passing in text for passing in _PASSING):
        return SourceUnreachable(f"{where}: {place} broke off the reading ({kind})")
    return SourceError(
        f"{where}: {place} can't run the reading ({kind}); "
        "if the sync has a query, try it by hand: it fails on some record"
    )


def _libpq(url: sa.URL) -> str:
    timed = (
        url if "connect_timeout" in url.query else url.update_query_dict({"connect_timeout": "10"})
    )
    return timed.set(drivername="postgresql").render_as_string(hide_password=False)
