"""Cron schedules: five fields, wall-clock time in the catalogue's time zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any, cast
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

from profile_pipelines.catalog.local_time import offset_changes

_START = datetime(2023, 12, 31)
_SPAN = timedelta(days=400)
_LEAST = timedelta(microseconds=1)
_CHANGED_BEFORE = timedelta(days=1, hours=1)
"""So long after a change of the clock, at most, times are shown that had been shown before it."""
_UNKNOWN_TO_DAGSTER = re.compile(r"(?<![a-z])[rhw](?![a-z])", re.IGNORECASE)
"""Random ticks, and the weekday next to a day of the month."""


@lru_cache(maxsize=1024)
def longest_gap(cron: str) -> timedelta:
    """The longest time between two ticks by the wall clock, clock changes left aside.

    Raises ValueError when `cron` isn't a schedule of five fields, or never comes.
    """
    fields = cron.split()
    if len(fields) != 5 or _UNKNOWN_TO_DAGSTER.search(cron):
        raise ValueError("must be a cron schedule of five fields, for example 0 * * * *")
    try:
        expanded: Any = cast(Any, croniter).expand(cron)[0]
        minutes, hours = (_all(expanded[0], 60), _all(expanded[1], 24))
        days = _days(" ".join(fields[2:]))
    except CroniterBadDateError:
        raise ValueError("never comes; write for example 0 * * * *") from None
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
        raise ValueError("isn't a cron schedule; write for example 0 * * * *") from None
    ticks = [timedelta(hours=hour, minutes=minute) for hour in hours for minute in minutes]
    overnight = ticks[0] - ticks[-1]
    between_days = max(later - earlier for earlier, later in pairwise(days)) + overnight
    return max([between_days, *(later - earlier for earlier, later in pairwise(ticks))])


def last_tick(cron: str, now: datetime, zone: ZoneInfo) -> datetime | None:
    """The last instant up to `now` (aware) at which a schedule came by the clocks of the zone.

    A time that a change of the clock leaves out comes when the clock has been put forward; one
    that is shown twice comes twice. None for a schedule that hasn't come yet.
    """
    now = now.astimezone(UTC)
    local = now.astimezone(zone)
    shown = [local.replace(tzinfo=None, fold=0)]
    for change in offset_changes(zone, now - _CHANGED_BEFORE, now):
        # before clocks went back they showed later times than now
        before = (change - _LEAST).astimezone(zone)
        shown.append(before.replace(tzinfo=None, fold=0))
    found: list[datetime] = []
    for end in shown:
        try:
            tick = cast(Any, croniter)(cron, end + _LEAST).get_prev(datetime)
        except CroniterBadDateError:
            continue
        found += (_shown(tick, fold, zone) for fold in (0, 1))
    return max((each for each in found if each <= now), default=None)


def _shown(clock: datetime, fold: int, zone: ZoneInfo) -> datetime:
    """When a clock of the zone shows this time, or has first passed it where it is left out."""
    instant = clock.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == clock:
        return instant
    early = clock.replace(tzinfo=zone, fold=1).astimezone(UTC)
    late = clock.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return next(
        offset_changes(zone, early - timedelta(seconds=1), late + timedelta(seconds=1)), instant
    )


@lru_cache(maxsize=256)
def _days(days: str) -> list[datetime]:
    if days == "* * *":
        return [_START, _START + timedelta(days=1)]
    ticks = cast(Any, croniter)(f"0 0 {days}", _START)
    found: list[datetime] = []
    while len(found) < 2 or found[-1] - _START < _SPAN:
        found.append(ticks.get_next(datetime))
    return found


def _all(field: list[Any], count: int) -> list[int]:
    return list(range(count)) if field == ["*"] else sorted({int(value) for value in field})
