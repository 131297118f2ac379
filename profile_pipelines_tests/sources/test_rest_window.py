"""APIs whose results stop at a number of records are read whole, by time of change."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from profile_pipelines.errors import SourceError
from profile_pipelines_tests.sources.api_server import Api
from profile_pipelines_tests.sources.reads import people, values

START = datetime(2024, 1, 1, tzinfo=UTC)
SINCE = datetime(2024, 1, 1, 0, 1, tzinfo=UTC)
CAP, PAGE = 12, 3


class Search:
    """A search that gives pages of 3 and none beyond 12 records, like HubSpot's 10,000."""

    def __init__(self, times: list[datetime]) -> None:
        self.records = [
            {"id": str(number), "updated": at.isoformat()} for number, at in enumerate(times)
        ]
        self.ascending = True

    def sorted_search(self, request: Request) -> Response:
        body = request.state.body
        low = datetime.fromtimestamp(int(body["since"]) / 1000, UTC)
        hits = [r for r in self.records if datetime.fromisoformat(r["updated"]) >= low]
        hits.sort(key=lambda r: r["updated"], reverse=not self.ascending)
        after = int(body.get("after", 0))
        if after + PAGE > CAP:
            return Response(status_code=400)
        more = after + PAGE < len(hits)
        return JSONResponse(
            {"results": hits[after : after + PAGE], "after": str(after + PAGE) if more else None}
        )

    def dated_search(self, request: Request) -> Response:
        low, high = request.query_params["q"].split("..")
        hits = [r for r in self.records if low <= r["updated"][:10] <= high]
        start = (int(request.query_params["page"]) - 1) * PAGE
        page = hits[start : start + PAGE] if start < CAP else []
        return JSONResponse({"results": page, "total": len(hits)})


SORTED: dict[str, Any] = {
    "body": {"sort": "updated"},
    "records": "results",
    "updated_at": "updated",
    "cursor": {"param": "since", "location": "body", "format": "epoch_ms"},
    "paging": {"type": "cursor", "param": "after", "location": "body", "next": "after"},
    "window": {"cap": CAP},
}
DATED: dict[str, Any] = {
    "params": {"q": "{changes}"},
    "records": "results",
    "updated_at": "updated",
    "cursor": {"text": "{since}..{until}", "format": "date", "start": date(2023, 12, 31)},
    "paging": {"type": "page"},
}


@settings(max_examples=25, deadline=None)
@given(seconds=st.lists(st.integers(0, 20), max_size=60))
def test_no_record_is_lost_past_the_cap(server: Api, seconds: list[int]) -> None:
    """Whatever the times, with ties across pages, every record comes, or the read fails because
    one instant alone has too many."""
    search = Search([START + timedelta(seconds=s) for s in seconds])
    server.answers["/people"] = search.sorted_search
    most = max((seconds.count(second) for second in seconds), default=0)
    expected = {str(number) for number in range(len(seconds))}
    if most <= CAP - PAGE:
        assert set(values(people(server, **SORTED), "id")) == expected
        return
    # a page may end with a tie, so that a few more than the cap can still be had
    with suppress(SourceError):
        assert set(values(people(server, **SORTED), "id")) == expected


def test_an_incremental_read_begins_at_its_time(api: Api) -> None:
    """Only what was changed since then is asked for, with what was changed at that very time."""
    api.answers["/people"] = Search([START, SINCE, SINCE + timedelta(hours=1)]).sorted_search
    assert values(people(api, **SORTED), "id", since=SINCE) == ["1", "2"]


def test_an_instant_beyond_the_cap_is_an_error(api: Api) -> None:
    """What the API can't give isn't lost in silence."""
    api.answers["/people"] = Search([START] * 20).sorted_search
    with pytest.raises(SourceError, match="more than 12 records were changed at one time"):
        values(people(api, **SORTED), "id")


def test_records_that_come_unsorted_are_an_error(api: Api) -> None:
    """An API that doesn't sort by the time of change would make the windows skip records."""
    search = Search([START + timedelta(hours=hour) for hour in range(9)])
    search.ascending = False
    api.answers["/people"] = search.sorted_search
    with pytest.raises(SourceError, match="don't come in order"):
        values(people(api, **SORTED), "id")


@pytest.mark.parametrize("total", ["total", None])
def test_spans_with_too_many_records_are_halved(api: Api, total: str | None) -> None:
    """A search by day is read whole, with the API's own count or without."""
    search = Search([START + timedelta(hours=6 * number) for number in range(40)])
    api.answers["/people"] = search.dated_search
    window = {"cap": CAP, "by": "split", "total": total}
    opened = people(api, **DATED, window=window)
    opened.clock = lambda: START + timedelta(days=12)
    assert set(values(opened, "id")) == {str(number) for number in range(40)}


def test_a_day_beyond_the_cap_is_an_error(api: Api) -> None:
    """A span that can't be halved any further and still has too many is refused."""
    api.answers["/people"] = Search([START] * 20).dated_search
    with pytest.raises(SourceError, match="at one time"):
        values(people(api, **DATED, window={"cap": CAP, "by": "split"}), "id")
