"""Short names for the SQLGlot expressions that every step builds: always quoted, always bound."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal

from sqlglot import exp

from profile_pipelines.engine.columns import SQL_TYPES, ColumnType


def column(name: str, table: str | None = None) -> exp.Column:
    """A quoted column, of the given table or alias."""
    return exp.column(name, table=table, quoted=True)


def literal(value: object) -> exp.Expr:
    """A typed constant. Raises TypeError for what SQL has no constant of."""
    match value:
        case None:
            return exp.null()
        case bool():
            return exp.Boolean(this=value)
        case datetime():
            return exp.cast(exp.Literal.string(value.isoformat(sep=" ")), "TIMESTAMPTZ")
        case date():
            return exp.cast(exp.Literal.string(value.isoformat()), "DATE")
        case Decimal():
            return exp.cast(exp.Literal.string(str(value)), "DECIMAL(18, 4)")
        case int() | float():
            return exp.Literal.number(value)
        case str():
            return exp.Literal.string(value)
        case _:
            raise TypeError(f"no SQL constant for {type(value).__name__}")


def null_of(kind: ColumnType) -> exp.Expr:
    """NULL with the SQL type of a column."""
    return exp.cast(exp.null(), SQL_TYPES[kind])


def distinct(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    """`left IS DISTINCT FROM right`."""
    return exp.NullSafeNEQ(this=left, expression=right)


def differs(name: str, left: str, right: str, *, as_set: bool) -> exp.Expr:
    """Whether a column is another in two relations; `as_set` takes its lists for sets."""
    one, other = column(name, left), column(name, right)
    if not as_set:
        return distinct(one, other)
    # most are equal as they stand, which costs less to see
    return exp.and_(distinct(one, other), distinct(as_sorted(one.copy()), as_sorted(other.copy())))


def as_sorted(entries: exp.Expr) -> exp.Expr:
    """A list's different entries in order: one form for all lists that are the same set."""
    return exp.func("LIST_SORT", exp.func("LIST_DISTINCT", entries))


def select_from(table: str, columns: Iterable[str]) -> exp.Select:
    """`SELECT columns FROM table`, quoted."""
    return exp.select(*(column(name) for name in columns)).from_(named(table))


def named(table: str, alias: str | None = None) -> exp.Expr:
    """A quoted table, optionally under an alias."""
    expression = exp.Table(this=exp.to_identifier(table, quoted=True))
    return exp.alias_(expression, alias, table=True, quoted=True) if alias else expression
