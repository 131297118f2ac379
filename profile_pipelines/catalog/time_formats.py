"""Formats of dates and times, as the steps `date` and `timestamp` take them."""

from __future__ import annotations

import re

WORDS = ("iso", "epoch", "epoch_ms", "excel")
"""ISO 8601; seconds and milliseconds since 1970; a spreadsheet's days since 1900."""
_PARTS = ("%Y", "%y", "%m", "%b", "%B", "%d", "%H", "%I", "%p", "%M", "%S", "%.f", "%z", "%%")
_PART = re.compile(r"%\.f|%.?")
_EXAMPLE = "write iso, epoch, epoch_ms, excel or a format such as %d.%m.%Y"


def check_format(text: str, *, with_time: bool) -> None:
    """Raises ValueError, saying what would be right, for a format that can't be read."""
    if text in WORDS:
        return
    parts = _PART.findall(text)
    if not parts:
        raise ValueError(f"isn't a format; {_EXAMPLE}")
    for part in parts:
        if part not in _PARTS:
            raise ValueError(f"has {part}, which isn't read; the parts are {' '.join(_PARTS)}")
    found = set(parts)
    if not ({"%Y", "%y"} & found and {"%m", "%b", "%B"} & found and "%d" in found):
        raise ValueError("needs a year, a month and a day, such as %d.%m.%Y")
    if with_time or has_time(text):
        hour = "%H" in found or {"%I", "%p"} <= found
        if not (hour and "%M" in found):
            raise ValueError("needs hour and minute, such as %d.%m.%Y %H:%M; for a day take date")


def has_time(text: str) -> bool:
    """Whether a format has a time of the day."""
    return bool({"%H", "%I", "%p", "%M", "%S", "%.f", "%z"} & set(_PART.findall(text)))
