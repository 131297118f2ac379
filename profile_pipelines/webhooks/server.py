"""The server before the receiver: whoever is slow, silent or too many holds nothing for long.

uvicorn limits neither how long a request's head takes nor how long its answer is being read. Here
each connection has one deadline, which no single byte moves: by when the next request's head has
to be whole, and then by when the request has to be whole, answered, and its answer taken.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as Protocol
else:
    from uvicorn.protocols.http.auto import AutoHTTPProtocol as Protocol


@dataclass(frozen=True)
class Limits:
    """`head` and `exchange` in seconds, `head_bytes` in bytes, `connections` at the same time."""

    head: float = 10.0
    exchange: float = 30.0
    head_bytes: int = 64 * 1024
    unread_bytes: int = 2 * 1024 * 1024
    """How much of a body that was refused is taken, so that the sender gets to read why."""
    connections: int = 256
    waiting: int = 16
    """Most requests that a connection may send ahead, before their turn."""


class Connection(Protocol):
    """A connection that is cut when it has used up its time.

    When there are too many, the one that has said nothing whole for the longest goes.
    """

    limits: ClassVar[Limits] = Limits()

    _deadline: asyncio.TimerHandle | None = None
    _answering: object = None
    _came = 0
    _since = 0.0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_head()
        if len(self.connections) > self.limits.connections:
            others: Any = self.connections
            silent = [each for each in others if each._answering is None]
            min(silent, key=lambda each: each._since)._cut()

    def data_received(self, data: bytes) -> None:
        answering = self._answering
        super().data_received(data)
        self._look()
        if len(getattr(self, "pipeline", ())) > self.limits.waiting:
            self._cut()
        if answering is None and self._answering is None:
            self._came += len(data)
            unread = self.cycle is not None and self.cycle.more_body
            limits = self.limits
            if self._came > (limits.unread_bytes if unread else limits.head_bytes):
                self._cut()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._deadline is not None:
            self._deadline.cancel()

    def _look(self) -> None:
        """Set the deadline anew where another request has begun, or one has been answered."""
        cycle = self.cycle
        answering = None if cycle is None or cycle.response_complete else cycle
        if answering is self._answering:
            return
        if answering is None:
            self._wait_for_head()
        else:
            self._answering = answering
            self._end_after(self.limits.exchange)

    def _wait_for_head(self) -> None:
        self._answering, self._came, self._since = None, 0, self.loop.time()
        self._end_after(self.limits.head)

    def _end_after(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self._cut)

    def _cut(self) -> None:
        self.connections.discard(self)
        # a close would wait until the other side has read what it doesn't read
        self.transport.abort()


def settings(connection: type[Connection] = Connection) -> dict[str, Any]:
    """uvicorn's settings for the receiver."""
    return {
        "http": connection,
        "ws": "none",
        "timeout_graceful_shutdown": int(connection.limits.exchange),
        "log_level": "warning",
        # addresses may hold what is nobody's business
        "access_log": False,
    }
