"""Tables and queries of any database that SQLAlchemy reaches.

Cheap questions go by SQLAlchemy. Records of PostgreSQL come by ADBC (`sources.postgres`), those
of other databases by Arrow where their drivers have it, else as text (`sources.sql_batches`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import exc

from profile_pipelines.catalog.connections import SqlConnection
from profile_pipelines.catalog.field_paths import split_path
from profile_pipelines.catalog.mapped_fields import MappedField
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.errors import MissingField, SourceError
from profile_pipelines.sources import sql_batches
from profile_pipelines.sources.reading import BATCH_ROWS, ReadRequest, near
from profile_pipelines.sources.sql_batches import json_scalars
from profile_pipelines.sources.sql_columns import is_json, selected
from profile_pipelines.sources.sql_database import Database
from profile_pipelines.sources.sql_dialects import (
    Column,
    find_column,
    is_named,
    kind_of,
    mssql_types,
    query_sql,
    table_sql,
)
from profile_pipelines.sources.sql_keys import has_key
from profile_pipelines.sources.sql_since import changed_since, mark_columns

_CELLS_AT_ONCE = 500_000
_SCHEMAS_SEARCHED = 30
_OF_THE_DATABASE = ("information_schema", "pg_", "mysql", "performance_schema", "sys", "db_")
"""How the names of schemas begin that hold nobody's tables."""


class SqlSource:
    """A table or query of a database."""

    def __init__(self, where: str, connection: SqlConnection, sync: Sync) -> None:
        self.where = where
        self.sync = sync
        self.zone = ZoneInfo(sync.zone or connection.zone)
        self.origin = f"table {sync.table}" if sync.table else "the query's result"
        self.database = Database(where, resolve(connection.url), self.origin)
        self.backend = self.database.backend
        if (sync.table is None) == (sync.query is None):
            raise SourceError(f"{where}: give either `table` or `query` for a sql connection")

    @property
    def place(self) -> str:
        """What is read, for people."""
        return f"{self.origin} of {self.database.place}"

    def cancel(self) -> None:
        """End the statement that is under way, from another thread."""
        self.database.cancel()

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        with self.database.connected() as connection:
            described = self.described(connection)
            columns = [self._column(connection, described, field) for field in request.fields]
            updated_at = self._updated_at(connection, described)
            changed = self._changed(updated_at, request.since) if request.since else None
            named = self._named(connection, described, request.keys)
            origin = self._from(connection)
            encoding = self._encoding(connection)
        where = [] if changed is None else [changed]
        if named is not None:
            where.append(named)
        listed = [
            selected(self.backend, column).label(f"c{position}")
            for position, column in enumerate(columns)
        ]
        statement = sa.select(*listed).select_from(origin).where(*where)
        if self.backend == "postgresql":
            from profile_pipelines.sources.postgres import read_postgres

            batches = read_postgres(self.database, encoding, statement, request.fields)
        else:
            batches = self._stream(statement, columns, request.fields)
        scalars = [
            position
            for position, (column, field) in enumerate(zip(columns, request.fields, strict=True))
            if is_json(self.backend, column) and not self._has_paths_only(field)
        ]
        for batch in batches:
            for position in scalars:
                of_json = json_scalars(batch.column(position))
                batch = batch.set_column(position, request.fields[position], of_json)
            yield batch

    def _has_paths_only(self, field: str) -> bool:
        """Whether paths lead into the column, whose own value nothing needs."""
        mapped = self.sync.mapped_fields
        paths = (f"{field}.", f"{field}[")
        return field not in mapped and any(each.startswith(paths) for each in mapped)

    def change_mark(self) -> str | None:
        """How many records there are, the newest `updated_at`, and how many bear it."""
        with self.database.connected() as connection:
            updated_at = self._updated_at(connection, self.described(connection))
            origin = self._from(connection)
            marked = mark_columns(
                updated_at.expression if updated_at else None,
                origin,
                as_text=self.backend in ("postgresql", "redshift"),
            )
            row = self.database.first(connection, sa.select(*marked).select_from(origin))
        return ":".join("" if value is None else str(value) for value in row)

    def has_newer(self, since: datetime) -> bool | None:
        """Whether any record's `updated_at` is later than `since`, or missing."""
        if self.sync.updated_at is None:
            return None
        with self.database.connected() as connection:
            updated_at = self._updated_at(connection, self.described(connection))
            newer = self._changed(updated_at, since, strictly=True)
            if newer is None:
                return None
            origin = self._from(connection)
            found = sa.select(sa.literal(1)).select_from(origin).where(newer).limit(1)
            return self.database.first(connection, found) is not None

    def inspect(self) -> dict[str, str]:
        with self.database.connected() as connection:
            described = self.described(connection)
            types = {c.name: c.type_name for c in described.values() if c.type_name is not None}
            if self.sync.table is not None and not types:
                schema, table = _split(self.sync.table)
                types = {
                    str(column["name"]): str(column["type"])
                    for column in sa.inspect(connection).get_columns(table, schema)
                }
        return {
            self._as_mapped(name, connection.dialect): types.get(name)
            or types.get(name.lower(), "unknown")
            for name in described
        }

    def _as_mapped(self, name: str, dialect: sa.Dialect) -> str:
        """A column's name: in small letters where the database folds plain names to capitals,
        unless it's mapped in capitals."""
        folded = dialect.requires_name_normalize and name == name.upper()
        paths = (f"{name}.", f"{name}[")
        if folded and not any(f == name or f.startswith(paths) for f in self.sync.mapped_fields):
            return name.lower()
        return name

    def described(self, connection: sa.Connection) -> dict[str, Column]:
        """The columns of the table or query by name, without reading it."""
        origin = self._from(connection)
        nothing = sa.select(sa.text("*")).select_from(origin).where(sa.text("1 = 0"))
        try:
            cursor = connection.execute(nothing).cursor
            found = list(cursor.description or ()) if cursor is not None else []
        except exc.DBAPIError as error:
            connection.rollback()
            if self.sync.table is not None:
                with suppress(exc.DBAPIError):
                    self._check_table(connection, self.sync.table)
            said = self.database.said(error)
            raise SourceError(
                f"{self.where}: {self.database.place} refuses to read this: {said}"
            ) from None
        codes = {str(column[0]): column[1] for column in found}
        names = self._type_names(connection, codes, nothing)
        return {
            name: Column(name, code, names.get(name), kind_of(self.backend, code, names.get(name)))
            for name, code in codes.items()
        }

    def _type_names(
        self, connection: sa.Connection, codes: dict[str, Any], statement: sa.Select[Any]
    ) -> dict[str, str]:
        if self.backend in ("postgresql", "redshift"):
            from profile_pipelines.sources.postgres import type_names

            return type_names(connection, codes)
        if self.backend == "mssql":
            return mssql_types(connection, statement)
        # the others' drivers name the types, or number them as `kind_of` knows
        return {name: str(code) for name, code in codes.items() if is_named(self.backend, code)}

    def _encoding(self, connection: sa.Connection) -> str:
        if self.backend != "postgresql":
            return ""
        from profile_pipelines.sources.postgres import text_encoding

        return text_encoding(connection)

    def _from(self, connection: sa.Connection) -> sa.TextClause:
        if self.sync.table is not None:
            origin = table_sql(connection.dialect, self.sync.table)
        else:
            origin = query_sql(self.where, self.backend, self.sync.query or "")
        # a colon would start a parameter
        return sa.text(re.sub(r"(?<!\\):", r"\\:", origin))

    def _changed(
        self, updated_at: Column | None, since: datetime, *, strictly: bool = False
    ) -> sa.ColumnElement[bool] | None:
        """Whether a record may have changed since; None when the database can't tell."""
        declared = self.sync.updated_at
        if updated_at is None or declared is None or declared.convert:
            return None
        kind = updated_at.kind
        return changed_since(
            self.backend, updated_at.expression, kind, since, self.zone, strictly=strictly
        )

    def _named(
        self, connection: sa.Connection, described: dict[str, Column], keys: Sequence[str] | None
    ) -> sa.ColumnElement[bool] | None:
        """Whether a record is one of those asked for by their keys; None when all are wanted, or
        the key is made by steps or stands within a column."""
        if keys is None:
            return None
        if self.sync.key is None:
            raise SourceError(f"{self.where}: without `key` no record can be asked for")
        key = self._compared(connection, described, self.sync.key)
        return None if key is None or self.sync.key.convert else has_key(self.backend, key, keys)

    def _updated_at(self, connection: sa.Connection, described: dict[str, Column]) -> Column | None:
        declared = self.sync.updated_at
        return None if declared is None else self._compared(connection, described, declared)

    def _compared(
        self, connection: sa.Connection, described: dict[str, Column], mapped: MappedField
    ) -> Column | None:
        """The column with whose values the database can compare; None for a path into one, and
        where several are joined."""
        if mapped.join:
            return None
        field = mapped.field
        is_column = find_column(described, field, connection.dialect) is not None
        if not is_column and split_path(field, described) is not None:
            return None
        return self._column(connection, described, field)

    def _column(
        self, connection: sa.Connection, described: dict[str, Column], field: str
    ) -> Column:
        column = find_column(described, field, connection.dialect)
        if column is None:
            raise MissingField(
                field,
                f"{self.where}: there is no column {field!r} in {self.origin}: "
                f"{near(field, described)}",
            )
        return column

    def _check_table(self, connection: sa.Connection, name: str) -> None:
        inspector = sa.inspect(connection)
        schema, table = _split(name)
        if inspector.has_table(table, schema):
            return
        schemas = inspector.get_schema_names()
        if schema is not None and "." not in schema and schema not in schemas:
            raise SourceError(
                f"{self.where}: there is no schema {schema!r}: {near(schema, schemas)}"
            )
        known = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
        elsewhere = [
            f"{other}.{found}"
            for other in schemas[:_SCHEMAS_SEARCHED]
            if other not in (schema, inspector.default_schema_name)
            and not other.lower().startswith(_OF_THE_DATABASE)
            for found in [*inspector.get_table_names(other), *inspector.get_view_names(other)]
        ]
        said = f"{self.where}: there is no table {name!r}"
        if same := [each for each in elsewhere if each.endswith(f".{table}")]:
            raise SourceError(f"{said} here; write {' or '.join(same)}")
        raise SourceError(f"{said}: {near(table, [*known, *elsewhere])}")

    def _stream(
        self, statement: sa.Select[Any], columns: Sequence[Column], fields: Sequence[str]
    ) -> Iterator[pa.RecordBatch]:
        rows = max(1, min(BATCH_ROWS, _CELLS_AT_ONCE // max(1, len(fields))))
        with self.database.connected() as connection:
            try:
                yield from sql_batches.read(
                    connection, self.backend, statement, columns, fields, rows
                )
            except Exception as error:
                raise self.database.failed(connection, error) from None


def _split(table: str) -> tuple[str | None, str]:
    schema, dot, name = table.rpartition(".")
    return (schema, name) if dot else (None, table)
