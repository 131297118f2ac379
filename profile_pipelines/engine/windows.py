"""From an operator with its value to the range of dates, instants or numbers that it means.

Dates are calendar dates in the catalogue's time zone. A day of a timestamp lasts from its first
local midnight (or, where the clocks skip midnight, from the first instant after it) until the next
day's; days of 23, 24 or 25 hours come out of that by themselves. Everything is computed here, so
that SQL compares with constants only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import cast
from zoneinfo import ZoneInfo

from profile_pipelines.catalog.compared_values import (
    ConditionValue,
    DayFromToday,
    condition_value,
)
from profile_pipelines.catalog.local_time import ALWAYS, NEVER
from profile_pipelines.catalog.periods import Period, parse_period, shift
from profile_pipelines.catalog.values import AttributeType

Point = date | datetime | int | Decimal

_FIRST_INSTANT = datetime.min.replace(tzinfo=UTC)
_LAST_INSTANT = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Range:
    """What lies between two points; None is an open end."""

    low: Point | None = None
    high: Point | None = None
    low_included: bool = True
    high_included: bool = True


@dataclass(frozen=True)
class Clock:
    """The present (`now`, with a time zone of its own) and the catalogue's time zone."""

    now: datetime
    timezone: ZoneInfo

    @property
    def today(self) -> date:
        """The calendar date of now."""
        return self.now.astimezone(self.timezone).date()

    def day_start(self, day: date) -> datetime:
        """The instant, in UTC, at which a calendar date begins; before the first there is none."""
        return (
            _FIRST_INSTANT
            if day == date.min
            else self.instant(datetime(day.year, day.month, day.day))
        )

    def day_end(self, day: date) -> datetime:
        """The instant, in UTC, at which the next calendar date begins."""
        return _LAST_INSTANT if day == date.max else self.day_start(day + timedelta(days=1))

    def instant(self, moment: datetime) -> datetime:
        """A timestamp in UTC; without an offset it's local, and the first of two alike."""
        local = moment if moment.tzinfo else moment.replace(tzinfo=self.timezone)
        try:
            return local.astimezone(UTC)
        except OverflowError:
            return _FIRST_INSTANT if moment.year == 1 else _LAST_INSTANT


def value_range(operator: str, attribute_type: AttributeType, value: object, clock: Clock) -> Range:
    """The range of `is`, a comparison, `before`, `after`, `between` or a window.

    `value` is as the condition holds it. Raises ValueError when it doesn't fit the type.
    """
    if operator == "between":
        low, high = cast("tuple[object, object]", value)
        first, last = _span(attribute_type, low, clock), _span(attribute_type, high, clock)
        return Range(first.low, last.high, first.low_included, last.high_included)
    if operator in ("within_next", "within_last", "more_than_ago"):
        return _window(operator, attribute_type, parse_period(value), clock)
    span = _span(attribute_type, value, clock)
    match operator:
        case "is":
            return span
        case "less_than" | "before":
            return Range(high=span.low, high_included=False)
        case "at_most":
            return Range(high=span.high, high_included=span.high_included)
        case "more_than" | "after":
            return Range(low=span.high, low_included=not span.high_included)
        case "at_least":
            return Range(low=span.low)
        case _:
            raise ValueError(f"{operator} is no range")


def recent(value: object, clock: Clock) -> Range:
    """The instants of `changed_within`: as `within_last`, but never after now."""
    window = _window("within_last", "timestamp", parse_period(value), clock)
    return Range(window.low, clock.instant(clock.now))


def _span(attribute_type: AttributeType, written: object, clock: Clock) -> Range:
    value: ConditionValue = condition_value(attribute_type, written)
    if isinstance(value, DayFromToday):
        value = value.on(clock.today)
    if isinstance(value, datetime):
        instant = clock.instant(value)
        return Range(instant, instant)
    if isinstance(value, str):
        raise ValueError("text has no order")
    if attribute_type == "timestamp" and isinstance(value, date):
        # no instant is after the last day
        return Range(clock.day_start(value), clock.day_end(value), high_included=value == date.max)
    return Range(value, value)


def _window(operator: str, attribute_type: AttributeType, period: Period, clock: Clock) -> Range:
    """What is never, or always was, lies in no window, however long; what always was is longer ago
    than anything."""
    sign = 1 if operator == "within_next" else -1
    if period.exact:
        if attribute_type == "date":
            raise ValueError("a date has no hours")
        now = clock.instant(clock.now)
        other = _clipped(now, sign * period.length)
        if operator == "more_than_ago":
            return _long_ago(other, ALWAYS)
        return _in_calendar(Range(min(now, other), max(now, other)), ALWAYS, NEVER)
    today = clock.today
    day = shift(today, period, sign)
    first, last = min(today, day), max(today, day)
    if attribute_type == "date":
        if operator == "more_than_ago":
            return _long_ago(day, ALWAYS.date())
        return _in_calendar(Range(first, last), ALWAYS.date(), NEVER.date())
    if operator == "more_than_ago":
        return _long_ago(clock.day_start(day), ALWAYS)
    days = Range(clock.day_start(first), clock.day_end(last), high_included=False)
    return _in_calendar(days, ALWAYS, NEVER)


def _in_calendar(window: Range, always: Point, never: Point) -> Range:
    low, high = cast("tuple[date, date]", (window.low, window.high))
    first, last = cast("tuple[date, date]", (always, never))
    return Range(
        max(low, first), min(high, last),
        low_included=low > first, high_included=window.high_included and high < last,
    )  # fmt: skip


def _long_ago(before: date, always: date) -> Range:
    return Range(high=max(before, always), high_included=before <= always)


def _clipped(now: datetime, length: timedelta) -> datetime:
    try:
        return now + length
    except OverflowError:
        return _FIRST_INSTANT if length < timedelta() else _LAST_INSTANT
