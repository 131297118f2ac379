"""A table in a database: rows are told apart by their `profile_id`; a batch is a transaction."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from profile_pipelines.activation.target import Batch, Refusals, Remote
from profile_pipelines.catalog.destinations import Destination, SqlTable
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.catalog.spelling import json_text
from profile_pipelines.errors import DestinationError, SourceError
from profile_pipelines.store_errors import reason_of

_TYPES: dict[str, Any] = {
    "string": sa.Text,
    "integer": sa.BigInteger,
    "decimal": sa.Numeric(18, 4),
    "boolean": sa.Boolean,
    "date": sa.Date,
    "timestamp": sa.DateTime(timezone=True),
    "list": sa.Text,
}
_CHUNK = 500


class SqlTarget(Remote):
    """Inserts, updates and deletes. The table is made where there is none; lists are JSON texts."""

    at_once: int | None = 10_000

    def __init__(self, catalogue: Catalogue, destination: Destination, target: SqlTable) -> None:
        self._name = destination.destination
        schema, _, name = target.table.rpartition(".")
        columns = [
            sa.Column(told, _TYPES[catalogue.attributes[own].type])
            if own in catalogue.attributes
            else sa.Column(told, sa.Text)
            for own, told in destination.columns.items()
        ]
        key = sa.Column("profile_id", sa.BigInteger, primary_key=True, autoincrement=False)
        self._table = sa.Table(name, sa.MetaData(), key, *columns, schema=schema or None)
        try:
            url = sa.engine.make_url(resolve(target.url))
            if url.drivername == "postgresql":
                # SQLAlchemy 2.1 reads a plain postgresql:// as psycopg 3; we ship psycopg2
                url = url.set(drivername="postgresql+psycopg2")
            self._engine = sa.create_engine(url)
            self._there = self._is_there()
        except (SQLAlchemyError, SourceError, ImportError) as error:
            raise self._failed(error) from None

    def _is_there(self) -> bool:
        """Whether the table is. Raises DestinationError for one without our columns."""
        inspector = sa.inspect(self._engine)
        table = self._table
        if not inspector.has_table(table.name, schema=table.schema):
            return False
        there = {each["name"] for each in inspector.get_columns(table.name, schema=table.schema)}
        missing = [each.name for each in table.columns if each.name not in there]
        if missing:
            raise DestinationError(
                f"destination {self._name}: the table {table.fullname} has no column "
                f"{', '.join(missing)}; add it there, or name another table"
            )
        return True

    def is_empty(self) -> bool:
        return not self._there

    def add(self, batch: Batch) -> Refusals:
        rows = [_plain(row) for row in batch.rows.drop("key").rows(named=True)]
        table, ids = self._table, batch.rows["profile_id"].to_list()
        columns = [each.name for each in table.columns if each.name != "profile_id"]
        update = (
            sa.update(table)
            .where(table.c.profile_id == sa.bindparam("their_profile_id"))
            .values({name: sa.bindparam(f"new_{name}") for name in columns})
        )
        try:
            with self._engine.begin() as connection:
                if not self._there:
                    table.create(connection, checkfirst=True)
                held = self._held(connection, ids)
                changed = [
                    {
                        "their_profile_id": row["profile_id"],
                        **{f"new_{name}": row[name] for name in columns},
                    }
                    for row in rows
                    if row["profile_id"] in held
                ]
                if changed:
                    connection.execute(update, changed)
                if new := [row for row in rows if row["profile_id"] not in held]:
                    connection.execute(sa.insert(table), new)
        except SQLAlchemyError as error:
            raise self._failed(error) from None
        self._there = True
        return {}

    def remove(self, batch: Batch) -> Refusals:
        if not self._there:
            return {}
        ids = batch.rows["profile_id"].to_list()
        try:
            with self._engine.begin() as connection:
                for start in range(0, len(ids), _CHUNK):
                    mine = self._table.c.profile_id.in_(ids[start : start + _CHUNK])
                    connection.execute(sa.delete(self._table).where(mine))
        except SQLAlchemyError as error:
            raise self._failed(error) from None
        return {}

    def _held(self, connection: sa.Connection, ids: list[int]) -> set[int]:
        held: set[int] = set()
        for start in range(0, len(ids), _CHUNK):
            mine = self._table.c.profile_id.in_(ids[start : start + _CHUNK])
            held |= set(
                connection.execute(sa.select(self._table.c.profile_id).where(mine)).scalars()
            )
        return held

    def close(self) -> None:
        self._engine.dispose()

    def _failed(self, error: Exception) -> DestinationError:
        # the library's own message would quote the URL and the values
        told = str(error) if isinstance(error, SourceError) else reason_of(error)
        return DestinationError(f"destination {self._name}: the database can't be written ({told})")


def _plain(row: dict[str, object]) -> dict[str, object]:
    return {
        name: json_text(value) if isinstance(value, list) else value for name, value in row.items()
    }
