"""When waits end, by the clock of each customer; always in UTC on the way out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from profile_pipelines.catalog.journeys import Moment, Wait
from profile_pipelines.catalog.local_time import (
    ALWAYS,
    NEVER,
    day_start,
    exactly_later,
    instant_of,
    later,
    within_calendar,
)
from profile_pipelines.catalog.periods import Period, shift

INSTANT = pl.Datetime("us", "UTC")


def next_time(moment: Moment, after: datetime, timezone: ZoneInfo) -> datetime:
    """The next such time of day, on its weekday, strictly after a moment.

    A time that a change to summer time leaves out is as much later as the gap is wide.
    """
    after = within_calendar(after)
    day = after.astimezone(timezone).date()
    while True:
        if moment.weekday is None or day.weekday() == moment.weekday:
            found = instant_of(day, moment.at, timezone)
            if found > after or found == NEVER:
                return found
        day += timedelta(days=1)


def moment_of(moment: Moment, value: date | datetime, timezone: ZoneInfo) -> datetime:
    """The moment that a customer's date or timestamp makes; NEVER or ALWAYS of a value at the end
    of the calendar, which stands for that."""
    if not isinstance(value, datetime):
        if value >= NEVER.date() or value <= ALWAYS.date():
            return instant_of(value, time(), timezone)
        return instant_of(shift(value, Period(abs(moment.days), "day"), _sign(moment.days)),
                          moment.at, timezone)  # fmt: skip
    value = within_calendar(value)
    if value in (ALWAYS, NEVER):
        return value
    if moment.minutes:
        return exactly_later(value, timedelta(minutes=moment.minutes))
    if moment.keeps_time:
        return later(value, Period(abs(moment.days), "day"), timezone, _sign(moment.days))
    day = value.astimezone(timezone).date()
    return moment_of(moment, day, timezone)


def _sign(count: int) -> int:
    return -1 if count < 0 else 1


def due_at(
    wait: Wait, value: date | datetime | None, arrived: datetime, timezone: ZoneInfo
) -> datetime | None:
    """When the clock alone ends a wait; `value` is the customer's date or timestamp that it is
    until, if it is. None where only a condition, or a value that is missing, will tell."""
    found: list[datetime] = []
    if wait.for_ is not None:
        found.append(later(arrived, wait.for_, timezone))
    elif isinstance(wait.until, Moment) and wait.until.attribute is None:
        found.append(next_time(wait.until, arrived, timezone))
    elif isinstance(wait.until, Moment) and value is not None:
        found.append(moment_of(wait.until, value, timezone))
    if wait.at_most is not None:
        found.append(later(arrived, wait.at_most, timezone))
    return min(found, default=None)


def late_from(wait: Wait, value: date | datetime | None, timezone: ZoneInfo) -> datetime | None:
    """From when on it is too late for a customer's moment: as soon as it's over where that is so
    many hours from a timestamp, else with the end of its day. None without such a moment."""
    if not isinstance(wait.until, Moment) or wait.until.attribute is None or value is None:
        return None
    moment = moment_of(wait.until, value, timezone)
    if wait.until.minutes or moment in (ALWAYS, NEVER):
        return exactly_later(moment, timedelta(microseconds=1))
    return day_start(moment.astimezone(timezone).date() + timedelta(days=1), timezone)


def each_once(
    frame: pl.DataFrame, names: list[str], compute: Callable[..., datetime | None]
) -> pl.Series:
    """An instant for each row, computed once for rows that are alike in the named columns."""
    alike = frame.select(names).unique()
    found: list[Any] = [compute(*row) for row in alike.iter_rows()]
    answers = alike.with_columns(pl.Series("found", found, INSTANT))
    joined = frame.select(names).join(
        answers, on=names, how="left", nulls_equal=True, maintain_order="left"
    )
    return joined["found"]
