"""Conditions on a key column by keys that come as text, in the type that the column really has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa

from profile_pipelines.sources.sql_columns import plain_name
from profile_pipelines.sources.sql_dialects import Column

_NUMBER = re.compile(r"-?\d{1,100}(\.\d{1,100})?", re.ASCII)
_WHOLE = {
    "smallint", "integer", "bigint", "int", "tinyint", "int64", "long", "short",
    "utinyint", "usmallint", "uinteger",
}  # fmt: skip
_WHOLE_WITHIN = 2**63
_EXACT = {
    "numeric", "decimal", "bignumeric", "money", "hugeint", "uhugeint", "ubigint",
}  # fmt: skip
_FLOAT = {"real", "double precision", "double", "float", "float64"}
_TEXT = {
    "text", "character varying", "character", "varchar", "nvarchar", "char", "nchar", "string",
}  # fmt: skip
_UUID = {"uuid", "uniqueidentifier"}
_SNOWFLAKE = {0: "numeric", 1: "float", 2: "text"}
_FLOATS_WITHIN = 10**37
"""Where also the floats of 4 bytes end."""


def has_key(backend: str, column: Column, keys: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether a record's key is one of these; a key that the type can't hold is no record's.

    A number is found by its value, however the column spells it: 123 is 123.00.
    """
    value = column.expression
    named = _SNOWFLAKE.get(column.code) if backend == "snowflake" else plain_name(column)
    if backend == "sqlite":
        # a column without a type keeps numbers apart from their texts
        return sa.or_(value.in_(_spellings(keys)), value.in_(_numbers(keys, "float")))
    if not named:
        # MySQL, for one, compares numbers with texts by their value
        return value.in_(_spellings(keys))
    if named in _WHOLE:
        numbers = (Decimal(key) for key in keys if _NUMBER.fullmatch(key))
        return value.in_([int(n) for n in numbers if abs(n) < _WHOLE_WITHIN and _is_whole(n)])
    if named in _EXACT:
        exact = sa.cast(value, sa.Numeric(19, 4)) if named == "money" else value
        return exact.in_(_numbers(keys, "exact"))
    if named in _FLOAT:
        return value.in_(_numbers(keys, "float"))
    if named in _UUID:
        uuids = [sa.cast(sa.literal(key), sa.Uuid()) for key in keys if _is_uuid(key)]
        return value.in_(uuids) if uuids else sa.false()
    text = value if named in _TEXT else sa.cast(value, sa.Text())
    return text.in_(_spellings(keys))


def _spellings(keys: Sequence[str]) -> list[str]:
    """The keys as texts may have them: a whole number may bear a `.0`."""
    return [*keys, *(f"{key}.0" for key in keys if "." not in key and _NUMBER.fullmatch(key))]


def _numbers(keys: Sequence[str], among: Literal["exact", "float"]) -> list[sa.ColumnElement[Any]]:
    """Those of the keys that are numbers of such a type, each as one."""
    numbers = [Decimal(key) for key in keys if _NUMBER.fullmatch(key)]
    if among == "exact":
        return [sa.literal(n, sa.Numeric()) for n in numbers]
    least, most = 1 / _FLOATS_WITHIN, _FLOATS_WITHIN
    return [
        sa.literal(int(n), sa.BigInteger()) if _is_whole(n) else sa.literal(float(n), sa.Float())
        for n in numbers
        if not n or least < abs(n) < most
    ]


def _is_whole(number: Decimal) -> bool:
    return number == number.to_integral_value()


def _is_uuid(key: str) -> bool:
    try:
        UUID(key)
    except ValueError:
        return False
    return True
