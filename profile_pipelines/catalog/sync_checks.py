"""Do a sync's options fit its system's connection, and each other?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from profile_pipelines.catalog.connections import Connection
from profile_pipelines.catalog.field_paths import parse_path
from profile_pipelines.catalog.mistakes import Path, in_words
from profile_pipelines.catalog.schedules import longest_gap
from profile_pipelines.catalog.systems import Sync

OPTIONS: dict[str, tuple[str, ...]] = {
    "sql": ("table", "query"),
    "rest": ("path", "params", "records", "paging", "cursor", "one"),
    "files": ("path", "format"),
}
"""The keys of a sync that say where its records are, by the type of the connection."""
_TELLING_NAME = re.compile(r"\.(parquet|((csv|jsonl|ndjson)(\.(gz|bz2|zst|lz4))?))$", re.IGNORECASE)


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
    yield from _schedule_mistakes(sync)
    if kind == "rest":
        yield from _path_mistakes(sync)


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
    elif sync.path is None:
        example = "/v1/customers" if kind == "rest" else "customers/*.parquet"
        yield ("path",), f"is missing; write for example path: {example}"
    elif kind == "files" and sync.format is None and not _TELLING_NAME.search(sync.path):
        yield (
            ("format",),
            "is missing, and the path doesn't tell; write parquet, delta, iceberg, csv or jsonl",
        )


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


def _path_mistakes(sync: Sync) -> Iterator[tuple[Path, str]]:
    """In JSON, brackets have a meaning; elsewhere a column may bear them in its name."""
    paths: list[tuple[Path, str | None]] = [
        (("key",), sync.key),
        (("updated_at",), sync.updated_at),
        (("deleted",), sync.deleted),
        *((("identifiers", name), path) for name, path in sync.identifiers.items()),
        *((("attributes", name), each.field) for name, each in sync.attributes.items()),
    ]
    for at, path in paths:
        try:
            if path is not None and "[" in path:
                parse_path(path)
        except ValueError as error:
            yield at, str(error)
