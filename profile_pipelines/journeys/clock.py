"""When a wait ends, in the catalogue's time zone; always in UTC on the way out."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import polars as pl

from profile_pipelines.catalog.journeys import Moment


def next_time(moment: Moment, after: datetime, timezone: ZoneInfo) -> datetime:
    """The next such time of day, on its weekday, strictly after a moment.

    A time that a change to summer time leaves out is as much later as the gap is wide.
    """
    local = after.astimezone(timezone)
    day = local.date()
    while True:
        if moment.weekday is None or day.weekday() == moment.weekday:
            found = datetime.combine(day, moment.at, timezone).astimezone(UTC)
            if found > after:
                return found
        day += timedelta(days=1)


def day_time(dates: pl.Expr, days: int, at: time, timezone: str) -> pl.Expr:
    """The moments at a time of day, so many days after each date; in UTC.

    Of a time that comes twice it is the first, of one that is left out the end of the gap.
    """
    local = (dates + timedelta(days=days)).dt.combine(at)
    there = local.dt.replace_time_zone(timezone, ambiguous="earliest", non_existent="null")
    later = (local + timedelta(hours=1)).dt.replace_time_zone(
        timezone, ambiguous="earliest", non_existent="null"
    )
    return pl.coalesce(there, later).dt.convert_time_zone("UTC")
