"""Lengths of time in conditions, waits and caps: of the calendar (`3 days`), exact (`2 hours`)."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

Unit = Literal["second", "minute", "hour", "day", "week", "month", "year"]

_SPELLINGS: dict[str, Unit] = {
    "s": "second", "sec": "second", "second": "second",
    "m": "minute", "min": "minute", "minute": "minute",
    "h": "hour", "hour": "hour",
    "d": "day", "day": "day",
    "w": "week", "week": "week",
    "month": "month",
    "y": "year", "year": "year",
}  # fmt: skip


@dataclass(frozen=True)
class Period:
    """A count of one unit. Days, weeks, months and years follow the calendar; the rest is exact."""

    count: int
    unit: Unit

    @property
    def exact(self) -> bool:
        """Whether it's a fixed number of seconds, not of calendar days."""
        return self.unit in ("second", "minute", "hour")

    @property
    def length(self) -> timedelta:
        """The length of an exact period. Raises ValueError for a calendar one."""
        if not self.exact:
            raise ValueError(f"{self.count} {self.unit}s have no fixed length")
        return timedelta(**{f"{self.unit}s": self.count})

    @property
    def longest(self) -> timedelta:
        """The most time that it can be by the calendar."""
        days = {"day": 1, "week": 7, "month": 31, "year": 366}
        return self.length if self.exact else timedelta(days=self.count * days[self.unit])


def parse_period(value: object) -> Period:
    """Read a period. Raises ValueError with an example for anything else."""
    match = re.fullmatch(r"\s*(\d{1,6})\s*([a-zA-Z]+)\s*", str(value), flags=re.ASCII)
    unit = _unit(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError("is no length of time; write for example 30 days or 12 hours")
    return Period(int(match[1]), unit)


def format_period(period: Period) -> str:
    """The shortest of the spellings that `parse_period` reads; whole days stay apart from hours."""
    count, unit = period.count, period.unit
    if unit == "second" and count and count % 60 == 0:
        count, unit = count // 60, "minute"
    if unit == "minute" and count and count % 60 == 0:
        count, unit = count // 60, "hour"
    if unit == "week":
        count, unit = 7 * count, "day"
    return f"{count} {unit}s" if unit in ("month", "year") else f"{count}{unit[0]}"


def shift(day: date, period: Period, sign: int) -> date:
    """The day a calendar period later (`sign` 1) or earlier (-1).

    A month ends with its last day: 31 January and one month is 28 or 29 February. Days outside the
    years 1 to 9999 become the first or the last one. Raises ValueError for an exact period.
    """
    count = sign * period.count
    match period.unit:
        case "day" | "week":
            number = day.toordinal() + count * (7 if period.unit == "week" else 1)
            return date.fromordinal(min(max(number, 1), date.max.toordinal()))
        case "month" | "year":
            months = day.year * 12 + day.month - 1 + count * (12 if period.unit == "year" else 1)
            year, month = months // 12, months % 12 + 1
            if not 1 <= year <= 9999:
                return date.min if year < 1 else date.max
            return date(year, month, min(day.day, monthrange(year, month)[1]))
        case _:
            raise ValueError(f"{period.count} {period.unit}s are no whole days")


def _unit(word: str) -> Unit | None:
    return _SPELLINGS.get(word) or _SPELLINGS.get(word.removesuffix("s"))
