"""Bounce mails: read, proven to be answers to mails of ours, and followed.

A mail that says so is worth nothing by itself: anybody can write one. What proves it is the
Message-ID of a mail that went to one of the addresses that the report names. It is a keyed hash, so
that nobody can make it up who hasn't got that mail. Everything else is told as unproven.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from profile_pipelines.catalog.feedback import MailboxFeedback
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.consent.bounce_mails import CantRead, Returned, returned_in
from profile_pipelines.consent.mailboxes import Mailbox, Stored, open_mailbox
from profile_pipelines.consent.soft_bounces import soft_rules
from profile_pipelines.errors import ProfilePipelinesError
from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.feedback import Kind, Report
from profile_pipelines.ledger.outbox import Had

_AT_ONCE = 200
_EVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class BouncesResult:
    """What a mailbox said. `unproven` and `unreadable` are the places of mails, for people."""

    mailbox: str
    mails: int = 0
    new: Counter[Kind] = field(default_factory=Counter[Kind])
    repeated: int = 0
    delayed: int = 0
    others: int = 0
    """Mails that are no reports, such as absence notices."""
    unproven: list[str] = field(default_factory=list[str])
    unreadable: list[str] = field(default_factory=list[str])


def declared_mailboxes(catalogue: Catalogue) -> dict[str, Path]:
    """By channel, the mailbox that each run reads."""
    return {
        name: Path(channel.feedback.path)
        for name, channel in catalogue.channels.items()
        if isinstance(channel.feedback, MailboxFeedback)
    }


def read_bounces(
    catalogue: Catalogue,
    ledger: Ledger,
    path: Path,
    *,
    now: datetime,
    only_new: bool = False,
) -> BouncesResult:
    """Read a mailbox and suppress what bounced for good; the same mail read again says nothing new.

    With `only_new` the files are passed over that were read before. Raises ProfilePipelinesError.
    """
    box: Mailbox = open_mailbox(path)
    found = BouncesResult(str(path))
    files = box.files
    if only_new and files:
        known = ledger.feedback.files_read([each.mark for each in files])
        files = [each for each in files if each.mark not in known]
    for start in range(0, len(files), _AT_ONCE):
        part = files[start : start + _AT_ONCE]
        _read(catalogue, ledger, part, found, now)
        if only_new:
            ledger.feedback.note_files([each.mark for each in part], now=now)
    return found


def read_declared(
    catalogue: Catalogue, ledger: Ledger, *, now: datetime
) -> tuple[list[BouncesResult], list[str]]:
    """What is new in the mailboxes that channels declare; and what to tell people of those that
    can't be read."""
    found: list[BouncesResult] = []
    errors: list[str] = []
    for name, path in declared_mailboxes(catalogue).items():
        try:
            found.append(read_bounces(catalogue, ledger, path, now=now, only_new=True))
        except ProfilePipelinesError as error:
            errors.append(f"channel {name}: feedback: {error}")
    return found, errors


def _read(
    catalogue: Catalogue,
    ledger: Ledger,
    files: Iterable[Stored],
    found: BouncesResult,
    now: datetime,
) -> None:
    mails = (mail for file in files for mail in file.mails())
    for part in _in_parts(mails):
        told: list[tuple[str, Returned]] = []
        for place, content in part:
            found.mails += 1
            try:
                said = returned_in(content)
            except CantRead:
                found.unreadable.append(place)
                continue
            found.others += not said
            told += [(place, each) for each in said]
        reports: dict[str, list[Report]] = {}
        proven = _proven(ledger, [each for _, each in told])
        for (place, each), proof in zip(told, proven, strict=True):
            if proof is None:
                found.unproven.append(place)
            elif each.kind is None:
                found.delayed += 1
            else:
                had, address = proof
                reports.setdefault(had.channel, []).append(
                    _report(catalogue, had, address, each, each.kind)
                )
        for channel, own in reports.items():
            new = ledger.feedback.record(channel, own, rules=soft_rules(catalogue), now=now)
            found.new.update(new.new)
            found.repeated += new.repeated


def _in_parts(mails: Iterator[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    part: list[tuple[str, bytes]] = []
    for mail in mails:
        part.append(mail)
        if len(part) == _AT_ONCE:
            yield part
            part = []
    if part:
        yield part


def _proven(ledger: Ledger, told: Sequence[Returned]) -> list[tuple[Had, str] | None]:
    """Of each that an answer to a message of ours is: the message, and the address it went to."""
    mark, code = ledger.suppressions.mark, ledger.suppressions.code
    marks = [{mark(address): address for address in each.recipients} for each in told]
    asked = {each for own in marks for each in own}
    by_address: dict[str, dict[str, Had]] = {}
    if asked:
        for had in ledger.outbox.sent_since([], asked, _EVER):
            by_address.setdefault(had.address or "", {})[code(had.message_id)] = had
    found: list[tuple[Had, str] | None] = []
    for each, own in zip(told, marks, strict=True):
        ids = [told_id.partition("@")[0].lower() for told_id in each.message_ids]
        proofs = (
            (by_address[address][told_id], spelled)
            for address, spelled in own.items()
            if address in by_address
            for told_id in ids
            if told_id in by_address[address]
        )
        found.append(next(proofs, None))
    return found


def _report(catalogue: Catalogue, had: Had, address: str, told: Returned, kind: Kind) -> Report:
    channel = catalogue.channels.get(had.channel)
    purpose = had.consent or (channel.consent if channel is not None else None)
    # a server that says it twice says it in another mail; at that, what it says is one thing
    said = hashlib.sha256(f"{had.message_id} {told.code}".encode()).hexdigest()[:32]
    # a server's clock may be wrong: before the message was sent it can't have come back
    at = max(told.at, had.at) if told.at is not None else None
    return Report(
        address, kind, f"mail {said}", had.message_id, at, told.code,
        purpose if kind == "unsubscribed" else None,
    )  # fmt: skip
