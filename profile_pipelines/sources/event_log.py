"""The events that an API lists: which record each names, and when it happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from profile_pipelines.catalog.connections import Paging
from profile_pipelines.catalog.systems import EventLog
from profile_pipelines.errors import SourceError
from profile_pipelines.sources.json_records import as_text, getter
from profile_pipelines.sources.rest_request import Call, query, written

if TYPE_CHECKING:
    from profile_pipelines.sources.rest_client import RestClient


@dataclass(frozen=True)
class Event:
    """An event by its own id, its time, and the key of the record that it names."""

    id: str
    at: datetime
    key: str


def read_events(
    where: str, client: RestClient, log: EventLog, paging: Paging, since: datetime
) -> list[Event]:
    """The events since then. Raises SourceError for one that isn't as `log` declares."""
    params = query(log.params)
    params[log.cursor.param or ""] = written(since, log.cursor.format, early=True)
    pages = client.pages(Call(log.path, params=params), log.records, paging)
    return [_event(where, log, event) for page in pages for event in page]


def _event(where: str, log: EventLog, event: Any) -> Event:
    def at(path: str) -> str:
        return as_text(getter(path)(event)) or ""

    told, moment, key = at(log.event_id), _moment(at(log.time), log.cursor.format), at(log.id)
    if told and moment and key:
        return Event(told, moment, key)
    missing = "event_id" if not told else "time" if not moment else "id"
    raise SourceError(
        f"{where}: an event has nothing usable at {getattr(log, missing)}; check "
        f"`events.{missing}`, and whether `events.params` asks for the right types"
    )


def _moment(text: str, form: str) -> datetime | None:
    try:
        if form in ("iso", "date"):
            moment = datetime.fromisoformat(text)
            return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return datetime.fromtimestamp(float(text) / (1000 if form == "epoch_ms" else 1), UTC)
    except (ValueError, OverflowError, OSError):
        return None
