"""What the ledger's tables share: the database they lie in, and how it keeps times."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.types import TypeDecorator

from profile_pipelines.errors import LakeError
from profile_pipelines.high_water import FileStamp, file_stamp
from profile_pipelines.store_errors import ledger_error

COUNTED = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""The type of a key that counts up by itself; SQLite does so for integers alone."""


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
        return _telling(
            sa.create_engine(
                parsed, poolclass=sa.StaticPool, connect_args={"check_same_thread": False}
            )
        )
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    return _telling(sa.create_engine(parsed))


def file_of(engine: sa.Engine) -> FileStamp | None:
    """What tells the file of a SQLite database from another one at its place, and from itself
    before it was written to; None for other databases, and where there is no file."""
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    if file in (None, "", ":memory:"):
        return None
    return file_stamp(Path(str(file)))


def place_of(url: sa.URL) -> str:
    """Where a ledger lies, as people may see it: without user, password or options."""
    if url.get_backend_name() == "sqlite" and url.database:
        return f"sqlite:///{url.database}"
    return sa.URL.create(
        url.drivername, host=url.host, port=url.port, database=url.database
    ).render_as_string()


def _telling(engine: sa.Engine) -> sa.Engine:
    """The engine, from which whatever keeps the database from being used comes as LakeError."""
    place, password = place_of(engine.url), engine.url.password

    def told(context: sa.ExceptionContext) -> LakeError | None:
        error = ledger_error(place, context.original_exception, context.statement)
        if error is not None and password:
            error = LakeError(str(error).replace(str(password), "***"))
        return error

    event.listen(engine, "handle_error", told)
    return engine


@contextmanager
def many_commits(engine: sa.Engine) -> Generator[None]:
    """For the time of many small commits in a row, let SQLite keep a write-ahead log: each then
    waits for the disk once in place of three times, and is as durable. Other databases have one.

    Afterwards the database is one file again, which can be copied; after a kill, when the next
    one ends. Where others use it at that moment it stays as it is.
    """
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    if file in (None, "", ":memory:"):
        yield
        return
    _keep_journal(engine, str(file), "wal")
    try:
        yield
    finally:
        _keep_journal(engine, str(file), "delete")


def _keep_journal(engine: sa.Engine, file: str, mode: str) -> None:
    engine.dispose()  # an idle connection holds a lock
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(file, timeout=0)) as database:
        database.execute(f"PRAGMA journal_mode = {mode}")


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
        except (exc.DBAPIError, LakeError):
            before, absent = absent, _absent(metadata, engine)
            if len(absent) == len(before):
                raise
        else:
            return


def _absent(metadata: sa.MetaData, engine: sa.Engine) -> list[sa.Table]:
    there = set(sa.inspect(engine).get_table_names())
    return [table for table in metadata.sorted_tables if table.name not in there]
