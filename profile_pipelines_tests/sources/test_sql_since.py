"""Which records a read of changes brings: by clocks with and without a zone, over the nights when
clocks are changed, and whatever stands for no time at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from profile_pipelines.catalog.time_zones import least_wall_time
from profile_pipelines.sources.sql_dialects import Column, kind_of
from profile_pipelines.sources.sql_since import changed_since
from profile_pipelines_tests.sources.reads import source, values
from profile_pipelines_tests.sources.test_postgres import crm
from profile_pipelines_tests.sources.test_sql_dialects import compiled

NOON = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia",
    "Asia/Kathmandu", "Africa/Casablanca", "America/St_Johns", "Antarctica/Troll",
)  # fmt: skip
BACK = datetime(2026, 10, 25, 1, tzinfo=UTC)
"""When clocks in Berlin go back from 03:00 to 02:00."""
AHEAD = datetime(2026, 3, 29, 1, tzinfo=UTC)
"""When they are put forward from 02:00 to 03:00."""


def shown(moment: datetime, zone: str) -> datetime:
    """What a clock of the zone shows, as if in UTC."""
    return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=UTC, fold=0)


@given(
    zone=st.sampled_from(ZONES),
    since=st.datetimes(datetime(2000, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)),
    later=st.timedeltas(timedelta(0), timedelta(days=3)),
)
@example("Europe/Berlin", BACK - timedelta(minutes=1), timedelta(minutes=1))
@example("Pacific/Apia", datetime(2011, 12, 30, 10, 30, tzinfo=UTC), timedelta(0))
def test_no_clock_shows_less_later(zone: str, since: datetime, later: timedelta) -> None:
    """Whatever is written at or after an instant is at or after the least time of that instant."""
    assert least_wall_time(since, ZoneInfo(zone)) <= shown(since + later, zone)


@given(
    zone=st.sampled_from(ZONES),
    written=st.datetimes(datetime(2000, 1, 1), datetime(2037, 1, 1)),
    before=st.timedeltas(timedelta(0), timedelta(hours=2)),
    fold=st.sampled_from([0, 1]),
)
@example("Europe/Berlin", datetime(2026, 10, 25, 2, 30), timedelta(0), 1)
@example("Europe/Berlin", datetime(2026, 3, 29, 2, 30), timedelta(0), 0)
@example("Europe/Berlin", datetime(2026, 3, 29, 2, 30), timedelta(minutes=20), 0)
def test_whatever_a_written_time_is_taken_for_it_is_found(
    zone: str, written: datetime, before: timedelta, fold: int
) -> None:
    """Either of two alike, and those that the clocks skip."""
    moment = written.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)
    least = least_wall_time(moment - before, ZoneInfo(zone))
    assert least <= written.replace(tzinfo=UTC)


def test_far_from_such_nights_nothing_is_read_twice() -> None:
    """The least time is the time that clocks show, but for the hour before they go back and the
    one after they were put forward."""
    berlin, hour = ZoneInfo("Europe/Berlin"), timedelta(hours=1)
    for moment in (NOON, BACK - hour - timedelta(seconds=1), BACK, BACK + hour, AHEAD + hour):
        assert least_wall_time(moment, berlin) == shown(moment, "Europe/Berlin")
    two = datetime(2026, 10, 25, 2, tzinfo=UTC)
    assert least_wall_time(BACK - timedelta(minutes=1), berlin) == two
    assert least_wall_time(AHEAD, berlin) == two.replace(month=3, day=29)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "crm.db", isolation_level=None)) as connection:
        connection.execute("create table people (id text, changed)")
        yield connection


def people(tmp_path: Path, zone: str = "UTC") -> Any:
    connection = {"type": "sql", "url": f"sqlite:///{tmp_path / 'crm.db'}"}
    return source(connection, table="people", updated_at="changed", zone=zone)


@pytest.mark.parametrize(
    ("since", "written", "is_found"),
    [
        # the second 02:05 comes after the first 02:58
        (BACK - timedelta(minutes=2), "2026-10-25 02:05:00", True),
        (BACK - timedelta(minutes=2), "2026-10-25T02:58:00", True),
        (BACK - timedelta(minutes=2), "2026-10-25 01:59:00", False),
        (BACK - timedelta(minutes=2), "2026-10-25T02:05:00+02:00", False),
        (BACK - timedelta(minutes=2), "2026-10-25T02:05:00+01:00", True),
        (BACK - timedelta(minutes=2), "2026-10-25T00:05:00Z", False),
        (BACK - timedelta(minutes=2), 1792890000, True),
        (BACK + timedelta(minutes=2), "2026-10-25 02:01:00", False),
        # a clock that nobody has put forward
        (AHEAD + timedelta(minutes=5), "2026-03-29 02:10:00", True),
        (AHEAD + timedelta(minutes=5), "2026-03-29 02:04:00", False),
        (NOON, "2024-05-01 14:00:00", True),
        (NOON, "2024-05-01 13:59:00", False),
        (NOON, "2024-05-01T12:00:00z", True),
    ],
)
def test_times_of_a_zone_are_compared_as_its_clocks_show_them(
    database: sqlite3.Connection,
    tmp_path: Path,
    postgres_url: str,
    since: datetime,
    written: Any,
    is_found: bool,
) -> None:
    """Berlin's times in SQLite and PostgreSQL; what has an offset is the instant that it says."""
    database.execute("insert into people values ('1', ?)", [written])
    opened = people(tmp_path, "Europe/Berlin")
    assert (values(opened, "id", since=since) == ["1"]) is is_found
    if isinstance(written, str) and not written[-6:].strip("0123456789:") and "z" not in written:
        query = f"select 1 as id, timestamp '{written}' as changed"
        in_postgres = source(
            crm(postgres_url), query=query, updated_at="changed", zone="Europe/Berlin"
        )
        assert (values(in_postgres, "id", since=since) == [1]) is is_found


@pytest.mark.parametrize(
    "written",
    [
        *("-infinity", "infinity", "0001-01-01", "1970-01-01 00:00:00", "0044-03-15 BC"),
        "1899-12-30",
    ],
)
@pytest.mark.parametrize("kind", ["timestamp", "timestamptz", "date"])
def test_times_that_stand_for_none_are_read_again(
    postgres_url: str, kind: str, written: str
) -> None:
    """As a missing one is: nothing else would show that such a record changed."""
    query = f"select 1 as id, '{written}'::{kind} as changed"
    opened = source(crm(postgres_url), query=query, updated_at="changed")
    assert values(opened, "id", since=NOON) == [1]
    assert opened.has_newer(NOON) is True
    assert opened.change_mark() is not None


@pytest.mark.parametrize(
    "written", ["0000-00-00 00:00:00", "0001-01-01", "1970-01-01", 0, 20_240_401, "", "?"]
)
def test_zero_dates_of_sqlite_are_read_again(
    database: sqlite3.Connection, tmp_path: Path, written: Any
) -> None:
    """Whatever an application writes instead of a time."""
    database.execute("insert into people values ('1', ?)", [written])
    assert values(people(tmp_path), "id", since=NOON) == ["1"]


@pytest.mark.parametrize(
    ("name", "code", "type_name", "expected"),
    [
        ("mysql", 7, None, "c < CAST('1970-01-02 00:00:00.000000' AS DATETIME(6))"),
        ("mysql", 7, None, "c >= CAST('2024-05-01 12:00:00.000000' AS DATETIME(6))"),
        ("mysql", 12, None, "c >= CAST('2024-05-01 14:00:00.000000' AS DATETIME(6))"),
        ("mysql", 10, None, "c < CAST('1970-01-02' AS DATE)"),
        ("mssql", 0, "datetime", "[c] >= CAST('2024-05-01 14:00:00.000000' AS DATETIME2)"),
        ("mssql", 0, "bigint", "< 631152000"),
        ("snowflake", 8, None, "'2024-05-01 14:00:00.000000' AS TIMESTAMP_NTZ"),
        ("snowflake", 7, None, "'2024-05-01 12:00:00.000000+00:00' AS TIMESTAMP_TZ"),
        ("bigquery", 0, "DATETIME", "c < CAST('1970-01-02 00:00:00.000000' AS DATETIME)"),
    ],
)
def test_every_database_compares_with_the_zones_clock(
    name: str, code: int, type_name: str | None, expected: str
) -> None:
    """A time without a zone with Berlin's clock, one with a zone as an instant."""
    kind = kind_of(name, code, type_name)
    column = Column("c", code, type_name, kind).expression
    condition = changed_since(name, column, kind, NOON, ZoneInfo("Europe/Berlin"))
    assert expected in compiled(name, condition).replace('"', "").replace("`", "")


def test_what_steps_or_paths_make_of_a_time_is_read_whole(
    database: sqlite3.Connection, tmp_path: Path
) -> None:
    """A database can't compare what only the steps understand."""
    database.execute("insert into people values ('1', '31.12.2020'), ('2', '2020-01-01')")
    database.execute("""insert into people values ('3', '{"at": "2020-01-01"}')""")
    connection = {"type": "sql", "url": f"sqlite:///{tmp_path / 'crm.db'}"}
    by_steps = {"field": "changed", "convert": [{"date": "%d.%m.%Y"}]}
    for updated_at in (by_steps, "changed.at"):
        opened = source(connection, table="people", updated_at=updated_at)
        assert values(opened, "id", since=NOON) == ["1", "2", "3"]
        assert opened.has_newer(NOON) is None
