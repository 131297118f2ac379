"""What is sent to an endpoint: its declaration filled with times, job ids and secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast
from urllib.parse import quote

from profile_pipelines.catalog.connections import Location
from profile_pipelines.catalog.declaration import Secret
from profile_pipelines.catalog.rest_requests import CHANGES, GraphQL, JobRequest, RestCursor
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.errors import SourceError

_OVERLAP = timedelta(seconds=1)
_NOTHING = object()


@dataclass(frozen=True)
class Call:
    """One request, before paging has its say in it."""

    path: str
    method: str = "GET"
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: dict[str, Any] | None = None
    graphql: bool = False


def call(
    where: str,
    sync: Sync | JobRequest,
    cursor: RestCursor | None = None,
    since: str | None = None,
    until: str | None = None,
    job: str | None = None,
) -> Call:
    """The request for changes from `since` to `until`, as written; or what a job has become."""
    words = {CHANGES: ""}
    if cursor is not None and cursor.text is not None and since is not None:
        text = cursor.text.replace("{since}", since)
        words[CHANGES] = text if until is None else text.replace("{until}", until)
    if job is not None:
        words["{job}"] = job
    params = query(filled(sync.params, words))
    body = _body(sync.body, sync.graphql, words)
    if cursor is not None and since is not None:
        for name, value in ((cursor.param, since), (cursor.until, until)):
            if name is not None and value is not None:
                place(where, params, body, name, cursor.location, value)
    return Call(
        _path(sync.path or "", words),
        sync.method or ("GET" if body is None else "POST"),
        params,
        {name: resolve(value) for name, value in sync.headers.items()}
        if isinstance(sync, Sync)
        else {},
        body,
        sync.graphql is not None,
    )


def query(params: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the parameters with booleans as APIs read them."""
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in params.items()
    }


def written(when: datetime, form: str, *, early: bool = False) -> str:
    """A time as the API wants it; a second earlier where it may leave out the bound itself."""
    when = when.astimezone(UTC)
    if early:
        when = when.replace(microsecond=0) - _OVERLAP
    match form:
        case "epoch":
            return str(int(when.timestamp()))
        case "epoch_ms":
            return str((when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1))
        case "date":
            return when.strftime("%Y-%m-%d")
        case _:
            return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def place(
    where: str,
    params: dict[str, Any],
    body: dict[str, Any] | None,
    name: str,
    location: Location,
    value: Any,
) -> None:
    """Put a value into the parameters, or at a dotted path of the body."""
    if location == "query":
        params[name] = value
        return
    path = name.split(".") if location == "body" else ["variables", *name.split(".")]
    at: Any = body
    for step, following in zip(path, [*path[1:], None], strict=True):
        key: Any = int(step) if isinstance(at, list) and step.isdecimal() else step
        within = (
            key < len(cast(list[Any], at))
            if isinstance(at, list) and isinstance(key, int)
            else isinstance(at, dict)
        )
        if not within:
            raise SourceError(f"{where}: the body has no place at {'.'.join(path)!r}")
        if following is None:
            at[key] = value
        elif isinstance(at, list):
            at = at[key]
        else:
            at = at.setdefault(key, {})


def filled(value: Any, words: dict[str, str]) -> Any:
    """A copy with the words replaced, secrets read, and dates as text.

    An entry that is nothing but a word without a text, like `{changes}` in a full read, goes.
    """
    found = _filled(value, words)
    return None if found is _NOTHING else found


def _filled(value: Any, words: dict[str, str]) -> Any:
    match value:
        case str():
            if words.get(value.strip()) == "":
                return _NOTHING
            for word, text in words.items():
                value = value.replace(word, text)
            return value
        case dict():
            entries = cast(dict[str, Any], value)
            if entries.keys() == {"env"} and isinstance(entries["env"], str):
                return resolve(Secret(env=entries["env"]))
            copies = {key: _filled(item, words) for key, item in entries.items()}
            return {key: item for key, item in copies.items() if item is not _NOTHING}
        case list():
            copied = [_filled(item, words) for item in cast(list[Any], value)]
            return [item for item in copied if item is not _NOTHING]
        case date():
            return value.isoformat()
        case _:
            return value


def _body(
    body: dict[str, Any] | None, graphql: GraphQL | None, words: dict[str, str]
) -> dict[str, Any] | None:
    if graphql is not None:
        query, variables = graphql.query, filled(graphql.variables, words)
        for word, text in words.items():
            query = query.replace(word, text)
        return {"query": query, "variables": variables}
    return None if body is None else filled(body, words)


def _path(path: str, words: dict[str, str]) -> str:
    for word, text in words.items():
        path = path.replace(word, quote(text, safe=""))
    return path
