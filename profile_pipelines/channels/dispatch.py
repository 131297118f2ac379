"""Sends what is due: claim, look again whether it should be sent (see `channels.eligibility`),
send, keep the receipt."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypedDict

from profile_pipelines.catalog.channels import Channel
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.channels.eligibility import BATCH, UNAVAILABLE_WAIT, Eligibility
from profile_pipelines.channels.message import (
    Lost,
    Message,
    Refused,
    Sender,
    Sent,
)
from profile_pipelines.channels.senders import is_idempotent, open_sender
from profile_pipelines.errors import ChannelError
from profile_pipelines.ledger.holders import own_name
from profile_pipelines.ledger.outbox import Outbox, Outcome
from profile_pipelines.sources.rate_limit import RateLimiter

_LOOKED_AT = timedelta(seconds=30)
"""How long ago a message may have been looked at again when it's sent."""
_MANY = 50
_FIRST_WAIT = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(hours=6)


_Looked = tuple[list[Message], dict[str, int]]
_Look = Callable[[], _Looked]


@dataclass
class DispatchResult:
    """What a dispatch did. `errors` says by channel why nothing could be sent over it."""

    counts: dict[tuple[str, str, str | None], int] = field(
        default_factory=dict[tuple[str, str, str | None], int]
    )
    """By (channel, state, reason): how many messages came to it."""
    errors: dict[str, str] = field(default_factory=dict[str, str])
    in_doubt: int = 0
    """How many messages of any dispatch are of unknown fate by now, until somebody settles them."""
    kept_back: int = 0
    """How many messages are due and not sent, since nobody knows what was sent already."""

    @property
    def needs_a_word(self) -> dict[str, str]:
        """What to tell people of messages that wait for their word; empty where none does."""
        told = {"In doubt": self._about_doubt, "Kept back": self._about_kept_back}
        return {name: text for name, text in told.items() if text}

    @property
    def _about_kept_back(self) -> str:
        if not self.kept_back:
            return ""
        are = "message is" if self.kept_back == 1 else "messages are"
        return (
            f"{self.kept_back:,} {are} due and kept back: lake and ledger were put back, or "
            "accepted as they are, so that some may have been sent already. Nothing is sent until "
            "somebody says so: see `profile-pipelines outbox settle`"
        )

    @property
    def _about_doubt(self) -> str:
        if not self.in_doubt:
            return ""
        are = "message is" if self.in_doubt == 1 else "messages are"
        return (
            f"{self.in_doubt:,} {are} in doubt, and may have arrived: the sender was lost before "
            "the receipt came. Nothing in doubt is sent again until somebody says so: see "
            "`profile-pipelines outbox settle`"
        )

    def total(self, state: str) -> int:
        """How many messages came to a state."""
        return sum(count for (_, found, _), count in self.counts.items() if found == state)


class _Which(TypedDict):
    """Which messages are sent together."""

    channels: list[str]
    journeys: list[str] | None
    but_for: list[str]


class Dispatch:
    """One round over the outbox. `folder` is the one below which files are written; `alone` lets
    one process at a time look at messages, so that caps hold over all that send.

    `told` is called when the ledger has what is about to go out, and when it has what became of
    it: a ledger that was put back to before that is known by then.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        outbox: Outbox,
        eligibility: Eligibility,
        folder: Path,
        *,
        clock: Callable[[], datetime],
        alone: Callable[[_Look], _Looked] = lambda look: look(),
        progress: Callable[[int], None] | None = None,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self._alone = alone
        self._catalogue = catalogue
        self._told = told
        self._outbox = outbox
        self._eligibility = eligibility
        self._folder = folder
        self._clock = clock
        self._progress = progress
        self._by = own_name()
        self._idempotent = [n for n, each in catalogue.channels.items() if is_idempotent(each)]
        self._senders: dict[str, Sender] = {}
        self._counted: Counter[tuple[str, str, str | None]] = Counter()
        self._result = DispatchResult()

    def run(self) -> DispatchResult:
        """Send everything that is due when it begins."""
        now = self._clock()
        channels = self._catalogue.channels
        self._outbox.recover(self._idempotent, now=now)
        self._outbox.expire(now=now)
        try:
            for only, but_for in self._by_priority():
                for name, channel in channels.items():
                    while name not in self._result.errors:
                        which = _Which(channels=[name], journeys=only, but_for=but_for)
                        if not self._outbox.any_due(now=self._clock(), due=now, **which):
                            break
                        self._send_some(name, channel, which, now)
        finally:
            self._outbox.leave(self._by, self._idempotent, now=self._clock())
            for sender in self._senders.values():
                sender.close()
        if self._counted:
            self._told()
        self._result.counts = dict(self._counted)
        self._result.in_doubt = len(self._outbox.in_doubt())
        kept_back = self._outbox.kept_back(due_by=self._clock())
        self._result.kept_back = sum(each.count for each in kept_back)
        return self._result

    def _by_priority(self) -> Iterator[tuple[list[str] | None, list[str]]]:
        """The journeys whose messages go together, those of the greatest priority first: their
        names, or None for all but some. A journey that isn't declared any more has none."""
        ranks: dict[int, list[str]] = {0: []}
        for name, journey in self._catalogue.journeys.items():
            ranks.setdefault(journey.priority, []).append(name)
        ranked = [name for rank, names in ranks.items() if rank for name in names]
        for rank in sorted(ranks, reverse=True):
            yield (ranks[rank], []) if rank else (None, ranked)

    def _send_some(self, name: str, channel: Channel, which: _Which, due: datetime) -> None:
        """Claim some messages that are due, look again at them, send those that still are to be
        sent, and keep the receipts."""
        try:
            sender = self._senders.get(name) or open_sender(name, channel, self._folder)
        except ChannelError as error:
            claimed = self._outbox.claim(self._by, BATCH, now=self._clock(), due=due, **which)
            self._put_off(name, [each.message_id for each in claimed], error)
            return
        self._senders[name] = sender
        messages, tries = self._alone(partial(self._looked_at, name, channel, which, due))
        if not messages:
            return
        limit = channel.rate_limit
        limiter = RateLimiter(limit, f"channel {name}") if limit else None
        under_way = _UnderWay(messages, self._outbox, self._by, self._clock, limiter)
        self._told()
        many = self._outbox.one_by_one() if len(messages) >= _MANY else nullcontext()
        try:
            with many:
                for fate in sender.send(under_way.take, self._clock):
                    tried = tries[fate.message_id]
                    outcome = _outcome(fate, tried, channel.attempts, self._clock())
                    under_way.tell(outcome)
                    self._count(name, [outcome])
        except ChannelError as error:
            self._put_off(name, under_way.left, error)
        finally:
            under_way.settle()

    def _looked_at(
        self, name: str, channel: Channel, which: _Which, due: datetime
    ) -> tuple[list[Message], dict[str, int]]:
        """Messages that were due and are to be sent now, and how often each was tried before. What
        is decided of them counts for whoever looks next."""
        now = self._clock()
        claimed = self._outbox.claim(self._by, _at_once(channel), now=now, due=due, **which)
        messages, outcomes = self._eligibility.eligible(channel, claimed, now)
        self._settle(name, outcomes, now)
        if messages:
            self._outbox.grant(self._by, {each.message_id: each.address for each in messages})
        return messages, {each.message_id: each.attempts for each in claimed}

    def _put_off(self, name: str, left: Iterable[str], error: ChannelError) -> None:
        """Nothing was sent over the channel: that's no attempt."""
        self._result.errors[name] = str(error)
        now = self._clock()
        later = now + UNAVAILABLE_WAIT
        self._settle(
            name,
            [Outcome(each, "pending", "unavailable", next_attempt_at=later) for each in left],
            now,
        )

    def _settle(self, name: str, outcomes: Sequence[Outcome], now: datetime) -> None:
        self._outbox.settle(self._by, outcomes, now=now)
        self._count(name, outcomes)

    def _count(self, name: str, outcomes: Sequence[Outcome]) -> None:
        self._counted.update((name, each.state, each.reason) for each in outcomes)
        if self._progress is not None:
            self._progress(sum(self._counted.values()))


class _UnderWay:
    """The messages of one look, as a sender takes them: which wait, which it has begun, and what
    became of those that aren't settled yet."""

    def __init__(
        self,
        messages: Sequence[Message],
        outbox: Outbox,
        by: str,
        clock: Callable[[], datetime],
        limiter: RateLimiter | None,
    ) -> None:
        self._waiting = deque(messages)
        self._begun: set[str] = set()
        self._told: list[Outcome] = []
        self._outbox = outbox
        self._by = by
        self._clock = clock
        self._limiter = limiter

    @property
    def left(self) -> list[str]:
        """What has no fate, begun or not."""
        return [*sorted(self._begun), *(each.message_id for each in self._waiting)]

    def take(self, count: int) -> list[Message]:
        """Begin up to so many messages, in the transaction that settles those told of by now."""
        while self._waiting:
            if self._limiter is not None:
                self.settle()  # the wait may be long
                self._limiter.wait()
                count = 1
            part = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
            ids = [each.message_id for each in part]
            mine = self._outbox.begin(self._by, ids, now=self._clock(), after=self._told)
            self._told.clear()
            self._begun |= mine
            if mine:
                return [each for each in part if each.message_id in mine]
        return []

    def tell(self, outcome: Outcome) -> None:
        """A message that was begun has this fate."""
        self._begun.discard(outcome.message_id)
        self._told.append(outcome)

    def settle(self) -> None:
        """Keep what became of those told of."""
        self._outbox.settle(self._by, self._told, now=self._clock())
        self._told.clear()


def _at_once(channel: Channel) -> int:
    """How many messages are claimed together: no more than go out within half a minute."""
    limit = channel.rate_limit
    if limit is None:
        return BATCH
    return max(1, min(BATCH, int(limit.count * (_LOOKED_AT / limit.period))))


def _outcome(fate: Sent | Refused | Lost, tried: int, attempts: int, now: datetime) -> Outcome:
    match fate:
        case Sent():
            return Outcome(fate.message_id, "sent", receipt=fate.receipt, tried=True)
        case Lost():
            reason = "the connection broke before the answer"
            return Outcome(fate.message_id, "unknown", reason, tried=True)
        case Refused():
            if not fate.again or tried + 1 >= attempts:
                return Outcome(fate.message_id, "failed", fate.reason, tried=True)
            wait = max(min(_FIRST_WAIT * 2**tried, _LONGEST_WAIT), timedelta(seconds=fate.after))
            return Outcome(
                fate.message_id, "pending", fate.reason, next_attempt_at=now + wait, tried=True
            )
