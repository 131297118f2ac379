"""Conditions on a key column by keys that come as text, in the type that the column really has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

_WHOLE_NUMBERS = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}


def has_key(
    backend: str, column: sa.ColumnElement[Any], type_name: str | None, keys: Sequence[str]
) -> sa.ColumnElement[bool]:
    """Whether a record's key is one of these; a key that the type can't hold is no record's.

    `type_name` is PostgreSQL's name of the column's type, None for other databases.
    """
    if backend == "sqlite":
        # a column without a type keeps numbers apart from their texts
        numbers = [int(key) for key in keys if _is_plain(key, 2**63)]
        return sa.or_(column.in_([*keys]), column.in_(numbers))
    if type_name in _WHOLE_NUMBERS:
        return column.in_([int(key) for key in keys if _is_plain(key, _WHOLE_NUMBERS[type_name])])
    if type_name == "uuid":
        uuids = [sa.cast(sa.literal(key), sa.Uuid()) for key in keys if _is_uuid(key)]
        return column.in_(uuids) if uuids else sa.false()
    if type_name in (None, "text", "character varying"):
        return column.in_([*keys])
    return sa.cast(column, sa.Text()).in_([*keys])


def _is_plain(key: str, limit: int) -> bool:
    return key.isascii() and key.removeprefix("-").isdigit() and abs(int(key)) < limit


def _is_uuid(key: str) -> bool:
    try:
        UUID(key)
    except ValueError:
        return False
    return True
