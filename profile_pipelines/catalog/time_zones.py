"""The names of time zones, and what their clocks show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from profile_pipelines.catalog.mistakes import did_you_mean

_LEAST = timedelta(microseconds=1)
_NO_ZONES = frozenset({"Factory", "localtime", "posixrules"})
"""What the time zone database has beside its zones: no engine takes the first, and the others
are what a machine is set to."""


def time_zone(name: str) -> str:
    """The name as it is. Raises ValueError, with a hint, for what is no IANA time zone."""
    try:
        if name not in _NO_ZONES:
            ZoneInfo(name)
            return name
    except (LookupError, ValueError, OSError):
        pass
    hint = did_you_mean(name.title(), available_timezones() - _NO_ZONES)
    raise ValueError(f"is no time zone{hint or '; write for example Europe/Berlin'}")


@lru_cache(maxsize=4096)
def zone_named(name: str) -> ZoneInfo | None:
    """The IANA time zone of that name; None for what is none, such as a customer's `CEST+1`."""
    try:
        return ZoneInfo(time_zone(name.strip()))
    except ValueError:
        return None


def least_wall_time(since: datetime, zone: tzinfo) -> datetime:
    """The least time that may be written for an instant at or after `since` by a clock of the
    zone, as if in UTC.

    Before clocks go back, that is the time to which they go back; and an hour after they were put
    forward, a clock that nobody has put forward yet still shows the time that others skip.
    """
    shown = since.astimezone(zone).replace(tzinfo=None)
    again = shown.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if again > since:
        # clocks go back before this time comes again: to what they show then
        first, last = since, again
        offset = last.astimezone(zone).utcoffset()
        while last - first > _LEAST:
            middle = first + (last - first) // 2
            if middle.astimezone(zone).utcoffset() == offset:
                last = middle
            else:
                first = middle
        return last.astimezone(zone).replace(tzinfo=UTC)
    before = (since - timedelta(days=1)).astimezone(zone).utcoffset() or timedelta()
    kept = (since + before).replace(tzinfo=None)
    if kept < shown and kept.replace(tzinfo=zone, fold=0).astimezone(UTC) == since:
        shown = kept
    return shown.replace(tzinfo=UTC)
