"""Single records of a REST API by their keys, as the sync's `one` says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from profile_pipelines.catalog.connections import NoPaging, RestConnection
from profile_pipelines.catalog.systems import OneRecord
from profile_pipelines.errors import NoSuchRecord, SourceError

_ENOUGH_TO_DOUBT = 10


def records(
    where: str,
    connection: RestConnection,
    base_url: str,
    one: OneRecord,
    keys: Sequence[str],
    *,
    first_wait: float,
) -> Iterator[list[Any]]:
    """A list with the record for each key; none for one that the API says isn't there.

    Raises SourceError when more than ten are asked for and not one is there.
    """
    from profile_pipelines.sources.rest_client import pages

    found = 0
    for key in keys:
        try:
            for page in pages(
                where,
                connection,
                base_url,
                path=one.path.replace("{id}", quote(key, safe="")),
                params={
                    name: str(value).lower() if isinstance(value, bool) else value
                    for name, value in one.params.items()
                },
                records=one.record,
                paging=NoPaging(type="none"),
                first_wait=first_wait,
                single=True,
            ):
                found += 1
                yield page
        except NoSuchRecord:
            continue
    if not found and len(keys) > _ENOUGH_TO_DOUBT:
        raise SourceError(
            f"{where}: the API has none of the {len(keys)} records that events named; "
            "check the path of `one`"
        )
