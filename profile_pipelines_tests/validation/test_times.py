"""Dates and times in every zone and spelling, beside Python's own calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profile_pipelines.validation.casts import cast
from profile_pipelines.validation.times import earliest_of_repeated

ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kolkata", "Asia/Tokyo",
    "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Chatham", "Africa/Casablanca", "Asia/Beirut",
)  # fmt: skip
EDGES = (
    datetime(2026, 3, 29, 1, 59), datetime(2026, 3, 29, 2, 30), datetime(2026, 3, 29, 3),
    datetime(2026, 10, 25, 1, 59), datetime(2026, 10, 25, 2, 30), datetime(2026, 10, 25, 3),
    datetime(2026, 3, 8, 2, 30), datetime(2026, 11, 1, 1, 30), datetime(2018, 11, 4, 0, 30),
    datetime(2026, 4, 5, 1, 45), datetime(2026, 10, 4, 2, 15), datetime(2011, 12, 30, 12),
    datetime(2026, 12, 31, 23, 59, 59), datetime(2027, 1, 1),
)  # fmt: skip
"""Around the nights in which clocks are set, and where days and years meet."""
LOCAL = st.sampled_from(EDGES) | st.datetimes(datetime(1971, 1, 1), datetime(2090, 1, 1)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
SPELLINGS = (
    "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f", "%Y%m%dT%H%M%S.%f", "%Y-%m-%dT%H:%M:%S,%f",
)  # fmt: skip


def exists(local: datetime, zone: ZoneInfo) -> bool:
    there = local.replace(tzinfo=zone).astimezone(UTC).astimezone(zone)
    return there.replace(tzinfo=None) == local


def one(value: object, target: str, timezone: str, zone: str) -> object:
    return cast(pl.Series("v", [value]), target, timezone, zone).item()  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(LOCAL, st.sampled_from(ZONES), st.sampled_from(ZONES), st.sampled_from(SPELLINGS))
def test_a_local_time_stays_on_its_day_and_is_meant_in_the_syncs_zone(
    local: datetime, timezone: str, zone: str, spelling: str
) -> None:
    """As text and typed: the day never moves; the instant is the first of two alike, and there
    is none where the clocks skip it."""
    first = local.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)
    expected = first if exists(local, ZoneInfo(zone)) else None
    for value in (local, local.strftime(spelling)):
        assert one(value, "date", timezone, zone) == local.date()
        assert one(value, "timestamp", timezone, zone) == expected


@settings(max_examples=150, deadline=None)
@given(LOCAL, st.sampled_from(ZONES), st.sampled_from(ZONES), st.sampled_from(ZONES))
def test_an_instant_is_on_the_day_that_it_has_in_the_catalogues_zone(
    moment: datetime, timezone: str, zone: str, written_in: str
) -> None:
    """Whatever offset it bears; the sync's zone has no say."""
    instant = moment.replace(tzinfo=UTC)
    there = instant.astimezone(ZoneInfo(written_in))
    for value in (instant, there.isoformat(), there.isoformat(" "), instant.isoformat()[:-6] + "Z"):
        assert one(value, "date", timezone, zone) == instant.astimezone(ZoneInfo(timezone)).date()
        assert one(value, "timestamp", timezone, zone) == instant


@settings(max_examples=100, deadline=None)
@given(st.dates(date(1971, 1, 1), date(2090, 1, 1)), st.sampled_from(ZONES), st.sampled_from(ZONES))
def test_a_plain_day_is_that_day_in_the_catalogues_zone(
    day: date, timezone: str, zone: str
) -> None:
    """As a date it is itself; as a timestamp it is when that day begins, wherever it is read."""
    for value in (day, day.isoformat(), f"{day:%Y%m%d}"):
        assert one(value, "date", timezone, zone) == day
        instant = one(value, "timestamp", timezone, zone)
        assert isinstance(instant, datetime)
        there = instant.astimezone(ZoneInfo(timezone))
        before = (instant - timedelta(microseconds=1)).astimezone(ZoneInfo(timezone))
        skipped = not exists(datetime(day.year, day.month, day.day, 12), ZoneInfo(timezone))
        assert skipped or (there.date() == day and before.date() < day)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("edge", ["0001-01-01", "9999-12-31", "9999-12-31T23:59:59.999999"])
def test_always_and_never_pass_through_every_zone(edge: str, zone: str) -> None:
    """The first and the last day are read in all of them, as dates and as instants."""
    assert one(edge, "date", zone, zone) == date.fromisoformat(edge[:10])
    found = one(edge, "timestamp", zone, zone)
    assert isinstance(found, datetime)
    assert found.year in (1, 9998, 9999)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.sampled_from([EDGES[4], EDGES[7], EDGES[8], datetime(2026, 4, 5, 1, 45)]),
    st.lists(st.integers(-300, 300), min_size=2, max_size=6),
)
def test_local_times_of_change_never_go_back(
    zone: str, around: datetime, minutes: list[int]
) -> None:
    """Records that are changed one after the other have times in that order, also in a night
    in which the clocks go back: those that come twice are alike."""
    there = ZoneInfo(zone)
    start = around.replace(tzinfo=there).astimezone(UTC)
    instants = sorted(start + timedelta(minutes=each) for each in minutes)
    walls = pl.Series([each.astimezone(there).replace(tzinfo=None) for each in instants])
    read = cast(walls, "timestamp", zone, zone)
    found = earliest_of_repeated(read, cast(walls, "timestamp", "UTC"), zone)
    assert found.to_list() == sorted(found.to_list())
    assert all(was <= each for was, each in zip(found.to_list(), instants, strict=True))


@pytest.mark.parametrize(
    "number", [0, 1, 2026, 202612, 261231, 46387, 46387.75, 202612311800, 631151999, 4102444800]
)
def test_a_number_is_no_time_unless_it_can_be_meant_so(number: float) -> None:
    """Years, serial days, keys and zeros aren't taken for moments of 1970."""
    for value in (number, str(number)):
        assert one(value, "date", "UTC", "UTC") is None
        assert one(value, "timestamp", "UTC", "UTC") is None
