"""Conditions on `updated_at`, in the type that the column really has.

Records without an `updated_at` always count as changed: nothing else would show that they are. So
do those whose time stands for none: zero dates, PostgreSQL's `-infinity`, and whatever else lies
before `FIRST_KNOWN`.
A column whose type can't be compared safely isn't filtered at all: the whole is read then, and
what hasn't changed is found out afterwards.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from profile_pipelines.catalog.time_zones import least_wall_time
from profile_pipelines.sources.reading import FIRST_KNOWN
from profile_pipelines.sources.sql_dialects import SQL_TYPES, STANDARD_TYPES, Kind

_MILLISECONDS_FROM = 100_000_000_000
_LEAST = timedelta(microseconds=1)
_FIRST_NUMBER = datetime(1990, 1, 1, tzinfo=UTC)
"""A number of seconds before this is taken for no time."""


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
    zone: tzinfo = UTC,
    *,
    strictly: bool = False,
) -> sa.ColumnElement[bool] | None:
    """Whether a record's time is at or after `since` (aware), or isn't known.

    Times without a zone are those of `zone`. With `strictly`, a microsecond or more after `since`:
    what is finer than that can't be told apart. Gives None when the column's type can't tell.
    """
    since = max(since.astimezone(UTC), FIRST_KNOWN)
    if backend == "sqlite":
        return _sqlite(column, since, zone, strictly=strictly)
    if kind is None:
        return None
    if kind == "number":
        column = _seconds(column)
    if kind == "wall_time" and backend == "mssql" and not strictly:
        # DATETIME has a resolution of 3.33 ms and rounds
        since = since.replace(microsecond=0)
    if kind in ("instant", "wall_time") and strictly:
        since += _LEAST
    if kind in ("wall_time", "day"):
        since = least_wall_time(since, zone)
    first = _bound(backend, kind, _FIRST_NUMBER if kind == "number" else FIRST_KNOWN)
    return sa.or_(column >= _bound(backend, kind, since), column.is_(None), column < first)


def _bound(backend: str, kind: Kind, time: datetime) -> sa.ColumnElement[Any]:
    """The time as the column's type has it.

    A day can't tell what came later on it, nor whole seconds what came later in the same one.
    """
    if kind == "number":
        return sa.literal(int(time.timestamp()), sa.BigInteger())
    is_mysql = backend in ("mysql", "mariadb")
    if kind == "wall_time" or is_mysql:
        # MySQL's TIMESTAMPs are compared in the session's zone, which is UTC
        time = time.replace(tzinfo=None)
    text = time.date().isoformat() if kind == "day" else time.isoformat(" ", "microseconds")
    if is_mysql:
        # SQLAlchemy drops casts to types that it doesn't know there
        known = sa.Date() if kind == "day" else mysql.DATETIME(fsp=6)
        return sa.cast(sa.literal(text, sa.String()), known)
    name = SQL_TYPES.get(backend, STANDARD_TYPES)[kind]
    return sa.cast(sa.literal(text, sa.String()), _Named(name))


def mark_columns(
    column: sa.ColumnElement[Any] | None,
    origin: sa.FromClause | sa.TextClause,
    *,
    as_text: bool = False,
) -> list[sa.ColumnElement[Any]]:
    """Count, newest time, and how many bear it: a late record with a known time shows too.

    `as_text` has the database write the newest time, for drivers that have none such as infinity.
    """
    count = sa.func.count()
    if column is None:
        return [count]
    newest = sa.select(sa.func.max(column)).select_from(origin).scalar_subquery()
    ties = sa.select(sa.func.count()).select_from(origin).where(column == newest)
    shown = sa.cast(newest, sa.Text()) if as_text else newest
    return [count, sa.func.count(column), shown, ties.scalar_subquery()]


def _seconds(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.case((column >= _MILLISECONDS_FROM, column / 1000), else_=column)


def _sqlite(
    column: sa.ColumnElement[Any], since: datetime, zone: tzinfo, *, strictly: bool
) -> sa.ColumnElement[bool]:
    """SQLite keeps times as text in several spellings, or as seconds or milliseconds."""
    number = sa.func.typeof(column).in_(["integer", "real"])
    julian = sa.case(
        (number, sa.func.julianday(_seconds(column), "unixepoch")),
        else_=sa.func.julianday(column),
    )

    def later(bound: datetime) -> sa.ColumnElement[bool]:
        # julianday knows milliseconds; an earlier bound only reads a few records again
        bound = bound if strictly else bound - timedelta(milliseconds=2)
        day = sa.func.julianday(bound.strftime("%Y-%m-%d %H:%M:%S.%f"))
        return julian > day if strictly else julian >= day

    wall = least_wall_time(since, zone)
    found = later(since)
    if wall != since:
        text = sa.cast(column, sa.String())
        is_instant = sa.or_(
            number,
            text.op("glob")("*[zZ]"),
            text.op("glob")("*[+-][0-9][0-9]:[0-9][0-9]"),
        )
        found = sa.case((is_instant, found), else_=later(wall))
    first = sa.case((number, "1990-01-01"), else_="1970-01-02")
    return sa.or_(found, julian.is_(None), julian < sa.func.julianday(first))
