"""What is asked of an API: bodies, times in them, GraphQL, tokens, limits, addresses."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from profile_pipelines.errors import MissingField, SourceError, SourceUnreachable
from profile_pipelines.sources import ReadRequest
from profile_pipelines.sources.rest_adapter import is_private
from profile_pipelines.sources.rest_refusals import RefusedError
from profile_pipelines_tests.sources.api_server import Answer, Api, answer, redirect, serving
from profile_pipelines_tests.sources.reads import people, source, table, values

SINCE = datetime(2024, 5, 1, 12, 0, 0, 500_000, tzinfo=UTC)
PEOPLE = [{"id": number} for number in range(1, 8)]
ALL = [str(number) for number in range(1, 8)]


def by_body(path: str, name: str) -> Answer:
    """Pages whose start is read from the posted body."""

    def pages(request: Request) -> Response:
        body = request.state.body
        for step in path.split(".") if path else []:
            body = body.get(step, {})
        start = int(body.get(name, 0))
        more = start + 3 < len(PEOPLE)
        after = {"next": {"after": str(start + 3)}} if more else {}
        return JSONResponse({"results": PEOPLE[start : start + 3], "paging": after, "n": 7})

    return pages


@pytest.mark.parametrize(
    ("path", "name", "paging", "requests"),
    [
        (
            *("", "after"),
            {"type": "cursor", "param": "after", "location": "body", "next": "paging.next.after"},
            3,
        ),
        (
            *("pagination", "starting_after"),
            {
                "type": "cursor",
                "param": "pagination.starting_after",
                "location": "body",
                "next": "paging.next.after",
            },
            3,
        ),
        (
            *("page", "offset"),
            {"type": "offset", "param": "page.offset", "limit_param": "page.limit", "limit": 3}
            | {"location": "body", "total": "n"},
            3,
        ),
    ],
)
def test_posted_bodies_page_at_the_declared_path(
    api: Api, path: str, name: str, paging: dict[str, Any], requests: int
) -> None:
    """A declared body is posted with each page's cursor or offset in it, and nothing else new."""
    api.answers["/people"] = by_body(path, name)
    opened = people(api, records="results", body={"properties": ["email"]}, paging=paging)
    assert values(opened, "id") == ALL
    assert [request.method for request in api.requests] == ["POST"] * requests
    assert all(body["properties"] == ["email"] for body in api.bodies)


def test_the_time_goes_where_the_cursor_says(api: Api) -> None:
    """Into the body at a path, or as a clause into a query text; a full read has neither."""
    api.answers["/people"] = answer(PEOPLE)
    search = {"filters": [{"name": "changed", "value": 0}], "from": date(2024, 1, 1)}
    opened = people(
        api,
        body=search,
        cursor={"param": "filters.0.value", "location": "body", "format": "epoch_ms"},
    )
    values(opened, "id", since=SINCE)
    values(opened, "id")
    assert api.bodies == [
        {"filters": [{"name": "changed", "value": "1714564799000"}], "from": "2024-01-01"},
        {"filters": [{"name": "changed", "value": 0}], "from": "2024-01-01"},
    ]
    domain = [["write_date", ">=", {"__class__": "datetime", "year": 2000}]]
    opened = people(
        api,
        body={"params": [domain, 0]},
        cursor={"param": "params.0.0.2", "location": "body", "format": "parts"},
    )
    values(opened, "id", since=SINCE)
    assert api.bodies[-1]["params"][0][0][2] == {
        "__class__": "datetime",
        "year": 2024,
        "month": 5,
        "day": 1,
        "hour": 11,
        "minute": 59,
        "second": 59,
        "microsecond": 0,
    }
    api.requests.clear()
    opened = people(
        api,
        params={"q": "SELECT Id FROM Contact{changes}", "filter": "{changes}"},
        cursor={"text": " WHERE SystemModstamp >= {since}", "format": "iso"},
    )
    values(opened, "id", since=SINCE)
    values(opened, "id")
    clause = " WHERE SystemModstamp >= 2024-05-01T11:59:59Z"
    assert api.queries() == [
        {"q": f"SELECT Id FROM Contact{clause}", "filter": clause},
        {"q": "SELECT Id FROM Contact"},
    ]


def test_the_fields_that_are_read_are_named(api: Api) -> None:
    """`{fields}` in a text is their names with commas, in a list an entry for each; those below a
    path are named without it, and an entry without any goes."""
    api.answers["/people"] = answer(PEOPLE)
    opened = people(
        api,
        params={"$select": "{fields}", "of": "{fields.nothing}", "q": "SELECT {fields} FROM X"},
        body={"properties": ["{fields.properties}"], "all": ["id", "{fields.nothing}"]},
    )
    table(opened, "id", "properties.tier", "properties.tags[0].id", "state@Display.V1.Value")
    assert api.queries() == [
        {
            "$select": "id,properties.tier,properties.tags,state",
            "q": "SELECT id,properties.tier,properties.tags,state FROM X",
        }
    ]
    assert api.bodies == [{"properties": ["tier", "tags"], "all": ["id"]}]


def test_everything_may_be_asked_for_otherwise_than_changes(api: Api) -> None:
    """A full read uses the request of its own; changes, and a few records, the sync's."""
    api.answers["/people"] = answer([{"id": 1}])
    api.answers["/all"] = answer({"people": [{"id": 1}, {"id": 2}]})
    opened = people(
        api,
        params={"limit": 5},
        headers={"X-Version": "2"},
        updated_at="updated",
        cursor={"param": "since"},
        full_read={"path": "all", "params": {"fields": "{fields}"}, "records": "people"},
    )
    assert values(opened, "id") == ["1", "2"]
    assert values(opened, "id", since=SINCE) == ["1"]
    [batch] = opened.read(ReadRequest(("id",), limit=1))
    assert batch["id"].to_pylist() == ["1"]
    assert opened.inspect() == {"id": "number"}
    assert [request.url.path for request in api.requests] == ["/all", *["/people"] * 3]
    assert api.queries()[:2] == [{"fields": "id"}, {"limit": "5", "since": "1714564799"}]
    assert api.requests[0].headers["x-version"] == "2"


@pytest.mark.parametrize(
    ("status", "body", "error", "told"),
    [
        (
            *(400, [{"errorCode": "INVALID_FIELD", "message": "No such column 'tier' on 'X'"}]),
            *(MissingField, r"400 \(INVALID_FIELD\): it knows no field a.tier"),
        ),
        (
            *(400, {"error": {"code": "0x80060888", "message": 'no property "state" is there'}}),
            *(MissingField, r"400 \(0x80060888\): it knows no field state@Display"),
        ),
        # which of the two is meant isn't known
        (
            *(400, {"message": "one of 'tier' and 'state'", "category": "VALIDATION_ERROR"}),
            *(RefusedError, r"400 \(VALIDATION_ERROR\): the API refuses the request"),
        ),
        (
            *(403, {"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "ada@x.org"}),
            *(SourceUnreachable, r"403 \(REQUEST_LIMIT_EXCEEDED\): the allowance"),
        ),
        (403, {"error": "ada@x.org said no", "code": 17}, RefusedError, "403: the credentials"),
        (404, "nothing", RefusedError, "404: there is nothing"),
    ],
)
def test_what_an_api_says_why_it_refuses(
    api: Api, status: int, body: Any, error: type[SourceError], told: str
) -> None:
    """Its code is told, never its message; a field that it doesn't know is told by name."""
    api.answers["/people"] = answer(body, status)
    with pytest.raises(error, match=told) as raised:
        table(people(api), "a.tier", "state@Display.V1.Value")
    assert type(raised.value) is error
    assert "ada@" not in str(raised.value)


def test_a_full_read_may_have_a_start(api: Api) -> None:
    """An API that gives only recent changes by itself is asked from the declared day."""
    api.answers["/people"] = answer(PEOPLE)
    cursor = {"param": "since", "format": "date", "start": date(2001, 1, 1)}
    opened = people(api, cursor=cursor, headers={"Prefer": "odata.maxpagesize=500"})
    values(opened, "id")
    values(opened, "id", since=SINCE)
    assert api.queries() == [{"since": "2001-01-01"}, {"since": "2024-05-01"}]
    assert api.requests[0].headers["prefer"] == "odata.maxpagesize=500"


def test_a_next_link_may_be_relative_and_its_key_may_hold_dots(api: Api) -> None:
    """Salesforce's `nextRecordsUrl` and OData's `@odata.nextLink` are followed."""
    for key in ("nextRecordsUrl", "@odata.nextLink"):
        api.answers = {
            "/people": answer({"value": PEOPLE[:3], key: "/more?$skiptoken=1"}),
            "/more": answer({"value": PEOPLE[3:]}),
        }
        assert (
            values(people(api, records="value", paging={"type": "link", "next": key}), "id") == ALL
        )


GRAPHQL = {"query": "query($after: String) { people(after: $after) { id } }", "variables": {"n": 3}}
RELAY = {
    "type": "cursor",
    "param": "after",
    "location": "variables",
    "next": "data.people.pageInfo.endCursor",
    "more": "data.people.pageInfo.hasNextPage",
}


def relay(request: Request) -> Response:
    start = int(request.state.body["variables"].get("after", 0))
    info = {"endCursor": str(start + 3), "hasNextPage": start + 3 < len(PEOPLE)}
    return JSONResponse(
        {"data": {"people": {"nodes": PEOPLE[start : start + 3], "pageInfo": info}}}
    )


def throttled(request: Request) -> Response:
    cost = {
        "requestedQueryCost": 5,
        "throttleStatus": {"maximumAvailable": 100, "currentlyAvailable": 4, "restoreRate": 1000},
    }
    error = {"message": "Throttled", "extensions": {"code": "THROTTLED"}}
    return JSONResponse({"errors": [error], "extensions": {"cost": cost}})


def test_graphql_pages_by_its_variables(api: Api) -> None:
    """The query is posted with each page's cursor among its variables; throttling is waited out."""
    api.answers["/people"] = relay
    api.faults = [throttled]
    opened = people(api, records="data.people.nodes", graphql=GRAPHQL, paging=RELAY)
    assert values(opened, "id") == ALL
    assert [body["variables"] for body in api.bodies] == [
        {"n": 3},
        {"n": 3},
        {"n": 3, "after": "3"},
        {"n": 3, "after": "6"},
    ]


def test_graphql_errors_in_a_good_answer_are_errors(api: Api) -> None:
    """An answer with `errors` is no answer, even beside data; its messages aren't shown."""
    error = {"message": "bob@example.org is bad", "path": ["people", "nodes"]}
    error["extensions"] = {"code": "undefinedField"}
    api.answers["/people"] = answer({"data": {"people": {"nodes": PEOPLE}}, "errors": [error]})
    with pytest.raises(SourceError, match=r"UNDEFINEDFIELD, people\.nodes") as caught:
        values(people(api, records="data.people.nodes", graphql=GRAPHQL), "id")
    assert "bob" not in str(caught.value)
    api.answers["/people"] = throttled
    with pytest.raises(SourceUnreachable, match="throttling 3 times"):
        values(people(api, records="data.people.nodes", graphql=GRAPHQL), "id")


class Tokens:
    """A token endpoint and an API that takes each token for so many requests."""

    def __init__(self, uses: int = 100) -> None:
        self.given = 0
        self.uses = uses
        self.left = 0

    def token(self, request: Request) -> Response:
        self.given += 1
        self.left = self.uses
        token = f"token-{self.given}"
        answered = {"access_token": token, "data": {"login": {"token": token}}}
        return JSONResponse(answered, headers={"x-new-token": token})

    def people(self, request: Request) -> Response:
        if request.headers["authorization"] != f"Bearer token-{self.given}" or self.left == 0:
            return Response(status_code=401)
        self.left -= 1
        start = int(request.query_params.get("after", 0))
        after = str(start + 3) if start + 3 < len(PEOPLE) else None
        return JSONResponse({"data": PEOPLE[start : start + 3], "next": after})


PAGED: dict[str, Any] = {
    "records": "data",
    "paging": {"type": "cursor", "param": "after", "next": "next"},
}


def tokens(api: Api, uses: int = 100) -> Tokens:
    issued = Tokens(uses)
    api.answers = {"/token": issued.token, "/people": issued.people}
    return issued


@pytest.mark.parametrize(
    ("declared", "sent"),
    [
        (
            {"type": "oauth2", "url": "/token", "client_id": "me", "client_secret": {"env": "KEY"}}
            | {"scope": "read", "params": {"audience": "crm"}},
            {"grant_type": "client_credentials", "client_id": "me", "client_secret": "s3cret"}
            | {"scope": "read", "audience": "crm"},
        ),
        (
            {"type": "oauth2", "url": "/token", "client_id": "me", "refresh_token": {"env": "KEY"}},
            {"grant_type": "refresh_token", "client_id": "me", "refresh_token": "s3cret"},
        ),
        (
            {"type": "login", "path": "token", "found_at": "data.login.token"}
            | {"body": {"query": "mutation", "variables": {"password": {"env": "KEY"}}}},
            {"query": "mutation", "variables": {"password": "s3cret"}},
        ),
        (
            {"type": "login", "path": "token", "found_header": "X-New-Token"}
            | {"body": {"password": {"env": "KEY"}}},
            {"password": "s3cret"},
        ),
    ],
)
def test_tokens_are_fetched_and_renewed_once_when_they_end(
    api: Api, monkeypatch: pytest.MonkeyPatch, declared: dict[str, Any], sent: dict[str, Any]
) -> None:
    """A token that ends in the middle of reading costs no record."""
    monkeypatch.setenv("KEY", "s3cret")
    issued = tokens(api, uses=2)
    auth = dict(declared)
    if "url" in auth:
        auth["url"] = api.url + auth["url"]
    assert values(people(api, {"auth": auth}, **PAGED), "id") == ALL
    assert issued.given == 2
    assert api.bodies[0] == sent


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ({"found_header": "X-Other"}, "no header X-Other; check the credentials"),
        ({"found_at": "data.token"}, "no token at 'data.token'; check the credentials"),
    ],
)
def test_a_login_without_a_token_says_so(api: Api, found: dict[str, str], problem: str) -> None:
    """A login that is answered, but brings no token where it should, is an error."""
    tokens(api)
    auth = {"type": "login", "path": "token", "body": {}, **found}
    with pytest.raises(SourceError, match=problem):
        values(people(api, {"auth": auth}, **PAGED), "id")


@pytest.mark.parametrize(
    "extensions", [{"code": "UNAUTHENTICATED"}, {"exception": {"code": "ExpiredSignatureError"}}]
)
def test_a_token_that_ends_within_a_good_answer_is_renewed(
    api: Api, extensions: dict[str, Any]
) -> None:
    """GraphQL says with status 200 that a token has ended; it's renewed once for each request."""
    issued = Tokens(uses=2)
    ended = {"errors": [{"message": "no", "extensions": extensions}], "data": None}
    api.answers["/token"] = issued.token
    api.answers["/people"] = lambda request: (
        relay(request) if issued.people(request).status_code == 200 else JSONResponse(ended)
    )
    auth = {"type": "login", "path": "token", "found_at": "data.login.token", "body": {}}
    opened = people(api, {"auth": auth}, records="data.people.nodes", graphql=GRAPHQL, paging=RELAY)
    assert values(opened, "id") == ALL
    assert issued.given == 2
    issued.uses = 0
    with pytest.raises(SourceError, match="the credentials may not read this"):
        values(opened, "id")
    assert issued.given == 4, "one for the new read, and one more"


def test_graphql_errors_about_permission_say_so(api: Api) -> None:
    """Codes of refused access lead to the credentials; a refused login does in any case."""
    error = {"message": "no", "extensions": {"code": "FORBIDDEN"}}
    api.answers["/people"] = answer({"data": None, "errors": [error]})
    with pytest.raises(SourceError, match=r"errors \(FORBIDDEN\): the credentials may not"):
        values(people(api, records="data.people.nodes", graphql=GRAPHQL), "id")
    auth = {"type": "login", "path": "people", "found_at": "t", "body": {"query": "mutation"}}
    api.answers["/people"] = answer({"errors": [{"message": "bad password s3cret"}]})
    with pytest.raises(SourceError, match="the login is refused; check the credentials") as caught:
        values(people(api, {"auth": auth}, records="data", graphql=GRAPHQL), "id")
    assert "s3cret" not in str(caught.value)


def test_a_token_that_is_refused_at_once_ends_the_read(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One renewal, then a plain error, without the secret."""
    monkeypatch.setenv("KEY", "s3cret")
    issued = tokens(api, uses=0)
    auth = {"type": "oauth2", "url": f"{api.url}/token", "client_id": "me"}
    auth |= {"client_secret": {"env": "KEY"}, "client_auth": "basic"}
    with pytest.raises(SourceError, match="401") as caught:
        values(people(api, {"auth": auth}, **PAGED), "id")
    assert issued.given == 2
    api.answers["/token"] = answer({"error": "invalid_client s3cret"}, status=400)
    with pytest.raises(SourceError, match="login is refused") as caught:
        values(people(api, {"auth": auth}, **PAGED), "id")
    assert "s3cret" not in str(caught.value)


def test_private_addresses_are_refused_unless_they_are_named(api: Api) -> None:
    """Nothing is sent to loopback, whatever its name is, unless the catalogue allows that host."""
    port = api.port
    for host in ("127.0.0.1", "localhost"):
        connection = {"type": "rest", "base_url": f"http://{host}:{port}", "retries": 0}
        with pytest.raises(SourceError, match=rf"allow_private: \[{host}\]"):
            values(source(connection, path="people"), "id")
    assert api.requests == []
    api.answers["/people"] = answer(PEOPLE)
    assert values(people(api, {"allow_private": ["127.0.0.1"]}), "id") == ALL


@pytest.mark.parametrize(
    ("address", "private"),
    [
        *((a, True) for a in ("10.0.0.1", "169.254.169.254", "::1", "fe80::1%eth0", "0.0.0.0")),
        *((a, True) for a in ("::ffff:127.0.0.1", "2002:7f00:1::", "100.64.0.1", "224.0.0.1")),
        *((a, False) for a in ("93.184.216.34", "2606:4700::1111", "::ffff:93.184.216.34")),
    ],
)
def test_every_address_off_the_public_internet_is_private(address: str, private: bool) -> None:
    """Loopback, link-local, shared and mapped addresses count, in both families."""
    assert is_private(address) is private


def gzipped(content: bytes) -> Answer:
    headers = {"content-encoding": "gzip"}
    return lambda request: Response(gzip.compress(content), 200, headers, "application/json")


@pytest.mark.parametrize(
    ("served", "problem"),
    [
        (answer("[" + " " * 2_000_000 + "]"), "larger than 1 MB"),
        (gzipped(b"[" + b" " * 50_000_000 + b"]"), "larger than 1 MB"),
        (answer("[" * 100_000 + "]" * 100_000), "whole JSON"),
    ],
)
def test_answers_are_bounded_in_size_and_depth(api: Api, served: Answer, problem: str) -> None:
    """Neither a huge answer nor a small one that unpacks to one nor a deep one is taken."""
    api.answers["/people"] = served
    with pytest.raises(SourceError, match=problem):
        values(people(api, {"max_answer": "1 MB"}), "id")


def test_a_redirect_to_another_host_is_refused_before_it_is_followed(api: Api) -> None:
    """The login's redirect is guarded like any other, so that no secret leaves."""
    with serving() as other:
        api.answers["/token"] = redirect(f"{other.url}/token")
        auth = {"type": "login", "path": "token", "found_at": "t", "body": {"a": "b"}}
        with pytest.raises(SourceError, match="another host"):
            values(people(api, {"auth": auth}), "id")
        assert other.requests == []


@pytest.mark.parametrize(
    ("connection", "sync", "problem"),
    [
        ({"rate_limit": "often"}, {}, "10 per minute"),
        ({"max_answer": "big"}, {}, "200 MB"),
        ({}, {"cursor": {"param": "a", "text": "{since}"}}, "either param or text"),
        ({}, {"cursor": {"text": "newer"}}, "needs {since}"),
        ({}, {"params": {"type": []}}, "params.type\n.*is an empty list; write its values"),
        ({}, {"params": {"type": {"a": 1}}}, "must be text, a number, true or false, or a list"),
        ({}, {"params": {"type": ["a", ["b"]]}}, "must be text, a number, true or false, or a"),
    ],
)
def test_mistakes_in_a_request_say_what_would_be_right(
    api: Api, connection: dict[str, Any], sync: dict[str, Any], problem: str
) -> None:
    """Malformed limits, sizes and cursors are refused with an example."""
    with pytest.raises(ValidationError, match=problem):
        people(api, connection, **sync)


def test_a_parameter_may_have_several_values(api: Api) -> None:
    """Each is sent under the same name, on every page, in every kind of request."""
    params = {"type": ["a", True, 2], "one": False, "since": date(2026, 3, 1)}
    sent = "type=a&type=true&type=2&one=false&since=2026-03-01"
    api.answers["/people"] = lambda request: (
        answer([]) if request.query_params["page"] == "2" else answer([{"id": "1"}])
    )(request)
    api.answers["/events"] = answer([])
    api.answers["/people/1"] = answer({"id": "1"})
    log = {"path": "/events", "params": params, "time": "at", "event_id": "id", "id": "who"}
    log |= {"cursor": {"param": "from", "format": "epoch"}, "paging": {"type": "none"}}
    opened = people(
        api,
        params={"full": False},
        paging={"type": "page"},
        full_read={"path": "people", "params": params, "paging": {"type": "page"}},
        one={"path": "/people/{id}", "params": params},
        events=log,
        key="id",
    )
    assert values(opened, "id") == ["1"]
    opened.events(datetime(1970, 1, 2, tzinfo=UTC))
    assert len(list(opened.read(ReadRequest(("id",), keys=("1",))))) == 1
    assert [request.url.query for request in api.requests] == [
        f"{sent}&page=1",
        f"{sent}&page=2",
        f"{sent}&from=86399",
        sent,
    ]


def test_the_rate_limit_of_a_system_holds(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of all syncs and attempts count against the declared rate."""
    waited: list[str] = []
    limiter = "profile_pipelines.sources.rate_limit.RateLimiter.wait"
    monkeypatch.setattr(limiter, lambda self: waited.append(self._path.name))
    api.answers["/people"] = answer(PEOPLE)
    api.faults = [answer("", 500)]
    declared: Callable[..., Any] = people
    values(declared(api, {"rate_limit": "10 per minute"}, rate_limit="1 per 5 seconds"), "id")
    values(declared(api, {"rate_limit": "10 per minute"}, path="people"), "id")
    assert len(waited) == 5
    assert len(set(waited)) == 2
