"""Single records of a REST API by their keys, as the sync's `one` says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from profile_pipelines.catalog.connections import NoPaging
from profile_pipelines.catalog.systems import OneRecord
from profile_pipelines.errors import NoSuchRecord, SourceError
from profile_pipelines.sources.rest_client import RestClient
from profile_pipelines.sources.rest_request import Call, filled, query

_ENOUGH_TO_DOUBT = 10


def records(
    where: str, client: RestClient, one: OneRecord, keys: Sequence[str], fields: Sequence[str]
) -> Iterator[list[Any]]:
    """A list with the record for each key; none for one that the API says isn't there.

    Raises SourceError when more than ten are asked for and not one is there.
    """
    found = 0
    for key in keys:
        asked = _call(one, key, fields)
        try:
            for page in client.pages(asked, one.record, NoPaging(type="none"), single=True):
                found += 1
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
        return Call(path, params=params, fields=tuple(fields))
    variables = filled(one.graphql.variables, {"{id}": key})
    body = {"query": one.graphql.query, "variables": variables}
    return Call(path, "POST", params, body=body, graphql=True)
