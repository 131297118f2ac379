from __future__ import annotations

import base64
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from profile_pipelines.errors import SourceError, SourceUnreachable
from profile_pipelines.sources import ReadRequest
from profile_pipelines_tests.sources.api_server import (
    Answer,
    Api,
    answer,
    cut,
    hang,
    redirect,
    serving,
)
from profile_pipelines_tests.sources.reads import people, source, table, values

SINCE = datetime(2024, 5, 1, 12, 0, 0, 500_000, tzinfo=UTC)
PEOPLE = [{"id": number} for number in range(1, 8)]
ALL = [str(number) for number in range(1, 8)]


def test_fields_are_found_by_path_and_come_as_text_without_loss(api: Api) -> None:
    """Numbers keep every digit that counts, lists and objects are JSON, what is absent is null."""
    api.answers["/people"] = answer(
        """{"data": [{"id": 12345678901234567890, "price": 1.10, "big": 0.1234567890123456789,
        "on": true, "off": false, "none": null, "list": ["a", {"b": 1.50}], "empty": "",
        "items": {"data": [{"price": {"nickname": "plus"}}]}, "a.b": "dotted", "a": {"b": "no"},
        "properties": {"hs.email": "x"}, "name": "Jürgen \\ud83d\\ude00",
        "half": "\\ud83d"}]}"""
    )
    fields = (
        *("id", "price", "big", "on", "off", "none", "list", "empty", "a.b", "name", "half"),
        *("items.data.0.price.nickname", "items.data.1.price", "properties.hs.email", "gone.x"),
    )
    assert table(people(api, records="data"), *fields).to_pylist() == [
        {
            "id": "12345678901234567890",
            "price": "1.1",
            "big": "0.1234567890123456789",
            "on": "true",
            "off": "false",
            "none": None,
            "list": '["a", {"b": 1.5}]',
            "empty": "",
            "a.b": "dotted",
            "name": "Jürgen 😀",
            "half": "?",
            "items.data.0.price.nickname": "plus",
            "items.data.1.price": None,
            "properties.hs.email": "x",
            "gone.x": None,
        }
    ]


def by_cursor(request: Request) -> Response:
    start = int(request.query_params.get("after", 0))
    page = PEOPLE[start : start + 3]
    more = start + 3 < len(PEOPLE)
    return JSONResponse(
        {"data": page, "more": more, "end": not more, "next": str(start + 3) if more else None}
    )


def by_link(request: Request) -> Response:
    start = int(request.query_params.get("s", 0))
    more = start + 3 < len(PEOPLE)
    link = f"/people?s={start + 3}" if more else None
    headers = {"link": f'<{link}>; rel="next"'} if link else {}
    return JSONResponse(
        {"data": PEOPLE[start : start + 3], "next": link, "end": not more}, headers=headers
    )


def by_page(request: Request) -> Response:
    start = (int(request.query_params["p"]) - 1) * 3
    return JSONResponse({"data": PEOPLE[start : start + 3]}, headers={"x-pages": "3"})


def by_offset(request: Request) -> Response:
    start, limit = (int(request.query_params[name]) for name in ("offset", "limit"))
    return JSONResponse({"data": PEOPLE[start : start + min(limit, 3)]})


@pytest.mark.parametrize(
    ("handler", "paging", "requests"),
    [
        (by_cursor, {"type": "cursor", "param": "after", "next": "next"}, 3),
        (by_cursor, {"type": "cursor", "param": "after", "next": "next", "more": "more"}, 3),
        (by_cursor, {"type": "cursor", "param": "after", "last_record": "id", "more": "more"}, 3),
        (by_cursor, {"type": "cursor", "param": "after", "last_record": "id"}, 4),
        (by_cursor, {"type": "cursor", "param": "after", "last_record": "id", "end": "end"}, 3),
        (by_link, {"type": "link", "next": "next"}, 3),
        (by_link, {"type": "link", "next": "next", "end": "end"}, 3),
        (by_link, {"type": "link"}, 3),
        (by_page, {"type": "page", "param": "p"}, 4),
        (by_page, {"type": "page", "param": "p", "total_header": "X-Pages"}, 3),
        (by_offset, {"type": "offset", "limit": 5}, 4),
    ],
)
def test_every_paging_style_brings_every_record_once(
    api: Api, handler: Answer, paging: dict[str, Any], requests: int
) -> None:
    """Pages are followed to their end, also when the API gives less than was asked for."""
    api.answers["/people"] = handler
    assert values(people(api, records="data", paging=paging), "id") == ALL
    assert len(api.requests) == requests


def test_parameters_are_sent_with_every_page_and_links_keep_their_own(api: Api) -> None:
    """A cursor joins the declared parameters; a next link replaces them."""
    api.answers["/people"] = by_cursor
    paging = {"type": "cursor", "param": "after", "next": "next"}
    values(people(api, records="data", paging=paging, params={"all": True, "e[0]": 1}), "id")
    assert api.queries()[1] == {"all": "true", "e[0]": "1", "after": "3"}
    api.requests.clear()
    api.answers["/people"] = by_link
    values(people(api, records="data", paging={"type": "link"}, params={"all": True}), "id")
    assert api.queries() == [{"all": "true"}, {"s": "3"}, {"s": "6"}]


@pytest.mark.parametrize(
    ("form", "sent"),
    [("epoch", "1714564799"), ("epoch_ms", "1714564799000"), ("iso", "2024-05-01T11:59:59Z")],
)
def test_incremental_reads_ask_from_a_second_before(api: Api, form: str, sent: str) -> None:
    """The API is asked from just before the cursor, so that ties come again."""
    api.answers["/people"] = answer(PEOPLE)
    opened = people(api, cursor={"param": "updated[gte]", "format": form})
    assert values(opened, "id", since=SINCE) == ALL
    values(opened, "id")
    assert api.queries() == [{"updated[gte]": sent}, {}]


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"type": "bearer", "token": {"env": "KEY"}}, "authorization", "Bearer s3cret"),
        (
            {"type": "basic", "username": "me", "password": {"env": "KEY"}},
            "authorization",
            "Basic " + base64.b64encode(b"me:s3cret").decode(),
        ),
        ({"type": "api_key", "name": "X-Key", "key": {"env": "KEY"}}, "x-key", "s3cret"),
    ],
)
def test_credentials_are_sent_as_declared(
    api: Api, monkeypatch: pytest.MonkeyPatch, auth: dict[str, Any], header: str, value: str
) -> None:
    """Bearer, basic and key authentication reach the API with every request."""
    monkeypatch.setenv("KEY", "s3cret")
    api.answers["/people"] = by_link
    connection = {"auth": auth, "headers": {"X-Version": "7"}, "paging": {"type": "link"}}
    assert values(people(api, connection, records="data"), "id") == ALL
    assert [request.headers[header] for request in api.requests] == [value] * 3
    assert api.requests[0].headers["x-version"] == "7"


def test_a_key_may_go_into_the_query(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the query is sent, and never shown when the API refuses it."""
    monkeypatch.setenv("KEY", "s3cret")
    auth = {"type": "api_key", "name": "key", "key": {"env": "KEY"}, "location": "query"}
    api.answers["/people"] = answer([], status=403)
    with pytest.raises(SourceError, match="403") as caught:
        values(people(api, {"auth": auth}), "id")
    assert api.queries() == [{"key": "s3cret"}]
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "faults",
    [
        [answer("", 500), answer("", 503)],
        [cut, cut],
        [answer("", 429, retry_after="0"), cut],
        [hang],
    ],
)
def test_passing_faults_are_tried_again(api: Api, faults: list[Answer]) -> None:
    """Refusals, errors, cuts and silence don't lose or repeat a record if they pass in time."""
    api.answers["/people"] = by_cursor
    api.faults = [*faults]
    paging = {"type": "cursor", "param": "after", "next": "next"}
    timeout = "1s" if hang in faults else "30s"
    opened = people(api, {"timeout": timeout}, records="data", paging=paging)
    assert values(opened, "id") == ALL
    assert len(api.requests) == 3 + len(faults)


def test_retry_after_is_honoured(api: Api) -> None:
    """The next attempt comes no earlier than the API asks for."""
    api.answers["/people"] = answer(PEOPLE)
    api.faults = [answer("", 429, retry_after="1")]
    began = time.monotonic()
    assert values(people(api), "id") == ALL
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize("fault", [answer("", 500), answer("", 429), cut])
def test_faults_that_do_not_pass_make_the_source_unreachable(api: Api, fault: Answer) -> None:
    """After the declared retries the read ends with an error that says so."""
    api.faults = [fault] * 3
    with pytest.raises(SourceUnreachable, match=r"crm\.people.*3"):
        values(people(api), "id")
    assert len(api.requests) == 3


@pytest.mark.parametrize(
    ("url", "retries", "said"),
    [
        ("http://127.0.0.1:1", 2, r"127\.0\.0\.1:1, asked 3 times: the connection is refused"),
        ("http://127.0.0.1:1", 0, r"127\.0\.0\.1:1, asked once: the connection is refused"),
        ("http://api.invalid", 0, r"api\.invalid, asked once: no host of this name is known"),
    ],
)
def test_a_host_that_does_not_answer_is_unreachable(
    api: Api, url: str, retries: int, said: str
) -> None:
    """A refused connection is tried again, then reported; an unknown host is told apart from it."""
    with pytest.raises(SourceUnreachable, match=said):
        values(people(api, {"base_url": url, "retries": retries}), "id")


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "credentials"), (403, "scope"), (404, "path"), (400, "params")]
)
def test_refusals_are_final_and_come_with_a_hint(api: Api, status: int, hint: str) -> None:
    """A refusal isn't tried again; what the API wrote isn't shown."""
    api.answers["/people"] = answer({"error": "bob@example.org"}, status=status)
    with pytest.raises(SourceError, match=f"{status}.*{hint}") as caught:
        values(people(api), "id")
    assert not isinstance(caught.value, SourceUnreachable)
    assert "bob" not in str(caught.value)
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('[{"id": 1}, {"id"', "whole JSON"),
        ("<html>busy</html>", "whole JSON"),
        ("", "whole JSON"),
        ("[1, 2]", "more than JSON objects"),
        ('{"data": []}', "set `records: data`"),
    ],
)
def test_an_answer_that_is_not_a_whole_list_of_records_is_refused(
    api: Api, body: str, problem: str
) -> None:
    """A truncated page never passes for a short one."""
    api.answers["/people"] = answer(body)
    with pytest.raises(SourceError, match=problem):
        values(people(api), "id")


def test_a_missing_record_path_is_refused(api: Api) -> None:
    """An answer without the declared list isn't taken for an empty one."""
    api.answers["/people"] = answer({"error": "busy"})
    with pytest.raises(SourceError, match="nothing at `records: data`"):
        values(people(api, records="data"), "id")


@pytest.mark.parametrize(
    ("body", "paging", "problem"),
    [
        ({"next": "x"}, {"type": "cursor", "param": "c", "next": "next"}, "same page again"),
        ({"next": "/people"}, {"type": "link", "next": "next"}, "same page again"),
        ({"last": 1}, {"type": "cursor", "param": "c", "last_record": "id"}, "same page again"),
        ({}, {"type": "page"}, "same page"),
        ({}, {"type": "offset"}, "same page"),
        ({"more": True}, {"type": "cursor", "param": "c", "next": "n", "more": "more"}, "names no"),
        ({}, {"type": "cursor", "param": "c", "next": "n", "more": "more"}, "no flag at 'more'"),
        ({}, {"type": "cursor", "param": "c", "last_record": "uid"}, "last record has no 'uid'"),
        ({}, {"type": "page", "total_header": "X-Total"}, "no number in the header X-Total"),
    ],
)
def test_paging_that_leads_nowhere_or_in_a_circle_is_refused(
    api: Api, body: dict[str, Any], paging: dict[str, Any], problem: str
) -> None:
    """An API that repeats itself or hides its next page doesn't go on for ever, nor end early."""
    api.answers["/people"] = answer({"data": PEOPLE, **body})
    with pytest.raises(SourceError, match=problem):
        values(people(api, records="data", paging=paging), "id")
    assert len(api.requests) <= 2


@settings(max_examples=15, deadline=None)
@given(removed=st.lists(st.lists(st.integers(0, 11), max_size=3), min_size=1, max_size=4))
def test_an_offset_leaves_nobody_out_when_records_go_away(
    server: Api, removed: list[list[int]]
) -> None:
    """Those that stay all come, whatever is removed between two pages, if the API tells a total."""
    living = list(range(12))
    going = iter(removed)

    def page(request: Request) -> Response:
        for gone in next(going, []):
            if gone in living:
                living.remove(gone)
        start = int(request.query_params["offset"])
        data = [{"id": number} for number in living[start : start + 4]]
        return JSONResponse({"data": data, "total": len(living)})

    server.answers["/people"] = page
    paging = {"type": "offset", "total": "total"}
    found = values(people(server, records="data", paging=paging), "id")
    assert set(map(str, living)) <= set(found)


@pytest.mark.parametrize(("total", "told"), [(1, "gives more at 4"), (9, "gives no more at 8")])
def test_an_offset_that_does_not_lead_to_the_total_is_refused(
    api: Api, total: int, told: str
) -> None:
    """A part, or pages that overlap, never pass for the whole."""

    def page(request: Request) -> Response:
        start = int(request.query_params["offset"])
        data = [{"id": number} for number in range(8)][start : start + 4]
        return JSONResponse({"data": data, "total": total})

    api.answers["/people"] = page
    with pytest.raises(SourceError, match=told):
        values(people(api, records="data", paging={"type": "offset", "total": "total"}), "id")


def test_other_hosts_get_no_request(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a next link nor a redirect nor a path leads to where secrets don't belong."""
    monkeypatch.setenv("KEY", "s3cret")
    connection = {"auth": {"type": "bearer", "token": {"env": "KEY"}}}
    with serving() as other:
        api.answers["/people"] = answer({"data": PEOPLE, "next": f"{other.url}/people"})
        paging = {"type": "link", "next": "next"}
        with pytest.raises(SourceError, match="next page is on another host"):
            values(people(api, connection, records="data", paging=paging), "id")
        api.answers["/people"] = redirect(f"{other.url}/people")
        with pytest.raises(SourceError, match="redirect's target is on another host"):
            values(people(api, connection), "id")
        assert other.requests == []
    with pytest.raises(SourceError, match="relative to base_url"):
        source({"type": "rest", "base_url": api.url}, path="http://example.org/people")


def test_redirects_on_the_same_host_are_followed(api: Api) -> None:
    """An API may move a path, as long as it stays where it is."""
    api.answers = {"/people": redirect("/persons"), "/persons": answer(PEOPLE)}
    assert values(people(api), "id") == ALL


def test_pages_are_counted_as_they_come(api: Api) -> None:
    """Who watches a read sees how many pages of it there were so far."""
    api.answers["/people"] = by_cursor
    paging = {"type": "cursor", "param": "after", "next": "next"}
    request = ReadRequest(("id",))
    rows = sum(b.num_rows for b in people(api, records="data", paging=paging).read(request))
    assert (rows, request.counts.pages) == (7, 3)


def test_a_failing_later_page_fails_the_read(api: Api) -> None:
    """Records of earlier pages don't hide that a later page was lost."""
    paging = {"type": "cursor", "param": "after", "next": "next"}
    pages = iter([by_cursor, answer('{"data": [')])
    api.answers["/people"] = lambda request: next(pages)(request)
    with pytest.raises(SourceError, match="whole JSON"):
        values(people(api, records="data", paging=paging), "id")


def test_inspect_lists_the_paths_of_the_first_page(api: Api) -> None:
    """What can be mapped is listed as the paths to write, with JSON's types."""
    api.answers["/people"] = answer([{"id": 1, "x": None}, {"items": [{"price": 2.5}], "x": "y"}])
    assert people(api).inspect() == {
        "id": "number",
        "items": "list",
        "items.0": "object",
        "items.0.price": "number",
        "x": "string",
    }
    assert people(api).change_mark() is None
    assert people(api).has_newer(SINCE) is None
