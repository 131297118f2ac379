"""What is sent to an endpoint: its declaration filled with times, fields, job ids and secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, cast
from urllib.parse import quote

from profile_pipelines.catalog.connections import Location
from profile_pipelines.catalog.declaration import Secret
from profile_pipelines.catalog.rest_requests import (
    CHANGES,
    FIELDS,
    DeletedList,
    GraphQL,
    OtherRequest,
    RestCursor,
)
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.errors import SourceError
from profile_pipelines.sources.rest_clock import Written

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
    fields: tuple[str, ...] = ()
    """The fields that it asks for, where it names any."""
    shown: str = ""
    """The endpoint as it may be told, where the path itself holds somebody's key."""


def call(
    where: str,
    sync: Sync | OtherRequest,
    cursor: RestCursor | None = None,
    since: Written | None = None,
    until: Written | None = None,
    job: str | None = None,
    fields: Sequence[str] = (),
) -> Call:
    """The request for changes from `since` to `until`, as written; or what a job has become.

    `fields` are the paths that are read, for APIs that are told what to give.
    """
    words = {CHANGES: ""}
    if cursor is not None and cursor.text is not None and since is not None:
        text = cursor.text.replace("{since}", str(since))
        words[CHANGES] = text if until is None else text.replace("{until}", str(until))
    if job is not None:
        words["{job}"] = job
    params = query(filled(sync.params, words, fields))
    body = _body(sync.body, sync.graphql, words, fields)
    if cursor is not None and since is not None:
        for name, value in ((cursor.param, since), (cursor.until, until)):
            if name is not None and value is not None:
                place(where, params, body, name, cursor.location, value)
    return Call(
        _path(sync.path or "", words),
        sync.method or ("GET" if body is None else "POST"),
        params,
        {name: resolve(value) for name, value in sync.headers.items()}
        if isinstance(sync, Sync | DeletedList)
        else {},
        body,
        sync.graphql is not None,
        tuple(fields),
    )


def joined(base_url: str, path: str) -> str:
    """The address of an endpoint; a path may be a whole address already."""
    if not path or path.startswith(("http://", "https://")):
        return path or base_url
    return f"{base_url.rstrip('/')}/{path.lstrip('/')}"


def query(params: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the parameters with booleans as APIs read them; a list has several values."""

    def one(value: Any) -> Any:
        return str(value).lower() if isinstance(value, bool) else value

    return {
        name: [one(each) for each in cast(list[Any], value)]
        if isinstance(value, list)
        else one(value)
        for name, value in params.items()
    }


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
            if isinstance(value, dict):
                # what tags the object stays
                there = at[key] if isinstance(at, list) else at.get(key)
                at[key] = {**(there if isinstance(there, dict) else {}), **value}
            else:
                at[key] = value
        elif isinstance(at, list):
            at = at[key]
        else:
            at = at.setdefault(key, {})


def filled(value: Any, words: Mapping[str, str], fields: Sequence[str] = ()) -> Any:
    """A copy with the words replaced, the fields named, secrets read, and dates as text.

    An entry that is nothing but a word without a text, like `{changes}` in a full read, goes.
    """
    found = _filled(value, words, fields)
    return None if found is _NOTHING else found


def _filled(value: Any, words: Mapping[str, str], fields: Sequence[str]) -> Any:
    match value:
        case str():
            if words.get(value.strip()) == "":
                return _NOTHING
            if found := FIELDS.fullmatch(value.strip()):
                return ",".join(_named(fields, found[1])) or _NOTHING
            value = FIELDS.sub(lambda asked: ",".join(_named(fields, asked[1])), value)
            for word, text in words.items():
                value = value.replace(word, text)
            return value
        case dict():
            entries = cast(dict[str, Any], value)
            if entries.keys() == {"env"} and isinstance(entries["env"], str):
                return resolve(Secret(env=entries["env"]))
            copies = {key: _filled(item, words, fields) for key, item in entries.items()}
            return {key: item for key, item in copies.items() if item is not _NOTHING}
        case list():
            copied: list[Any] = []
            for item in cast(list[Any], value):
                asked = FIELDS.fullmatch(item) if isinstance(item, str) else None
                copied += _named(fields, asked[1]) if asked else [_filled(item, words, fields)]
            return [item for item in copied if item is not _NOTHING]
        case date():
            return value.isoformat()
        case _:
            return value


def _named(fields: Sequence[str], below: str | None) -> list[str]:
    """The names by which an API is asked for the fields, or for those below a path, each once.

    Entries of lists (`[…]`) and annotations (OData's `@…`) come with the field that has them.
    """
    prefix = "" if below is None else f"{below}."
    names = (path.removeprefix(prefix) for path in fields if path.startswith(prefix))
    return [name for name in dict.fromkeys(re.split(r"[\[@]", each)[0] for each in names) if name]


def _body(
    body: dict[str, Any] | None,
    graphql: GraphQL | None,
    words: Mapping[str, str],
    fields: Sequence[str],
) -> dict[str, Any] | None:
    if graphql is not None:
        query, variables = graphql.query, filled(graphql.variables, words, fields)
        for word, text in words.items():
            query = query.replace(word, text)
        return {"query": query, "variables": variables}
    return None if body is None else filled(body, words, fields)


def _path(path: str, words: Mapping[str, str]) -> str:
    for word, text in words.items():
        path = path.replace(word, quote(text, safe=""))
    return path
