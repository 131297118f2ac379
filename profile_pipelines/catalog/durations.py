"""Lengths of time as people write them: `24h`, `30 days`, `1 week`, `90m`."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {
    "s": "seconds", "sec": "seconds", "second": "seconds",
    "m": "minutes", "min": "minutes", "minute": "minutes",
    "h": "hours", "hour": "hours",
    "d": "days", "day": "days",
    "w": "weeks", "week": "weeks",
}  # fmt: skip


def parse_duration(value: object) -> timedelta:
    """Read a duration of fixed length. Raises ValueError with an example for anything else."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str | int):
        raise ValueError("must be a duration, for example 90m, 24h or 30 days")
    match = re.fullmatch(r"\s*(\d+)\s*([a-zA-Z]+)\s*", str(value))
    unit = _unit(match[2]) if match else None
    if match is None or unit is None:
        raise ValueError(f"{value!r} is not a duration; write for example 90m, 24h or 30 days")
    try:
        return timedelta(**{unit: int(match[1])})
    except (OverflowError, ValueError):
        raise ValueError("is too long a duration") from None


def format_duration(duration: timedelta) -> str:
    """The shortest of the spellings that `parse_duration` reads."""
    seconds = int(duration.total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _unit(word: str) -> str | None:
    word = word.lower()
    return _UNITS.get(word) or _UNITS.get(word.removesuffix("s"))
