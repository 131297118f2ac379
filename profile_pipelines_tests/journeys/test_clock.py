"""When waits and quiet hours end, in every time zone and over every change of the clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from profile_pipelines.catalog.channels import QuietHours
from profile_pipelines.catalog.journeys import Moment
from profile_pipelines.journeys.clock import day_time, next_time

# the catalogue refuses "Factory", which stands for no zone
ZONES = st.sampled_from(sorted(available_timezones() - {"localtime", "Factory"})).map(ZoneInfo)
MOMENTS = st.datetimes(datetime(1995, 1, 1), datetime(2037, 1, 1)).map(
    lambda at: at.replace(microsecond=0, tzinfo=UTC)
)
TIMES = st.times().map(lambda at: at.replace(second=0, microsecond=0))
MINUTE = timedelta(minutes=1)
BERLIN, APIA = ZoneInfo("Europe/Berlin"), ZoneInfo("Pacific/Apia")


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@given(MOMENTS, TIMES, ZONES, st.none() | st.integers(0, 6))
@example(_utc("2026-03-29T00:00"), time(2, 30), BERLIN, None)
@example(_utc("2011-12-30T09:00"), time(12), APIA, 4)
def test_the_next_time_of_day(
    after: datetime, at: time, timezone: ZoneInfo, weekday: int | None
) -> None:
    """The earliest ahead, on its weekday; of a day that is left out, at its place in time."""
    found = next_time(Moment(at=at, weekday=weekday), after, timezone)
    assert after < found <= after + timedelta(days=3 if weekday is None else 15)
    first = after.astimezone(timezone).date()
    days = [first + timedelta(days=n) for n in range(16)]
    candidates = [
        datetime.combine(day, at, timezone).astimezone(UTC)
        for day in days
        if weekday is None or day.weekday() == weekday
    ]
    assert found == min(each for each in candidates if each > after)


@given(st.dates(date(1995, 1, 1), date(2037, 1, 1)), st.integers(-40, 40), TIMES, ZONES)
@example(date(2026, 4, 5), -7, time(2, 30), BERLIN)
@example(date(2011, 12, 30), 0, time(9), APIA)
@example(date(2026, 10, 25), 0, time(2, 30), BERLIN)
def test_a_day_of_the_profile(day: date, days: int, at: time, timezone: ZoneInfo) -> None:
    """As the standard library has it where the clock shows that time; later where it doesn't."""
    frame = pl.DataFrame({"day": [day]})
    found = frame.select(day_time(pl.col("day"), days, at, str(timezone))).item()
    wanted = datetime.combine(day + timedelta(days=days), at, timezone)
    exists = wanted.astimezone(UTC).astimezone(timezone).replace(tzinfo=None) == wanted.replace(
        tzinfo=None
    )
    if exists:
        assert found == wanted.astimezone(UTC)
    elif found is not None:
        assert wanted.astimezone(UTC) - timedelta(hours=1) <= found
        assert found <= wanted.astimezone(UTC) + timedelta(hours=1)


@given(MOMENTS, TIMES, TIMES, ZONES)
@example(_utc("2026-03-29T00:30"), time(21), time(2, 30), BERLIN)
def test_quiet_hours(now: datetime, start: time, end: time, timezone: ZoneInfo) -> None:
    """Outside them there is nothing to wait for; inside, one waits less than two days, and the
    clock then shows their end unless it was left out."""
    if start == end:
        return
    until = QuietHours(start=start, end=end).until(now, timezone)
    clock = now.astimezone(timezone).time()
    inside = start <= clock < end if start < end else clock >= start or clock < end
    assert (until is not None) == inside
    if until is not None:
        assert now - timedelta(hours=2) < until < now + timedelta(days=2)


@pytest.mark.parametrize(
    ("after", "wanted"),
    [
        ("2026-03-28T01:31", "2026-03-29T01:30"),  # 02:30 is left out: an hour later
        ("2026-10-24T23:00", "2026-10-25T00:30"),  # 02:30 comes twice: the first
        ("2026-10-25T00:30", "2026-10-26T01:30"),  # and not again the same night
    ],
)
def test_when_the_clock_changes(after: str, wanted: str) -> None:
    """Half past two in Berlin, in the nights in which it is left out or comes twice."""
    assert next_time(Moment(at=time(2, 30)), _utc(after), BERLIN) == _utc(wanted)


def test_the_date_line() -> None:
    """Samoa left out the 30th of December 2011: who waits for it is let on at its place in time."""
    found = next_time(Moment(at=time(9)), _utc("2011-12-30T00:00"), APIA)
    assert _utc("2011-12-30T00:00") < found <= _utc("2011-12-31T00:00")
