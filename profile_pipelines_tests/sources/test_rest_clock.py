"""Times that are sent to an API without an offset: on the clock of the sync's zone, never late."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from profile_pipelines.sources.rest_clock import Clock
from profile_pipelines_tests.sources.api_server import Api, answer
from profile_pipelines_tests.sources.reads import people, values

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
FORMATS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "date", "%d.%m.%Y")
BERLIN_AUTUMN = datetime(2026, 10, 25, 0, 50, tzinfo=UTC)
"""02:50, which Berlin's clocks show again an hour later."""


@example("Europe/Berlin", FORMATS[0], BERLIN_AUTUMN, 1_200)
@example("Australia/Lord_Howe", FORMATS[0], datetime(2026, 4, 4, 14, 50, tzinfo=UTC), 900)
@given(
    st.sampled_from(ZONES),
    st.sampled_from(FORMATS),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    st.integers(0, 7_200) | st.integers(0, 10**7),
)
def test_no_later_record_is_left_out(zone: str, form: str, since: datetime, later: int) -> None:
    """Whether the API compares what its clock shows, or takes the text for either instant."""
    clock = Clock(form, zone)
    text = clock.written(since)
    assert isinstance(text, str)
    sent = datetime.strptime(text, "%Y-%m-%d" if form == "date" else form)
    record = since + timedelta(seconds=later)
    assert sent <= record.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    for fold in (0, 1):
        assert sent.replace(tzinfo=ZoneInfo(zone), fold=fold) <= since.astimezone(ZoneInfo(zone))
    # and not much more comes than was asked for
    assert since - clock.instant(sent) <= timedelta(hours=2) + clock.unit


@pytest.mark.parametrize(
    ("form", "zone", "sent"),
    [
        ("iso", "Europe/Berlin", "2026-07-01T11:59:59Z"),
        ("epoch", "Europe/Berlin", "1782907199"),
        ("%Y-%m-%dT%H:%M:%S%z", "Europe/Berlin", "2026-07-01T11:59:59+0000"),
        ("%Y-%m-%dT%H:%M:%SZ", "Europe/Berlin", "2026-07-01T11:59:59Z"),
        ("%Y-%m-%d %H:%M:%S", "Europe/Berlin", "2026-07-01 13:59:59"),
        ("%Y-%m-%d %H:%M:%S", "UTC", "2026-07-01 11:59:59"),
        ("%d/%m/%Y %H:%M", "Asia/Kathmandu", "01/07/2026 17:44"),
        ("date", "Pacific/Auckland", "2026-07-01"),
    ],
)
def test_a_format_without_an_offset_is_of_the_zone(
    api: Api, form: str, zone: str, sent: str
) -> None:
    """Declared for the connection or the sync; what has an offset stays as it is."""
    api.answers["/people"] = answer([])
    since = datetime(2026, 7, 1, 12, tzinfo=UTC)
    cursor: dict[str, Any] = {"param": "since", "format": form, "start": date(2026, 1, 1)}
    for opened in (
        people(api, {"zone": zone}, cursor=cursor),
        people(api, {"zone": "Asia/Tokyo"}, cursor=cursor, zone=zone),
    ):
        values(opened, "id", since=since)
        assert api.queries()[-1] == {"since": sent}
    values(people(api, {"zone": zone}, cursor=cursor), "id")
    begins = datetime(2026, 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    first = api.queries()[-1]["since"]
    if form == "iso":
        assert first == f"{begins:%Y-%m-%dT%H:%M:%SZ}"
    elif form.startswith("%Y-%m-%d %H"):
        assert first == "2026-01-01 00:00:00"


def test_windows_advance_by_the_clock(api: Api) -> None:
    """Also over the hour that comes twice: by the times that the API itself writes."""
    walls = [
        f"2026-10-25 0{hour}:{minute:02}:00" for hour in (1, 2, 3) for minute in range(0, 60, 3)
    ]
    found = [{"id": number, "at": wall} for number, wall in enumerate(walls)]

    def changed(request: Request) -> Response:
        since = request.query_params["since"]
        page = [each for each in found if each["at"] >= since]
        start = int(request.query_params.get("after", 0))
        more = start + 5 < min(len(page), 20)
        body = {"data": page[start : start + 5], "next": start + 5 if more else None}
        return answer(body)(request)

    api.answers["/people"] = changed
    opened = people(
        api,
        {"zone": "Europe/Berlin"},
        records="data",
        cursor={"param": "since", "format": "%Y-%m-%d %H:%M:%S"},
        updated_at="at",
        window={"cap": 20},
        paging={"type": "cursor", "param": "after", "next": "next"},
    )
    since = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert {int(number) for number in values(opened, "id", since=since)} >= set(range(20, 60))


def test_events_without_an_offset_are_of_the_zone(api: Api) -> None:
    """The log is asked by its clock, and its events happened when that showed their time."""
    api.answers["/events"] = answer([{"id": "e", "at": "01.07.2026 14:30", "who": "7"}])
    log: dict[str, Any] = {"path": "/events", "time": "at", "event_id": "id", "id": "who"}
    log["cursor"] = {"param": "since", "format": "%d.%m.%Y %H:%M"}
    opened = people(api, zone="Europe/Berlin", events=log)
    [event] = opened.events(datetime(2026, 7, 1, 12, tzinfo=UTC))
    assert event.at == datetime(2026, 7, 1, 12, 30, tzinfo=UTC)
    assert api.queries() == [{"since": "01.07.2026 13:59"}]


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ("unix", "isn't a format; write iso"),
        ("%Y-%m", "needs a year, a month and a day"),
        ("%Y-%m-%d %H", "needs hour and minute"),
        ("%Y-%m-%d %H:%M:%S.%f", "has %f, which isn't read"),
        (7, "isn't a format"),
    ],
)
def test_a_format_that_cannot_be_written_is_refused(api: Api, form: Any, problem: str) -> None:
    """With what would be right."""
    with pytest.raises(ValidationError, match=problem):
        people(api, cursor={"param": "since", "format": form})
