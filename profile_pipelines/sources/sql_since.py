"""Conditions on `updated_at`, in the type that the column really has.

Records without an `updated_at` always count as changed: nothing else would show that they are.
A column whose type can't be compared safely isn't filtered at all: the whole is read then, and
what hasn't changed is found out afterwards.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from profile_pipelines.sources.sql_dialects import SQL_TYPES, STANDARD_TYPES, Kind

_MILLISECONDS_FROM = 100_000_000_000
_LEAST = timedelta(microseconds=1)


class _Named(sa.types.UserDefinedType[Any]):
    """A type by the name that the database has for it."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        return self.name


def changed_since(
    backend: str,
    column: sa.ColumnElement[Any],
    kind: Kind | None,
    since: datetime,
    *,
    strictly: bool = False,
) -> sa.ColumnElement[bool] | None:
    """Whether a record's time is at or after `since` (aware), or isn't known.

    With `strictly`, a microsecond or more after it: what is finer than that can't be told apart.
    Gives None when the column's type can't tell.
    """
    since = since.astimezone(UTC)
    if backend == "sqlite":
        return _sqlite(column, since, strictly=strictly)
    match kind:
        case "instant":
            instant = since + _LEAST if strictly else since
            bound = _bound(backend, kind, instant.isoformat(" ", "microseconds"))
        case "wall_time":
            if backend == "mssql" and not strictly:
                # DATETIME has a resolution of 3.33 ms and rounds
                since = since.replace(microsecond=0)
            wall = (since + _LEAST if strictly else since).replace(tzinfo=None)
            bound = _bound(backend, kind, wall.isoformat(" ", "microseconds"))
        case "day":
            # a day can't tell what came later on it
            bound = _bound(backend, kind, since.date().isoformat())
        case "number":
            # nor whole seconds what came later in the same one
            column, bound = _seconds(column), sa.literal(int(since.timestamp()), sa.BigInteger())
        case None:
            return None
    unknown = column.is_(None)
    if backend in ("mysql", "mariadb") and kind != "number":
        # zero dates say that nothing is known
        unknown = sa.or_(unknown, column < _bound(backend, kind, "1000-01-01"))
    return sa.or_(column >= bound, unknown)


def _bound(backend: str, kind: Kind, text: str) -> sa.ColumnElement[Any]:
    if backend in ("mysql", "mariadb"):
        # SQLAlchemy drops casts to types that it doesn't know there
        known = sa.Date() if kind == "day" else mysql.DATETIME(fsp=6)
        return sa.cast(sa.literal(text, sa.String()), known)
    name = SQL_TYPES.get(backend, STANDARD_TYPES)[kind]
    return sa.cast(sa.literal(text, sa.String()), _Named(name))


def mark_columns(
    column: sa.ColumnElement[Any] | None, origin: sa.FromClause | sa.TextClause
) -> list[sa.ColumnElement[Any]]:
    """Count, newest time, and how many bear it: a late record with a known time shows too."""
    count = sa.func.count()
    if column is None:
        return [count]
    newest = sa.select(sa.func.max(column)).select_from(origin).scalar_subquery()
    ties = sa.select(sa.func.count()).select_from(origin).where(column == newest)
    return [count, sa.func.count(column), newest, ties.scalar_subquery()]


def _seconds(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.case((column >= _MILLISECONDS_FROM, column / 1000), else_=column)


def _sqlite(
    column: sa.ColumnElement[Any], since: datetime, *, strictly: bool
) -> sa.ColumnElement[bool]:
    """SQLite keeps times as text in several spellings, or as seconds or milliseconds."""
    number = sa.func.typeof(column).in_(["integer", "real"])
    julian = sa.case(
        (number, sa.func.julianday(_seconds(column), "unixepoch")),
        else_=sa.func.julianday(column),
    )
    # julianday knows milliseconds; an earlier bound only reads a few records again
    bound = since if strictly else since - timedelta(milliseconds=2)
    day = sa.func.julianday(bound.strftime("%Y-%m-%d %H:%M:%S.%f"))
    return sa.or_(julian > day if strictly else julian >= day, julian.is_(None))
