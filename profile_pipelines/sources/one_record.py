"""Single records of a REST API by their keys, as the sync's `one` says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from profile_pipelines.catalog.connections import NoPaging
from profile_pipelines.catalog.systems import OneRecord, Sync
from profile_pipelines.errors import NoSuchRecord, SourceError
from profile_pipelines.sources.json_records import as_text, getter
from profile_pipelines.sources.rest_client import RestClient
from profile_pipelines.sources.rest_request import Call, filled, query

_ENOUGH_TO_DOUBT = 10


def records(
    where: str,
    client: RestClient,
    sync: Sync,
    one: OneRecord,
    keys: Sequence[str],
    fields: Sequence[str],
) -> Iterator[list[Any]]:
    """A list with the record for each key; none for one that the API says isn't there.

    Raises SourceError when more than ten are asked for and not one is there, and for an answer
    that is something else than a record: what doesn't come counts as gone.
    """
    found = 0
    key_of = getter(sync.key.field) if sync.key is not None else None
    for key in keys:
        asked = _call(one, key, fields)
        try:
            for page in client.pages(asked, one.record, NoPaging(type="none"), single=True):
                found += 1
                if key_of is not None and not all(as_text(key_of(record)) for record in page):
                    raise SourceError(
                        f"{where}: {one.path}: the answer isn't the record: it has nothing at its "
                        f"key, {sync.key.field if sync.key else None}; check `path` and `record` "
                        "of `one`"
                    )
                yield page
        except NoSuchRecord:
            continue
    if not found and len(keys) > _ENOUGH_TO_DOUBT:
        raise SourceError(
            f"{where}: the API has none of the {len(keys)} records that events named; "
            "check the path of `one`"
        )


def _call(one: OneRecord, key: str, fields: Sequence[str]) -> Call:
    path = one.path.replace("{id}", quote(key, safe=""))
    params = query(filled(one.params, {}, fields))
    if one.graphql is None:
        return Call(path, params=params, fields=tuple(fields), shown=one.path)
    variables = filled(one.graphql.variables, {"{id}": key})
    body = {"query": one.graphql.query, "variables": variables}
    return Call(path, "POST", params, body=body, graphql=True, shown=one.path)
