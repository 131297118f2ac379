"""When messages may go out: windows of weekdays and hours, and quiet hours, by local clocks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, time
from typing import Annotated, cast
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, PlainSerializer, field_validator

from profile_pipelines.catalog.declaration import Declaration
from profile_pipelines.catalog.local_time import next_moment

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_HOURS = re.compile(r"\s*(\d\d?):(\d\d)\s*(?:to|-|–)\s*(\d\d?):(\d\d)\s*")


def _times(text: str) -> tuple[time, time]:
    """Two times of day, `09:00 to 17:00`; 24:00 ends a day. Raises ValueError for anything else."""
    match = _HOURS.fullmatch(text)
    if match is None:
        raise ValueError
    end = (int(match[3]), int(match[4]))
    return time(int(match[1]), int(match[2])), time(*((0, 0) if end == (24, 0) else end))


class QuietHours(Declaration):
    """From a time of day until another; it may go over midnight."""

    start: time
    end: time

    @classmethod
    def read(cls, value: object) -> object:
        """Let `21:00 to 08:00` stand for start and end."""
        if isinstance(value, dict | QuietHours):
            return cast(object, value)
        try:
            start, end = _times(str(value))
        except ValueError:
            raise ValueError("must be two times of day, for example 21:00 to 08:00") from None
        if start == end:
            raise ValueError("begin and end at the same time; leave quiet hours out instead")
        return {"start": start, "end": end}

    def holds(self, local: datetime) -> bool:
        """Whether they hold while a clock shows this."""
        clock = local.time().replace(tzinfo=None)
        if self.start < self.end:
            return self.start <= clock < self.end
        return clock >= self.start or clock < self.end


def _weekdays(value: object) -> list[str]:
    """Read `mon-fri`, `[mon, wednesday]`: the days' names in the order of the week."""
    found: set[int] = set()
    parts = cast("list[object]", value) if isinstance(value, list) else str(value).split(",")
    for part in parts:
        ends = [_weekday(word) for word in re.split(r"\s*[-–]\s*", str(part).strip().lower())]
        if len(ends) > 2:
            raise ValueError("must be weekdays, for example mon-fri, or [mon, wed]")
        found |= {(ends[0] + n) % 7 for n in range((ends[-1] - ends[0]) % 7 + 1)}
    return [WEEKDAYS[each] for each in sorted(found)]


def _weekday(word: str) -> int:
    for number, day in enumerate(WEEKDAYS):
        if len(word) >= 3 and day.startswith(word):
            return number
    raise ValueError("must be weekdays, for example mon-fri, or [mon, wed]")


class Window(Declaration):
    """Weekdays and hours in which messages go out, such as those of an office."""

    days: Annotated[
        list[str], BeforeValidator(_weekdays, json_schema_input_type=str | list[str])
    ] = list(WEEKDAYS)
    """The weekdays, such as `mon-fri` or `[mon, wed, fri]`; all unless they are given."""
    hours: Annotated[
        tuple[time, time] | None,
        BeforeValidator(lambda value: _hours(value), json_schema_input_type=str),
        PlainSerializer(lambda value: None if value is None else _spell_hours(value)),
    ] = None
    """From when until when, such as `09:00-17:00`; over midnight it is of the day it begins on."""

    @field_validator("days")
    @classmethod
    def _some(cls, days: list[str]) -> list[str]:
        if not days:
            raise ValueError("must be weekdays, for example mon-fri, or [mon, wed]")
        return days

    @classmethod
    def read(cls, value: object) -> object:
        """Let `mon-fri 09:00-17:00` stand for days and hours."""
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"\s*([a-zA-Z, –-]*?)\s*(\d.*)?", value)
        if match is None or not (match[1] or match[2]):
            raise ValueError("must be days and hours, for example mon-fri 09:00-17:00")
        return {key: part for key, part in (("days", match[1]), ("hours", match[2])) if part}

    def is_open(self, local: datetime) -> bool:
        """Whether messages go out while a clock shows this."""
        today = WEEKDAYS[local.weekday()] in self.days
        if self.hours is None:
            return today
        (start, end), clock = self.hours, local.time().replace(tzinfo=None)
        if start < end:
            return today and start <= clock < end
        yesterday = WEEKDAYS[local.weekday() - 1] in self.days
        return (today and clock >= start) or (yesterday and clock < end)


def _hours(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        start, end = _times(value)
    except ValueError:
        raise ValueError("must be two times of day, for example 09:00-17:00") from None
    if start == end:
        raise ValueError("begin and end at the same time; leave hours out instead")
    return start, end


def _spell_hours(hours: tuple[time, time]) -> str:
    return f"{hours[0]:%H:%M}-{hours[1]:%H:%M}"


Quiet = Annotated[QuietHours, BeforeValidator(QuietHours.read, json_schema_input_type=str)]
OpenHours = Annotated[Window, BeforeValidator(Window.read, json_schema_input_type=Window | str)]


def next_allowed(
    now: datetime, zone: ZoneInfo, quiet: Iterable[QuietHours], windows: Iterable[Window]
) -> datetime | None:
    """The first moment from `now` on, in UTC, at which all windows are open and no quiet hours
    hold, by the clocks of the zone; None where there is none in two weeks."""
    quiet, windows = list(quiet), list(windows)

    def is_open(local: datetime) -> bool:
        return not any(each.holds(local) for each in quiet) and all(
            each.is_open(local) for each in windows
        )

    bounds = [at for each in quiet for at in (each.start, each.end)]
    bounds += [at for each in windows for at in each.hours or ()]
    return next_moment(now, zone, is_open, bounds)
