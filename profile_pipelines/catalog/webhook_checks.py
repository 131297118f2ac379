"""Do a webhook's events name records that their syncs can find?"""

from __future__ import annotations

from collections.abc import Iterator

from profile_pipelines.catalog.mistakes import Path, did_you_mean
from profile_pipelines.catalog.systems import System
from profile_pipelines.catalog.webhooks import WebhookEvent


def webhook_mistakes(system: System) -> Iterator[tuple[Path, str]]:
    """What is wrong between a system's webhook and its syncs, by the path below the system."""
    for index, event in enumerate(system.webhook.events if system.webhook else ()):
        at: Path = ("webhook", "events", index)
        if event.sync not in system.syncs:
            hint = did_you_mean(event.sync, system.syncs, all_of="there are")
            yield (*at, "sync"), f"unknown sync {event.sync}{hint}"
            continue
        yield from _key_mistakes(system, event, at)


def _key_mistakes(system: System, event: WebhookEvent, at: Path) -> Iterator[tuple[Path, str]]:
    sync, kind = system.syncs[event.sync], system.connection.type
    if sync.key is None:
        yield (
            ("syncs", event.sync, "key"),
            "is missing; events name records by it",
        )
    if event.record is not None or event.deleted:
        return
    if kind == "rest" and sync.one is None:
        text = "is missing; say where one record is read, for example one: /v1/customers/{id}"
        yield ("syncs", event.sync, "one"), text
    elif kind == "files":
        text = "files can't be asked for one record; take it from the event: record: data.object"
        yield (*at, "id"), text
