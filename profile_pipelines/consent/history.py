"""Proof of consent: what a customer's consents were at any time, why, and what relied on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.consent.addresses import addresses_of
from profile_pipelines.consent.permission import (
    Missing,
    Unsubscribed,
    check_purpose,
    consent_attributes,
    without_consent,
)
from profile_pipelines.engine.sql import column, literal
from profile_pipelines.identity.former import ids_of_customers
from profile_pipelines.lake import Lake
from profile_pipelines.lake.lake import UNSUBSCRIBES
from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.suppressions import AddressAct
from profile_pipelines.ledger.unsubscribes import Act
from profile_pipelines.profiles.lookup import records_of
from profile_pipelines.profiles.past_rules import all_provenance
from profile_pipelines.profiles.receipts import Contribution, receipts_of

_TRIED = ("sending", "sent", "failed", "unknown")


@dataclass(frozen=True)
class ConsentValue:
    """What a consent attribute became, in which run and when, with its receipt of that moment.

    `profile_id` is the profile that the customer was then; one that went up in another ends with
    `gone`.
    """

    profile_id: int
    attribute: str
    recorded_at: datetime
    run_id: str
    value: bool | None
    gone: bool
    rule: str
    winners: tuple[Contribution, ...]
    losers: tuple[Contribution, ...]


@dataclass(frozen=True)
class ReliedOn:
    """The value of a consent attribute on which a message relied.

    `confirmed_at` is when the systems that decided it had last been synced by then.
    """

    attribute: str
    value: bool | None
    systems: tuple[str, ...]
    since: datetime
    run_id: str
    confirmed_at: datetime | None


@dataclass(frozen=True)
class ConsentedMessage:
    """A message that was sent, or may have been, for a purpose. `at` is when it was begun."""

    message_id: str
    profile_id: int
    journey: str
    step: str
    channel: str
    template: str
    state: str
    at: datetime
    relied_on: tuple[ReliedOn, ...]


@dataclass(frozen=True)
class ConsentedDelivery:
    """A destination that holds the customer for a purpose, or may, since a batch was lost. `at`
    is when they were last delivered."""

    destination: str
    profile_id: int
    state: str
    at: datetime
    relied_on: tuple[ReliedOn, ...]


@dataclass(frozen=True)
class ConsentHistory:
    """A customer's consent to one purpose, the newest first. `missing` says why no message may be
    sent now; None: it may."""

    purpose: str
    missing: Missing | None
    values: tuple[ConsentValue, ...]
    acts: tuple[Act, ...]
    addresses: tuple[AddressAct, ...]
    """What suppresses, or suppressed, an address that the customer has or had."""
    messages: tuple[ConsentedMessage, ...]
    deliveries: tuple[ConsentedDelivery, ...]


def consent_history(
    catalogue: Catalogue,
    lake: Lake,
    ledger: Ledger,
    profile_id: int,
    *,
    now: datetime,
    purpose: str | None = None,
) -> list[ConsentHistory]:
    """The consents of a profile's customer to one purpose, or to each that the catalogue knows.

    Raises UnknownName for the purpose.
    """
    if purpose is not None:
        check_purpose(catalogue, purpose)
    declared = [each.consent for each in catalogue.attributes.values() if each.consent is not None]
    purposes = [purpose] if purpose is not None else list(dict.fromkeys(declared))
    ids = ids_of_customers(catalogue, lake, [profile_id])
    values = _values(catalogue, lake, ids, purposes)
    acts = ledger.unsubscribes.of_profiles(ids)[::-1]
    messages = ledger.outbox.messages(states=_TRIED, profile_ids=ids, limit=None)
    deliveries = [
        row
        for row in ledger.deliveries.of_profiles(ids)
        if row["destination"] in catalogue.destinations and (row["digest"] or row["operation"])
    ]
    suppressions = ledger.suppressions
    suppressed: list[AddressAct] = []
    if suppressions.any:
        had = addresses_of(catalogue, lake, ids, ever=True)
        suppressed = suppressions.acts({suppressions.mark(each) for each in had})[::-1]
    coverage = _Coverage(ledger)
    unsubscribed = Unsubscribed(catalogue, lake, ledger)
    found: list[ConsentHistory] = []
    for each in purposes:
        own = [v for v in values if v.attribute in consent_attributes(catalogue, each)]
        missing = without_consent(
            catalogue, lake, ledger.coverage(), unsubscribed, each, [profile_id], now=now
        )
        silent = unsubscribed.at_addresses(each, [profile_id], every=True)
        found.append(
            ConsentHistory(
                each,
                missing.get(profile_id) or ("suppressed" if silent else None),
                tuple(own),
                tuple(act for act in acts if act.purpose == each),
                tuple(act for act in suppressed if act.purpose in (None, each)),
                tuple(
                    _message(row, own, coverage)
                    for row in messages
                    if _purpose(catalogue, row) == each
                ),
                tuple(
                    _delivery(row, own, coverage)
                    for row in deliveries
                    if catalogue.destinations[row["destination"]].consent == each
                ),
            )
        )
    return found


def _values(
    catalogue: Catalogue, lake: Lake, ids: Sequence[int], purposes: Sequence[str]
) -> list[ConsentValue]:
    names = [n for purpose in purposes for n in consent_attributes(catalogue, purpose)]
    pinned = all_provenance(lake, catalogue)
    stored = [f"{name}__{kind}" for name in names for kind in ("source", "sources")]
    own = exp.In(this=column("profile_id"), expressions=[literal(each) for each in ids])
    rows = pinned.changes(["profile_id", *names, *stored], "consents", where=own)
    log = sorted(lake.engine.rows(rows.sql, rows.relations), key=lambda row: row["seq"])
    found: list[ConsentValue] = []
    before: dict[tuple[int, str], tuple[Any, ...]] = {}
    for row in log:
        became: list[str] = []
        for name in names:
            state = (row[name], row[f"{name}__source"], row[f"{name}__sources"], row["removed"])
            if before.get((row["profile_id"], name), (None, None, None, False)) != state:
                became.append(name)
                before[row["profile_id"], name] = state
        if became:
            found += _receipted(catalogue, lake, row, became, pinned.state)
    return found[::-1]


def _receipted(
    catalogue: Catalogue,
    lake: Lake,
    row: Mapping[str, Any],
    names: Sequence[str],
    state: Mapping[str, Any],
) -> list[ConsentValue]:
    profile_id, at, run_id = row["profile_id"], row["recorded_at"], row["run_id"]
    if row["removed"]:
        return [
            ConsentValue(profile_id, name, at, run_id, None, True, "", (), ()) for name in names
        ]
    records = records_of(catalogue, lake, profile_id, as_of=at)
    receipts = receipts_of(
        catalogue,
        lake,
        profile_id,
        [int(str(record["record_id"])) for record in records],
        row,
        state,
        as_of=at,
        names=names,
    )
    return [
        ConsentValue(
            profile_id, each.attribute, at, run_id, each.value, False,
            each.rule, each.winners, each.losers,
        )
        for each in receipts
    ]  # fmt: skip


def _purpose(catalogue: Catalogue, message: Mapping[str, Any]) -> str | None:
    channel = catalogue.channels.get(message["channel"])
    return message["consent"] or (channel.consent if channel else None)


class _Coverage:
    """When systems had last been synced, at several moments."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[datetime, Mapping[tuple[str, str], datetime]] = {}

    def confirmed(self, attribute: str, systems: Sequence[str], at: datetime) -> datetime | None:
        if systems == (UNSUBSCRIBES,):
            return at
        if at not in self._known:
            self._known[at] = self._ledger.coverage(at)
        covered = [self._known[at].get((system, attribute)) for system in systems]
        known = [each for each in covered if each is not None]
        return min(known) if known and len(known) == len(covered) else None


def _message(
    row: Mapping[str, Any], values: Sequence[ConsentValue], coverage: _Coverage
) -> ConsentedMessage:
    at = row["claimed_at"] or row["ended_at"]
    relied_on = _relied_on(row["profile_id"], at, values, coverage)
    names = ("message_id", "profile_id", "journey", "step", "channel", "template", "state")
    return ConsentedMessage(**{name: row[name] for name in names}, at=at, relied_on=relied_on)


def _delivery(
    row: Mapping[str, Any], values: Sequence[ConsentValue], coverage: _Coverage
) -> ConsentedDelivery:
    profile_id, at = row["profile_id"], row["changed_at"]
    state = {"add": "being added", "remove": "being removed", None: "held"}[row["operation"]]
    relied_on = _relied_on(profile_id, at, values, coverage)
    return ConsentedDelivery(row["destination"], profile_id, state, at, relied_on)


def _relied_on(
    profile_id: int, at: datetime, values: Sequence[ConsentValue], coverage: _Coverage
) -> tuple[ReliedOn, ...]:
    """The consents of a profile as they stood at a moment; `values` are the newest first."""
    found: dict[str, ReliedOn] = {}
    for each in values:
        if each.profile_id == profile_id and each.recorded_at <= at and each.attribute not in found:
            systems = tuple(dict.fromkeys(given.system for given in each.winners))
            found[each.attribute] = ReliedOn(
                each.attribute,
                each.value,
                systems,
                each.recorded_at,
                each.run_id,
                coverage.confirmed(each.attribute, systems, at),
            )
    return tuple(found.values())
