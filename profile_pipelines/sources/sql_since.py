"""Conditions on `updated_at`, in the type that the column really has.

Records without an `updated_at` always count as changed: nothing else would show that they are.
A column whose type can't be compared safely isn't filtered at all: the whole is read then, and
what hasn't changed is found out afterwards.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

_MILLISECONDS_FROM = 100_000_000_000
_WHOLE_NUMBERS = ("smallint", "integer", "bigint")


def changed_since(
    backend: str,
    column: sa.ColumnElement[Any],
    type_name: str | None,
    since: datetime,
    *,
    strictly: bool = False,
) -> sa.ColumnElement[bool] | None:
    """Whether a record's time is at or after `since` (aware), or isn't known.

    With `strictly`, after it. `type_name` is PostgreSQL's name of the column's type, None for
    other databases. Gives None when the column's type can't tell.
    """
    since = since.astimezone(UTC)
    if backend == "sqlite":
        return _sqlite(column, since, strictly=strictly)
    known = type_name or "timestamp without time zone"
    if known.startswith("timestamp") and known.endswith("with time zone"):
        bound: Any = sa.literal(since, sa.DateTime(timezone=True))
    elif known.startswith("timestamp"):
        bound = sa.literal(since.replace(tzinfo=None), sa.DateTime())
    elif known == "date":
        # a day can't tell what came later on it
        bound, strictly = sa.literal(since.date(), sa.Date()), False
    elif known in _WHOLE_NUMBERS:
        # nor whole seconds what came later in the same one
        column, strictly = _seconds(column), False
        bound = sa.literal(int(since.timestamp()), sa.BigInteger())
    else:
        return None
    return sa.or_(column > bound if strictly else column >= bound, column.is_(None))


def mark_columns(
    updated_at: str | None, origin: sa.FromClause | sa.TextClause
) -> list[sa.ColumnElement[Any]]:
    """Count, newest time, and how many bear it: a late record with a known time shows too."""
    count = sa.func.count()
    if updated_at is None:
        return [count]
    column = sa.column(updated_at)
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
