"""Which messages are for customers, or mailboxes, that have had as many as they may."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from profile_pipelines.catalog.caps import Cap
from profile_pipelines.catalog.local_time import begin_of_last
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.ledger.clock import Seen
from profile_pipelines.ledger.outbox import Claimed, Had, Outbox


@dataclass(frozen=True)
class _Limit:
    """A cap on the messages of one journey or over one channel; None: of all."""

    cap: Cap
    journey: str | None = None
    channel: str | None = None

    def counts(self, journey: str, channel: str) -> bool:
        return self.journey in (None, journey) and self.channel in (None, channel)


class Caps:
    """The caps of a catalogue's limits, channels and journeys."""

    def __init__(self, catalogue: Catalogue, outbox: Outbox, seen: Seen) -> None:
        self._seen = seen
        self._priorities = {name: each.priority for name, each in catalogue.journeys.items()}
        self._uncounted = catalogue.transactional_purposes
        overall = catalogue.limits.cap
        self._limits = [
            *([_Limit(overall)] if overall else []),
            *(_Limit(c.cap, channel=name) for name, c in catalogue.channels.items() if c.cap),
            *(_Limit(j.cap, journey=name) for name, j in catalogue.journeys.items() if j.cap),
        ]
        self._outbox = outbox
        self._granted: list[Had] | None = None
        """What was let through, where nothing is sent; None where the outbox tells."""

    def nothing_is_sent(self) -> None:
        """From now on what is let through counts as sent."""
        self._granted = []

    def not_sent(self, message_ids: Collection[str]) -> None:
        """Messages that were let through and aren't sent for another reason don't count later."""
        if self._granted and message_ids:
            self._granted = [e for e in self._granted if e.message_id not in message_ids]

    def reached(
        self,
        left: Sequence[Claimed],
        addresses: Mapping[str, str],
        former: Iterable[tuple[int, int]],
        zone_of: Callable[[int], ZoneInfo],
        now: datetime,
    ) -> dict[str, str]:
        """By message id, why it isn't for a customer, or a mailbox, that has had enough: `cap`, or
        `priority` where messages of journeys with a higher priority are in its place. Of several
        to one the first ones are let through. Transactional messages neither count nor are
        counted.

        `addresses` has the keyed hash of each message's address, by message id: what others got
        there counts. `former` has (former id, id of today): what a customer got as another
        profile counts. `zone_of` tells the time zone whose days a profile's caps count.
        """
        left = [each for each in left if each.consent not in self._uncounted]
        if not self._limits or not left:
            return {}
        today = {each.profile_id: [each.profile_id] for each in left}
        begins = {
            profile_id: [begin_of_last(limit.cap.period, now, zone_of(profile_id))
                         for limit in self._limits]
            for profile_id in today
        }  # fmt: skip
        for former_id, profile_id in former:
            if profile_id in begins:
                today.setdefault(former_id, []).append(profile_id)
        had: dict[int | str, dict[str, tuple[str, str, datetime]]] = {}
        since = min(min(each) for each in begins.values())
        here = {addresses[each.message_id] for each in left if each.message_id in addresses}
        sent = self._outbox.sent_since(today, here, since, but_for=self._uncounted)
        for each in [*sent, *(self._granted or ())]:
            for whose in (*today.get(each.profile_id, ()), each.address):
                if whose is not None:
                    at = self._seen.counted(each.at, now)
                    message = (each.journey, each.channel, at)
                    had.setdefault(whose, {})[each.message_id] = message
        reasons: dict[str, str] = {}
        for each in left:
            customers = had.setdefault(each.profile_id, {})
            mailboxes = had.setdefault(addresses.get(each.message_id, each.profile_id), {})
            own = {**customers, **mailboxes}.values()
            for limit, begin in zip(self._limits, begins[each.profile_id], strict=True):
                if not limit.counts(each.journey, each.channel):
                    continue
                counted = [
                    journey
                    for journey, over, at in own
                    if limit.counts(journey, over) and at >= begin
                ]
                if len(counted) >= limit.cap.count:
                    ahead = sum(self._priority(j) > self._priority(each.journey) for j in counted)
                    stays = len(counted) - ahead >= limit.cap.count
                    reasons[each.message_id] = "cap" if stays else "priority"
                    break
            else:
                message = (each.journey, each.channel, now)
                customers[each.message_id] = mailboxes[each.message_id] = message
                if self._granted is not None:
                    address = addresses.get(each.message_id)
                    self._granted.append(Had(each.message_id, each.profile_id, address, *message))
        return reasons

    def _priority(self, journey: str) -> int:
        return self._priorities.get(journey, 0)
