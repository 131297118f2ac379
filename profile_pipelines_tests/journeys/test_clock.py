"""When waits end, in every time zone and over every change of the clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from profile_pipelines.catalog.journeys import Moment, Wait
from profile_pipelines.catalog.local_time import ALWAYS, NEVER
from profile_pipelines.journeys.clock import due_at, moment_of, next_time

# the catalogue refuses "Factory", which stands for no zone
ZONES = st.sampled_from(sorted(available_timezones() - {"localtime", "Factory"})).map(ZoneInfo)
MOMENTS = st.datetimes(datetime(1995, 1, 1), datetime(2037, 1, 1)).map(
    lambda at: at.replace(microsecond=0, tzinfo=UTC)
)
TIMES = st.times().map(lambda at: at.replace(second=0, microsecond=0))
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


@pytest.mark.parametrize("zone", ["UTC", "Australia/Sydney", "America/New_York"])
@pytest.mark.parametrize("until", ["ends", "ends - 400 days", "ends + 400 days at 09:00"])
def test_the_ends_of_the_calendar(zone: str, until: str) -> None:
    """A date or a timestamp that stands for never ends no wait, one for always has ended it."""
    wait, timezone = Wait.model_validate({"until": until}), ZoneInfo(zone)
    noon = _utc("2026-06-01T12:00")
    for never in (date.max, datetime.max.replace(tzinfo=UTC), _utc("9999-12-31T00:00")):
        assert due_at(wait, never, noon, timezone) == NEVER
    for always in (date.min, datetime.min.replace(tzinfo=UTC), _utc("0001-01-01T12:00")):
        assert due_at(wait, always, noon, timezone) == ALWAYS
    assert due_at(wait, None, noon, timezone) is None


@given(st.dates(), st.integers(-9999, 9999), TIMES, ZONES)
@example(date(9999, 12, 29), 1, time(20), ZoneInfo("America/New_York"))
def test_any_date_and_any_offset(day: date, days: int, at: time, timezone: ZoneInfo) -> None:
    """Every moment has a place between always and never; nothing overflows."""
    moment = Moment(attribute="ends", days=days, at=at)
    assert ALWAYS <= moment_of(moment, day, timezone) <= NEVER
    stamp = datetime.combine(day, at, UTC)
    assert ALWAYS <= moment_of(moment, stamp, timezone) <= NEVER
    exact = Moment(attribute="ends", minutes=days)
    found = moment_of(exact, stamp, timezone)
    assert found in (ALWAYS, NEVER) or found == stamp + timedelta(minutes=days)


@given(st.dates(date(1995, 1, 1), date(2037, 1, 1)), st.integers(-40, 40), TIMES, ZONES)
@example(date(2026, 4, 5), -7, time(2, 30), BERLIN)
@example(date(2011, 12, 30), 0, time(9), APIA)
@example(date(2026, 10, 25), 0, time(2, 30), BERLIN)
def test_a_day_of_the_profile(day: date, days: int, at: time, timezone: ZoneInfo) -> None:
    """As the standard library has it: where the clock doesn't show that time, later by the gap."""
    found = moment_of(Moment(attribute="ends", days=days, at=at), day, timezone)
    assert found == datetime.combine(day + timedelta(days=days), at, timezone).astimezone(UTC)


@pytest.mark.parametrize(
    ("until", "wanted"),
    [
        ("visit_at - 3 hours", "2026-03-29T06:00"),
        ("visit_at - 90 minutes", "2026-03-29T07:30"),
        ("visit_at", "2026-03-29T09:00"),
        ("visit_at - 1 day", "2026-03-28T10:00"),  # at 11:00 by the clock, before summer time
        ("visit_at + 1 week", "2026-04-05T09:00"),
        ("visit_at - 1 day at 18:00", "2026-03-28T17:00"),
        ("visit_at at 00:00", "2026-03-28T23:00"),
    ],
)
def test_before_a_timestamp(until: str, wanted: str) -> None:
    """Hours are exact, days keep the time of day by the customer's clock, `at` sets it."""
    wait = Wait.model_validate({"until": until})
    visit = _utc("2026-03-29T09:00")  # 11:00 in Berlin, on the day on which summer time begins
    assert due_at(wait, visit, _utc("2026-03-01T00:00"), BERLIN) == _utc(wanted)


@given(MOMENTS, st.integers(1, 40), ZONES)
@example(_utc("2027-03-27T08:00"), 1, BERLIN)
def test_days_are_of_the_calendar(arrived: datetime, days: int, timezone: ZoneInfo) -> None:
    """Three days later it is the same time of day, unless the clock left that out; hours are so
    many hours."""
    there = arrived.astimezone(timezone)
    found = due_at(Wait.model_validate({"for": f"{days} days"}), None, arrived, timezone)
    assert found is not None
    local = found.astimezone(timezone)
    wanted = there.replace(tzinfo=None) + timedelta(days=days)
    shown = wanted.replace(tzinfo=timezone).astimezone(UTC).astimezone(timezone)
    assert local == shown
    assert shown.replace(tzinfo=None) >= wanted
    exact = due_at(Wait.model_validate({"for": f"{days * 24} hours"}), None, arrived, timezone)
    assert exact == arrived + timedelta(days=days)


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
