"""When messages may go out and schedules come, over every change of the clock in every zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from profile_pipelines.catalog.caps import Cap
from profile_pipelines.catalog.local_time import (
    ALWAYS,
    NEVER,
    begin_of_last,
    later,
    offset_changes,
)
from profile_pipelines.catalog.periods import Period
from profile_pipelines.catalog.schedules import last_tick
from profile_pipelines.catalog.send_times import QuietHours, Window, next_allowed

BERLIN, APIA = ZoneInfo("Europe/Berlin"), ZoneInfo("Pacific/Apia")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_ZONES = sorted(available_timezones() - {"localtime", "Factory", "posixrules"})
_SOME_DAY = st.datetimes(datetime(1995, 1, 1), datetime(2037, 1, 1))
_TIMES = st.times().map(lambda at: at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0))


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@st.composite
def moments(draw: st.DrawFn) -> tuple[datetime, ZoneInfo]:
    """A moment and a zone; most often near a change of its clocks, where it has such."""
    zone = ZoneInfo(draw(st.sampled_from(_ZONES)))
    start = draw(_SOME_DAY).replace(microsecond=0, tzinfo=UTC)
    change = next(offset_changes(zone, start, start + 200 * DAY), None)
    away = timedelta(minutes=draw(st.integers(-1500, 1500)))
    return (start if change is None else change + away), zone


@st.composite
def quiet_hours(draw: st.DrawFn) -> QuietHours:
    """Quiet hours of any length, also over midnight."""
    start, end = draw(_TIMES), draw(_TIMES)
    assume(start != end)
    return QuietHours(start=start, end=end)


_WINDOWS = st.builds(
    lambda days, hours: Window(
        days=sorted(days), hours=(hours.start, hours.end) if hours else None
    ),
    st.sets(st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), min_size=1),
    st.none() | quiet_hours(),
)  # fmt: skip


def _allowed(
    moment: datetime, zone: ZoneInfo, quiet: list[QuietHours], windows: list[Window]
) -> bool:
    """By what the clock shows alone."""
    local = moment.astimezone(zone)
    return not any(each.holds(local) for each in quiet) and all(
        each.is_open(local) for each in windows
    )


@given(moments(), st.lists(quiet_hours(), max_size=2), st.lists(_WINDOWS, max_size=2))
@example((_utc("2026-10-25T01:10"), BERLIN), [QuietHours(start=time(22), end=time(2, 30))], [])
@example((_utc("2026-03-29T00:30"), BERLIN), [QuietHours(start=time(21), end=time(2, 30))], [])
@example((_utc("2011-12-30T09:00"), APIA), [], [Window.model_validate({"days": "fri"})])
def test_the_next_moment_at_which_messages_may_go_out(
    place: tuple[datetime, ZoneInfo], quiet: list[QuietHours], windows: list[Window]
) -> None:
    """It is the first one that is allowed, and itself from then on; none only where none comes."""
    now, zone = place
    found = next_allowed(now, zone, quiet, windows)
    # changes of the clock and all bounds lie on whole quarters of an hour, but for old offsets
    quarters = (now + MINUTE - timedelta(seconds=now.second) + n * MINUTE for n in range(60 * 40))
    if found is None:
        assert not any(_allowed(each, zone, quiet, windows) for each in quarters)
        return
    assert found >= now
    assert _allowed(found, zone, quiet, windows)
    assert next_allowed(found, zone, quiet, windows) == found
    assert not any(_allowed(each, zone, quiet, windows) for each in quarters if each < found)
    if found > now:
        just_before = found - timedelta(microseconds=1)
        assert not _allowed(just_before, zone, quiet, windows)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-10-25T01:10", "2026-10-25T01:30"),  # the second 02:10: until the second 02:30
        ("2026-10-25T00:10", "2026-10-25T00:30"),  # the first 02:10: until the first 02:30
        ("2026-03-28T22:00", "2026-03-29T01:00"),  # 02:30 is left out: until the gap's end
    ],
)
def test_quiet_hours_when_the_clock_changes(now: str, until: str) -> None:
    """They end as soon as the clock shows a time outside them."""
    quiet = [QuietHours.model_validate(QuietHours.read("22:00 to 02:30"))]
    assert next_allowed(_utc(now), BERLIN, quiet, []) == _utc(until)


@pytest.mark.parametrize(
    ("written", "now", "opens"),
    [
        ("mon-fri 09:00-17:00", "2026-06-05T15:30", "2026-06-08T07:00"),  # Friday 17:30
        ({"days": ["mon-fri"], "hours": "09:00-17:00"}, "2026-06-05T14:59", "2026-06-05T14:59"),
        ({"days": ["mon", "wed"]}, "2026-06-01T22:00", "2026-06-02T22:00"),
        ({"hours": "18:00 to 24:00"}, "2026-06-01T22:00", "2026-06-02T16:00"),
        ("fri-sun 20:00-02:00", "2026-06-07T23:59", "2026-06-07T23:59"),  # Sunday's, on Monday
        ("sat", "2026-06-01T00:00", "2026-06-05T22:00"),
    ],
)
def test_windows_of_weekdays_and_hours(written: object, now: str, opens: str) -> None:
    """As people write them."""
    window = Window.model_validate(Window.read(written))
    assert next_allowed(_utc(now), BERLIN, [], [window]) == _utc(opens)


@pytest.mark.parametrize(
    "wrong", ["mon-fry", "9-5", {"days": []}, {"hours": "09:00-09:00"}, {"hours": "25:00-26:00"}]
)
def test_what_is_no_window(wrong: object) -> None:
    """It is refused."""
    with pytest.raises(ValueError, match=r"must be|end at the same time"):
        Window.model_validate(Window.read(wrong))


@given(moments(), st.integers(1, 9))
@example((_utc("2027-03-28T07:00"), BERLIN), 1)
def test_the_days_that_a_cap_counts(place: tuple[datetime, ZoneInfo], days: int) -> None:
    """Of one day it is today, of seven days today and the six before, by the calendar."""
    now, zone = place
    begin = begin_of_last(Period(days, "day"), now, zone)
    assert begin <= now
    today = now.astimezone(zone).date()
    assert begin.astimezone(zone).date() > today - (days + 1) * DAY
    assert (begin - timedelta(microseconds=1)).astimezone(zone).date() <= today - days * DAY
    assert begin_of_last(Period(days, "hour"), now, zone) == (
        now - days * HOUR + timedelta(microseconds=1)
    )


@given(
    st.datetimes().map(lambda at: at.replace(tzinfo=UTC)), st.sampled_from(_ZONES),
    st.builds(Period, st.integers(0, 999_999), st.sampled_from(
        ["second", "minute", "hour", "day", "week", "month", "year"])), st.sampled_from([1, -1]),
)  # fmt: skip
@example(datetime.max.replace(tzinfo=UTC), "America/New_York", Period(1, "day"), 1)
@example(datetime.min.replace(tzinfo=UTC), "Asia/Tokyo", Period(1, "hour"), -1)
def test_no_length_of_time_leads_beyond_the_calendar(
    moment: datetime, zone: str, period: Period, sign: int
) -> None:
    """Whatever is added stays between always and never."""
    assert ALWAYS <= later(moment, period, ZoneInfo(zone), sign) <= NEVER


def test_caps_as_they_are_written() -> None:
    """Days, weeks and hours; nothing else is taken for a number of days."""
    assert Cap.model_validate(Cap.read("1 per day")).period == Period(1, "day")
    assert Cap.model_validate(Cap.read("2 per 24 hours")).period == Period(24, "hour")
    for wrong in ("3 per fortnight", "per day", "1 per 0 days", "0 per day"):
        with pytest.raises(ValueError, match=r"must|is no|greater"):
            Cap.model_validate(Cap.read(wrong))


_MINUTES = st.integers(0, 59)
_CRONS = (
    st.builds(lambda minute, hour: f"{minute} {hour} * * *", _MINUTES, st.integers(0, 23))
    | st.builds(lambda minute: f"{minute} * * * *", _MINUTES)
    | st.sampled_from(["*/15 * * * *", "*/5 2 * * *", "30 2 * * 0", "0 1-3 * * *"])
)


def _matches(cron: str, local: datetime) -> bool:
    minute, hour, _, _, weekday = cron.split()

    def fits(field: str, value: int) -> bool:
        if field.startswith("*/"):
            return value % int(field[2:]) == 0
        if "-" in field:
            low, high = field.split("-")
            return int(low) <= value <= int(high)
        return field in ("*", str(value))

    return (
        fits(minute, local.minute) and fits(hour, local.hour)
        and fits(weekday, local.isoweekday() % 7)
    )  # fmt: skip


@given(moments(), _CRONS)
@example((_utc("2026-10-25T01:10"), BERLIN), "30 2 * * *")
@example((_utc("2026-10-25T01:20"), BERLIN), "*/15 * * * *")
@example((_utc("2026-03-29T01:10"), BERLIN), "30 2 * * *")
def test_when_a_schedule_came_last(place: tuple[datetime, ZoneInfo], cron: str) -> None:
    """As if somebody had looked at the clock every minute; what it left out came when it was put
    forward, and what it showed twice came twice."""
    now, zone = place
    found = last_tick(cron, now, zone)
    minute = now - timedelta(seconds=now.second)
    wanted = None
    later_local = now.astimezone(zone).replace(tzinfo=None)
    for back in range(60 * 50):
        moment = minute - back * MINUTE
        local = moment.astimezone(zone)
        if local.second:
            return  # an offset of odd seconds
        before = (moment - MINUTE).astimezone(zone).replace(tzinfo=None)
        here = local.replace(tzinfo=None)
        skipped = [before + n * MINUTE for n in range(1, int((here - before) / MINUTE))]
        if any(_matches(cron, each) for each in [here, *skipped]):
            wanted = moment
            break
    if wanted is not None:
        assert found == wanted, later_local
    else:
        assert found is None or found < minute - 48 * HOUR


def test_a_day_that_a_zone_left_out() -> None:
    """Samoa had no 30 December 2011: its first moment is that of the next day."""
    assert begin_of_last(Period(1, "day"), _utc("2011-12-30T10:00"), APIA) == _utc(
        "2011-12-30T10:00"
    )
    assert later(_utc("2011-12-29T19:00"), Period(1, "day"), APIA) > _utc("2011-12-30T10:00")
    assert date(2011, 12, 31) == _utc("2011-12-30T10:00").astimezone(APIA).date()
