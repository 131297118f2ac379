"""Do a sync's options fit its system's connection, and each other?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import cast

from profile_pipelines.catalog.connections import Connection
from profile_pipelines.catalog.convert_steps import gives_one_value
from profile_pipelines.catalog.field_paths import leads_to_list, parse_path
from profile_pipelines.catalog.mistakes import Path, in_words
from profile_pipelines.catalog.rest_requests import CHANGES, GraphQL
from profile_pipelines.catalog.schedules import longest_gap
from profile_pipelines.catalog.systems import Sync

OPTIONS: dict[str, tuple[str, ...]] = {
    "sql": ("table", "query"),
    "rest": (
        *("path", "method", "params", "headers", "body", "graphql", "records", "paging", "cursor"),
        *("window", "bulk", "full_read", "deleted_list", "rate_limit", "one", "events"),
    ),
    "files": ("path", "format", "csv"),
    "custom": ("path",),
}
"""The keys of a sync that say where its records are, by the type of the connection."""
_TELLING_NAME = re.compile(
    r"\.(parquet|((csv|tsv|jsonl|ndjson)(\.(gz|bz2|zst|lz4))?))$", re.IGNORECASE
)
_COMPRESSED = re.compile(r"\.(gz|bz2|zst|lz4)$")

_COMMENTS = re.compile(r"^(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)+", re.DOTALL)
"""What may stand before a query."""
_READING = re.compile(
    r"\(|(select|with|from|values|table|pivot|unpivot|show|describe|summarize)\b", re.IGNORECASE
)
_DIALECTS = ("", "mysql", "postgres", "tsql", "oracle", "bigquery")
"""They differ in what they quote, and so in which semicolons end a statement."""


def sync_mistakes(connection: Connection, sync: Sync) -> Iterator[tuple[Path, str]]:
    """What is wrong within one sync, each with its path below the sync."""
    kind = connection.type
    yield from _place_mistakes(kind, sync)
    if sync.mode == "incremental" and sync.updated_at is None:
        yield ("mode",), "incremental needs updated_at, the field with the time of the last change"
    if sync.deleted_when and sync.deleted is None:
        yield ("deleted_when",), "needs deleted, the field that has these values"
    if sync.cursor is not None and sync.updated_at is None:
        yield ("cursor",), "needs updated_at, the field whose latest value it asks from"
    if kind == "rest":
        yield from _request_mistakes(sync)
        yield from _full_read_mistakes(sync)
        yield from _deleted_list_mistakes(sync)
    yield from _event_mistakes(kind, sync)
    yield from _schedule_mistakes(sync)
    yield from _join_mistakes(sync)
    yield from _many_mistakes(sync)
    yield from _path_mistakes(kind, sync)


def _place_mistakes(kind: str, sync: Sync) -> Iterator[tuple[Path, str]]:
    for option in sorted({o for options in OPTIONS.values() for o in options}):
        if option in sync.model_fields_set and option not in OPTIONS[kind]:
            fits = in_words(OPTIONS[kind], "or")
            yield (option,), f"doesn't go with a {kind} connection; there one writes {fits}"
    if kind == "sql":
        if sync.table is None and sync.query is None:
            yield ("table",), "is missing; write the table's name, or query: select …"
        elif sync.table is not None and sync.query is not None:
            yield ("query",), "stands beside table; keep one of them"
        elif sync.table is not None and not sync.table.strip():
            yield ("table",), "is empty; write the table's name, or query: select …"
        elif sync.query is not None and (text := _query_mistake(sync.query)):
            yield ("query",), text
    elif kind == "custom":
        return
    elif sync.path is None:
        example = "/v1/customers" if kind == "rest" else "customers/*.parquet"
        yield ("path",), f"is missing; write for example path: {example}"
    elif kind == "files" and leads_out(sync.path):
        yield (
            ("path",),
            "leads out of the connection's root; write it below the root, for example "
            "customers/*.parquet",
        )
    elif kind == "files" and sync.csv is not None:
        told = sync.format or (_TELLING_NAME.search(sync.path) or ["", "csv"])[1].lower()
        if told.partition(".")[0] not in ("csv", "tsv"):
            yield ("csv",), f"doesn't go with {told} files; take it out, or write format: csv"
    elif kind == "files" and sync.format is None and not _TELLING_NAME.search(sync.path):
        yield (
            ("format",),
            "is missing, and the path doesn't tell; write parquet, delta, iceberg, csv or jsonl",
        )


def leads_out(path: str) -> bool:
    """Whether a path of files isn't below the root."""
    is_whole = path.startswith("/") or "://" in path or "\\" in path
    return is_whole or ".." in path.split("/")


def _query_mistake(query: str) -> str | None:
    """What is wrong whichever database it is for, whose words of its own aren't known here."""
    text = _COMMENTS.sub("", query).strip()
    if not text:
        return "is empty; write a select, or the table's name as table: …"
    if not _READING.match(text):
        return "must begin with select (or with, from, values, table); nothing is written"
    if ";" in text.rstrip("; \n") and _has_several(text):
        return "has several statements; write one select"
    return None


def _has_several(query: str) -> bool:
    from sqlglot import TokenType, tokenize
    from sqlglot.errors import SqlglotError

    for dialect in _DIALECTS:
        try:
            kinds = [token.token_type for token in tokenize(query, read=dialect)]
        except (SqlglotError, ValueError):
            return False
        while kinds and kinds[-1] == TokenType.SEMICOLON:
            kinds.pop()
        if TokenType.SEMICOLON not in kinds:
            return False
    return True


def _request_mistakes(sync: Sync) -> Iterator[tuple[Path, str]]:
    cursor, window = sync.cursor, sync.window
    posted = sync.body is not None or sync.graphql is not None
    if sync.body is not None and sync.graphql is not None:
        yield ("graphql",), "stands beside body; keep one of them"
    if posted and sync.method == "GET":
        yield ("method",), "GET sends no body; take method out, or write POST"
    if sync.bulk is not None and (sync.window is not None or sync.paging is not None):
        yield ("bulk",), "its result has paging of its own; take window and paging out"
    if window is not None and cursor is None:
        yield ("window",), "needs cursor, by which the API is asked for a time of change"
    if window is not None and window.by == "split" and cursor is not None and not cursor.ends:
        yield (
            ("cursor",),
            "windows that are split need an end; write until, or {until} in the text",
        )
    if cursor is None:
        return
    if cursor.text is not None and not any(CHANGES in text for text in _texts(sync)):
        yield (
            ("cursor", "text"),
            "has no place; write {changes} into path, params, body or graphql where it belongs",
        )
    if cursor.param is not None and cursor.location != "query":
        wanted = {"body": sync.body, "variables": sync.graphql}[cursor.location]
        if wanted is None:
            need = "a body" if cursor.location == "body" else "graphql"
            yield ("cursor", "location"), f"{cursor.location} needs {need}, which isn't given"


def _full_read_mistakes(sync: Sync) -> Iterator[tuple[Path, str]]:
    if sync.full_read is None:
        return
    if sync.mode == "full" or (sync.updated_at is None and sync.mode != "events"):
        text = "every read is full here; write its request as the sync's own"
        yield ("full_read",), text
    for path, text in _request_mistakes(sync.for_full_read()):
        yield ("full_read", *path), text


def _deleted_list_mistakes(sync: Sync) -> Iterator[tuple[Path, str]]:
    listed = sync.deleted_list
    if listed is None:
        return
    if sync.mode in ("full", "events") or sync.updated_at is None:
        text = "is for incremental syncs; where everything is read, or events tell, it isn't needed"
        yield ("deleted_list",), text
    elif sync.key is None:
        yield ("key",), "is missing; deleted_list names records by it"
    if listed.body is not None and listed.graphql is not None:
        yield ("deleted_list", "graphql"), "stands beside body; keep one of them"
    if (listed.body is not None or listed.graphql is not None) and listed.method == "GET":
        yield ("deleted_list", "method"), "GET sends no body; take method out, or write POST"
    for name in ("key", "time", "deleted"):
        path = getattr(listed, name)
        try:
            if path is not None and "[" in path:
                parse_path(path)
        except ValueError as error:
            yield ("deleted_list", name), str(error)


def _texts(value: object) -> Iterator[str]:
    """Every text in which `{changes}` can stand."""
    if isinstance(value, Sync):
        for part in (value.path, value.params, value.body, value.graphql):
            yield from _texts(part)
    elif isinstance(value, GraphQL):
        yield value.query
        yield from _texts(value.variables)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in cast(dict[str, object], value).values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in cast(list[object], value):
            yield from _texts(item)


def _event_mistakes(kind: str, sync: Sync) -> Iterator[tuple[Path, str]]:
    if sync.mode != "events":
        if kind == "rest" and sync.events is not None:
            yield ("events",), "needs mode: events; or leave it out"
        return
    if kind != "rest":
        yield ("mode",), f"events doesn't go with a {kind} connection; write incremental or full"
        return
    if sync.events is None:
        yield ("events",), "is missing; say where the system lists what has happened"
    if sync.one is None:
        text = "is missing; say where one record is read, for example one: /v1/customers/{id}"
        yield ("one",), text
    if sync.key is None:
        yield ("key",), "is missing; events name records by it"


def _schedule_mistakes(sync: Sync) -> Iterator[tuple[Path, str]]:
    schedules: list[tuple[Path, str | None]] = [(("schedule",), sync.schedule)]
    schedules += [
        (("attributes", name, "schedule"), field.schedule)
        for name, field in sync.attributes.items()
    ]
    for path, schedule in schedules:
        try:
            if schedule is not None:
                longest_gap(schedule)
        except ValueError as error:
            yield path, str(error)


def _path_mistakes(kind: str, sync: Sync) -> Iterator[tuple[Path, str]]:
    """In JSON, brackets have a meaning; elsewhere a column may bear any in its name."""
    if kind == "rest" or (kind == "files" and _is_json_lines(sync)):
        mapped = [
            *sync.roles,
            *((("fields", name), each) for name, each in sync.fields.items()),
            *((("attributes", name), each) for name, each in sync.attributes.items()),
        ]
        for at, path in ((at, path) for at, each in mapped for path in each.reads):
            try:
                if "[" in path:
                    parse_path(path)
            except ValueError as error:
                yield at, str(error)
    for at, each in sync.roles:
        if at[-1] in sync.many and at[0] == "identifiers":
            continue
        if not each.join and leads_to_list(each.field) and not gives_one_value(each.convert):
            one = each.field.replace("[*]", "[0]")
            yield at, f"leads to a list, and one value is needed; write {one}, or convert: [first]"


def _many_mistakes(sync: Sync) -> Iterator[tuple[Path, str]]:
    """Where an identifier may have several values in a record."""
    first = next(iter(sync.identifiers))
    for name in sync.many:
        at, field = ("identifiers", name), sync.identifiers[name]
        if field.join:
            yield at, "many goes with one field that has a list, not with join"
        elif gives_one_value(field.convert):
            yield at, "many needs a list, and convert makes one value of it; leave one of them out"
        elif sync.is_aggregating:
            yield at, "many isn't for child records, each of which is one customer's"
        elif name == first and sync.key is None:
            text = "by the first identifier, which has many values; name the field that has one"
            yield ("key",), f"is missing; without it the records are told apart {text}"


def _is_json_lines(sync: Sync) -> bool:
    name = _COMPRESSED.sub("", (sync.path or "").lower())
    return sync.format == "jsonl" or (sync.format is None and name.endswith((".jsonl", ".ndjson")))


def _join_mistakes(sync: Sync) -> Iterator[tuple[Path, str]]:
    """What is joined is there only when a record has been read."""
    mapped = [
        *sync.roles,
        *((("fields", name), each) for name, each in sync.fields.items()),
        *((("attributes", name), each) for name, each in sync.attributes.items()),
    ]
    for at, each in mapped:
        for number, path in enumerate(each.join):
            if leads_to_list(path):
                yield (*at, "join", number), "gives a list; write the path of one value"
    if sync.key is not None and sync.key.join and (sync.events or sync.one):
        yield ("key",), "events name records by one field; write that in place of join"
    if sync.updated_at is not None and sync.updated_at.join and sync.window is not None:
        yield ("updated_at",), "a window needs one field with the time, in place of join"
