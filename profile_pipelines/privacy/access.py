"""The answer to an access request: everything that is held about a customer, with receipts."""

from __future__ import annotations

import email
import email.policy
import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.channels.files import files_of, folder_of
from profile_pipelines.consent.history import consent_history
from profile_pipelines.errors import NotFound, ProfilePipelinesError
from profile_pipelines.identity.former import ids_of_customers
from profile_pipelines.lake import Lake
from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.inbox import Waiting
from profile_pipelines.privacy.stored_records import (
    audience_rows,
    identity_rows,
    profile_changes,
    stored_children,
    stored_records,
)
from profile_pipelines.profiles.document import profile_document
from profile_pipelines.profiles.lookup import find_customers
from profile_pipelines.profiles.view import view_profile
from profile_pipelines.whole_file import whole_file

SCHEMA = "profile_pipelines.access"
VERSION = 1
"""Rises when a reader of the document has to be changed."""


def everything_about(
    catalogue: Catalogue,
    lake: Lake,
    ledger: Ledger,
    outbox: Path,
    identifier: str,
    *,
    now: datetime,
) -> dict[str, Any]:
    """Everything held about whoever has this identifier, or ever had it; see docs/privacy.md.

    `outbox` is the folder below which channels write files.
    One entry of `customers` for each profile, usually one. Values are Python's: dates, decimals,
    dataclasses. Raises NotFound when nobody ever had the identifier.
    """
    found = find_customers(catalogue, lake, identifier)
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "made_at": now,
        "asked_for": identifier.strip(),
        "customers": [_customer(catalogue, lake, ledger, outbox, each, now) for each in found],
    }


def _customer(
    catalogue: Catalogue, lake: Lake, ledger: Ledger, outbox: Path, profile_id: int, now: datetime
) -> dict[str, Any]:
    ids = ids_of_customers(catalogue, lake, [profile_id])
    identities = identity_rows(lake, ids)
    records = stored_records(lake, {row["record_id"] for row in identities})
    children = stored_children(lake, records)
    identifiers = _identifiers(identities)
    return {
        "profile_id": profile_id,
        "former_profile_ids": ids[1:],
        "identifiers": {name: sorted(values) for name, values in identifiers.items()},
        "profile": _profile(catalogue, lake, ledger, profile_id, now),
        "profile_history": profile_changes(lake, ids),
        "identity_history": [_plain_row(row) for row in identities],
        "records": records,
        "child_records": children,
        "consents": consent_history(catalogue, lake, ledger, profile_id, now=now),
        "consent_acts": ledger.unsubscribes.of_profiles(ids),
        "audiences": [_plain_row(row) for row in audience_rows(lake, ids)],
        "enrolments": ledger.enrolments.everywhere(ids),
        "watched_by_journeys": ledger.enrolments.watched.of_profiles(ids),
        "messages": _messages(catalogue, ledger, outbox, ids),
        "deliveries": ledger.deliveries.of_profiles(ids),
        "events_waiting": _events(catalogue, ledger, identifiers, [*records, *children]),
    }


def _profile(
    catalogue: Catalogue, lake: Lake, ledger: Ledger, profile_id: int, now: datetime
) -> dict[str, Any] | None:
    try:
        view = view_profile(catalogue, lake, ledger.coverage, profile_id, now=now)
    except NotFound:
        return None
    return profile_document(view, None)


def _identifiers(identities: Sequence[Mapping[str, Any]]) -> dict[str, set[str]]:
    """Every value of every identifier that the records ever had."""
    found: dict[str, set[str]] = {}
    for row in identities:
        for name, value in row.items():
            if name.startswith("id_") and value is not None:
                found.setdefault(name.removeprefix("id_"), set()).add(value)
    return found


def _plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without the lake's own number, and without what is empty."""
    return {name: value for name, value in row.items() if name != "seq" and value is not None}


def _messages(
    catalogue: Catalogue, ledger: Ledger, outbox: Path, ids: Collection[int]
) -> list[dict[str, Any]]:
    """The outbox's rows, with what was written where the channel writes files."""
    found: list[dict[str, Any]] = []
    for row in ledger.outbox.messages(profile_ids=ids, limit=None):
        message = {name: value for name, value in row.items() if name != "claimed_by"}
        channel = catalogue.channels.get(row["channel"])
        folder = folder_of(row["channel"], channel, outbox)
        message["content"] = _mail(files_of(folder, row["message_id"])[0])
        found.append(message)
    return found


def _mail(path: Path) -> dict[str, Any] | None:
    """What a stored mail says; None where there is none."""
    try:
        mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    except OSError:
        return None
    bodies = {kind: mail.get_body((kind,)) for kind in ("plain", "html")}
    return {
        "to": mail["To"],
        "subject": mail["Subject"],
        **{kind: None if body is None else body.get_content() for kind, body in bodies.items()},
    }


def _events(
    catalogue: Catalogue,
    ledger: Ledger,
    identifiers: Mapping[str, set[str]],
    records: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """What systems sent of the customer that hasn't been read yet."""
    keys: dict[tuple[str, str], set[str]] = {}
    for record in records:
        keys.setdefault((record["system"], record["sync"]), set()).add(record["record_key"])
    inbox = ledger.inbox
    return [
        {
            "system": system,
            "sync": sync,
            "record_key": row.key,
            "gone": row.gone,
            "record": _as_sent(row.record),
        }
        for system, sync in inbox.syncs_waiting()
        for row in inbox.waiting(system, sync)
        if row.key in keys.get((system, sync), ())
        or _names(catalogue, system, sync, row, identifiers)
    ]


def _as_sent(record: str | None) -> Any:
    """An event's own record, with all digits of its numbers."""
    return record and json.loads(record, parse_float=Decimal, parse_constant=str)


def _names(
    catalogue: Catalogue,
    system: str,
    sync: str,
    row: Waiting,
    identifiers: Mapping[str, set[str]],
) -> bool:
    """Whether an event's own record has one of the customer's identifiers."""
    declared = catalogue.systems.get(system)
    if row.record is None or declared is None or sync not in declared.syncs:
        return False
    from profile_pipelines.validation.controls import Zones, identifiers_of

    mapped = declared.syncs[sync]
    zones = Zones(catalogue.settings.timezone, declared.zone_of(mapped))
    found = identifiers_of(_as_sent(row.record), mapped, catalogue.identifiers, zones)
    return any(value in identifiers.get(name, ()) for name, value in found)


def write_private(path: Path, text: str, *, force: bool = False) -> None:
    """Write a file that only its owner can read, as `whole_file` does.

    Raises ProfilePipelinesError when there is one already, unless forced, or it can't be written.
    """
    if path.is_file() and not force:
        raise ProfilePipelinesError(f"{path} is there already; --force writes over it")
    with whole_file(path, private=True) as target:
        target.write(text.encode())
