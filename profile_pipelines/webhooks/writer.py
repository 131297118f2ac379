"""One transaction for all deliveries that wait at the moment: durable, and quick all the same.

A commit waits for the disk, some milliseconds; deliveries that arrive meanwhile share the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from profile_pipelines.ledger.inbox import Inbox, Named

_AT_ONCE = 200
_WAITING = 10 * _AT_ONCE
"""Most deliveries that wait for a ledger that doesn't answer."""
_PRUNE_EVERY = timedelta(hours=1)


@dataclass
class _Request:
    now: datetime
    named: Sequence[Named]
    outcomes: Sequence[tuple[str, str]]
    stored: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Writer:
    """Writes to the inbox from one task of the server's event loop. The inbox is asked for before
    each commit: the ledger may be another one by then."""

    def __init__(self, open_inbox: Callable[[], Inbox]) -> None:
        self._open_inbox = open_inbox
        self._queue: asyncio.Queue[_Request] = asyncio.Queue(_WAITING)
        self._refused: list[tuple[str, str]] = []
        self._pruned_at: datetime | None = None

    async def store(
        self, named: Sequence[Named], outcomes: Sequence[tuple[str, str]], now: datetime
    ) -> None:
        """Returns once everything is committed; raises what the database raises, and QueueFull
        while it answers too slowly."""
        request = _Request(now, named, outcomes)
        self._queue.put_nowait(request)
        await request.stored

    def refuse(self, outcome: tuple[str, str]) -> None:
        """Count a refusal with the next commit: whoever isn't known causes no write."""
        if len(self._refused) < _AT_ONCE:
            self._refused.append(outcome)

    async def flush(self, now: datetime) -> None:
        """Commit the refusals counted so far."""
        if self._refused:
            await asyncio.to_thread(self._commit, [], now)

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            requests = [await self._queue.get()]
            while not self._queue.empty() and len(requests) < _AT_ONCE:
                requests.append(self._queue.get_nowait())
            # who was told to try again later isn't waiting any more
            requests = [each for each in requests if not each.stored.done()]
            if not requests:
                continue
            try:
                await asyncio.to_thread(self._commit, requests, requests[-1].now)
            except Exception as error:
                for each in requests:
                    if not each.stored.done():
                        each.stored.set_exception(error)
            else:
                for each in requests:
                    if not each.stored.done():
                        each.stored.set_result(None)

    def _commit(self, requests: Sequence[_Request], now: datetime) -> None:
        inbox = self._open_inbox()
        refused, self._refused = self._refused, []
        if self._pruned_at is None or abs(now - self._pruned_at) >= _PRUNE_EVERY:
            inbox.prune(now)
            self._pruned_at = now
        named = [each for request in requests for each in request.named]
        outcomes = [each for request in requests for each in request.outcomes]
        inbox.store(named, [*outcomes, *refused], now=now)
