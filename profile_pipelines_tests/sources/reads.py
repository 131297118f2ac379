"""Short ways to declare a sync and to read all of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa

from profile_pipelines.catalog.systems import System
from profile_pipelines.sources import ReadRequest, Source, open_source
from profile_pipelines.sources.rest import RestSource
from profile_pipelines_tests.sources.api_server import Api


def source(connection: Mapping[str, Any], **sync: Any) -> Source:
    """The sync `crm.people` over the connection, with an identifier that nothing reads."""
    system = System.model_validate(
        {
            "system": "crm",
            "kind": "crm",
            "connection": connection,
            "syncs": {"people": {"identifiers": {"id": "id"}, "attributes": {}, **sync}},
        }
    )
    return open_source(system, system.syncs["people"])


def people(api: Api, connection: Mapping[str, Any] | None = None, **sync: Any) -> RestSource:
    """The endpoint `people` of a test's API, without long waits."""
    declared = {
        "type": "rest",
        "base_url": api.url,
        "retries": 2,
        "allow_private": True,
        **(connection or {}),
    }
    opened = source(declared, **{"path": "people", **sync})
    assert isinstance(opened, RestSource)
    opened.first_wait = 0.001
    return opened


def table(opened: Source, *fields: str, since: datetime | None = None) -> pa.Table:
    """All batches as one table."""
    batches = list(opened.read(ReadRequest(fields, since)))
    empty = pa.schema([pa.field(field, pa.string()) for field in fields])
    return pa.Table.from_batches(batches) if batches else empty.empty_table()


def values(opened: Source, field: str, since: datetime | None = None) -> list[Any]:
    """One field of all records."""
    return table(opened, field, since=since).column(field).to_pylist()
