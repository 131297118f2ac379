"""Tables and queries of any database that SQLAlchemy reaches.

Cheap questions go by SQLAlchemy. Records of PostgreSQL come by ADBC (`sources.postgres`), those
of other databases by SQLAlchemy's streaming cursor, as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.pool import NullPool

from profile_pipelines.catalog.connections import SqlConnection
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.errors import MissingField, SourceError, SourceUnreachable
from profile_pipelines.sources.json_records import as_text
from profile_pipelines.sources.reading import BATCH_ROWS, ReadRequest, near
from profile_pipelines.sources.sql_keys import has_key
from profile_pipelines.sources.sql_since import changed_since, mark_columns

_CONNECT_SECONDS = 10
_CELLS_AT_ONCE = 500_000


class SqlSource:
    """A table or query of a database."""

    def __init__(self, where: str, connection: SqlConnection, sync: Sync) -> None:
        self.where = where
        self.sync = sync
        self.url = _url(where, resolve(connection.url))
        self.is_postgres = self.url.get_backend_name() == "postgresql"
        if (sync.table is None) == (sync.query is None):
            raise SourceError(f"{where}: give either `table` or `query` for a sql connection")

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        with self.connected() as connection:
            described = self.described(connection)
            self._check(connection, described, [*request.fields, *self._updated_at()])
            types = self._types(connection, described)
            changed = self._changed(types, request.since) if request.since else None
        where = [] if changed is None else [changed]
        if request.keys is not None:
            key = self.sync.key
            if key is None:
                raise SourceError(f"{self.where}: without `key` no record can be asked for")
            backend = self.url.get_backend_name()
            where.append(has_key(backend, sa.column(key), types.get(key), request.keys))
        if self.is_postgres:
            from profile_pipelines.sources.postgres import read_postgres, select_postgres

            statement = (
                select_postgres(request.fields, types).select_from(self._from()).where(*where)
            )
            yield from read_postgres(self.where, self.place, self.url, statement, request.fields)
        else:
            columns = [sa.column(field) for field in request.fields]
            yield from self._stream(sa.select(*columns).select_from(self._from()).where(*where))

    def change_mark(self) -> str | None:
        """How many records there are, the newest `updated_at`, and how many bear it."""
        with self.connected() as connection:
            described = self.described(connection)
            self._check(connection, described, self._updated_at())
            marked = mark_columns(self.sync.updated_at, self._from())
            row = self._execute(connection, sa.select(*marked).select_from(self._from())).one()
        return ":".join("" if value is None else str(value) for value in row)

    def has_newer(self, since: datetime) -> bool | None:
        """Whether any record's `updated_at` is later than `since`, or missing."""
        updated_at = self.sync.updated_at
        if updated_at is None:
            return None
        with self.connected() as connection:
            described = self.described(connection)
            self._check(connection, described, [updated_at])
            newer = self._changed(self._types(connection, described), since, strictly=True)
            if newer is None:
                return None
            found = sa.select(sa.literal(1)).select_from(self._from()).where(newer).limit(1)
            return self._execute(connection, found).first() is not None

    def inspect(self) -> dict[str, str]:
        with self.connected() as connection:
            described = self.described(connection)
            if self.is_postgres:
                return self._types(connection, described)
            if self.sync.table is None:
                return dict.fromkeys(described, "unknown")
            schema, table = _split(self.sync.table)
            types = {
                column["name"]: str(column["type"])
                for column in sa.inspect(connection).get_columns(table, schema)
            }
        return {name: types.get(name, "unknown") for name in described}

    @property
    def place(self) -> str:
        """The database, without user, password or options."""
        host = f"{self.url.host}:{self.url.port}" if self.url.port else self.url.host
        names = "/".join(part for part in (host, self.url.database) if part)
        return f"{self.url.get_backend_name()} {names}".strip()

    @contextmanager
    def connected(self) -> Iterator[sa.Connection]:
        """One connection of its own, closed at the end; raises SourceUnreachable."""
        engine = self._engine()
        try:
            try:
                connection = engine.connect()
            except (exc.DBAPIError, OSError) as error:
                raise SourceUnreachable(
                    f"{self.where}: can't connect to {self.place}: {self._said(error)}"
                ) from None
            with connection:
                yield connection
        finally:
            engine.dispose()

    def described(self, connection: sa.Connection) -> dict[str, Any]:
        """The columns of the table or query, with the driver's type codes, without reading it."""
        nothing = sa.select(sa.text("*")).select_from(self._from()).where(sa.text("1 = 0"))
        try:
            cursor = connection.execute(nothing).cursor
            description = cursor.description if cursor is not None else None
        except exc.DBAPIError as error:
            connection.rollback()
            if self.sync.table is not None:
                with suppress(exc.DBAPIError):
                    self._check_table(connection, self.sync.table)
            raise SourceError(
                f"{self.where}: {self.place} refuses to read this: {self._said(error)}"
            ) from None
        return {column[0]: column[1] for column in description or ()}

    def _engine(self) -> sa.Engine:
        backend, database = self.url.get_backend_name(), self.url.database
        # SQLite would make an empty database of a mistyped path
        is_path = backend == "sqlite" and database and ":" not in database
        if is_path and not Path(str(database)).is_file():
            raise SourceUnreachable(f"{self.where}: there is no SQLite file {database}")
        options: dict[str, Any] = {}
        if backend == "postgresql":
            options["connect_timeout"] = self.url.query.get("connect_timeout", _CONNECT_SECONDS)
        try:
            return sa.create_engine(
                self.url, poolclass=NullPool, connect_args=options, hide_parameters=True
            )
        except (exc.ArgumentError, ImportError) as error:
            raise SourceError(
                f"{self.where}: no driver for {self.url.drivername!r} is installed"
                f" ({type(error).__name__}); install the Python package that has it"
            ) from None

    def _from(self) -> sa.FromClause | sa.TextClause:
        if self.sync.table is not None:
            schema, table = _split(self.sync.table)
            return sa.table(table, schema=schema)
        query = (self.sync.query or "").strip().rstrip(";")
        # a colon would start a parameter; a last line may be a comment
        return sa.text(re.sub(r"(?<!\\):", r"\\:", f"({query}\n) AS source_query"))

    def _types(self, connection: sa.Connection, described: dict[str, Any]) -> dict[str, str]:
        if not self.is_postgres:
            return {}
        from profile_pipelines.sources.postgres import type_names

        return type_names(connection, described)

    def _changed(
        self, types: dict[str, str], since: datetime, *, strictly: bool = False
    ) -> sa.ColumnElement[bool] | None:
        updated_at = self.sync.updated_at
        if updated_at is None:
            return None
        backend, type_name = self.url.get_backend_name(), types.get(updated_at)
        return changed_since(backend, sa.column(updated_at), type_name, since, strictly=strictly)

    def _updated_at(self) -> list[str]:
        return [self.sync.updated_at] if self.sync.updated_at is not None else []

    def _check(
        self, connection: sa.Connection, described: dict[str, Any], fields: Sequence[str]
    ) -> None:
        for field in fields:
            if field not in described:
                origin = f"table {self.sync.table}" if self.sync.table else "the query's result"
                raise MissingField(
                    field,
                    f"{self.where}: there is no column {field!r} in {origin}: "
                    f"{near(field, described)}",
                )

    def _check_table(self, connection: sa.Connection, name: str) -> None:
        inspector = sa.inspect(connection)
        schema, table = _split(name)
        if inspector.has_table(table, schema):
            return
        known = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
        raise SourceError(f"{self.where}: there is no table {name!r}: {near(table, known)}")

    def _stream(self, statement: sa.Select[Any]) -> Iterator[pa.RecordBatch]:
        names = [column.name for column in statement.selected_columns]
        schema = pa.schema([pa.field(name, pa.string()) for name in names])
        rows = max(1, min(BATCH_ROWS, _CELLS_AT_ONCE // max(1, len(names))))
        with self.connected() as connection:
            streaming = connection.execution_options(stream_results=True, max_row_buffer=rows)
            result = self._execute(streaming, statement)
            partitions = result.partitions(rows)
            while True:
                try:
                    part = next(partitions, None)
                except exc.DBAPIError as error:
                    raise self._broken(error) from None
                if part is None:
                    return
                columns = [_texts(column) for column in zip(*part, strict=True)]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def _execute(self, connection: sa.Connection, statement: sa.Select[Any]) -> Any:
        try:
            return connection.execute(statement)
        except exc.DBAPIError as error:
            raise self._broken(error) from None

    def _broken(self, error: exc.DBAPIError) -> SourceError:
        # the driver's text may quote values of records: only its kind is shown
        kind = type(error.orig).__name__
        if error.connection_invalidated or isinstance(error, exc.OperationalError):
            return SourceUnreachable(f"{self.where}: {self.place} broke off the reading ({kind})")
        return SourceError(f"{self.where}: {self.place} can't run the reading ({kind})")

    def _said(self, error: BaseException) -> str:
        said = str(getattr(error, "orig", None) or error).strip()
        first = said.splitlines()[0] if said else type(error).__name__
        password = self.url.password
        return first.replace(str(password), "***") if password else first


def _url(where: str, text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
    except (exc.ArgumentError, ValueError):
        raise SourceError(
            f"{where}: the connection's url isn't one; "
            "it looks like postgresql://user:password@host:5432/database"
        ) from None
    if url.drivername in ("postgresql", "postgres"):
        # SQLAlchemy would take psycopg 3, which isn't what is installed
        return url.set(drivername="postgresql+psycopg2")
    return url


def _split(table: str) -> tuple[str | None, str]:
    schema, dot, name = table.rpartition(".")
    return (schema, name) if dot else (None, table)


def _texts(values: Sequence[Any]) -> pa.Array:
    if all(value is None or type(value) is str for value in values):
        return pa.array(values, pa.string())
    return pa.array([_text(value) for value in values], pa.string())


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
