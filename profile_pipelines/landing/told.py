"""What a system's event log has told since the cursor: which records to read again.

The cursor is the time of the newest event. Each read begins `lateness` before it, so that
events of the same second and those listed late are seen; as their records are read anew, what
an event said before can be read twice without harm. The ids of the newest events are the
source's mark: where they are as they were, nothing has happened.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from profile_pipelines.errors import SourceError
from profile_pipelines.sources import Source
from profile_pipelines.sources.rest import RestSource
from profile_pipelines.sources.time_limit import TimeLimited


@dataclass(frozen=True)
class Told:
    """The keys of the records that events named, each once; the newest event's time; the mark."""

    keys: tuple[str, ...]
    newest: datetime | None
    mark: str


def told_since(source: Source, since: datetime, lateness: timedelta) -> Told:
    """What the source's event log has from `since` on."""
    if not (isinstance(source, TimeLimited) and isinstance(source.source, RestSource)):
        raise SourceError("only an HTTP API has an event log; write mode: incremental or full")
    events = sorted(source.events(since), key=lambda event: (event.at, event.id))
    newest = events[-1].at if events else None
    ids = [event.id for event in events if newest is None or event.at >= newest - lateness]
    return Told(tuple(dict.fromkeys(event.key for event in events)), newest, json.dumps(ids))
