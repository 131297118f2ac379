"""Which addresses get nothing any more, whichever customer they belong to.

A log of acts by address. An address is kept as a keyed hash of its one form, by the means of
tombstones (`erasures.py`): it tells nobody whose it was, and so outlives their erasure. Of an
address's acts that concern a purpose, the latest counts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, Protocol

import sqlalchemy as sa

from profile_pipelines.catalog.email_addresses import email_address
from profile_pipelines.catalog.telephones import e164
from profile_pipelines.ledger.storage import COUNTED, UtcDateTime, create_tables, insert_of

if TYPE_CHECKING:
    from profile_pipelines.ledger.refusals import Keeper

Reason = Literal["unsubscribed", "bounced", "complained", "imported"]
REASONS: tuple[Reason, ...] = ("unsubscribed", "bounced", "complained", "imported")
UNDELIVERABLE: tuple[Reason, ...] = ("bounced", "complained")
"""What holds for every message, also for those that need no marketing consent."""
_TOLD = ("address", "purpose", "suppressed", "reason", "at")
"""What a keeper is told of an act: no reason that somebody wrote."""
ALL = ""
"""What stands in the table for all purposes."""

_ASKED_AT_ONCE = 500

_metadata = sa.MetaData()
_acts = sa.Table(
    "suppression_acts",
    _metadata,
    sa.Column("number", COUNTED, primary_key=True, autoincrement=True),
    sa.Column("address", sa.String, nullable=False),
    sa.Column("purpose", sa.String, nullable=False),
    sa.Column("suppressed", sa.Boolean, nullable=False),
    sa.Column("reason", sa.String),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("by", sa.String),
    sa.Column("because", sa.String),
    # what is told twice is one act
    sa.Index("suppression_acts_once", "address", "purpose", "suppressed", "at", unique=True),
)


@dataclass(frozen=True)
class AddressAct:
    """An address was suppressed for a reason, or somebody took that back.

    `address` is the keyed hash; `purpose` is None for all. `at` is when it happened, which may
    lie before it was told.
    """

    number: int
    address: str
    purpose: str | None
    suppressed: bool
    reason: Reason | None
    at: datetime
    by: str | None
    because: str | None


def address_form(address: str) -> str:
    """The one form of an address's spellings: mail as the `email` step has it, telephone numbers
    with a calling code as `phone` has them, without one their digits; anything else as it is."""
    text = unicodedata.normalize("NFKC", address).strip()
    if "@" in text:
        return email_address(text) or text.lower()
    digits = re.sub(r"[\s()./-]+", "", text)
    if not re.fullmatch(r"\+?[0-9]{5,}", digits):
        return text
    return (e164(text, None) if digits.startswith(("+", "00")) else "") or digits


class AddressHashes(Protocol):
    """Hashes addresses under a key."""

    def address_digest(self, address: str) -> str:
        """The keyed hash of an address."""
        ...

    def address_key_check(self) -> str:
        """What tells the key from others."""
        ...


class Suppressions:
    """The ledger's suppressed addresses. `hashes` gives the keyed hash of one; the `keeper` is told
    of each act."""

    def __init__(
        self, engine: sa.Engine, hashes: AddressHashes, keeper: Keeper | None = None
    ) -> None:
        self._engine = engine
        self._hashes = hashes
        self._digest = hashes.address_digest
        self._keeper = keeper
        create_tables(_metadata, engine)

    def mark(self, address: str) -> str:
        """The keyed hash of an address."""
        return self._digest(address_form(address))

    def code(self, message_id: str) -> str:
        """What stands for a message in a mail's Message-ID: a keyed hash, which nobody can make up
        who hasn't got the mail. So what comes back with it is an answer to that mail."""
        return self._digest(f"\0message\0{message_id}")

    def add(
        self,
        address: str,
        purpose: str | None,
        reason: Reason,
        *,
        at: datetime,
        by: str | None = None,
        because: str | None = None,
    ) -> bool:
        """Suppress an address (its keyed hash) for a purpose, or for all; whether that is new."""
        act = _values(address, purpose, True, reason, at, by, because)
        return self.add_all([act]) > 0

    def unsubscribe(self, address: str, purpose: str, *, now: datetime) -> bool:
        """Suppress an address for a purpose at its owner's click; whether it wasn't yet."""
        last = self._last([address], purpose).get(address)
        if last is not None and last.suppressed:
            return False
        return self.add(address, purpose, "unsubscribed", at=_after(last, now))

    def restore(
        self, address: str, purpose: str | None, *, by: str, because: str, at: datetime
    ) -> bool:
        """Take back what suppresses an address for a purpose, or for all; whether it did."""
        standing = self._last([address], purpose).get(address)
        if standing is None or not standing.suppressed:
            return False
        act = _values(address, purpose, False, None, _after(standing, at), by, because)
        return self.add_all([act]) > 0

    def add_all(self, acts: Iterable[Mapping[str, object]]) -> int:
        """Add acts, by column; how many weren't there. What is told twice is one act."""
        self._hashes.address_key_check()  # looked up before the transaction
        with self._engine.begin() as connection:
            return self.add_within(connection, acts)

    def add_within(self, connection: sa.Connection, acts: Iterable[Mapping[str, object]]) -> int:
        """`add_all` within the caller's transaction."""
        new = 0
        statement = insert_of(self._engine)(_acts).on_conflict_do_nothing()
        rows = list(acts)
        for start in range(0, len(rows), _ASKED_AT_ONCE):
            part = rows[start : start + _ASKED_AT_ONCE]
            found = connection.execute(statement.returning(_acts.c.number), part)
            new += len(found.all())
        if new and self._keeper is not None:
            key = self._hashes.address_key_check()
            told = ({**{name: row[name] for name in _TOLD}, "key": key} for row in rows)
            self._keeper.keep("address", told)
        return new

    def drop_within(self, connection: sa.Connection, number: int) -> None:
        """Within the caller's transaction, take an act away that other reports show to be none."""
        connection.execute(sa.delete(_acts).where(_acts.c.number == number))

    def of(
        self, addresses: Collection[str], purpose: str | None, *, transactional: bool = False
    ) -> dict[str, AddressAct]:
        """Those of the addresses that get nothing for the purpose (None: for want of one, what
        holds for all counts), with the act that says so.

        Of what holds for all, bounces and complaints alone keep back a `transactional` message.
        """
        found = self._last(addresses, purpose, UNDELIVERABLE if transactional else REASONS)
        return {address: act for address, act in found.items() if act.suppressed}

    def acts(self, addresses: Collection[str]) -> list[AddressAct]:
        """All acts on these addresses, the earliest first."""
        with self._engine.connect() as connection:
            return self.acts_within(connection, addresses)

    def acts_within(
        self, connection: sa.Connection, addresses: Collection[str]
    ) -> list[AddressAct]:
        """`acts` within the caller's transaction."""
        found: list[AddressAct] = []
        asked = sorted(set(addresses))
        for start in range(0, len(asked), _ASKED_AT_ONCE):
            part = _acts.c.address.in_(asked[start : start + _ASKED_AT_ONCE])
            found += _read(connection, sa.select(_acts).where(part))
        return sorted(found, key=_order)

    def standing(self, purpose: str | None = None) -> list[AddressAct]:
        """What is suppressed now: of each address and each purpose the act that says so, or of
        each address that for this purpose."""
        found: dict[tuple[str, str | None], AddressAct] = {}
        lifted: dict[str, AddressAct] = {}
        with self._engine.connect() as connection:
            acts = _read(connection, sa.select(_acts))
        for act in sorted(acts, key=_order):
            if purpose is None:
                found[act.address, act.purpose] = act
                if act.purpose is None and not act.suppressed:
                    lifted[act.address] = act
            elif act.purpose in (None, purpose):
                found[act.address, purpose] = act
        return [
            act
            for act in found.values()
            if act.suppressed
            and (act.address not in lifted or _order(lifted[act.address]) < _order(act))
        ]

    @property
    def any(self) -> bool:
        """Whether any address was ever suppressed."""
        with self._engine.connect() as connection:
            return connection.execute(sa.select(_acts.c.number).limit(1)).first() is not None

    def _last(
        self, addresses: Collection[str], purpose: str | None, reasons: Sequence[str] = REASONS
    ) -> dict[str, AddressAct]:
        """By address its latest act that concerns the purpose."""
        found: dict[str, AddressAct] = {}
        for act in self.acts(addresses):
            for_all = act.purpose is None and (act.reason is None or act.reason in reasons)
            if for_all or act.purpose == purpose:
                found[act.address] = act
        return found


def _read(connection: sa.Connection, select: sa.Select[tuple[object, ...]]) -> list[AddressAct]:
    acts = [AddressAct(*row) for row in connection.execute(select)]
    return [replace(act, purpose=act.purpose or None) for act in acts]


def _after(last: AddressAct | None, now: datetime) -> datetime:
    """The present, or just after an act on which another follows, whatever the clocks say."""
    return now if last is None or last.at < now else last.at + timedelta(microseconds=1)


def _order(act: AddressAct) -> tuple[datetime, int]:
    return act.at, act.number


def _values(
    address: str,
    purpose: str | None,
    suppressed: bool,
    reason: Reason | None,
    at: datetime,
    by: str | None,
    because: str | None,
) -> dict[str, object]:
    return {
        "address": address, "purpose": purpose or ALL, "suppressed": suppressed, "reason": reason,
        "at": at, "by": by, "because": because,
    }  # fmt: skip
