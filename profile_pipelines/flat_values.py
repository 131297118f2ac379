"""Attribute values as text and as JSON."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal


def in_json(value: object) -> object:
    """What JSON has for a value that it has no type for. Raises TypeError for others."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case Decimal():
            return float(value)
        case _:
            raise TypeError(type(value).__name__)


def in_csv(value: object) -> str:
    """The text of a value: times in ISO 8601 (UTC), lists as JSON, nothing for a missing one."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case list():
            return json.dumps(value, ensure_ascii=False)
        case Decimal():
            return f"{value:f}"
        case date():
            return str(in_json(value))
        case _:
            return str(value)
