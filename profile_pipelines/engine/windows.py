"""From an operator with its value to the range of dates, instants or numbers that it means.

Dates are calendar dates in the catalogue's time zone. A day of a timestamp lasts from its first
local midnight (or, where the clocks skip midnight, from the first instant after it) until the next
day's; days of 23, 24 or 25 hours come out of that by themselves. Everything is computed here, so
that SQL compares with constants only.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import cast
from zoneinfo import ZoneInfo

from profile_pipelines.catalog.operators import ConditionValue, condition_value
from profile_pipelines.catalog.periods import Period, parse_period
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
        """The instant, in UTC, at which a calendar date begins."""
        return self.instant(datetime(day.year, day.month, day.day))

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
            return Range(high=span.high)
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
    if value == "today":
        value = clock.today
    if isinstance(value, datetime):
        instant = clock.instant(value)
        return Range(instant, instant)
    if isinstance(value, str):
        raise ValueError("text has no order")
    if attribute_type == "timestamp" and isinstance(value, date):
        return Range(clock.day_start(value), clock.day_end(value), high_included=False)
    return Range(value, value)


def _window(operator: str, attribute_type: AttributeType, period: Period, clock: Clock) -> Range:
    sign = 1 if operator == "within_next" else -1
    if period.exact:
        if attribute_type == "date":
            raise ValueError("a date has no hours")
        now = clock.instant(clock.now)
        other = _clipped(now, sign * period.length)
        if operator == "more_than_ago":
            return Range(high=other, high_included=False)
        return Range(min(now, other), max(now, other))
    today = clock.today
    day = shift(today, period, sign)
    first, last = min(today, day), max(today, day)
    if attribute_type == "date":
        if operator == "more_than_ago":
            return Range(high=day, high_included=False)
        return Range(first, last)
    if operator == "more_than_ago":
        return Range(high=clock.day_start(day), high_included=False)
    return Range(clock.day_start(first), clock.day_end(last), high_included=False)


def _clipped(now: datetime, length: timedelta) -> datetime:
    try:
        return now + length
    except OverflowError:
        return _FIRST_INSTANT if length < timedelta() else _LAST_INSTANT
