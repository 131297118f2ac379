"""What the ledger's tables share: the database they lie in, and how it keeps times."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """Aware times, in UTC on both ways: SQLite drops the time zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def open_engine(url: str) -> sa.Engine:
    """The engine for a ledger's URL; a SQLite file's folder is made. `sqlite://` is in memory."""
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        # SQLAlchemy 2.1 reads a plain postgresql:// as psycopg 3; we ship psycopg2.
        parsed = parsed.set(drivername="postgresql+psycopg2")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        # one database for all threads, where SQLAlchemy gives each an empty one
        return sa.create_engine(
            parsed, poolclass=sa.StaticPool, connect_args={"check_same_thread": False}
        )
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    return sa.create_engine(parsed)


def insert_of(engine: sa.Engine) -> Any:
    """The INSERT of the database that the engine is for, which knows ON CONFLICT."""
    return import_module(f"sqlalchemy.dialects.{engine.dialect.name}").insert


def day_of(moment: sa.ColumnElement[datetime], midnights: Sequence[datetime]) -> sa.Case[int]:
    """The number of the day, from 0, in which a time lies that is between the first midnight and
    the last."""
    return sa.case(*((moment < end, number) for number, end in enumerate(midnights[1:])))


def create_tables(metadata: sa.MetaData, engine: sa.Engine) -> None:
    """Create the tables that aren't there; other processes may be doing the same."""
    absent = _absent(metadata, engine)
    while absent:
        try:
            metadata.create_all(engine, tables=absent)
        except exc.DBAPIError:
            before, absent = absent, _absent(metadata, engine)
            if len(absent) == len(before):
                raise
        else:
            return


def _absent(metadata: sa.MetaData, engine: sa.Engine) -> list[sa.Table]:
    there = set(sa.inspect(engine).get_table_names())
    return [table for table in metadata.sorted_tables if table.name not in there]
