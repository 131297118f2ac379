"""A message as it goes out, what becomes of it, and what every sender does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class Message:
    """A rendered message for one customer. Never logged: it holds personal data."""

    message_id: str
    journey: str
    step: str
    template: str
    profile_id: int
    to: str | None
    subject: str
    text: str
    html: str | None
    unsubscribe_url: str | None
    attributes: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True)
class Sent:
    """The other side has taken it; `receipt` is what it answered, without personal data."""

    message_id: str
    receipt: str | None = None


@dataclass(frozen=True)
class Refused:
    """The other side won't have it, now or ever; `reason` is a code, without personal data."""

    message_id: str
    reason: str
    again: bool
    """Whether it may be tried again."""
    after: float = 0.0
    """The seconds that the other side asked to wait."""


@dataclass(frozen=True)
class Lost:
    """It was handed over and the connection broke before the answer."""

    message_id: str


class Sender(Protocol):
    """Sends over one channel."""

    idempotent: bool
    """Whether a message that is sent twice arrives once."""
    at_once: int
    """How many messages may be under way before their receipts are kept."""

    def send(self, messages: Sequence[Message], now: datetime) -> Iterator[Sent | Refused | Lost]:
        """Send, telling of each message as soon as its fate is known.

        Raises ChannelError; the messages not told of are as if never begun.
        """
        ...

    def close(self) -> None:
        """End the connections."""
        ...
