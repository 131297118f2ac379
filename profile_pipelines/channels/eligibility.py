"""Which messages are to be sent at this moment, and what becomes of the others.

Nothing that was known when a message was decided counts when it is sent: whether the customer
still is where the message makes sense, consents, may be written to at this address and at this
hour, and hasn't had too many is read again. What is sent and what `journey test` foretells is
decided here, once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache, cached_property
from zoneinfo import ZoneInfo

from profile_pipelines.catalog.channels import Channel
from profile_pipelines.catalog.local_time import exactly_later
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.send_times import next_allowed
from profile_pipelines.catalog.spelling import value_text
from profile_pipelines.channels.caps import Caps
from profile_pipelines.channels.message import Message
from profile_pipelines.channels.rendering import Rendering
from profile_pipelines.consent.permission import Unsubscribed, consent_attributes, without_consent
from profile_pipelines.consent.unsubscribe_links import UnsubscribeLinks
from profile_pipelines.errors import RenderingError
from profile_pipelines.identity.former import gone_up, pairs_of
from profile_pipelines.lake import Lake
from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.outbox import Claimed, Outcome
from profile_pipelines.profiles.values import Values, values_of

BATCH = 2000
"""How many messages are looked at together, at most."""
UNAVAILABLE_WAIT = timedelta(minutes=5)
_NEVER_OPEN_WAIT = timedelta(days=1)

Skips = Mapping[str, str]
"""By message id: why it isn't to be sent. A reason of `stale` only puts it off."""
Recheck = Callable[[Sequence[Claimed], datetime], Skips]


@dataclass
class Preview:
    """What would become of messages if they were sent now.

    `counts` are by (state, reason): `sent`, `skipped` and `pending`, which waits; `sample` has the
    first of those that would be sent, as their customers would get them.
    """

    counts: dict[tuple[str, str | None], int]
    sample: list[Message]


class Eligibility:
    """Looks again at messages. `recheck` says which of them make no sense any more where their
    customers are; `links` makes the links to unsubscribe, where there are any, and `mark` tells at
    which mark the ledger is."""

    def __init__(
        self,
        catalogue: Catalogue,
        lake: Lake,
        ledger: Ledger,
        recheck: Recheck,
        links: UnsubscribeLinks | None,
        mark: Callable[[], tuple[int, str] | None],
    ) -> None:
        self._catalogue = catalogue
        self._lake = lake
        self._recheck = recheck
        self._links = links
        self._mark = mark
        self._coverage = ledger.coverage()
        self._outbox = ledger.outbox
        self._suppressions = ledger.suppressions
        self._unsubscribed = Unsubscribed(catalogue, lake, ledger)
        self._caps = Caps(catalogue, ledger.outbox, ledger.clock.seen())
        self._transactional = catalogue.transactional_purposes
        self._timezone = ZoneInfo(catalogue.settings.timezone)
        self._zones: dict[int, ZoneInfo] = {}

    def eligible(
        self, channel: Channel, claimed: Sequence[Claimed], now: datetime
    ) -> tuple[list[Message], list[Outcome]]:
        """The messages over a channel that are to be sent, to the customers of today, and what
        becomes of the others."""
        today = dict(reversed(self._gone_up))
        left = [
            replace(each, profile_id=today.get(each.profile_id, each.profile_id))
            for each in claimed
        ]
        outcomes: list[Outcome] = []

        def drop(reasons: Mapping[str, str]) -> None:
            nonlocal left
            for each in left:
                reason = reasons.get(each.message_id)
                if reason == "stale":
                    later = now + UNAVAILABLE_WAIT
                    outcomes.append(
                        Outcome(each.message_id, "pending", reason, next_attempt_at=later)
                    )
                elif reason is not None:
                    outcomes.append(Outcome(each.message_id, "skipped", reason))
            left = [each for each in left if each.message_id not in reasons]

        drop({e.message_id: "expired" for e in left if e.expires_at and e.expires_at <= now})
        self._zones = self._zones_of(left)
        closed = self._closed(left, channel, now)
        outcomes += closed
        waiting = {each.message_id for each in closed}
        left = [each for each in left if each.message_id not in waiting]
        unknown = {
            e.message_id: "template" for e in left if e.template not in self._catalogue.templates
        }
        drop(unknown)
        drop(self._recheck(left, now))
        values = self._values(left, channel)
        addresses = self._addresses(left, channel, values)
        drop(self._without_consent(left, channel, now))
        drop(self._suppressed(left, channel, addresses))
        drop(self._caps.reached(left, addresses, self._gone_up, self._zone, now))
        messages, refused = self._rendered(left, channel, values, addresses, now)
        drop(refused)
        self._caps.not_sent(refused)
        return messages, outcomes

    def preview(self, decided: Sequence[Claimed], sample: int, now: datetime) -> Preview:
        """What would become of messages, by the same decisions as when they are sent; nothing is
        sent or written. What is due in the outbox to the same customers goes first, but for
        journeys of a lower priority, and counts in caps alone."""
        self._caps.nothing_is_sent()
        counts: Counter[tuple[str, str | None]] = Counter()
        shown: list[Message] = []
        asked = {each.message_id for each in decided}
        for channel, own in self._in_turn([*self._waiting(decided, now), *decided]):
            for start in range(0, len(own), BATCH):
                messages, outcomes = self.eligible(channel, own[start : start + BATCH], now)
                messages = [each for each in messages if each.message_id in asked]
                counts.update(
                    (each.state, each.reason) for each in outcomes if each.message_id in asked
                )
                counts["sent", None] += len(messages)
                shown += messages[: sample - len(shown)]
        return Preview({key: count for key, count in counts.items() if count}, shown)

    def _waiting(self, decided: Iterable[Claimed], now: datetime) -> list[Claimed]:
        """What is due in the outbox to the customers of these messages."""
        today = {each.profile_id for each in decided}
        former = {former_id for former_id, profile_id in self._gone_up if profile_id in today}
        return self._outbox.due_to(today | former, now=now)

    def _in_turn(self, messages: Iterable[Claimed]) -> Iterator[tuple[Channel, list[Claimed]]]:
        """Messages as they would be sent: by their journeys' priority, then by channel."""
        journeys = self._catalogue.journeys
        turns: dict[int, dict[str, list[Claimed]]] = {}
        for each in messages:
            rank = journeys[each.journey].priority if each.journey in journeys else 0
            turns.setdefault(rank, {}).setdefault(each.channel, []).append(each)
        for rank in sorted(turns, reverse=True):
            for name, channel in self._catalogue.channels.items():
                if own := turns[rank].get(name):
                    yield channel, own

    def _closed(self, left: Sequence[Claimed], channel: Channel, now: datetime) -> list[Outcome]:
        """What mustn't go out at this hour of its customer's is put off until it may."""
        limits = self._catalogue.limits
        quiet = [each for each in (limits.quiet_hours, channel.quiet_hours) if each]
        windows = [each for each in (limits.window, channel.window) if each]

        @cache
        def opens(journey: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
            declared = self._catalogue.journeys.get(journey)
            own = declared.window if declared else None
            quiet_until = next_allowed(now, zone, quiet, []) or now
            found = next_allowed(now, zone, quiet, [*windows, own] if own else windows)
            return quiet_until, found or now + _NEVER_OPEN_WAIT

        outcomes: list[Outcome] = []
        for each in left:
            if each.consent in self._transactional:
                continue
            quiet_until, at = opens(each.journey, self._zone(each.profile_id))
            if at > quiet_until:
                # what is due over a weekend isn't too old when the office opens
                expires = each.expires_at and exactly_later(each.expires_at, at - quiet_until)
                outcomes.append(
                    Outcome(each.message_id, "pending", "window", next_attempt_at=at,
                            expires_at=expires)
                )  # fmt: skip
            elif at > now:
                outcomes.append(
                    Outcome(each.message_id, "pending", "quiet_hours", next_attempt_at=at)
                )
        return outcomes

    def _zones_of(self, left: Sequence[Claimed]) -> dict[int, ZoneInfo]:
        """By profile: its own time zone, where the catalogue has an attribute that tells it."""
        settings = self._catalogue.settings
        if settings.timezone_attribute is None:
            return {}
        ids = [each.profile_id for each in left]
        told = values_of(self._catalogue, self._lake, ids, {settings.timezone_attribute})
        return {profile_id: settings.zone_of(own) for profile_id, own in told.items()}

    def _zone(self, profile_id: int) -> ZoneInfo:
        return self._zones.get(profile_id, self._timezone)

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
            if self._needs_nobody(purpose):
                # the contract asks for it, so nothing but the customer's own no holds it back
                withdrawn = self._unsubscribed.of(purpose)
                reasons |= {e.message_id: "consent" for e in messages if e.profile_id in withdrawn}
                continue
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

    def _values(self, left: Sequence[Claimed], channel: Channel) -> Mapping[int, Values]:
        """What the messages say of their customers, and the addresses they go to."""
        templates = self._catalogue.templates
        names = {name for each in left for name in templates[each.template].variables}
        names |= {*getattr(channel, "attributes", []), *([channel.to] if channel.to else [])}
        return values_of(self._catalogue, self._lake, [e.profile_id for e in left], names)

    def _addresses(
        self, left: Sequence[Claimed], channel: Channel, values: Mapping[int, Values]
    ) -> dict[str, str]:
        """The keyed hash of each message's address, by message id."""
        found = {each.message_id: _to(channel, values.get(each.profile_id)) for each in left}
        mark = cache(self._suppressions.mark)
        return {message_id: mark(to) for message_id, to in found.items() if to is not None}

    def _suppressed(
        self, left: Sequence[Claimed], channel: Channel, addresses: Mapping[str, str]
    ) -> dict[str, str]:
        """By message id, `suppressed` for those whose address gets nothing for their purpose."""
        wanted: dict[str | None, list[str]] = {}
        for each in left:
            if each.message_id in addresses:
                purpose = each.consent or channel.consent
                wanted.setdefault(purpose, []).append(each.message_id)
        reasons: dict[str, str] = {}
        for purpose, messages in wanted.items():
            found = self._suppressions.of(
                {addresses[each] for each in messages},
                purpose,
                transactional=purpose in self._transactional,
            )
            reasons |= {each: "suppressed" for each in messages if addresses[each] in found}
        return reasons

    def _needs_nobody(self, purpose: str) -> bool:
        """Whether it's that of transactional messages, and no attribute holds a consent to it."""
        return purpose in self._transactional and not consent_attributes(self._catalogue, purpose)

    @cached_property
    def _gone_up(self) -> list[tuple[int, int]]:
        """(former id, id of today), least first, of customers that have become other profiles."""
        return sorted(pairs_of(gone_up(self._catalogue, self._lake)))

    def _rendered(
        self,
        left: Sequence[Claimed],
        channel: Channel,
        values: Mapping[int, Values],
        addresses: Mapping[str, str],
        now: datetime,
    ) -> tuple[list[Message], dict[str, str]]:
        templates = self._catalogue.templates
        told = getattr(channel, "attributes", [])
        renderings = {
            name: Rendering(templates[name], now) for name in {each.template for each in left}
        }
        messages: list[Message] = []
        refused: dict[str, str] = {}
        for each in left:
            own = values.get(each.profile_id)
            if own is None:
                refused[each.message_id] = "gone"
                continue
            to = _to(channel, own)
            if channel.to and to is None:
                refused[each.message_id] = "no_address"
                continue
            purpose = each.consent or channel.consent
            address = addresses.get(each.message_id)
            link = None
            if self._links is not None and purpose and not self._needs_nobody(purpose):
                link = self._links.link(each.profile_id, purpose, address, self._mark())
            try:
                subject, text, html = renderings[each.template].rendered(
                    own, self._zone(each.profile_id), journey=each.journey, unsubscribe_url=link
                )
            except RenderingError:
                refused[each.message_id] = "template"
                continue
            messages.append(
                Message(
                    each.message_id, each.journey, each.step, each.template, each.profile_id,
                    to, subject, text, html, link, {name: own[name] for name in told},
                    address, self._suppressions.code(each.message_id),
                )
            )  # fmt: skip
        return messages, refused


def _to(channel: Channel, own: Values | None) -> str | None:
    """The address of a customer whose values are `own`; None where there is none."""
    told = own[channel.to] if channel.to and own is not None else None
    return None if told is None else value_text(told)
