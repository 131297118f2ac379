"""The days of the year on which anniversaries fall, as constants that SQL compares with.

Dates have anniversaries from a year after them on. One of 29 February is kept on the 28th in a
common year, as a month or a year from then ends on the last day of the month.
"""

from __future__ import annotations

from calendar import isleap
from dataclasses import dataclass
from datetime import date

from profile_pipelines.catalog.periods import parse_period, shift
from profile_pipelines.engine.windows import Clock


@dataclass(frozen=True)
class DaysOfYear:
    """A part of one year: its first and last day, both included, as month * 100 + day."""

    first: int
    last: int
    begun_before: date
    """Only what was before this day has its anniversary then."""


def anniversaries(operator: str, value: object, clock: Clock) -> list[DaysOfYear]:
    """The parts of years in which an anniversary lies within the window of
    `anniversary_within_next` or `anniversary_within_last`; at most three.

    Raises ValueError for a window of hours.
    """
    sign = 1 if operator == "anniversary_within_next" else -1
    today = clock.today
    other = shift(today, parse_period(value), sign)
    first, last = min(today, other), max(today, other)
    # of several whole years the last is enough: it has the days of all, and the most that begun
    years = {first.year, last.year, max(first.year, last.year - 1)}
    return [
        _days_of(
            max(first, date(year, 1, 1)),
            min(last, date(year, 12, 31)),
        )
        for year in sorted(years)
    ]


def _days_of(first: date, last: date) -> DaysOfYear:
    end = last.month * 100 + last.day
    if end == 228 and not isleap(last.year):
        end = 229
    return DaysOfYear(first.month * 100 + first.day, end, date(first.year, 1, 1))
