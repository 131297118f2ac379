"""The events that an API lists: which record each names, and when it happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from profile_pipelines.catalog.connections import Paging
from profile_pipelines.catalog.systems import EventLog
from profile_pipelines.errors import SourceError
from profile_pipelines.sources.json_records import as_text, getter
from profile_pipelines.sources.rest_clock import Clock
from profile_pipelines.sources.rest_request import Call, query

if TYPE_CHECKING:
    from profile_pipelines.sources.rest_client import RestClient


@dataclass(frozen=True)
class Event:
    """An event by its own id, its time, and the key of the record that it names."""

    id: str
    at: datetime
    key: str


def read_events(
    where: str, client: RestClient, log: EventLog, paging: Paging, zone: str, since: datetime
) -> list[Event]:
    """The events since then. Raises SourceError for one that isn't as `log` declares."""
    clock = Clock(log.cursor.format, zone)
    params = query(log.params)
    params[log.cursor.param or ""] = clock.written(since, early=True)
    pages = client.pages(Call(log.path, params=params), log.records, paging)
    return [_event(where, log, clock, event) for page in pages for event in page]


def _event(where: str, log: EventLog, clock: Clock, event: Any) -> Event:
    def at(path: str) -> str:
        return as_text(getter(path)(event)) or ""

    told, moment, key = at(log.event_id), _moment(clock, at(log.time)), at(log.id)
    if told and moment and key:
        return Event(told, moment, key)
    missing = "event_id" if not told else "time" if not moment else "id"
    raise SourceError(
        f"{where}: an event has nothing usable at {getattr(log, missing)}; check "
        f"`events.{missing}`, and whether `events.params` asks for the right types"
    )


def _moment(clock: Clock, text: str) -> datetime | None:
    try:
        return clock.read(text)
    except ValueError:
        return None
