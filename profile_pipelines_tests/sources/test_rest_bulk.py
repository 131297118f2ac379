"""Jobs that are started, asked after, and downloaded."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from profile_pipelines.errors import SourceError, SourceUnreachable
from profile_pipelines.sources import ReadRequest
from profile_pipelines.sources.rest_client import RestClient
from profile_pipelines_tests.sources.api_server import Api, answer, cut, redirect, serving
from profile_pipelines_tests.sources.reads import people, table, values

CSV_JOB: dict[str, Any] = {
    "path": "jobs/query",
    "body": {"operation": "queryAll", "query": "SELECT Id FROM Contact"},
    "bulk": {
        "job": "id",
        "poll": {"path": "jobs/query/{job}", "state": "state", "done": ["JobComplete"]}
        | {"failed": ["Failed", "Aborted"], "every": "1s", "timeout": "10s"},
        "result": {
            "path": "jobs/query/{job}/results",
            "format": "csv",
            "params": {"maxRecords": 2},
            "paging": {"type": "cursor", "param": "locator", "next_header": "Sforce-Locator"},
        },
    },
}
MUTATION = {"query": "mutation { bulkOperationRunQuery }"}
JSONL_JOB: dict[str, Any] = {
    "path": "graphql",
    "graphql": MUTATION,
    "bulk": {
        "job": "data.run.bulkOperation.id",
        "errors": "data.run.userErrors",
        "poll": {
            "path": "graphql",
            "graphql": {"query": "query { node }", "variables": {"id": "{job}"}},
            "state": "data.node.status",
            "done": ["COMPLETED"],
            "failed": ["FAILED", "CANCELED", "EXPIRED"],
        },
        "result": {"url": "data.node.url", "format": "jsonl", "parent": "__parentId"},
    },
}


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only waiting moves on."""
    waited: list[float] = []
    module = "profile_pipelines.sources.rest_bulk"
    monkeypatch.setattr(RestClient, "wait", lambda _, seconds: waited.append(seconds))
    monkeypatch.setattr(f"{module}.monotonic", lambda: sum(waited))
    return waited


def polled(api: Api, *states: str) -> None:
    left = list(states)
    api.answers["/jobs/query"] = answer({"id": "750R", "state": "UploadComplete"})
    api.answers["/jobs/query/750R"] = lambda request: JSONResponse(
        {"state": left.pop(0) if len(left) > 1 else left[0]}
    )


def pages(request: Request) -> Response:
    at = request.query_params.get("locator", "")
    rows = {"": "1,Ada\n2,\n", "M": '3,"a, ""b""\nc"\n', "N": ""}[at]
    following = {"": "M", "M": "N", "N": "null"}[at]
    header = "" if at == "M" else "Id,Name\n"
    return Response(header + rows, headers={"sforce-locator": following}, media_type="text/csv")


def test_csv_results_are_read_page_by_page(api: Api, waits: list[float]) -> None:
    """The job is asked after until it's done; the locator leads through the pages, with or
    without a header in each; a cut page comes again."""
    polled(api, "UploadComplete", "InProgress", "JobComplete")
    api.answers["/jobs/query/750R/results"] = pages
    opened = people(api, **CSV_JOB)
    assert table(opened, "Id", "Name").to_pylist() == [
        {"Id": "1", "Name": "Ada"},
        {"Id": "2", "Name": None},
        {"Id": "3", "Name": 'a, "b"\nc'},
    ]
    assert waits == [1.0, 1.0]
    assert api.bodies[0] == CSV_JOB["body"]
    left = [cut]
    api.answers["/jobs/query/750R/results"] = lambda request: (left.pop() if left else pages)(
        request
    )
    assert values(opened, "Id") == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("states", "error", "problem"),
    [
        (["Failed"], SourceError, "the job ended as Failed"),
        (["InProgress", "Aborted"], SourceError, "the job ended as Aborted"),
        (["InProgress"], SourceUnreachable, "wasn't done in 0:00:10"),
    ],
)
def test_jobs_that_fail_or_take_too_long_end_the_read(
    api: Api, states: list[str], error: type[SourceError], problem: str
) -> None:
    """A job without a result brings an error, never an empty result."""
    polled(api, *states)
    with pytest.raises(error, match=problem):
        values(people(api, **CSV_JOB), "Id")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("Id,Name\n1\n", "line 2 in part 1 of the result isn't as long as its header: 1 col"),
        ('Id\n"1', "part 1 of the result isn't whole CSV"),
        ("", "part 1 of the result is empty"),
        ('{"error": "busy"}', "names none of the mapped fields"),
        ("<html>busy</html>\n", "names none of the mapped fields"),
    ],
)
def test_a_broken_table_is_refused(api: Api, content: str, problem: str) -> None:
    """A row that is cut off never passes for a whole one."""
    polled(api, "JobComplete")
    api.answers["/jobs/query/750R/results"] = answer(content, sforce_locator="null")
    with pytest.raises(SourceError, match=problem):
        values(people(api, **CSV_JOB), "Id")


def test_a_result_may_be_nothing(api: Api) -> None:
    """204 in place of a table, and a table without rows, are no records."""
    polled(api, "JobComplete")
    for content, status in (("", 204), ("Id,Name\n", 200)):
        api.answers["/jobs/query/750R/results"] = answer(content, status, sforce_locator="null")
        assert values(people(api, **CSV_JOB), "Id") == []


LINES = [
    {"id": "c1", "email": "a@x.org"},
    {"id": "o1", "total": 1.50, "__parentId": "c1"},
    {"id": "o2", "total": 2, "__parentId": "c1"},
    {"id": "c2", "email": "b@x.org"},
]


def operation(api: Api, url: str | None, status: str = "COMPLETED", errors: Any = ()) -> None:
    def answered(request: Request) -> Response:
        if request.state.body["query"] == MUTATION["query"]:
            job = {"id": "gid://shop/BulkOperation/1"}
            return JSONResponse({"data": {"run": {"bulkOperation": job, "userErrors": [*errors]}}})
        assert request.state.body["variables"] == {"id": "gid://shop/BulkOperation/1"}
        return JSONResponse({"data": {"node": {"status": status, "url": url}}})

    api.answers["/graphql"] = answered


def test_json_lines_come_from_their_own_host_without_secrets(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signed address may be elsewhere if that host is declared; children join their parent."""
    monkeypatch.setenv("KEY", "s3cret")
    connection: dict[str, Any] = {
        "auth": {"type": "api_key", "name": "X-Token", "key": {"env": "KEY"}},
        "hosts": ["localhost"],
    }
    with serving() as storage:
        storage.answers["/r.jsonl"] = answer("\n".join(json.dumps(line) for line in LINES))
        operation(api, f"http://localhost:{storage.port}/r.jsonl")
        opened = people(api, connection, **JSONL_JOB)
        assert table(opened, "email", "children.1.id", "children.0.total").to_pylist() == [
            {"email": "a@x.org", "children.1.id": "o2", "children.0.total": "1.5"},
            {"email": "b@x.org", "children.1.id": None, "children.0.total": None},
        ]
        assert "x-token" not in storage.requests[0].headers
        assert api.requests[0].headers["x-token"] == "s3cret"
        with pytest.raises(SourceError, match="on another host"):
            values(people(api, **JSONL_JOB), "id")
        storage.answers["/r.jsonl"] = redirect("http://elsewhere.invalid/")
        with pytest.raises(SourceError, match="another host"):
            values(opened, "id")


def test_a_job_may_bring_everything_and_pages_the_changes(api: Api) -> None:
    """A read of changes, a sample and the look at the fields ask the sync's own request."""
    api.answers["/r.jsonl"] = answer("\n".join(json.dumps(line) for line in LINES))
    api.answers["/people"] = answer([{"id": "c2", "email": "new@x.org"}])
    operation(api, f"{api.url}/r.jsonl")
    opened = people(api, full_read=JSONL_JOB, cursor={"param": "since"}, updated_at="at")
    assert values(opened, "email") == ["a@x.org", "b@x.org"]
    assert [request.url.path for request in api.requests] == ["/graphql", "/graphql", "/r.jsonl"]
    api.requests.clear()
    since = datetime(2026, 1, 1, tzinfo=UTC)
    assert values(opened, "email", since) == ["new@x.org"]
    assert next(iter(opened.read(ReadRequest(("email",), limit=1)))).num_rows == 1
    assert opened.inspect() == {"id": "string", "email": "string"}
    assert {request.url.path for request in api.requests} == {"/people"}


@pytest.mark.parametrize(
    ("served", "problem"),
    [
        ('{"id": 1}\n{"id"', "whole JSON object"),
        ("[1]\n", "whole JSON object"),
        ('{"id": 1}\n{"id": 2, "__parentId": 7}', "apart from its parent"),
    ],
)
def test_broken_lines_are_refused(api: Api, served: str, problem: str) -> None:
    """A result that is cut off, or whose children can't be placed, is refused."""
    api.answers["/r.jsonl"] = answer(served)
    operation(api, f"{api.url}/r.jsonl")
    with pytest.raises(SourceError, match=problem):
        values(people(api, **JSONL_JOB), "id")


def test_refused_expired_empty_and_oversized_results(api: Api) -> None:
    """A refused or expired job is an error; no address means no records; size is bounded."""
    operation(api, None)
    assert values(people(api, **JSONL_JOB), "id") == []
    operation(api, None, status="EXPIRED")
    with pytest.raises(SourceError, match="ended as EXPIRED"):
        values(people(api, **JSONL_JOB), "id")
    operation(api, None, errors=[{"message": "already running"}])
    with pytest.raises(SourceError, match="doesn't start the job"):
        values(people(api, **JSONL_JOB), "id")
    api.answers["/r.jsonl"] = answer(" " * 3_000_000)
    operation(api, f"{api.url}/r.jsonl")
    with pytest.raises(SourceError, match="max_download"):
        values(people(api, {"max_download": "2 MB"}, **JSONL_JOB), "id")
