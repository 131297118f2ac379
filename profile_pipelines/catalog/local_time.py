"""Local time: days of the calendar and hours of the clock in a time zone, as instants in UTC.

A time that a change of the clock leaves out is as much later as the clock skips; of one that comes
twice it is the first. The ends of the calendar stand for "always" and "never", and stay that
whatever is added to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from profile_pipelines.catalog.periods import Period, shift

ALWAYS = datetime(1, 1, 3, tzinfo=UTC)
NEVER = datetime(9999, 12, 30, tzinfo=UTC)
"""So far from the ends of the calendar that each has a local time in every zone."""
CLOCKS_DIFFER = timedelta(minutes=5)
"""How far the clocks of two machines may lie apart; a time later than that is in the future."""
_PROBE = timedelta(hours=3)
"""A clock isn't changed twice within so short a time."""
_AHEAD = 16
"""Days in which every weekday comes, also where a zone leaves one out at the date line."""


def instant_of(day: date, at: time, zone: ZoneInfo) -> datetime:
    """The instant at which a clock of the zone shows a time of day on a date."""
    if day <= ALWAYS.date():
        return ALWAYS
    if day >= NEVER.date():
        return NEVER
    return datetime.combine(day, at.replace(fold=0), zone).astimezone(UTC)


def within_calendar(moment: datetime) -> datetime:
    """The moment in UTC; ALWAYS or NEVER in place of one at the end of the calendar."""
    if moment.replace(tzinfo=UTC) <= ALWAYS:
        return ALWAYS
    if moment.replace(tzinfo=UTC) >= NEVER:
        return NEVER
    return moment.astimezone(UTC)


def exactly_later(moment: datetime, length: timedelta) -> datetime:
    """The moment so much later, or earlier for a negative length."""
    moment = within_calendar(moment)
    if moment in (ALWAYS, NEVER):
        return moment
    try:
        return min(max(moment + length, ALWAYS), NEVER)
    except OverflowError:
        return ALWAYS if length < timedelta() else NEVER


def later(moment: datetime, period: Period, zone: ZoneInfo, sign: int = 1) -> datetime:
    """The moment a period later (`sign` 1) or earlier (-1): at the same time of day so many days on
    by the zone's calendar, or exactly so many hours on."""
    if period.exact:
        return exactly_later(moment, sign * period.length)
    moment = within_calendar(moment)
    if moment in (ALWAYS, NEVER) or not period.count:
        return moment
    local = moment.astimezone(zone)
    return instant_of(shift(local.date(), period, sign), local.time(), zone)


def day_start(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a date."""
    return instant_of(day, time(), zone)


def begin_of_last(period: Period, now: datetime, zone: ZoneInfo) -> datetime:
    """The first moment that counts as within the last `period`: of one day that is today, of seven
    days today and the six before; of hours, what is less than so long ago."""
    if period.exact:
        return exactly_later(now, timedelta(microseconds=1) - period.length)
    before = shift(now.astimezone(zone).date(), period, -1)
    return day_start(before if before == date.max else before + timedelta(days=1), zone)


def next_moment(
    now: datetime, zone: ZoneInfo, is_open: Callable[[datetime], bool], bounds: Iterable[time]
) -> datetime | None:
    """The first moment from `now` on, in UTC, whose local time is open; None where none is within
    two weeks.

    What is open may change at the bounds, at midnight and where the clock is changed alone.
    """
    now = now.astimezone(UTC)
    if is_open(now.astimezone(zone)):
        return now
    today = now.astimezone(zone).date()
    days = [today + timedelta(days=ahead) for ahead in range(_AHEAD)]
    found = [
        datetime.combine(day, at.replace(fold=fold), zone).astimezone(UTC)
        for day in days for at in {time(), *bounds} for fold in (0, 1)
    ]  # fmt: skip
    found += offset_changes(zone, now, max(found))
    openings = (each for each in found if each > now and is_open(each.astimezone(zone)))
    return min(openings, default=None)


def offset_changes(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
    """The instants after `start`, up to `end`, at which clocks of the zone are changed; in UTC."""

    def offset(second: int) -> timedelta | None:
        return datetime.fromtimestamp(second, zone).utcoffset()

    first, last = int(start.timestamp()), int(end.timestamp())
    step = int(_PROBE.total_seconds())
    for low in range(first, last, step):
        high = min(low + step, last)
        before = offset(low)
        if offset(high) == before:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset(middle) == before else (low, middle)
        yield datetime.fromtimestamp(high, UTC)
