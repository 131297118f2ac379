"""The outbox: messages that are decided and not yet delivered, and what became of them.

A message's id says what it is for, so that deciding it twice makes it once, and of which enrolment
in which ledger, so that no other one has the same, also of a ledger that was put back and goes
another way. It is the idempotency key that a channel is given. Nothing here tells whom a profile
is of or what is said: a message is rendered when it is sent.

    pending ──▶ claimed ──▶ sending ──▶ sent
       ▲           │           ├──▶ failed     for good, or after too many attempts
       ├───────────┴───────────┤    (for a while: pending again)
       │                       └──▶ unknown    the sender was lost between sending and its receipt
       └──▶ skipped                            at its moment it wasn't to be sent any more

After lake or ledger were put back from a copy nobody knows what was sent since. So what is pending
is kept back, whenever it was decided, until a person settles the generation that began then (see
docs/adr/0026).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from profile_pipelines.catalog.local_time import CLOCKS_DIFFER
from profile_pipelines.ledger.holders import is_gone
from profile_pipelines.ledger.pair import LedgerPair, any_unsettled
from profile_pipelines.ledger.storage import (
    UtcDateTime,
    create_tables,
    day_of,
    insert_of,
    many_commits,
)

State = Literal["pending", "claimed", "sending", "sent", "skipped", "failed", "unknown"]
STATES: tuple[State, ...] = (
    "pending", "claimed", "sending", "sent", "skipped", "failed", "unknown",
)  # fmt: skip

LEASE = timedelta(minutes=15)
"""How long a claim holds without a sign of life; then its sender counts as lost. One that ran on
this machine, and is no more, counts as lost at once."""
LOST = "lost between sending and receipt"
_GRANTED = "to be sent"
"""The reason of a claimed message that caps and all else let through."""

KEPT_BACK = "kept_back"
"""Why a message is pending that goes out only at a person's word."""

NOBODY = 0
"""The profile of what is left of people who were erased; a real profile's number is greater."""
ERASED = "erased"

_metadata = sa.MetaData()

outbox = sa.Table(
    "outbox",
    _metadata,
    sa.Column("message_id", sa.String, primary_key=True),
    sa.Column("journey", sa.String, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("enrolment", sa.BigInteger, nullable=False),
    sa.Column("step", sa.String, nullable=False),
    sa.Column("channel", sa.String, nullable=False),
    sa.Column("template", sa.String, nullable=False),
    sa.Column("consent", sa.String),
    sa.Column("profile_id", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String, nullable=False, server_default="pending"),
    sa.Column("decided_at", UtcDateTime, nullable=False),
    sa.Column("next_attempt_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("claimed_at", UtcDateTime),
    sa.Column("claimed_by", sa.String),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("reason", sa.String),
    sa.Column("receipt", sa.String),
    sa.Index("outbox_due", "state", "next_attempt_at"),
    sa.Index("outbox_profile", "profile_id", "ended_at"),
    sa.Index("outbox_step", "journey", "step", "state"),
)

_sent_to = sa.Table(
    "sent_to",
    _metadata,
    sa.Column("message_id", sa.String, primary_key=True),
    sa.Column("address", sa.String, nullable=False),
    sa.Index("sent_to_address", "address"),
)
"""To which address a message went, as a keyed hash (`suppressions.py`)."""


_BEGIN = (
    sa.update(outbox)
    .where(
        outbox.c.message_id.in_(sa.bindparam("ids", expanding=True)),
        outbox.c.state == "claimed",
        outbox.c.claimed_by == sa.bindparam("by"),
    )
    .values(state="sending", claimed_at=sa.bindparam("at", type_=UtcDateTime))
    .returning(outbox.c.message_id)
)
_SETTLE = (
    sa.update(outbox)
    .where(
        outbox.c.message_id == sa.bindparam("id"),
        outbox.c.claimed_by == sa.bindparam("by"),
        # not IN: its list can't be expanded for many rows
        sa.or_(*(outbox.c.state == each for each in ("claimed", "sending", "unknown"))),
    )
    .values(
        state=sa.bindparam("new"),
        reason=sa.bindparam("why"),
        receipt=sa.bindparam("told"),
        next_attempt_at=sa.bindparam("next", type_=UtcDateTime),
        attempts=outbox.c.attempts + sa.bindparam("tried", type_=sa.Integer),
        ended_at=sa.bindparam("ended", type_=UtcDateTime),
        expires_at=sa.func.coalesce(
            sa.bindparam("expires", type_=UtcDateTime), outbox.c.expires_at, type_=UtcDateTime
        ),
    )
)
_IS_NEXT = outbox.c.message_id == sa.bindparam("next_id", type_=sa.String)


def _bound(name: str, type_: Any) -> sa.BindParameter[Any]:
    return sa.bindparam(name, type_=type_)


_SETTLE_AND_BEGIN = (
    sa.update(outbox)
    .where(
        outbox.c.message_id.in_([_bound("id", sa.String), _bound("next_id", sa.String)]),
        outbox.c.claimed_by == _bound("by", sa.String),
        outbox.c.state.in_(["claimed", "sending", "unknown"]),
        sa.or_(outbox.c.state == "claimed", sa.not_(_IS_NEXT)),
    )
    .values(
        {
            each: sa.case((_IS_NEXT, begun), else_=settled)
            for each, begun, settled in (
                (outbox.c.state, sa.literal("sending"), _bound("new", sa.String)),
                (outbox.c.claimed_at, _bound("at", UtcDateTime), outbox.c.claimed_at),
                (outbox.c.reason, outbox.c.reason, _bound("why", sa.String)),
                (outbox.c.receipt, outbox.c.receipt, _bound("told", sa.String)),
                (
                    outbox.c.next_attempt_at,
                    outbox.c.next_attempt_at,
                    _bound("next", UtcDateTime),
                ),
                (
                    outbox.c.attempts,
                    outbox.c.attempts,
                    outbox.c.attempts + _bound("tried", sa.Integer),
                ),
                (outbox.c.ended_at, outbox.c.ended_at, _bound("ended", UtcDateTime)),
                (
                    outbox.c.expires_at,
                    outbox.c.expires_at,
                    sa.func.coalesce(
                        _bound("expires", UtcDateTime), outbox.c.expires_at, type_=UtcDateTime
                    ),
                ),
            )
        }
    )
    .returning(outbox.c.message_id)
)
"""What `_SETTLE` does to one message and `_BEGIN` to the next, in a statement that is a transaction
of its own: one way to the database and back for each mail."""


def _is_due(now: datetime, due: datetime) -> sa.ColumnElement[bool]:
    """Pending, and to be sent by a moment; or noted by a clock that was ahead of the present."""
    noted, table = outbox.c.claimed_at, outbox.c
    ahead = sa.or_(
        sa.and_(noted.is_(None), table.decided_at > now),
        noted > now + CLOCKS_DIFFER,
    )
    return sa.and_(table.state == "pending", sa.or_(table.next_attempt_at <= due, ahead))


def message_id(
    journey: str, version: int, enrolment: int, step: str, channel: str, *, origin: str = ""
) -> str:
    """The id of the one message that an enrolment's step sends over a channel.

    `origin` is the enrolment's: what tells it from those of the same number in other ledgers.
    """
    parts = [journey, str(version), str(enrolment), step, channel, origin]
    return ".".join(parts if origin else parts[:-1])


@dataclass(frozen=True)
class Claimed:
    """A message that this process is to send."""

    message_id: str
    journey: str
    version: int
    enrolment: int
    step: str
    channel: str
    template: str
    consent: str | None
    """The purpose that the customer must have consented to; None where none is needed."""
    profile_id: int
    attempts: int
    """How often it was tried before."""
    expires_at: datetime | None


@dataclass(frozen=True)
class Outcome:
    """What became of a message that was claimed. `reason` and `receipt` hold no personal data.

    A state of `pending` puts it off until `next_attempt_at`; `tried` counts that as an attempt.
    """

    message_id: str
    state: Literal["sent", "skipped", "failed", "unknown", "pending"]
    reason: str | None = None
    receipt: str | None = None
    next_attempt_at: datetime | None = None
    tried: bool = False
    expires_at: datetime | None = None
    """When it expires from now on; None: as before."""


@dataclass(frozen=True)
class InDoubt:
    """A message that may have arrived: whoever sent it was lost before the receipt.

    `begun_at` is when it was handed to the channel; None where an older version didn't keep it.
    """

    message_id: str
    journey: str
    step: str
    channel: str
    begun_at: datetime | None
    reason: str | None


@dataclass(frozen=True)
class Had:
    """A message that was sent, or may have been. `address` is the keyed hash of where it went."""

    message_id: str
    profile_id: int
    address: str | None
    journey: str
    channel: str
    at: datetime
    consent: str | None = None


@dataclass(frozen=True)
class OutboxCount:
    """How many messages of a journey's step over a channel are in a state, and why."""

    journey: str
    step: str
    channel: str
    state: str
    reason: str | None
    count: int
    oldest_at: datetime


class Outbox:
    """The outbox in the ledger's database, SQLite or PostgreSQL."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._insert = insert_of(engine)
        self._alone: sa.Connection | None = None
        """Whose every statement is a transaction of its own."""
        create_tables(_metadata, engine)
        LedgerPair(engine)  # its tables are asked for whether anything is kept back

    def decide(
        self,
        connection: sa.Connection,
        rows: Iterable[Mapping[str, Any]],
        origin_of: Callable[[int], str] = lambda enrolment: "",
    ) -> int:
        """Add messages within the caller's transaction; how many are new.

        A row has the columns journey, version, enrolment, step, channel, template, consent,
        profile_id, decided_at, next_attempt_at (when it may be sent) and expires_at (None:
        never). A message that was decided before stays as it is. `origin_of` tells the origin of
        an enrolment.
        """
        keys = ("journey", "version", "enrolment", "step", "channel")
        full = [
            {
                "message_id": message_id(
                    *(row[key] for key in keys), origin=origin_of(row["enrolment"])
                ),
                **row,
            }
            for row in rows
        ]
        new = 0
        for start in range(0, len(full), 10_000):
            statement = self._insert(outbox).on_conflict_do_nothing()
            found = connection.execute(
                statement.returning(outbox.c.message_id), full[start : start + 10_000]
            )
            new += len(found.all())
        return new

    def claim(
        self,
        by: str,
        limit: int,
        *,
        now: datetime,
        due: datetime | None = None,
        channels: Collection[str] | None = None,
        journeys: Collection[str] | None = None,
        but_for: Collection[str] = (),
    ) -> list[Claimed]:
        """Take up to `limit` messages that are due; no other process gets the same ones.

        Those of these channels and `journeys` alone, `but_for` others; with `due`, those that were
        due at that moment. What was noted when it was later than now is due at once, whatever it
        was to wait for by that clock: it is looked at anew before it is sent. None while they are
        kept back.
        """
        chosen = (
            self._due(now, due, channels, journeys, but_for)
            .order_by(outbox.c.next_attempt_at, outbox.c.message_id)
            .limit(limit)
            .with_for_update(skip_locked=True)  # SQLite has one writer, and no such clause
        )
        # a table expression is evaluated once; PostgreSQL may evaluate a subquery again and again
        ids = sa.select(chosen.cte("due").c.message_id)
        statement = (
            sa.update(outbox)
            .where(outbox.c.message_id.in_(ids), outbox.c.state == "pending")
            .values(state="claimed", claimed_at=now, claimed_by=by)
            .returning(*(outbox.c[name] for name in Claimed.__dataclass_fields__))
        )
        with self._engine.begin() as connection:
            rows = [Claimed(*row) for row in connection.execute(statement)]
        return sorted(rows, key=lambda each: each.message_id)

    def any_due(
        self,
        *,
        now: datetime,
        due: datetime | None = None,
        channels: Collection[str] | None = None,
        journeys: Collection[str] | None = None,
        but_for: Collection[str] = (),
    ) -> bool:
        """Whether `claim` would find a message."""
        select = self._due(now, due, channels, journeys, but_for).limit(1)
        with self._engine.connect() as connection:
            return connection.execute(select).first() is not None

    def _due(
        self,
        now: datetime,
        due: datetime | None,
        channels: Collection[str] | None,
        journeys: Collection[str] | None,
        but_for: Collection[str],
    ) -> sa.Select[tuple[str]]:
        found = sa.select(outbox.c.message_id).where(_is_due(now, due or now), ~any_unsettled())
        if channels is not None:
            found = found.where(outbox.c.channel.in_(sorted(channels)))
        if journeys is not None:
            found = found.where(outbox.c.journey.in_(sorted(journeys)))
        if but_for:
            found = found.where(outbox.c.journey.not_in(sorted(but_for)))
        return found

    def grant(self, by: str, addresses: Mapping[str, str | None]) -> None:
        """Note which of this process's messages are going to be sent, which counts in caps from
        now on. `addresses` has by message id the keyed hash of where it goes, if it is known."""
        granted = (
            sa.update(outbox)
            .where(
                outbox.c.message_id == sa.bindparam("id"),
                outbox.c.state == "claimed",
                outbox.c.claimed_by == by,
            )
            .values(reason=_GRANTED)
        )
        insert = self._insert(_sent_to)
        again = insert.on_conflict_do_update(
            index_elements=["message_id"], set_={"address": insert.excluded.address}
        )
        told = [
            {"message_id": m, "address": address} for m, address in addresses.items() if address
        ]
        with self._engine.begin() as connection:
            connection.execute(granted, [{"id": each} for each in addresses])
            if told:
                connection.execute(again, told)

    @contextmanager
    def one_by_one(self) -> Generator[None]:
        """For the time in which many messages are begun and settled, each by a commit."""
        with many_commits(self._engine):
            if isinstance(self._engine.pool, sa.StaticPool):  # in memory: there is no other one
                yield
                return
            own = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            with own as self._alone:
                try:
                    yield
                finally:
                    self._alone = None

    def begin(
        self,
        by: str,
        message_ids: Collection[str],
        *,
        now: datetime,
        after: Sequence[Outcome] = (),
    ) -> set[str]:
        """Note that these are about to be sent; those that are still this process's to send.

        `after` is what became of those that were sent before: it is kept in the same transaction,
        so that each message costs one commit, and a process that is lost leaves no more in doubt
        than it had under way.
        """
        if self._alone is not None and len(message_ids) == len(after) == 1:
            [one], [next_id] = self._settled(by, after, now), message_ids
            one |= {"next_id": next_id, "at": now}
            return {next_id} & set(self._alone.execute(_SETTLE_AND_BEGIN, one).scalars())
        with self._engine.begin() as connection:
            self._settle(connection, by, after, now)
            asked = {"ids": list(message_ids), "by": by, "at": now}
            return set(connection.execute(_BEGIN, asked).scalars())

    def settle(self, by: str, outcomes: Sequence[Outcome], *, now: datetime) -> None:
        """Keep what became of messages that this process had claimed.

        A receipt is kept also when the claim has lapsed meanwhile, unless another process took
        the message up again.
        """
        if outcomes:
            with self._engine.begin() as connection:
                self._settle(connection, by, outcomes, now)

    def _settle(
        self, connection: sa.Connection, by: str, outcomes: Sequence[Outcome], now: datetime
    ) -> None:
        rows = self._settled(by, outcomes, now)
        if rows:
            connection.execute(_SETTLE, rows)

    def _settled(self, by: str, outcomes: Sequence[Outcome], now: datetime) -> list[dict[str, Any]]:
        return [
            {
                "id": each.message_id,
                "by": by,
                "new": each.state,
                "why": each.reason,
                "told": each.receipt,
                "next": each.next_attempt_at or now,
                "tried": int(each.tried),
                "expires": each.expires_at,
                "ended": None if each.state == "pending" else now,
            }
            for each in outcomes
        ]

    def leave(self, by: str, idempotent: Collection[str], *, now: datetime) -> None:
        """End this process's sending: others may send what it has claimed and not begun, and what
        it has begun without a receipt is treated as in `recover`."""
        with self._engine.begin() as connection:
            self._give_up(connection, outbox.c.claimed_by == by, idempotent, now)

    def recover(self, idempotent: Collection[str], *, now: datetime) -> tuple[int, int]:
        """Take up what lost processes left behind: how many are pending again, how many unknown.

        What had been begun may have been sent. It is sent again only over `idempotent` channels,
        which tell a repeated message by its id; over others it is parked as `unknown`.
        """
        working = outbox.c.state.in_(["claimed", "sending"])
        names = sa.select(outbox.c.claimed_by).where(working).distinct()
        with self._engine.begin() as connection:
            found = connection.execute(names).scalars().all()
            if not found:
                return 0, 0
            gone = [each for each in found if each and is_gone(each)]
            lost = sa.or_(
                outbox.c.claimed_by.in_(gone),
                # silent for long, or claimed by a clock that was put back since
                ~outbox.c.claimed_at.between(now - LEASE, now + LEASE),
            )
            return self._give_up(connection, lost, idempotent, now)

    def _give_up(
        self,
        connection: sa.Connection,
        which: sa.ColumnElement[bool],
        idempotent: Collection[str],
        now: datetime,
    ) -> tuple[int, int]:
        begun = outbox.c.state == "sending"
        again = sa.or_(
            outbox.c.state == "claimed", begun & outbox.c.channel.in_(sorted(idempotent))
        )
        pending = connection.execute(
            sa.update(outbox)
            .where(which, again)
            .values(
                state="pending",
                next_attempt_at=now,
                claimed_by=None,
                claimed_at=now,
                # what was noted of it before it was claimed stays, such as `quiet_hours`
                reason=sa.func.nullif(outbox.c.reason, _GRANTED),
            )
        ).rowcount
        unknown = connection.execute(
            sa.update(outbox).where(which, begun).values(state="unknown", reason=LOST, ended_at=now)
        ).rowcount
        return pending, unknown

    def expire(self, *, now: datetime) -> int:
        """Skip what wasn't sent in time; how many."""
        statement = (
            sa.update(outbox)
            .where(outbox.c.state == "pending", outbox.c.expires_at <= now)
            .values(
                state="skipped",
                reason=sa.func.coalesce(outbox.c.reason, "expired"),
                ended_at=now,
            )
        )
        with self._engine.begin() as connection:
            return connection.execute(statement).rowcount

    def retry(
        self,
        states: Collection[str],
        *,
        now: datetime,
        channel: str | None = None,
        only: Collection[str] | None = None,
    ) -> int:
        """Make failed or unknown messages pending again, at an operator's word; how many. Those
        over one channel, or `only` some, by their ids."""
        statement = (
            sa.update(outbox)
            .where(outbox.c.state.in_(sorted(set(states) & {"failed", "unknown"})))
            .values(
                state="pending", next_attempt_at=now, attempts=0, reason=None, ended_at=None,
                claimed_by=None, claimed_at=now,
            )
        )  # fmt: skip
        if channel is not None:
            statement = statement.where(outbox.c.channel == channel)
        return self._each(statement, only)

    def arrived(self, message_ids: Collection[str], *, now: datetime) -> int:
        """Keep that messages of unknown fate, or that are kept back, have arrived, at an operator's
        word; how many."""
        kept_back = sa.and_(outbox.c.state == "pending", any_unsettled())
        statement = (
            sa.update(outbox)
            .where(sa.or_(outbox.c.state == "unknown", kept_back))
            .values(
                state="sent", reason=None, receipt="an operator's word",
                ended_at=sa.func.coalesce(outbox.c.ended_at, sa.literal(now, UtcDateTime)),
            )
        )  # fmt: skip
        return self._each(statement, message_ids)

    def _each(self, statement: sa.Update, only: Collection[str] | None) -> int:
        with self._engine.begin() as connection:
            if only is None:
                return connection.execute(statement).rowcount
            ids = sorted(set(only))
            return sum(
                connection.execute(
                    statement.where(outbox.c.message_id.in_(ids[start : start + 500]))
                ).rowcount
                for start in range(0, len(ids), 500)
            )

    def in_doubt(self) -> list[InDoubt]:
        """The messages of unknown fate, those that were begun first in front."""
        at = sa.func.coalesce(outbox.c.claimed_at, outbox.c.ended_at)
        select = (
            sa.select(
                outbox.c.message_id, outbox.c.journey, outbox.c.step, outbox.c.channel,
                outbox.c.claimed_at, outbox.c.reason,
            )
            .where(outbox.c.state == "unknown")
            .order_by(at, outbox.c.message_id)
        )  # fmt: skip
        with self._engine.connect() as connection:
            return [InDoubt(*row) for row in connection.execute(select)]

    def forget(
        self, connection: sa.Connection, profile_ids: Collection[int], *, now: datetime
    ) -> int:
        """Within the caller's transaction, keep of these profiles' messages only that they were.

        What hadn't been sent is skipped. How many messages there were.
        """
        own = outbox.c.profile_id.in_(sorted(profile_ids))
        waiting = sa.and_(own, outbox.c.state.in_(["pending", "claimed"]))
        connection.execute(
            sa.update(outbox)
            .where(waiting)
            .values(state="skipped", reason=ERASED, ended_at=now, claimed_by=None)
        )
        theirs = sa.select(outbox.c.message_id).where(own)
        connection.execute(sa.delete(_sent_to).where(_sent_to.c.message_id.in_(theirs)))
        nobodys = sa.update(outbox).where(own).values(profile_id=NOBODY, receipt=None)
        return connection.execute(nobodys).rowcount

    def sent_since(
        self,
        profile_ids: Collection[int],
        addresses: Collection[str],
        since: datetime,
        *,
        but_for: Collection[str] = (),
    ) -> list[Had]:
        """What these profiles got since a moment, or what went to these addresses (keyed
        hashes), what may have, and what is about to be sent; messages of the purposes `but_for`
        aside."""
        found: dict[str, Had] = {}
        at = sa.func.coalesce(outbox.c.ended_at, outbox.c.claimed_at, type_=UtcDateTime)
        columns = (
            outbox.c.message_id, outbox.c.profile_id, _sent_to.c.address, outbox.c.journey,
            outbox.c.channel, at, outbox.c.consent,
        )  # fmt: skip
        select = (
            sa.select(*columns)
            .join(_sent_to, _sent_to.c.message_id == outbox.c.message_id, isouter=True)
            .where(
                sa.or_(
                    outbox.c.state.in_(["sent", "sending", "unknown"]),
                    sa.and_(outbox.c.state == "claimed", outbox.c.reason == _GRANTED),
                ),
                at >= since,
            )
        )
        if but_for:
            purpose = outbox.c.consent
            select = select.where(sa.or_(purpose.is_(None), purpose.not_in(sorted(but_for))))
        asked: list[tuple[sa.ColumnElement[Any], list[Any]]] = [
            (outbox.c.profile_id, sorted(set(profile_ids))),
            (_sent_to.c.address, sorted(set(addresses))),
        ]
        with self._engine.connect() as connection:
            for column, values in asked:
                for start in range(0, len(values), 500):
                    part = select.where(column.in_(values[start : start + 500]))
                    found |= {row[0]: Had(*row) for row in connection.execute(part)}
        return list(found.values())

    def counts(self, journey: str | None = None) -> list[OutboxCount]:
        """How all messages stand, by journey, step, channel, state and reason."""
        return self._counts(sa.true() if journey is None else outbox.c.journey == journey)

    def _counts(self, which: sa.ColumnElement[bool]) -> list[OutboxCount]:
        groups = (
            outbox.c.journey, outbox.c.step, outbox.c.channel, outbox.c.state, outbox.c.reason,
        )  # fmt: skip
        select = (
            sa.select(*groups, sa.func.count(), sa.func.min(outbox.c.decided_at))
            .where(which)
            .group_by(*groups)
            .order_by(*groups)
        )
        with self._engine.connect() as connection:
            found = [OutboxCount(*row) for row in connection.execute(select)]
            is_kept_back = connection.execute(sa.select(any_unsettled())).scalar_one()
        if not is_kept_back:
            return found
        merged: dict[tuple[str, ...], OutboxCount] = {}
        for each in found:
            if each.state != "pending":
                merged[each.journey, each.step, each.channel, each.state, each.reason or ""] = each
                continue
            place = (each.journey, each.step, each.channel, each.state, KEPT_BACK)
            other = merged.get(place)
            count = each.count + (other.count if other is not None else 0)
            oldest = min(each.oldest_at, other.oldest_at if other is not None else each.oldest_at)
            merged[place] = replace(each, reason=KEPT_BACK, count=count, oldest_at=oldest)
        return list(merged.values())

    def ended_by_day(
        self, journey: str, midnights: Sequence[datetime]
    ) -> list[tuple[int, str, str, int]]:
        """(number of the day, step, state, count) of a journey's messages whose fate was decided
        between the first midnight and the last."""
        ended = outbox.c.ended_at
        day = day_of(ended, midnights).label("day")
        select = (
            sa.select(day, outbox.c.step, outbox.c.state, sa.func.count())
            .where(outbox.c.journey == journey, ended >= midnights[0], ended < midnights[-1])
            .group_by(day, outbox.c.step, outbox.c.state)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(select).all()
        return [(number, step, state, count) for number, step, state, count in rows]

    def due_to(self, profile_ids: Collection[int], *, now: datetime) -> list[Claimed]:
        """What could be sent to these profiles now, in that order; nothing is claimed."""
        columns = [outbox.c[name] for name in Claimed.__dataclass_fields__]
        ids, found = sorted(set(profile_ids)), list[tuple[datetime, Claimed]]()
        with self._engine.connect() as connection:
            for start in range(0, len(ids), 500):
                select = sa.select(outbox.c.next_attempt_at, *columns).where(
                    _is_due(now, now), outbox.c.profile_id.in_(ids[start : start + 500])
                )
                found += [(row[0], Claimed(*tuple(row)[1:])) for row in connection.execute(select)]
        found.sort(key=lambda each: (each[0], each[1].message_id))
        return [each for _, each in found]

    def due(self, *, now: datetime) -> int:
        """How many messages could be sent now."""
        due = self._due(now, None, None, None, ()).subquery()
        with self._engine.connect() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(due)).scalar_one()

    def kept_back(self, *, due_by: datetime | None = None) -> list[OutboxCount]:
        """How many messages are kept back until a person's word, by journey, step and channel; of
        those only that are due by a moment, or of all."""
        pending = outbox.c.state == "pending"
        if due_by is not None:
            pending = _is_due(due_by, due_by)
        return [each for each in self._counts(pending) if each.reason == KEPT_BACK]

    def messages(
        self,
        *,
        states: Collection[str] | None = None,
        journey: str | None = None,
        profile_ids: Collection[int] | None = None,
        limit: int | None = 100,
    ) -> list[dict[str, Any]]:
        """The newest messages, by column; all with a limit of None."""
        select = sa.select(outbox).order_by(
            sa.func.coalesce(outbox.c.ended_at, outbox.c.decided_at).desc(), outbox.c.message_id
        )
        if states is not None:
            select = select.where(outbox.c.state.in_(sorted(states)))
        if journey is not None:
            select = select.where(outbox.c.journey == journey)
        if profile_ids is not None:
            select = select.where(outbox.c.profile_id.in_(list(profile_ids)))
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(select.limit(limit)).mappings()]
