"""Sends what is due: claim, look again whether it should be sent, send, keep the receipt.

Nothing that was known when a message was decided counts when it is sent: whether the customer
still is where the message makes sense, consents, and hasn't had too many is read again.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

from profile_pipelines.audiences.staleness import Coverage
from profile_pipelines.catalog.channels import Channel
from profile_pipelines.catalog.connections import RateLimit
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.channels.message import (
    Lost,
    Message,
    Refused,
    Sender,
    Sent,
)
from profile_pipelines.channels.rendering import Rendering
from profile_pipelines.channels.senders import is_idempotent, open_sender
from profile_pipelines.consent.permission import Unsubscribed, without_consent
from profile_pipelines.errors import ChannelError
from profile_pipelines.identity.former import gone_up, pairs_of
from profile_pipelines.lake import Lake
from profile_pipelines.ledger.outbox import Claimed, Outbox, Outcome
from profile_pipelines.ledger.unsubscribes import Unsubscribes
from profile_pipelines.profiles.values import values_of
from profile_pipelines.sources.rate_limit import RateLimiter

BATCH = 2000
"""How many messages are claimed, and looked at again, together, at most."""
_LOOKED_AT = timedelta(seconds=30)
"""How long ago a message may have been looked at again when it's sent."""
_FIRST_WAIT = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(hours=6)
_UNAVAILABLE_WAIT = timedelta(minutes=5)

Skips = Mapping[str, str]
"""By message id: why it isn't to be sent. A reason of `stale` only puts it off."""
Recheck = Callable[[Sequence[Claimed], datetime], Skips]
Unsubscribing = Callable[[int, str], str | None]
"""The link by which a profile withdraws its consent to a purpose; None where there is none."""


@dataclass
class DispatchResult:
    """What a dispatch did. `errors` says by channel why nothing could be sent over it."""

    counts: dict[tuple[str, str, str | None], int] = field(
        default_factory=dict[tuple[str, str, str | None], int]
    )
    """By (channel, state, reason): how many messages came to it."""
    errors: dict[str, str] = field(default_factory=dict[str, str])

    def total(self, state: str) -> int:
        """How many messages came to a state."""
        return sum(count for (_, found, _), count in self.counts.items() if found == state)


class Dispatch:
    """One round over the outbox. `outbox` is the folder below which files are written."""

    def __init__(
        self,
        catalogue: Catalogue,
        lake: Lake,
        outbox: Outbox,
        coverage: Coverage,
        folder: Path,
        *,
        recheck: Recheck,
        unsubscribes: Unsubscribes,
        caps: Mapping[str, RateLimit] | None = None,
        unsubscribing: Unsubscribing = lambda profile_id, purpose: None,
        clock: Callable[[], datetime],
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._lake = lake
        self._outbox = outbox
        self._coverage = coverage
        self._folder = folder
        self._recheck = recheck
        self._unsubscribed = Unsubscribed(catalogue, lake, unsubscribes)
        self._caps = caps or {}
        self._unsubscribing = unsubscribing
        self._clock = clock
        self._progress = progress
        self._timezone = ZoneInfo(catalogue.settings.timezone)
        self._by = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._senders: dict[str, Sender] = {}
        self._counted: Counter[tuple[str, str, str | None]] = Counter()
        self._result = DispatchResult()

    def run(self) -> DispatchResult:
        """Send everything that is due when it begins."""
        now = self._clock()
        channels = self._catalogue.channels
        self._outbox.recover([n for n, each in channels.items() if is_idempotent(each)], now=now)
        self._outbox.expire(now=now)
        try:
            for name, channel in channels.items():
                while name not in self._result.errors:
                    claimed = self._outbox.claim(
                        self._by, _at_once(channel), now=now, channels=[name]
                    )
                    if not claimed:
                        break
                    self._send_all(name, channel, claimed)
        finally:
            self._outbox.give_back(self._by, now=self._clock())
            for sender in self._senders.values():
                sender.close()
        self._result.counts = dict(self._counted)
        return self._result

    def _send_all(self, name: str, channel: Channel, claimed: Sequence[Claimed]) -> None:
        """Look again at messages, send those that still are to be sent, and keep the receipts."""
        try:
            sender = self._senders.get(name) or open_sender(name, channel, self._folder)
        except ChannelError as error:
            self._put_off(name, [each.message_id for each in claimed], error)
            return
        self._senders[name] = sender
        now = self._clock()
        today = dict(reversed(self._gone_up))
        claimed = [
            replace(each, profile_id=today.get(each.profile_id, each.profile_id))
            for each in claimed
        ]
        messages, outcomes = self._prepared(name, channel, claimed, now)
        self._settle(name, outcomes, now)
        limit = channel.rate_limit
        limiter = RateLimiter(limit, f"channel {name}") if limit else None
        tries = {each.message_id: each.attempts for each in claimed}
        size = min(sender.at_once, limit.count) if limit else sender.at_once
        for start in range(0, len(messages), size):
            part = messages[start : start + size]
            if name in self._result.errors:
                self._put_off(name, [each.message_id for each in part], None)
                continue
            if limiter is not None:
                for _ in part:
                    limiter.wait()
            self._send_part(name, channel, sender, part, tries)

    def _send_part(
        self,
        name: str,
        channel: Channel,
        sender: Sender,
        part: Sequence[Message],
        tries: Mapping[str, int],
    ) -> None:
        now = self._clock()
        mine = self._outbox.begin(self._by, [each.message_id for each in part], now=now)
        found: list[Outcome] = []
        try:
            for fate in sender.send([each for each in part if each.message_id in mine], now):
                found.append(_outcome(fate, tries[fate.message_id], channel.attempts, now))
        except ChannelError as error:
            self._put_off(name, sorted(mine - {each.message_id for each in found}), error)
        self._settle(name, found, self._clock())

    def _prepared(
        self, name: str, channel: Channel, part: Sequence[Claimed], now: datetime
    ) -> tuple[list[Message], list[Outcome]]:
        """The messages that are to be sent, and what becomes of the others."""
        outcomes: list[Outcome] = []
        left = list(part)

        def drop(reasons: Mapping[str, str]) -> None:
            nonlocal left
            for each in left:
                reason = reasons.get(each.message_id)
                if reason == "stale":
                    later = now + _UNAVAILABLE_WAIT
                    outcomes.append(
                        Outcome(each.message_id, "pending", reason, next_attempt_at=later)
                    )
                elif reason is not None:
                    outcomes.append(Outcome(each.message_id, "skipped", reason))
            left = [each for each in left if each.message_id not in reasons]

        drop({e.message_id: "expired" for e in left if e.expires_at and e.expires_at <= now})
        quiet_until = self._quiet_until(channel, now)
        if quiet_until is not None:
            put_off = [
                Outcome(each.message_id, "pending", "quiet_hours", next_attempt_at=quiet_until)
                for each in left
            ]
            return [], [*outcomes, *put_off]
        unknown = {
            e.message_id: "template" for e in left if e.template not in self._catalogue.templates
        }
        drop(unknown)
        drop(self._recheck(left, now))
        drop(self._without_consent(left, channel, now))
        drop(self._capped(left, name, channel, now))
        messages, refused = self._rendered(left, channel, now)
        drop(refused)
        return messages, outcomes

    def _quiet_until(self, channel: Channel, now: datetime) -> datetime | None:
        ends = [
            until
            for limits in (channel, self._catalogue.limits)
            if limits.quiet_hours is not None
            and (until := limits.quiet_hours.until(now, self._timezone)) is not None
        ]
        return max(ends, default=None)

    def _without_consent(
        self, left: Sequence[Claimed], channel: Channel, now: datetime
    ) -> dict[str, str]:
        wanted: dict[str, list[Claimed]] = {}
        for each in left:
            purpose = each.consent or channel.consent
            if purpose is not None:
                wanted.setdefault(purpose, []).append(each)
        reasons: dict[str, str] = {}
        for purpose, messages in wanted.items():
            missing = without_consent(
                self._catalogue,
                self._lake,
                self._coverage,
                self._unsubscribed,
                purpose,
                [each.profile_id for each in messages],
                now=now,
            )
            for each in messages:
                reason = missing.get(each.profile_id)
                if reason is not None:
                    reasons[each.message_id] = reason
        return reasons

    def _capped(
        self, left: Sequence[Claimed], name: str, channel: Channel, now: datetime
    ) -> dict[str, str]:
        """The messages for customers who have had as many as they may, sent ones first."""
        caps: list[tuple[RateLimit, Callable[[str, str], bool]]] = []
        if self._catalogue.limits.cap:
            caps.append((self._catalogue.limits.cap, lambda journey, over: True))
        if channel.cap:
            caps.append((channel.cap, lambda journey, over: over == name))
        for own, cap in self._caps.items():
            caps.append((cap, lambda journey, over, own=own: journey == own))
        if not caps or not left:
            return {}
        since = now - max(cap.period for cap, _ in caps)
        today = {each.profile_id: [each.profile_id] for each in left}
        for former_id, profile_id in self._gone_up:
            if profile_id in today:
                today.setdefault(former_id, []).append(profile_id)
        had: dict[int, list[tuple[str, str, datetime]]] = {}
        for sent_to, journey, over, at in self._outbox.sent_since(today, since):
            for profile_id in today[sent_to]:
                had.setdefault(profile_id, []).append((journey, over, at))
        reasons: dict[str, str] = {}
        for each in left:
            own = had.setdefault(each.profile_id, [])
            for cap, counts in caps:
                if not counts(each.journey, name):
                    continue
                recent = [
                    1 for journey, over, at in own
                    if counts(journey, over) and at > now - cap.period
                ]  # fmt: skip
                if len(recent) >= cap.count:
                    reasons[each.message_id] = "cap"
                    break
            else:
                own.append((each.journey, name, now))
        return reasons

    @cached_property
    def _gone_up(self) -> list[tuple[int, int]]:
        """(former id, id of today), least first, of customers that have become other profiles."""
        return sorted(pairs_of(gone_up(self._catalogue, self._lake)))

    def _rendered(
        self, left: Sequence[Claimed], channel: Channel, now: datetime
    ) -> tuple[list[Message], dict[str, str]]:
        from jinja2 import TemplateError

        templates = self._catalogue.templates
        names = {name for each in left for name in templates[each.template].variables}
        told = getattr(channel, "attributes", [])
        names |= {*told, *([channel.to] if channel.to else [])}
        values = values_of(self._catalogue, self._lake, [e.profile_id for e in left], names)
        renderings = {
            name: Rendering(templates[name], now, self._timezone)
            for name in {each.template for each in left}
        }
        messages: list[Message] = []
        refused: dict[str, str] = {}
        for each in left:
            own = values.get(each.profile_id)
            if own is None:
                refused[each.message_id] = "gone"
                continue
            to = str(own[channel.to]) if channel.to and own[channel.to] is not None else None
            if channel.to and to is None:
                refused[each.message_id] = "no_address"
                continue
            purpose = each.consent or channel.consent
            link = self._unsubscribing(each.profile_id, purpose) if purpose else None
            try:
                subject, text, html = renderings[each.template].rendered(
                    own, journey=each.journey, unsubscribe_url=link
                )
            except (TemplateError, TypeError, ValueError):
                refused[each.message_id] = "template"
                continue
            messages.append(
                Message(
                    each.message_id, each.journey, each.step, each.template, each.profile_id,
                    to, subject, text, html, link, {name: own[name] for name in told},
                )
            )  # fmt: skip
        return messages, refused

    def _put_off(self, name: str, left: Iterable[str], error: ChannelError | None) -> None:
        """Nothing was sent over the channel: that's no attempt."""
        if error is not None:
            self._result.errors[name] = str(error)
        now = self._clock()
        later = now + _UNAVAILABLE_WAIT
        self._settle(
            name,
            [Outcome(each, "pending", "unavailable", next_attempt_at=later) for each in left],
            now,
        )

    def _settle(self, name: str, outcomes: Sequence[Outcome], now: datetime) -> None:
        self._outbox.settle(self._by, outcomes, now=now)
        self._counted.update((name, each.state, each.reason) for each in outcomes)
        if self._progress is not None:
            self._progress(sum(self._counted.values()))


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
