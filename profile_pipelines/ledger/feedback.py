"""What became of messages, as mail providers tell it, and what follows from it.

A log of reports by address (its keyed hash, as in `suppressions.py`). Hard bounces, complaints and
unsubscriptions suppress the address; soft bounces do so when as many messages in a row as declared
couldn't be delivered. What follows is made of all the reports of an address anew, in the order in
which they happened: so it is the same in whichever order, and however often, they come.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from profile_pipelines.ledger.storage import UtcDateTime, create_tables, insert_of
from profile_pipelines.ledger.suppressions import AddressAct, Reason, Suppressions

Kind = Literal["hard", "soft", "complaint", "unsubscribed", "delivered"]
KINDS: tuple[Kind, ...] = ("hard", "soft", "complaint", "unsubscribed", "delivered")
SOFT = "soft bounces"
"""Why an address is suppressed that no single report suppresses."""

_ENDED: Mapping[Kind, Reason] = {
    "hard": "bounced",
    "complaint": "complained",
    "unsubscribed": "unsubscribed",
}
_FIRST: Mapping[str, int] = {"complained": 3, "bounced": 2, "unsubscribed": 1}
_LOCK = 0x70706665656462
_ASKED_AT_ONCE = 500
_PRUNE_EVERY = timedelta(hours=1)

_metadata = sa.MetaData()
_reports = sa.Table(
    "feedback_reports",
    _metadata,
    sa.Column("digest", sa.String, primary_key=True),
    sa.Column("channel", sa.String, nullable=False),
    sa.Column("address", sa.String, nullable=False, index=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("purpose", sa.String, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("received_at", UtcDateTime, nullable=False),
    sa.Column("message", sa.String, nullable=False),
    sa.Column("code", sa.String),
    sa.Index("feedback_reports_old", "kind", "at"),
)
_unread = sa.Table(
    "feedback_unread",
    _metadata,
    sa.Column("digest", sa.String, primary_key=True),
    sa.Column("channel", sa.String, nullable=False),
    sa.Column("received_at", UtcDateTime, nullable=False),
    sa.Column("why", sa.String, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
)
"""Events that couldn't be read, without anything personal."""
_tokens = sa.Table(
    "feedback_tokens",
    _metadata,
    sa.Column("token", sa.String, primary_key=True),
    sa.Column("event", sa.String, nullable=False),
    sa.Column("received_at", UtcDateTime, nullable=False, index=True),
)
_files = sa.Table(
    "feedback_files",
    _metadata,
    sa.Column("file", sa.String, primary_key=True),
    sa.Column("read_at", UtcDateTime, nullable=False),
)
"""The files of mailboxes that were read, by what tells them apart."""


@dataclass(frozen=True)
class Report:
    """What is told of one message to one address.

    `key` tells it apart from all others of its channel; `message` the message, of which several
    may be told. `at` is when it happened, None where that isn't told. `code` is a status such as
    `5.1.1`, without personal data. `purpose` is that of an unsubscription.
    """

    address: str = field(repr=False)
    kind: Kind
    key: str
    message: str
    at: datetime | None
    code: str | None = None
    purpose: str | None = None


@dataclass(frozen=True)
class Unread:
    """An event that couldn't be read: why, and what it is but for personal data."""

    key: str
    why: str
    content: str


@dataclass(frozen=True)
class StoredReport:
    """A report as it is kept. `address` is the keyed hash."""

    channel: str
    address: str
    kind: Kind
    purpose: str | None
    at: datetime
    received_at: datetime
    code: str | None


@dataclass(frozen=True)
class StoredUnread:
    """An event that couldn't be read, as it is kept."""

    channel: str
    received_at: datetime
    why: str
    content: str


@dataclass(frozen=True)
class SoftRule:
    """Of how many messages in a row, in which span, soft bounces suppress an address."""

    after: int = 5
    within: timedelta = timedelta(days=30)


class TokenUsed(Exception):  # noqa: N818
    """A token that is to be used once came with another event before."""


@dataclass
class Recorded:
    """What came of reports: how many are new, by kind, how many were there before, and how many
    couldn't be read."""

    new: Counter[Kind] = field(default_factory=Counter[Kind])
    repeated: int = 0
    unread: int = 0


class FeedbackLog:
    """The reports, in the ledger's database, SQLite or PostgreSQL."""

    def __init__(self, engine: sa.Engine, suppressions: Suppressions) -> None:
        self._engine = engine
        self._insert = insert_of(engine)
        self._suppressions = suppressions
        self._pruned_at: datetime | None = None
        create_tables(_metadata, engine)

    def record(
        self,
        channel: str,
        reports: Iterable[Report],
        unread: Iterable[Unread] = (),
        *,
        rules: Mapping[str, SoftRule],
        now: datetime,
        token: str | None = None,
    ) -> Recorded:
        """Keep what was told of a channel's messages, and what follows, all at once.

        `rules` are the channels' rules of soft bounces, by name; others have the default.
        `token`, where there is one, may come again with the same events alone: raises TokenUsed.
        """
        rows = [self._row(channel, each, now) for each in reports]
        kept = [
            {
                "digest": _digest(channel, each.key), "channel": channel, "received_at": now,
                "why": each.why, "content": each.content,
            }
            for each in unread
        ]  # fmt: skip
        found = Recorded(unread=len(kept))
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                # whoever counts must see what others have told of the address
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            if token is not None:
                self._use(connection, channel, token, [*rows, *kept], now)
            self._prune(connection, rules, now)
            new = self._add(connection, _reports, rows)
            self._add(connection, _unread, kept)
            found.repeated = len(rows) - len(new)
            fresh = [row for row in rows if row["digest"] in new]
            told = {row["digest"]: row for row in fresh}.values()
            found.new.update(kind for row in told for kind in KINDS if row["kind"] == kind)
            self._follow(connection, {str(row["address"]) for row in told}, rules, now)
        return found

    def of(self, addresses: Collection[str]) -> list[StoredReport]:
        """What was told of these addresses (keyed hashes), the earliest first."""
        with self._engine.connect() as connection:
            rows = self._told(connection, addresses)
        return [
            StoredReport(
                row.channel, row.address, row.kind, row.purpose or None, row.at, row.received_at,
                row.code,
            )
            for row in rows
        ]  # fmt: skip

    def unread(self) -> list[StoredUnread]:
        """The events that couldn't be read, the newest first."""
        columns = (_unread.c.channel, _unread.c.received_at, _unread.c.why, _unread.c.content)
        select = sa.select(*columns).order_by(_unread.c.received_at.desc(), _unread.c.digest)
        with self._engine.connect() as connection:
            return [StoredUnread(*row) for row in connection.execute(select)]

    def counts(self) -> dict[tuple[str, Kind], tuple[int, datetime]]:
        """By channel and kind: how many reports are kept, and when the last one came."""
        groups = (_reports.c.channel, _reports.c.kind)
        select = sa.select(*groups, sa.func.count(), sa.func.max(_reports.c.received_at))
        with self._engine.connect() as connection:
            return {
                (channel, kind): (count, at)
                for channel, kind, count, at in connection.execute(select.group_by(*groups))
            }

    def files_read(self, files: Sequence[str]) -> set[str]:
        """Those of a mailbox's files that were read before."""
        found: set[str] = set()
        with self._engine.connect() as connection:
            for start in range(0, len(files), _ASKED_AT_ONCE):
                part = _files.c.file.in_(files[start : start + _ASKED_AT_ONCE])
                found |= set(connection.execute(sa.select(_files.c.file).where(part)).scalars())
        return found

    def note_files(self, files: Sequence[str], *, now: datetime) -> None:
        """Remember that these files were read."""
        rows = [{"file": each, "read_at": now} for each in files]
        if rows:
            with self._engine.begin() as connection:
                connection.execute(self._insert(_files).on_conflict_do_nothing(), rows)

    def _row(self, channel: str, report: Report, now: datetime) -> dict[str, object]:
        address = self._suppressions.mark(report.address)
        return {
            "digest": _digest(channel, report.key, report.kind, address), "channel": channel,
            "address": address, "kind": report.kind, "purpose": report.purpose or "",
            # a clock that is ahead must not outrank what is done about it
            "at": now if report.at is None else min(report.at, now), "received_at": now,
            "message": _digest(channel, report.message), "code": report.code,
        }  # fmt: skip

    def _use(
        self,
        connection: sa.Connection,
        channel: str,
        token: str,
        rows: Sequence[Mapping[str, object]],
        now: datetime,
    ) -> None:
        event = _digest(*(str(row["digest"]) for row in rows))
        values = {"token": _digest(channel, token), "event": event, "received_at": now}
        connection.execute(self._insert(_tokens).values(values).on_conflict_do_nothing())
        known = sa.select(_tokens.c.event).where(_tokens.c.token == values["token"])
        if connection.execute(known).scalar_one() != event:
            raise TokenUsed

    def _add(
        self, connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, object]]
    ) -> set[str]:
        """Add rows that aren't there yet; their digests."""
        new: set[str] = set()
        statement = self._insert(table).on_conflict_do_nothing().returning(table.c.digest)
        for start in range(0, len(rows), _ASKED_AT_ONCE):
            part = rows[start : start + _ASKED_AT_ONCE]
            new |= set(connection.execute(statement, part).scalars())
        return new

    def _told(
        self, connection: sa.Connection, addresses: Collection[str]
    ) -> list[sa.Row[tuple[object, ...]]]:
        asked = sorted(set(addresses))
        found: list[sa.Row[tuple[object, ...]]] = []
        for start in range(0, len(asked), _ASKED_AT_ONCE):
            part = _reports.c.address.in_(asked[start : start + _ASKED_AT_ONCE])
            found += connection.execute(sa.select(_reports).where(part)).all()
        return sorted(
            found,
            # what happened at one moment has one order, too
            key=lambda row: (row.at, row.kind != "soft", row.channel, row.message, row.digest),
        )

    def _follow(
        self,
        connection: sa.Connection,
        addresses: Collection[str],
        rules: Mapping[str, SoftRule],
        now: datetime,
    ) -> None:
        """Bring the suppressions of addresses into line with what is told of them."""
        told: dict[str, list[sa.Row[tuple[object, ...]]]] = {}
        for row in self._told(connection, addresses):
            told.setdefault(row.address, []).append(row)
        known: dict[str, list[AddressAct]] = {}
        for act in self._suppressions.acts_within(connection, told):
            known.setdefault(act.address, []).append(act)
        for address, rows in told.items():
            acts = known.get(address, [])
            restored = [act.at for act in acts if not act.suppressed]
            wanted = _soft_acts(rows, restored, rules, now)
            for row in rows:
                if row.kind in _ENDED:
                    reason, at = _ENDED[row.kind], (row.purpose, row.at)
                    there = wanted.get(at)
                    made = _Wanted(reason, row.channel, row.code or "")
                    if there is None or there.order < made.order:
                        wanted[at] = made
            standing = {(act.purpose or "", act.at): act for act in acts if act.suppressed}
            for (purpose, at), act in standing.items():
                stale = act.because == SOFT and act.by in rules
                if stale and (purpose, at) not in wanted and at >= now - rules[act.by or ""].within:
                    self._suppressions.drop_within(connection, act.number)
            new: list[dict[str, object]] = []
            for (purpose, at), each in wanted.items():
                act = standing.get((purpose, at))
                if act is not None and _Wanted.of(act).order >= each.order:
                    continue
                if act is not None:
                    self._suppressions.drop_within(connection, act.number)
                new.append({
                    "address": address, "purpose": purpose, "suppressed": True,
                    "reason": each.reason, "at": at, "by": each.by,
                    "because": each.because or None,
                })  # fmt: skip
            self._suppressions.add_within(connection, new)

    def _prune(
        self, connection: sa.Connection, rules: Mapping[str, SoftRule], now: datetime
    ) -> None:
        """Forget, once an hour, what can't count any more."""
        if self._pruned_at is not None and now - self._pruned_at < _PRUNE_EVERY:
            return
        self._pruned_at = now
        longest = max(rule.within for rule in [*rules.values(), SoftRule()])
        counted = sa.or_(_reports.c.kind == "soft", _reports.c.kind == "delivered")
        connection.execute(sa.delete(_reports).where(counted, _reports.c.at < now - 2 * longest))
        connection.execute(sa.delete(_tokens).where(_tokens.c.received_at < now - longest))


@dataclass(frozen=True)
class _Wanted:
    """What an address's suppression at one moment is to be; of several the strongest stands."""

    reason: Reason
    by: str
    because: str

    @property
    def order(self) -> tuple[int, bool, str, str]:
        return _FIRST.get(self.reason, 0), self.because != SOFT, self.by, self.because

    @classmethod
    def of(cls, act: AddressAct) -> _Wanted:
        return cls(act.reason or "imported", act.by or "", act.because or "")


def _soft_acts(
    rows: Sequence[sa.Row[tuple[object, ...]]],
    restored: Collection[datetime],
    rules: Mapping[str, SoftRule],
    now: datetime,
) -> dict[tuple[str, datetime], _Wanted]:
    """When soft bounces came to their number: of as many messages over one channel, with no
    delivery over any, and nobody's word, in between."""
    found: dict[tuple[str, datetime], _Wanted] = {}
    counted: dict[str, dict[str, datetime]] = {}
    began: datetime | None = None
    for row in rows:
        lifted = max((at for at in restored if at <= row.at), default=None)
        if lifted is not None and (began is None or lifted > began):
            began = lifted
            counted.clear()
        if row.kind == "delivered":
            counted.clear()
        if row.kind != "soft":
            continue
        rule = rules.get(row.channel, SoftRule())
        messages = counted.setdefault(row.channel, {})
        for message in [m for m, at in messages.items() if at < row.at - rule.within]:
            del messages[message]
        messages.setdefault(row.message, row.at)
        if len(messages) >= rule.after:
            messages.clear()
            if row.at >= now - rule.within:
                found["", row.at] = _Wanted("bounced", row.channel, SOFT)
    return found


def _digest(*parts: str) -> str:
    told = json.dumps(parts).encode()
    return hashlib.sha256(told).hexdigest()[:32]
