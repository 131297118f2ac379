"""The outbox: messages that are decided and not yet delivered, and what became of them.

A message's id says what it is for, so that deciding it twice makes it once; and it is the
idempotency key that a channel is given. Nothing here tells whom a profile is of or what is said:
a message is rendered when it is sent.

    pending ──▶ claimed ──▶ sending ──▶ sent
       ▲           │           ├──▶ failed     for good, or after too many attempts
       ├───────────┴───────────┤    (for a while: pending again)
       │                       └──▶ unknown    the sender was lost between sending and its receipt
       └──▶ skipped                            at its moment it wasn't to be sent any more
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from profile_pipelines.ledger.storage import UtcDateTime, create_tables, day_of, insert_of

State = Literal["pending", "claimed", "sending", "sent", "skipped", "failed", "unknown"]
STATES: tuple[State, ...] = (
    "pending", "claimed", "sending", "sent", "skipped", "failed", "unknown",
)  # fmt: skip

LEASE = timedelta(minutes=15)
"""How long a claim holds without a sign of life; then its sender counts as lost."""

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


def message_id(journey: str, version: int, enrolment: int, step: str, channel: str) -> str:
    """The id of the one message that an enrolment's step sends over a channel.

    In SQL: the same parts joined by full stops.
    """
    return f"{journey}.{version}.{enrolment}.{step}.{channel}"


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
        create_tables(_metadata, engine)

    def decide(self, connection: sa.Connection, rows: Iterable[Mapping[str, Any]]) -> int:
        """Add messages within the caller's transaction; how many are new.

        A row has the columns journey, version, enrolment, step, channel, template, consent,
        profile_id, decided_at, next_attempt_at (when it may be sent) and expires_at (None:
        never). A message that was decided before stays as it is.
        """
        keys = ("journey", "version", "enrolment", "step", "channel")
        full = [{"message_id": message_id(*(row[key] for key in keys)), **row} for row in rows]
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
        channels: Collection[str] | None = None,
    ) -> list[Claimed]:
        """Take up to `limit` messages that are due; no other process gets the same ones."""
        due = (
            sa.select(outbox.c.message_id)
            .where(outbox.c.state == "pending", outbox.c.next_attempt_at <= now)
            .order_by(outbox.c.next_attempt_at, outbox.c.message_id)
            .limit(limit)
            .with_for_update(skip_locked=True)  # SQLite has one writer, and no such clause
        )
        if channels is not None:
            due = due.where(outbox.c.channel.in_(sorted(channels)))
        # a table expression is evaluated once; PostgreSQL may evaluate a subquery again and again
        chosen = sa.select(due.cte("due").c.message_id)
        statement = (
            sa.update(outbox)
            .where(outbox.c.message_id.in_(chosen), outbox.c.state == "pending")
            .values(state="claimed", claimed_at=now, claimed_by=by)
            .returning(*(outbox.c[name] for name in Claimed.__dataclass_fields__))
        )
        with self._engine.begin() as connection:
            rows = [Claimed(*row) for row in connection.execute(statement)]
        return sorted(rows, key=lambda each: each.message_id)

    def begin(self, by: str, message_ids: Collection[str], *, now: datetime) -> set[str]:
        """Note that these are about to be sent; those that are still this process's to send."""
        statement = (
            sa.update(outbox)
            .where(
                outbox.c.message_id.in_(list(message_ids)),
                outbox.c.state == "claimed",
                outbox.c.claimed_by == by,
            )
            .values(state="sending", claimed_at=now)
            .returning(outbox.c.message_id)
        )
        with self._engine.begin() as connection:
            return set(connection.execute(statement).scalars())

    def settle(self, by: str, outcomes: Sequence[Outcome], *, now: datetime) -> None:
        """Keep what became of messages that this process had claimed.

        A receipt is kept also when the claim has lapsed meanwhile, unless another process took
        the message up again.
        """
        rows = [
            {
                "id": each.message_id,
                "state": each.state,
                "reason": each.reason,
                "receipt": each.receipt,
                "next": each.next_attempt_at or now,
                "tried": int(each.tried),
                "ended": None if each.state == "pending" else now,
            }
            for each in outcomes
        ]
        if not rows:
            return
        bound = sa.bindparam
        statement = (
            sa.update(outbox)
            .where(
                outbox.c.message_id == bound("id"),
                outbox.c.claimed_by == by,
                # not IN: its list can't be expanded for many rows
                sa.or_(*(outbox.c.state == each for each in ("claimed", "sending", "unknown"))),
            )
            .values(
                state=bound("state"),
                reason=bound("reason"),
                receipt=bound("receipt"),
                next_attempt_at=bound("next", type_=UtcDateTime),
                attempts=outbox.c.attempts + bound("tried", type_=sa.Integer),
                ended_at=bound("ended", type_=UtcDateTime),
            )
        )
        with self._engine.begin() as connection:
            connection.execute(statement, rows)

    def give_back(self, by: str, *, now: datetime) -> None:
        """Let others send what this process has claimed and not begun."""
        statement = (
            sa.update(outbox)
            .where(outbox.c.claimed_by == by, outbox.c.state == "claimed")
            .values(state="pending", claimed_by=None, claimed_at=None)
        )
        with self._engine.begin() as connection:
            connection.execute(statement)

    def recover(self, idempotent: Collection[str], *, now: datetime) -> tuple[int, int]:
        """Take up what lost processes left behind: how many are pending again, how many unknown.

        What had been begun may have been sent. It is sent again only over `idempotent` channels,
        which tell a repeated message by its id; over others it is parked as `unknown`.
        """
        lost = outbox.c.claimed_at < now - LEASE
        begun = outbox.c.state == "sending"
        again = sa.or_(
            outbox.c.state == "claimed", begun & outbox.c.channel.in_(sorted(idempotent))
        )
        with self._engine.begin() as connection:
            pending = connection.execute(
                sa.update(outbox)
                .where(lost, again)
                .values(state="pending", next_attempt_at=now, claimed_by=None, claimed_at=None)
            ).rowcount
            unknown = connection.execute(
                sa.update(outbox)
                .where(lost, begun)
                .values(state="unknown", reason="lost between sending and receipt", ended_at=now)
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

    def retry(self, states: Collection[str], *, now: datetime, channel: str | None = None) -> int:
        """Make failed or unknown messages pending again, at an operator's word; how many."""
        statement = (
            sa.update(outbox)
            .where(outbox.c.state.in_(sorted(set(states) & {"failed", "unknown"})))
            .values(
                state="pending", next_attempt_at=now, attempts=0, reason=None, ended_at=None,
                claimed_by=None, claimed_at=None,
            )
        )  # fmt: skip
        if channel is not None:
            statement = statement.where(outbox.c.channel == channel)
        with self._engine.begin() as connection:
            return connection.execute(statement).rowcount

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
        nobodys = sa.update(outbox).where(own).values(profile_id=NOBODY, receipt=None)
        return connection.execute(nobodys).rowcount

    def sent_since(
        self, profile_ids: Collection[int], since: datetime
    ) -> list[tuple[int, str, str, datetime]]:
        """(profile_id, journey, channel, at) of what these profiles got since a moment, and of
        what they may have got."""
        found: list[tuple[int, str, str, datetime]] = []
        ids = sorted(set(profile_ids))
        at = sa.func.coalesce(outbox.c.ended_at, outbox.c.claimed_at, type_=UtcDateTime)
        for start in range(0, len(ids), 500):
            select = sa.select(outbox.c.profile_id, outbox.c.journey, outbox.c.channel, at).where(
                outbox.c.profile_id.in_(ids[start : start + 500]),
                outbox.c.state.in_(["sent", "sending", "unknown"]),
                at >= since,
            )
            with self._engine.connect() as connection:
                found += [tuple(row) for row in connection.execute(select)]
        return found

    def counts(self, journey: str | None = None) -> list[OutboxCount]:
        """How all messages stand, by journey, step, channel, state and reason."""
        groups = (
            outbox.c.journey, outbox.c.step, outbox.c.channel, outbox.c.state, outbox.c.reason,
        )  # fmt: skip
        select = (
            sa.select(*groups, sa.func.count(), sa.func.min(outbox.c.decided_at))
            .group_by(*groups)
            .order_by(*groups)
        )
        if journey is not None:
            select = select.where(outbox.c.journey == journey)
        with self._engine.connect() as connection:
            return [OutboxCount(*row) for row in connection.execute(select)]

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

    def due(self, *, now: datetime) -> int:
        """How many messages could be sent now."""
        select = (
            sa.select(sa.func.count())
            .select_from(outbox)
            .where(outbox.c.state == "pending", outbox.c.next_attempt_at <= now)
        )
        with self._engine.connect() as connection:
            return connection.execute(select).scalar_one()

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
