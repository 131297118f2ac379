"""Ranges of dates and instants, at their edges."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profile_pipelines.audiences.compile import Context
from profile_pipelines.catalog.models import Attribute
from profile_pipelines.catalog.periods import Period
from profile_pipelines.engine.windows import Clock, Range, recent, shift, value_range
from profile_pipelines_tests.audiences.model import (
    Profile,
    calendar_day,
    day_named,
    holds,
    later,
)
from profile_pipelines_tests.audiences.worlds import Drawing, hard_times

_OPERATORS = [
    "is", "before", "after", "between", "within_next", "within_last", "more_than_ago",
]  # fmt: skip


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _clock(now: str, zone: str) -> Clock:
    return Clock(_utc(now), ZoneInfo(zone))


@settings(max_examples=500, deadline=None)
@given(st.data(), hard_times(), st.sampled_from(["date", "timestamp"]))
def test_ranges_agree_with_the_model_at_every_edge(
    data: st.DataObject, time: tuple[datetime, ZoneInfo], kind: Any
) -> None:
    """Around the ends of any range, exactly those values are in it that the model lets in."""
    declared = {"type": kind, "sources": ["crm"], "fresh_within": "1h"}
    context = Context(*time, {"tested": Attribute.model_validate(declared)}, {})
    operator = data.draw(st.sampled_from([*_OPERATORS, "changed_within"]))
    operand = Drawing(data.draw, context).operand(operator, "tested")
    if operator == "changed_within":
        found, points = recent(operand, context.clock), _instants(context, operand)
        for point in points:
            profile = Profile({"tested": "x"}, {}, [(point, ["tested"])])
            assert _contains(found, point) == holds("tested", operator, operand, profile, context)
        return
    written = tuple(operand) if isinstance(operand, list) else operand
    found = value_range(operator, kind, written, context.clock)
    for point in (_days if kind == "date" else _instants)(context, operand):
        profile = Profile({"tested": point}, {})
        assert _contains(found, point) == holds("tested", operator, operand, profile, context)


def _days(context: Context, operand: Any) -> set[date]:
    """Today and the days that the operand names or leads to, with those around them."""
    today = calendar_day(context.now, context.timezone)
    found = {today}
    for part in operand if isinstance(operand, list) else [operand]:
        if isinstance(part, date):
            found |= {date(part.year, part.month, part.day)}
        elif part.startswith(("to", "yesterday")):
            found |= {day_named(part, context)}
        elif not part.endswith(("hours", "minutes")):
            count, unit = part.split()
            found |= {later(today, sign + count, unit) for sign in "+-"}
    around = {day.toordinal() + more for day in found for more in (-1, 0, 1)}
    return {date.fromordinal(each) for each in around if 1 <= each <= date.max.toordinal()}


def _instants(context: Context, operand: Any) -> set[datetime]:
    """The midnights around these days, now and the instants that the operand names, ± 1 µs."""
    midnights = [
        datetime(day.year, day.month, day.day, tzinfo=context.timezone, fold=fold)
        for day in _days(context, operand)
        for fold in (0, 1)
    ]
    found = {context.now, *(context.clock.instant(each) for each in midnights)}
    for part in operand if isinstance(operand, list) else [operand]:
        if isinstance(part, datetime):
            local = part if part.tzinfo else part.replace(tzinfo=context.timezone)
            found |= {context.clock.instant(local.replace(fold=fold)) for fold in (0, 1)}
        elif isinstance(part, str) and part.endswith(("hours", "minutes")):
            count, unit = part.split()
            length = timedelta(**{unit: int(count)})
            found |= {context.now + length, context.now - length}
    # so far inside that a microsecond more is a moment, too
    ends = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
    inside = {each for each in found if each not in ends}
    return found | {each + timedelta(microseconds=more) for each in inside for more in (-1, 1)}


def _contains(window: Range, point: Any) -> bool:
    low: Any = window.low
    high: Any = window.high
    return (low is None or low < point or (window.low_included and low == point)) and (
        high is None or point < high or (window.high_included and high == point)
    )


@pytest.mark.parametrize(
    ("day", "period", "sign", "expected"),
    [
        ("2024-01-31", Period(1, "month"), 1, "2024-02-29"),
        ("2023-01-31", Period(1, "month"), 1, "2023-02-28"),
        ("2024-03-31", Period(1, "month"), -1, "2024-02-29"),
        ("2024-02-29", Period(1, "year"), 1, "2025-02-28"),
        ("2024-12-15", Period(1, "month"), 1, "2025-01-15"),
        ("2024-01-15", Period(13, "month"), -1, "2022-12-15"),
        ("2024-02-28", Period(2, "week"), 1, "2024-03-13"),
        ("2024-05-01", Period(0, "day"), 1, "2024-05-01"),
        ("2024-05-01", Period(999999, "year"), 1, "9999-12-31"),
        ("2024-05-01", Period(999999, "year"), -1, "0001-01-01"),
        ("2024-05-01", Period(999999, "week"), -1, "0001-01-01"),
    ],
)
def test_calendar_periods_clip_to_the_month_and_to_the_calendar(
    day: str, period: Period, sign: int, expected: str
) -> None:
    """A month later is the same day of the month, or its last; the calendar has two ends."""
    assert shift(date.fromisoformat(day), period, sign) == date.fromisoformat(expected)


def test_an_exact_period_is_no_whole_days() -> None:
    """Hours can't shift a calendar date."""
    with pytest.raises(ValueError, match="no whole days"):
        shift(date(2024, 5, 1), Period(24, "hour"), 1)


def test_today_is_a_date_of_the_catalogues_time_zone() -> None:
    """The same instant is another date on either side of the date line."""
    now = "2024-01-30T10:30:00"
    assert _clock(now, "Pacific/Kiritimati").today == date(2024, 1, 31)
    assert _clock(now, "Pacific/Pago_Pago").today == date(2024, 1, 29)


def test_windows_of_dates_include_both_ends() -> None:
    """`within_next: 30 days` is today up to and including today + 30, and likewise backwards."""
    clock = _clock("2024-05-01T12:00", "UTC")
    today = date(2024, 5, 1)
    assert value_range("within_next", "date", "30 days", clock) == Range(today, date(2024, 5, 31))
    assert value_range("within_last", "date", "30 days", clock) == Range(date(2024, 4, 1), today)
    assert value_range("more_than_ago", "date", "30 days", clock) == Range(
        high=date(2024, 4, 1), high_included=False
    )


@pytest.mark.parametrize(
    ("now", "zone", "start", "end"),
    [
        ("2024-03-31T10:00", "Europe/Berlin", "2024-03-30T23:00", "2024-03-31T22:00"),
        ("2024-10-27T10:00", "Europe/Berlin", "2024-10-26T22:00", "2024-10-27T23:00"),
        ("2024-04-06T20:00", "Australia/Lord_Howe", "2024-04-06T13:00", "2024-04-07T13:30"),
        ("2018-11-04T12:00", "America/Sao_Paulo", "2018-11-04T03:00", "2018-11-05T02:00"),
        ("2024-11-03T12:00", "America/Havana", "2024-11-03T04:00", "2024-11-04T05:00"),
        ("2006-10-29T12:00", "America/St_Johns", "2006-10-29T02:30", "2006-10-30T03:30"),
        ("2011-12-30T10:00", "Pacific/Apia", "2011-12-30T10:00", "2011-12-31T10:00"),
    ],
)
def test_a_day_of_timestamps_lasts_from_its_first_midnight_to_the_next_days(
    now: str, zone: str, start: str, end: str
) -> None:
    """Days of 23, 24, 24.5 and 25 hours begin and end where the local calendar turns."""
    window = value_range("within_next", "timestamp", "0 days", _clock(now, zone))
    assert window == Range(_utc(start), _utc(end), high_included=False)


def test_a_day_that_the_clocks_skip_is_empty() -> None:
    """Apia had no 30 December 2011."""
    clock = _clock("2011-12-31T12:00", "Pacific/Apia")
    skipped = value_range("is", "timestamp", date(2011, 12, 30), clock)
    assert skipped.low == skipped.high == _utc("2011-12-30T10:00")
    assert not skipped.high_included


def test_hours_are_exact_across_a_change_of_the_clocks() -> None:
    """24 hours from now are 24 hours, also on a day of 23."""
    clock = _clock("2024-03-30T12:00", "Europe/Berlin")
    assert value_range("within_next", "timestamp", "24 hours", clock) == Range(
        _utc("2024-03-30T12:00"), _utc("2024-03-31T12:00")
    )
    assert value_range("more_than_ago", "timestamp", "90m", clock) == Range(
        high=_utc("2024-03-30T10:30"), high_included=False
    )


def test_changes_after_now_are_not_recent() -> None:
    """`changed_within` begins like `within_last` and ends now, so that the past can be replayed."""
    window = recent("1 day", _clock("2024-05-01T12:00", "Europe/Berlin"))
    assert window == Range(_utc("2024-04-29T22:00"), _utc("2024-05-01T12:00"))


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_ends_of_the_calendar_are_instants_too(zone: str) -> None:
    """Windows beyond the years 1 to 9999 reach as far as timestamps do, without an error."""
    clock = _clock("2024-05-01T12:00", zone)
    window = value_range("within_last", "timestamp", "9000 years", clock)
    assert isinstance(window.low, datetime)
    assert window.low.year == 1
    window = value_range("within_next", "timestamp", "9000 years", clock)
    assert isinstance(window.high, datetime)
    assert window.high.year == 9999
    exact = value_range("within_next", "timestamp", "999999 hours", clock)
    assert exact.high == _utc("2024-05-01T12:00") + timedelta(hours=999999)


def test_a_naive_timestamp_is_local_and_the_first_of_two_alike() -> None:
    """02:30 on the night of the change back is the one in summer time."""
    clock = _clock("2024-10-27T12:00", "Europe/Berlin")
    found = value_range("is", "timestamp", datetime(2024, 10, 27, 2, 30), clock)
    assert found == Range(_utc("2024-10-27T00:30"), _utc("2024-10-27T00:30"))
