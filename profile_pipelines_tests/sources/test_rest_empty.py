"""Nothing new is not an error; an error, a typo or another document is not "nothing new"."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response

from profile_pipelines.errors import SourceError
from profile_pipelines.sources.rest_records import records_of
from profile_pipelines_tests.company import Company, catalogue
from profile_pipelines_tests.sources.api_server import Answer, Api, answer
from profile_pipelines_tests.sources.reads import people, values

PEOPLE = [{"id": number} for number in range(1, 6)]
PERSON = {"id": "1", "no": "1", "tier": "gold", "changed": "2026-02-01T10:00:00Z"}
PAGING: dict[str, dict[str, Any]] = {
    "none": {"type": "none"},
    "cursor": {"type": "cursor", "param": "after", "next": "next"},
    "flag": {"type": "cursor", "param": "after", "next": "next", "more": "has_more"},
    "end": {"type": "cursor", "param": "after", "next": "next", "end": "is_last"},
    "last": {"type": "cursor", "param": "after", "last_record": "id", "more": "has_more"},
    "link": {"type": "link", "next": "next"},
    "page": {"type": "page"},
    "pages": {"type": "page", "total": "pages"},
    "header": {"type": "page", "total_header": "X-Pages"},
    "offset": {"type": "offset", "limit": 2},
    "total": {"type": "offset", "limit": 2, "total": "total"},
}


def nothing(status: int) -> Answer:
    """No content, and no type of one."""

    def answered(request: Request) -> Response:
        response = Response(b"", status)
        if status == 200:
            del response.headers["content-length"]
        return response

    return answered


EMPTY: dict[str, Answer] = {
    "list": answer({"data": []}),
    "null": answer({"data": None}),
    "left out": answer({}),
    "null above": answer({"data": None, "status": "success", "code": 200}),
    "object": answer({"data": {}}),
    "204": nothing(204),
    "no content": nothing(200),
    "all null": answer("null"),
}


@pytest.mark.parametrize("paging", PAGING.values(), ids=PAGING)
@pytest.mark.parametrize("empty", EMPTY.values(), ids=EMPTY)
def test_nothing_is_an_empty_page(api: Api, empty: Answer, paging: dict[str, Any]) -> None:
    """However an API writes it, and however its pages follow each other."""
    api.answers["/people"] = empty
    assert values(people(api, records="data", paging=paging), "id") == []


@pytest.mark.parametrize("empty", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("style", ["page", "offset", "cursor", "flag"])
def test_the_last_page_may_be_nothing(api: Api, empty: Answer, style: str) -> None:
    """The pages before it are all that there is."""

    def paged(request: Request) -> Response:
        query = request.query_params
        start = int(query.get("offset", query.get("after", 2 * (int(query.get("page", 1)) - 1))))
        if start >= len(PEOPLE):
            return empty(request)
        body = {"data": PEOPLE[start : start + 2], "next": start + 2, "has_more": True}
        return answer(body)(request)

    api.answers["/people"] = paged
    opened = people(api, records="data", paging=PAGING[style])
    assert values(opened, "id") == ["1", "2", "3", "4", "5"]


def test_nothing_before_the_total_is_reached_is_an_error(api: Api) -> None:
    """An offset's page that is nothing, while the API said that more records follow."""
    api.answers["/people"] = lambda request: (
        nothing(204) if int(request.query_params["offset"]) else answer({"data": [{}], "total": 5})
    )(request)
    with pytest.raises(SourceError, match="there are 5 records, and gives no more at 1"):
        values(people(api, records="data", paging=PAGING["total"]), "id")


LEFT_OUT: list[tuple[str, Any]] = [
    ("items", {"kind": "admin#directory#users", "etag": '"x"'}),
    ("messages", {"resultSizeEstimate": 0}),
    ("items", {"nextPageToken": None, "totalItems": 0, "selfLink": "https://x", "errors": []}),
    ("data.items", {"data": {"totalItems": 0}, "apiVersion": "2.0"}),
    ("_embedded.people", {"_links": {"self": {"href": "x"}}, "page": {"size": 20, "number": 0}}),
    ("data", {"meta": {"request_id": "r", "env": "x"}, "links": {"self": "x"}, "included": []}),
    ("result.items", {"result": None, "success": True, "errors": [], "messages": []}),
    ("value", {"@odata.context": "…/$metadata#contacts", "@odata.count": 0}),
    ("people", {"status": "ok", "count": 0, "error": None, "error_code": 0, "took_ms": 3}),
    ("response.people", {"response": {"total": 0, "page": 1}}),
]


@pytest.mark.parametrize(("path", "body"), LEFT_OUT)
def test_a_list_may_be_left_out(api: Api, path: str, body: Any) -> None:
    """Where nothing else stands in the answer than what tells of it and of its pages."""
    api.answers["/people"] = answer(body)
    assert values(people(api, records=path), "id") == []


OTHER: list[tuple[str, Any, str]] = [
    ("itmes", {"items": [{"id": 1}]}, "nothing at `records: itmes`; set `records: items`"),
    ("itmes", {"items": []}, "set `records: items`"),
    ("data.itmes", {"data": {"items": []}}, "set `records: data.items`"),
    ("data.items", {"items": [{"id": 1}]}, "set `records: items`"),
    ("data.items", {"data": [{"id": 1}]}, "nothing at `records: data.items`; set `records: data`"),
    ("data", {"data": "x"}, "no list at `records: data`"),
    ("data", {"data": False}, "no list at `records: data`"),
    ("data", {"person": {"id": 1}}, r"nothing at `records: data` \(it has person\)"),
    ("data", {"id": 1, "email": "bob@example.org"}, r"\(it has email, id\)"),
    ("data", {"object": {"id": 1, "email": "bob@example.org"}}, r"\(it has object\)"),
    ("data", {"bob@example.org": {"id": 1}}, "nothing at `records: data`; check `records`"),
    ("data", {"status": "maintenance"}, r"nothing at `records: data` \(it has status\)"),
    ("data", {"message": "bob is not allowed"}, "nothing at `records: data`"),
    ("data", {"error": "busy"}, "nothing at `records: data` but `error`"),
    ("data", {"data": None, "errors": [{"message": "bob"}]}, "`errors`, an error"),
    ("data", {"data": [], "errors": [{"message": "bob"}]}, "`errors`, an error"),
    ("data", {"data": None, "error_message": "bob"}, "`error_message`, an error"),
    ("data", {"data": None, "success": False}, "`success`, an error"),
    ("data", {"data": None, "status": "error"}, "`status`, an error"),
    ("data", {"data": None, "statusCode": 503}, "`statusCode`, an error"),
    ("data.items", {"data": {"errorCode": "X1"}}, "`errorCode`, an error"),
    ("data", "maintenance", "whole JSON"),
    ("data", "<html>Please log in</html>", "a web page or XML"),
    ("data", '"maintenance"', "nothing at `records: data`"),
    ("data", '[{"id": 1}]', "nothing at `records: data`"),
]


@pytest.mark.parametrize(("path", "body", "problem"), OTHER)
def test_anything_else_is_told(api: Api, path: str, body: Any, problem: str) -> None:
    """A mistyped path, an error within a good answer, a page for people; no value is shown."""
    api.answers["/people"] = answer(body)
    with pytest.raises(SourceError, match=problem) as raised:
        values(people(api, records=path), "id")
    assert str(raised.value).startswith("crm.people: people: ")
    assert "bob" not in str(raised.value)
    assert "log in<" not in str(raised.value)


def test_an_error_names_its_page(api: Api) -> None:
    """By its number, from 1, after the endpoint."""
    pages = [answer({"data": [{"id": 1}], "next": "2"}), answer({"data": [7]})]
    api.answers["/people"] = lambda request: pages["after" in request.query_params](request)
    with pytest.raises(SourceError, match=r"^crm\.people: people: page 2: the answer's list holds"):
        values(people(api, records="data", paging=PAGING["cursor"]), "id")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "items", "error", "status", "meta", "total", "id"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(JSON, st.sampled_from([None, "data", "data.items", "items[0]"]), st.booleans())
def test_whatever_comes_is_records_or_an_error_for_people(
    body: Any, path: str | None, single: bool
) -> None:
    """And never no records while a list of objects stands anywhere in the answer's objects."""
    try:
        found = records_of("crm.people", body, path, single=single)
    except SourceError:
        return
    assert all(isinstance(record, dict) for record in found)

    def lists(value: Any) -> bool:
        if isinstance(value, list):
            return any(isinstance(each, dict) for each in value)
        return isinstance(value, dict) and any(map(lists, value.values()))

    at = body.get("data") if path is not None and isinstance(body, dict) else body
    if not found and at not in (None, [], {}):
        assert not lists(body) or path == "data.items"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"people": None}, []),
        ({"people": {"nodes": None, "pageInfo": None}}, []),
        ({"people": {"nodes": [], "pageInfo": {"hasNextPage": False}}}, []),
        (None, "neither data nor errors"),
        ({"persons": {"nodes": []}}, "nothing at `records: data.people.nodes`"),
    ],
)
def test_graphql_may_answer_null(api: Api, data: Any, found: Any) -> None:
    """Null for a connection is an empty page; no data at all isn't, and errors are errors."""
    api.answers["/people"] = answer({"data": data})
    page_info = "data.people.pageInfo"
    paging = {"type": "cursor", "location": "variables", "param": "after"}
    paging |= {"next": f"{page_info}.endCursor", "more": f"{page_info}.hasNextPage"}
    opened = people(
        api, records="data.people.nodes", paging=paging, graphql={"query": "{people{id}}"}
    )
    if isinstance(found, list):
        assert values(opened, "id") == found
    else:
        with pytest.raises(SourceError, match=found):
            values(opened, "id")
    api.answers["/people"] = answer({"data": data, "errors": [{"message": "no"}]})
    with pytest.raises(SourceError, match="answers the query with errors"):
        values(opened, "id")


def declared(api: Api) -> dict[str, Any]:
    """Case 30: people, with changes asked for by `since`."""
    found = catalogue(("crm",), ("tier",))
    found["systems"]["crm"]["connection"] = {
        "type": "rest",
        "base_url": api.url,
        "retries": 0,
        "allow_private": True,
    }
    sync = found["systems"]["crm"]["syncs"]["people"]
    for key in ("table", "deleted"):
        sync.pop(key, None)
    sync |= {
        "path": "/people",
        "identifiers": {"customer_no": "no"},
        "records": "data",
        "cursor": {"param": "since", "format": "iso"},
        "updated_at": "changed",
    }
    return found


@pytest.fixture
def company(api: Api, tmp_path: Any) -> Company:
    """A company with one customer, who was read."""
    api.answers["/people"] = answer({"data": [PERSON]})
    made = Company(tmp_path, declared(api))
    made.run()
    assert made.profile("1")["tier"] == "gold"
    return made


@pytest.mark.parametrize("empty", EMPTY.values(), ids=EMPTY)
def test_changes_that_are_none_keep_what_is_known(
    company: Company, api: Api, empty: Answer
) -> None:
    """Case 30: the sync succeeds and changes nothing; an empty full read is set aside."""
    api.answers["/people"] = lambda request: (
        empty if "since" in request.query_params else answer({"data": [PERSON]})
    )(request)
    result = company.sync("crm")
    assert "since" in api.queries()[1]
    assert (result.changed, result.deleted, result.set_aside) == (0, 0, {})
    assert company.profile("1")["tier"] == "gold"
    api.answers["/people"] = empty
    whole = company.sync("crm", full=True)
    assert "came back empty" in str(whole.set_aside)
    company.settle()
    assert company.profile("1")["tier"] == "gold"


def test_a_mistyped_path_is_told_at_the_first_run(api: Api, tmp_path: Any) -> None:
    """It reads nobody, and says which path is the right one."""
    api.answers["/people"] = answer({"people": [{"id": "1"}], "total": 1})
    made = Company(tmp_path, declared(api))
    with pytest.raises(SourceError, match="set `records: people`"):
        made.sync("crm")
