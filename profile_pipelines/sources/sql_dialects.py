"""What differs from database to database: drivers, sessions, names, and kinds of columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlglot import tokenize
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from profile_pipelines.errors import SourceError

Kind = Literal["instant", "wall_time", "day", "number"]
"""A time with its zone, one without, a calendar day, or seconds since 1970."""

DRIVERS = {
    "postgresql": "psycopg2",
    "postgres": "psycopg2",
    "mysql": "pymysql",
    "mariadb": "pymysql",
    "mssql": "pymssql",
}
"""The driver that is meant where a URL names only the database."""
EXTRAS = {
    "mysql": "mysql",
    "mariadb": "mysql",
    "mssql": "mssql",
    **{name: name for name in ("bigquery", "databricks", "duckdb", "redshift", "snowflake")},
}
"""The optional dependency that brings a database's driver."""
_MYSQL_SESSION = (
    "SET SESSION time_zone = '+00:00'",
    "SET SESSION TRANSACTION READ ONLY",
    "SET SESSION sql_mode = REPLACE(@@SESSION.sql_mode, 'PAD_CHAR_TO_FULL_LENGTH', '')",
)
SESSIONS: dict[str, tuple[str, ...]] = {
    "mysql": _MYSQL_SESSION,
    "mariadb": _MYSQL_SESSION,
    "sqlite": ("PRAGMA query_only = ON",),
    "duckdb": ("SET TimeZone = 'UTC'",),
    "snowflake": ("ALTER SESSION SET TIMEZONE = 'UTC'",),
    "databricks": ("SET TIME ZONE 'UTC'",),
}
"""What a session begins with: times in UTC, no writing where the database can forbid it, and no
padding of texts."""
TEXT_IN_UTF8 = {
    "postgresql": {"client_encoding": "utf8"},
    "mysql": {"charset": "utf8mb4"},
    "mariadb": {"charset": "utf8mb4"},
}
"""With which option of a connection the server brings texts to UTF-8, however it keeps them."""

_MYSQL_KINDS: dict[Any, Kind] = {
    7: "instant", 12: "wall_time", 10: "day",
    1: "number", 2: "number", 3: "number", 8: "number", 9: "number",
}  # fmt: skip
_SNOWFLAKE_KINDS: dict[Any, Kind] = {
    0: "number", 3: "day", 4: "wall_time", 8: "wall_time", 6: "instant", 7: "instant",
}  # fmt: skip
_NUMBERS = {
    "smallint", "integer", "bigint", "int", "int2", "int4", "int8", "int64", "tinyint", "hugeint",
    "uinteger", "ubigint", "short", "long",
}  # fmt: skip
_INSTANTS = {
    "bigquery": {"timestamp"},
    "databricks": {"timestamp"},
    "mssql": {"datetimeoffset"},
    "postgresql": {"timestamp with time zone", "timestamptz"},
}
"""The types of text-named databases that know their zone."""
SQL_TYPES: dict[str, dict[Kind, str]] = {
    "snowflake": {"instant": "TIMESTAMP_TZ", "wall_time": "TIMESTAMP_NTZ", "day": "DATE"},
    "bigquery": {"instant": "TIMESTAMP", "wall_time": "DATETIME", "day": "DATE"},
    "databricks": {"instant": "TIMESTAMP", "wall_time": "TIMESTAMP_NTZ", "day": "DATE"},
    "mssql": {"instant": "DATETIMEOFFSET", "wall_time": "DATETIME2", "day": "DATE"},
}
"""The types to which a bound time is cast; elsewhere the standard's names do."""
STANDARD_TYPES: dict[Kind, str] = {
    "instant": "TIMESTAMP WITH TIME ZONE",
    "wall_time": "TIMESTAMP",
    "day": "DATE",
}


@dataclass(frozen=True)
class Column:
    """A column of a table or query: its exact name, and its type as far as it's known."""

    name: str
    code: Any
    type_name: str | None
    kind: Kind | None

    @property
    def expression(self) -> sa.ColumnElement[Any]:
        """The column in a statement, always quoted: its name is the database's own spelling."""
        return sa.column(sa.quoted_name(self.name, quote=True))


def kind_of(backend: str, code: Any, type_name: str | None) -> Kind | None:
    """What a column's type says about time; None when it says nothing that can be compared."""
    if backend in ("mysql", "mariadb"):
        return _MYSQL_KINDS.get(code)
    if backend == "snowflake":
        return _SNOWFLAKE_KINDS.get(code)
    named = (type_name or "").lower().partition("(")[0].strip()
    if named in _NUMBERS:
        return "number"
    if named == "date":
        return "day"
    zoned = _INSTANTS.get(backend, _INSTANTS["postgresql"])
    if named in zoned:
        return "instant"
    is_time = named.startswith(("timestamp", "datetime", "smalldatetime"))
    return "wall_time" if is_time else None


def is_named(backend: str, code: Any) -> bool:
    """Whether the driver's type code is the type's name."""
    return backend in ("bigquery", "databricks", "duckdb") and code is not None


def mssql_types(connection: sa.Connection, statement: sa.Select[Any]) -> dict[str, str]:
    """SQL Server's own names of the types of a statement's columns."""
    sql = str(statement.compile(connection, compile_kwargs={"literal_binds": True}))
    described = sa.text(
        "select name, system_type_name from sys.dm_exec_describe_first_result_set(:sql, null, 0)"
    )
    return {row.name: row.system_type_name for row in connection.execute(described, {"sql": sql})}


def find_column(
    columns: Mapping[str, Column], field: str, dialect: sa.engine.Dialect
) -> Column | None:
    """The column of that name; a plain name finds its capitals where the database folds to them."""
    if field in columns:
        return columns[field]
    if dialect.requires_name_normalize and field == field.lower():
        return columns.get(field.upper())
    return None


def table_sql(dialect: sa.engine.Dialect, table: str) -> str:
    """`catalogue.schema.table`, each part quoted where it has to be."""
    return ".".join(dialect.identifier_preparer.quote(part) for part in table.split("."))


def query_sql(where: str, backend: str, query: str) -> str:
    """A user's SELECT as a table of a statement; raises SourceError for several statements."""
    reader = {"mssql": "tsql", "mariadb": "mysql", "postgresql": "postgres"}.get(backend, backend)
    try:
        tokens = tokenize(query, read=reader)
    except (SqlglotError, ValueError):
        tokens = []
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        at = tokens.pop().start
        query = f"{query[:at]} {query[at + 1 :]}"
    if any(token.token_type == TokenType.SEMICOLON for token in tokens):
        raise SourceError(f"{where}: the query has several statements; write one SELECT")
    if backend == "mssql":
        query = _ctes_outside(where, query)
    # a last line may be a comment
    return f"({query.strip()}\n) source_query"


def _ctes_outside(where: str, query: str) -> str:
    """Refuses what SQL Server has no place for inside of a FROM."""
    first = tokenize(query, read="tsql")
    if first and first[0].token_type == TokenType.WITH:
        raise SourceError(
            f"{where}: SQL Server allows no WITH inside of FROM, where the query is read; "
            "make a view of it and name that as the table"
        )
    return query


def missing_driver(where: str, url: sa.URL, error: Exception) -> SourceError:
    """What to install for a URL's database."""
    backend = url.get_backend_name()
    if backend in EXTRAS:
        install = f"pip install 'profile-pipelines[{EXTRAS[backend]}]'"
    else:
        install = "install the Python package that has it"
    return SourceError(
        f"{where}: no driver for {url.drivername!r} is installed"
        f" ({type(error).__name__}); {install}"
    )


def create_engine(where: str, url: sa.URL, options: dict[str, Any]) -> sa.Engine:
    """An engine without a pool whose sessions are as `SESSIONS` says; nothing is contacted."""
    try:
        engine = sa.create_engine(
            url, poolclass=sa.NullPool, connect_args=options, hide_parameters=True
        )
    except (exc.ArgumentError, ImportError) as error:
        raise missing_driver(where, url, error) from None
    backend = url.get_backend_name()
    statements = SESSIONS.get(backend, ())

    def begin(connection: Any, _: object) -> None:
        if backend == "sqlite":
            connection.text_factory = _decoded
        _run(connection, statements)

    if statements:
        event.listen(engine, "connect", begin)
    return engine


def _decoded(text: bytes) -> str | bytes:
    """SQLite's text, or its bytes where some program wrote what isn't UTF-8: one such cell would
    otherwise end the read."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text


def _run(connection: Any, statements: Sequence[str]) -> None:
    cursor = connection.cursor()
    try:
        for statement in statements:
            cursor.execute(statement)
    finally:
        cursor.close()
