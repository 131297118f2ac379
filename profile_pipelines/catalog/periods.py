"""Lengths of time in conditions: calendar periods (`30 days`) and exact ones (`12 hours`)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
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


def _unit(word: str) -> Unit | None:
    return _SPELLINGS.get(word) or _SPELLINGS.get(word.removesuffix("s"))
