"""PostgreSQL's records through ADBC: one COPY statement, one snapshot, as Arrow batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from profile_pipelines.errors import SourceUnreachable
from profile_pipelines.sources.arrow_columns import normalised
from profile_pipelines.sources.sql_database import Database
from profile_pipelines.sources.sql_dialects import TEXT_IN_UTF8
from profile_pipelines.sources.sql_refusals import refusal


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


def text_encoding(connection: sa.Connection) -> str:
    """In which encoding to ask for texts: UTF-8, which the server makes of all others.

    But for a database that knows of no encoding: it would refuse what isn't UTF-8, and gives its
    bytes as they are else.
    """
    of_server = connection.execute(sa.text("show server_encoding")).scalar_one()
    return (
        "SQL_ASCII" if of_server == "SQL_ASCII" else TEXT_IN_UTF8["postgresql"]["client_encoding"]
    )


def read_postgres(
    database: Database, encoding: str, statement: sa.Select[Any], fields: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Streams the statement's rows; columns are named by `fields`. Texts are asked for in
    `encoding` (`text_encoding`).

    Values are written into the statement, by SQLAlchemy's own rendering: COPY takes no
    parameters, and without COPY the driver would hold the whole result in memory.
    """
    # its DB-API would import pandas and Polars, for a third of a second of CPU
    import adbc_driver_postgresql
    from adbc_driver_manager import AdbcConnection, AdbcStatement, Error

    dialect = postgresql.dialect(paramstyle="named")
    sql = str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    where, place = database.where, database.place
    with ExitStack() as opened:
        try:
            driver = adbc_driver_postgresql.connect(_libpq(database.url, encoding))
            connection = opened.enter_context(AdbcConnection(opened.enter_context(driver)))
        except (Error, OSError) as error:
            kind = type(error).__name__
            raise SourceUnreachable(f"{where}: can't connect to {place} ({kind})") from None
        asked = opened.enter_context(AdbcStatement(connection))
        opened.enter_context(database.cancelled_by(asked.cancel))
        try:
            connection.set_autocommit(False)
            asked.set_sql_query("SET TRANSACTION READ ONLY")
            asked.execute_update()
            asked.set_sql_query(sql)
            stream, _ = asked.execute_query()
            for batch in opened.enter_context(pa.RecordBatchReader.from_stream(stream)):
                yield from normalised(
                    batch, fields, in_utf8=encoding != "SQL_ASCII", keep_json=True
                )
        except (Error, OSError, pa.ArrowException) as error:
            raise refusal(where, place, database.origin, error) from None


def _libpq(url: sa.URL, encoding: str) -> str:
    options = {"connect_timeout": "10", **url.query, "client_encoding": encoding}
    return url.set(drivername="postgresql", query=options).render_as_string(hide_password=False)
