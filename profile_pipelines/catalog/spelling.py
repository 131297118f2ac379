"""Attribute values as text and as JSON: one spelling, wherever they go.

A number has all its digits, without trailing zeros and without an exponent; a moment is ISO 8601
in UTC (`2026-03-02T12:00:00Z`), a day `2026-03-02`. What people read is in the catalogue's zone.
"""

# simplejson has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

import simplejson

from profile_pipelines.catalog.values import number_text


def value_text(value: object) -> str:
    """The text of a value: as JSON has it, lists as JSON, nothing for a missing one."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case Decimal() | float():
            return number_text(value) or ""
        case list():
            return json_text(value)
        case datetime():
            return _moment(value)
        case _:
            return str(value)


def json_text(value: object, *, compact: bool = False, indent: int | None = None) -> str:
    """A JSON document; the same text whenever the same is said.

    Durations are seconds; dataclasses are objects; a number that is none is null.
    """
    if indent is not None:
        return simplejson.dumps(value, indent=indent, **_OPTIONS)
    return (_COMPACT if compact else _ENCODER).encode(value)


def local_time(moment: datetime, zone: tzinfo) -> datetime:
    """A moment by the clocks of a zone; the first and the last hours of all, which may have no
    local time, in UTC."""
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment.astimezone(UTC)


def people_text(value: object, zone: tzinfo | None = None) -> str:
    """A value as people read it: moments to the minute by the zone's clocks (without one, by their
    own), lists with commas."""
    match value:
        case datetime():
            local = value if zone is None else local_time(value, zone)
            return local.replace(tzinfo=None).isoformat(" ", "minutes")
        case list() | tuple():
            return ", ".join(people_text(item, zone) for item in value)
        case _:
            return value_text(value)


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _in_json(value: object) -> object:
    match value:
        case Decimal():
            # a float would keep 15 digits of it
            told = number_text(value)
            return None if told is None else simplejson.RawJSON(told)
        case datetime():
            return _moment(value)
        case date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Mapping():
            return dict(value)
        case set() | frozenset():
            return list(value)
        case _ if dataclasses.is_dataclass(value):
            return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        case _:
            return str(value)


_OPTIONS: dict[str, Any] = {
    "use_decimal": False,
    "default": _in_json,
    "ensure_ascii": False,
    "ignore_nan": True,
    "namedtuple_as_object": False,
}
_ENCODER = simplejson.JSONEncoder(**_OPTIONS)
_COMPACT = simplejson.JSONEncoder(separators=(",", ":"), **_OPTIONS)
