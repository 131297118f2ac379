"""A message as it goes out, what becomes of it, and what every sender does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
    address: str | None = None
    """The keyed hash of `to`."""
    code: str = ""
    """What stands for the message where others see it; nobody can make it up."""


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


Take = Callable[[int], Sequence[Message]]
"""Gives up to so many messages, which are noted as begun at that moment; none at the end."""


def one_by_one(take: Take) -> Iterator[Message]:
    """The messages, of which never more than one is begun and not told of."""
    while found := take(1):
        yield from found


class Sender(Protocol):
    """Sends over one channel."""

    idempotent: bool
    """Whether a message that is sent twice arrives once."""

    def send(self, take: Take, clock: Callable[[], datetime]) -> Iterator[Sent | Refused | Lost]:
        """Send what `take` gives, telling of each message as soon as its fate is known.

        A sender takes a message when it is about to hand it over, and no more than it has under
        way at a time: what was taken and not told of is in doubt when the process is lost. Raises
        ChannelError; the messages not told of are as if never begun.
        """
        ...

    def close(self) -> None:
        """End the connections."""
        ...
