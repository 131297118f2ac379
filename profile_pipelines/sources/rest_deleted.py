"""The records that an API lists as deleted, by a request beside the sync's own.

Some lists have all that is gone (HubSpot's archived objects), some can be asked for what went
since a time, and some say in their last page by which address or token the next one goes on
(delta links). A token that the API has forgotten is told apart from other refusals, since then
only a read of everything knows what has gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from profile_pipelines.catalog.connections import Paging
from profile_pipelines.catalog.rest_requests import DeletedList
from profile_pipelines.errors import SourceError, TokenForgotten
from profile_pipelines.sources.json_records import as_text, getter
from profile_pipelines.sources.rest_clock import Clock
from profile_pipelines.sources.rest_paging import refuse_other_host
from profile_pipelines.sources.rest_refusals import RefusedError
from profile_pipelines.sources.rest_request import Call, call

if TYPE_CHECKING:
    from profile_pipelines.sources.rest_client import RestClient

_FORGOTTEN = (400, 404, 410)
"""The statuses by which APIs refuse a token that is too old."""


@dataclass(frozen=True)
class Deleted:
    """What a list says: the keys of the records that are gone, each with the time of its
    deletion, if that is told; and from where the next read of the list goes on."""

    times: dict[str, datetime | None]
    resume: str | None


def read_deleted(
    where: str,
    client: RestClient,
    declared: DeletedList,
    paging: Paging,
    zone: str,
    since: datetime | None,
    resume: str | None,
) -> Deleted:
    """What was deleted since then, or since the list was read up to `resume`.

    Raises SourceError for an entry that isn't as declared.
    """
    asked = _call(where, client.base_url, declared, zone, since, resume)
    times: dict[str, datetime | None] = {}
    following: Any = None
    any_came = False
    try:
        for page in client.pages(asked, declared.records, paging):
            any_came = any_came or bool(page)
            times.update(_entries(where, declared, zone, page))
            if declared.resume is not None and not page.more:
                following = as_text(getter(declared.resume.next)(page.answer))
    except RefusedError as error:
        if resume is not None and error.status in _FORGOTTEN:
            raise TokenForgotten(str(error)) from None
        raise SourceError(
            f"{error}. This is the list of deleted records (`deleted_list`); to do without it, "
            "write `deleted_list: null`"
        ) from None
    if declared.resume is not None and not following:
        raise SourceError(
            f"{where}: {declared.path}: the last page has nothing at {declared.resume.next!r}, "
            "from where the next sync goes on; check `resume` of `deleted_list`"
        )
    # where nothing has happened the old one stays, so that there's nothing to write down
    return Deleted(times, resume if resume is not None and not any_came else following)


def _call(
    where: str,
    base_url: str,
    declared: DeletedList,
    zone: str,
    since: datetime | None,
    resume: str | None,
) -> Call:
    cursor = declared.cursor
    text = None
    if cursor is not None and since is not None:
        text = Clock(cursor.format, zone).written(since, early=True)
    asked = call(where, declared, cursor, text)
    if declared.resume is None or resume is None:
        return asked
    if declared.resume.param is not None:
        return replace(asked, params={**asked.params, declared.resume.param: resume})
    refuse_other_host(where, base_url, resume, "list of deleted records")
    return replace(asked, path=resume, params={}, shown=declared.path)


def _entries(
    where: str, declared: DeletedList, zone: str, page: list[Any]
) -> Iterator[tuple[str, datetime | None]]:
    wanted = {as_text(each) for each in declared.deleted_when}
    key, at = getter(declared.key), getter(declared.time or "")
    is_marked = getter(declared.deleted or "")
    clock = Clock(declared.cursor.format if declared.cursor is not None else "iso", zone)
    for entry in page:
        if declared.deleted is not None and as_text(is_marked(entry)) not in wanted:
            continue
        found = (as_text(key(entry)) or "").strip()
        if not found:
            raise SourceError(
                f"{where}: {declared.path}: a deleted record has nothing at {declared.key!r}; "
                "check `key` of `deleted_list`"
            )
        if declared.time is None:
            yield found, None
            continue
        try:
            yield found, clock.read(as_text(at(entry)) or "")
        except ValueError:
            raise SourceError(
                f"{where}: {declared.path}: a deleted record has no time at {declared.time!r}; "
                "check `time` of `deleted_list`"
            ) from None
