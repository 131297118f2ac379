"""The inbox: which records the systems' events named, kept until they have been read.

A row is removed only by its number and only after the lake's commit: an event that arrives
while its record is being read has a row of its own, and makes it be read once more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from profile_pipelines.ledger.storage import COUNTED, UtcDateTime, create_tables, insert_of

KEPT = timedelta(days=7)
"""How long an event's id is known, and an unread row kept. Vendors deliver again for three days
at most (Stripe)."""

_metadata = sa.MetaData()

_inbox = sa.Table(
    "webhook_inbox",
    _metadata,
    sa.Column("number", COUNTED, primary_key=True, autoincrement=True),
    sa.Column("system", sa.String, nullable=False),
    sa.Column("sync", sa.String, nullable=False),
    sa.Column("record_key", sa.String),
    sa.Column("record", sa.Text),
    sa.Column("gone", sa.Boolean, nullable=False),
    sa.Column("received_at", UtcDateTime, nullable=False),
    sa.Index("webhook_inbox_sync", "system", "sync"),
    sqlite_autoincrement=True,
)

_happened = sa.Table(
    "webhook_happened",
    _metadata,
    sa.Column("number", COUNTED, primary_key=True, autoincrement=False),
    sa.Column("happened_at", UtcDateTime, nullable=False),
)
"""When the events of rows of the inbox happened, where they told it."""

_seen = sa.Table(
    "webhook_seen",
    _metadata,
    sa.Column("system", sa.String, primary_key=True),
    sa.Column("digest", sa.String, primary_key=True),
    sa.Column("received_at", UtcDateTime, nullable=False, index=True),
)

_counts = sa.Table(
    "webhook_counts",
    _metadata,
    sa.Column("system", sa.String, primary_key=True),
    sa.Column("outcome", sa.String, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("last_at", UtcDateTime, nullable=False),
)


@dataclass(frozen=True)
class Named:
    """A record that an event named: to be read by its key, or to be taken as it is.

    `record` is JSON that maps the sync's source fields to their texts. `replay_key` tells the
    event apart from all others of its system; None when nothing does. `happened_at` is the event's
    own time, if it tells one.
    """

    system: str
    sync: str
    key: str | None
    record: str | None = None
    gone: bool = False
    replay_key: str | None = None
    happened_at: datetime | None = None


@dataclass(frozen=True)
class Waiting:
    """A row of the inbox. `at` is when its event happened, as far as that is known: never after it
    was received."""

    number: int
    key: str | None
    record: str | None
    gone: bool
    at: datetime


@dataclass(frozen=True)
class InboxStatus:
    """How a system's events stand. `counts` has, by outcome, how many there were ever."""

    system: str
    waiting: int
    oldest_at: datetime | None
    counts: dict[str, int]
    last_received_at: datetime | None
    last_refused_at: datetime | None


_WAITING = (
    _inbox.c.number,
    _inbox.c.record_key,
    _inbox.c.record,
    _inbox.c.gone,
    sa.func.coalesce(_happened.c.happened_at, _inbox.c.received_at, type_=UtcDateTime),
)

RECEIVED = "received"
"""The outcome of a delivery that was taken; every other outcome but these is a refusal."""
_NO_REFUSALS = frozenset({RECEIVED, "repeated", "not wanted", "expired", "subscription confirmed"})


class Inbox:
    """The tables of the inbox, in the ledger's database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._insert = insert_of(engine)
        create_tables(_metadata, engine)

    def store(
        self, named: Iterable[Named], outcomes: Iterable[tuple[str, str]], *, now: datetime
    ) -> int:
        """Store what events named, and count outcomes as (system, outcome), in one transaction.

        An event that was seen before is counted as `repeated` and not stored; how many were.
        """
        counted: dict[tuple[str, str], int] = {}
        with self._engine.begin() as connection:
            fresh, repeated = self._unseen(connection, list(named), now)
            if fresh:
                rows = [
                    {
                        "system": each.system,
                        "sync": each.sync,
                        "record_key": each.key,
                        "record": each.record,
                        "gone": each.gone,
                        "received_at": now,
                    }
                    for each in fresh
                ]
                insert = sa.insert(_inbox).returning(_inbox.c.number, sort_by_parameter_order=True)
                numbers = connection.execute(insert, rows).scalars()
                told = [
                    {"number": number, "happened_at": min(each.happened_at, now)}
                    for number, each in zip(numbers, fresh, strict=True)
                    if each.happened_at is not None
                ]
                if told:
                    connection.execute(sa.insert(_happened), told)
            for outcome in [*outcomes, *((each.system, "repeated") for each in repeated)]:
                counted[outcome] = counted.get(outcome, 0) + 1
            self._count(connection, counted, now)
        return len(repeated)

    def _unseen(
        self, connection: sa.Connection, named: Sequence[Named], now: datetime
    ) -> tuple[list[Named], list[Named]]:
        digests = [(each.system, _digest(each)) for each in named]
        # several records may be named by one event
        keyed = sorted({(system, digest) for system, digest in digests if digest is not None})
        new: set[tuple[str, str]] = set()
        if keyed:
            rows = [{"system": s, "digest": d, "received_at": now} for s, d in keyed]
            statement = (
                self._insert(_seen)
                .values(rows)
                .on_conflict_do_nothing()
                .returning(_seen.c.system, _seen.c.digest)
            )
            new = {
                (row["system"], row["digest"]) for row in connection.execute(statement).mappings()
            }
        fresh: list[Named] = []
        repeated: list[Named] = []
        for each, (system, digest) in zip(named, digests, strict=True):
            if digest is None or (system, digest) in new:
                fresh.append(each)
                if digest is not None:
                    new.discard((system, digest))
            else:
                repeated.append(each)
        return fresh, repeated

    def _count(
        self, connection: sa.Connection, counted: dict[tuple[str, str], int], now: datetime
    ) -> None:
        # in one order, lest two processes wait for each other
        for (system, outcome), count in sorted(counted.items()):
            statement = self._insert(_counts).values(
                system=system, outcome=outcome, count=count, last_at=now
            )
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["system", "outcome"],
                    set_={
                        "count": _counts.c.count + statement.excluded.count,
                        "last_at": statement.excluded.last_at,
                    },
                )
            )

    def syncs_waiting(self) -> dict[tuple[str, str], int]:
        """How many rows wait for each (system, sync) that has any."""
        select = sa.select(_inbox.c.system, _inbox.c.sync, sa.func.count()).group_by(
            _inbox.c.system, _inbox.c.sync
        )
        with self._engine.connect() as connection:
            return {(system, sync): count for system, sync, count in connection.execute(select)}

    def waiting(self, system: str, sync: str, limit: int | None = None) -> list[Waiting]:
        """The oldest rows of a sync, or all."""
        select = (
            sa.select(*_WAITING)
            .outerjoin_from(_inbox, _happened, _inbox.c.number == _happened.c.number)
            .where(_inbox.c.system == system, _inbox.c.sync == sync)
            .order_by(_inbox.c.number)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [Waiting(*row) for row in connection.execute(select)]

    def all_waiting(self) -> Iterator[tuple[str, str, Waiting]]:
        """Every row, with its system and sync."""
        select = sa.select(_inbox.c.system, _inbox.c.sync, *_WAITING).outerjoin_from(
            _inbox, _happened, _inbox.c.number == _happened.c.number
        )
        with self._engine.connect() as connection:
            for system, sync, *row in connection.execute(select):
                yield system, sync, Waiting(*row)

    def remove(self, numbers: Collection[int]) -> None:
        """Remove rows that have been read and committed; those already gone don't matter."""
        if numbers:
            with self._engine.begin() as connection:
                for table in (_inbox, _happened):
                    statement = sa.delete(table).where(table.c.number == sa.bindparam("n"))
                    connection.execute(statement, [{"n": number} for number in sorted(numbers)])

    def prune(self, now: datetime) -> None:
        """Forget the events, and drop the rows, that are older than `KEPT`."""
        before = now - KEPT
        old = sa.select(_inbox.c.system, sa.func.count()).where(_inbox.c.received_at < before)
        with self._engine.begin() as connection:
            expired = {
                (system, "expired"): count
                for system, count in connection.execute(old.group_by(_inbox.c.system))
            }
            connection.execute(sa.delete(_seen).where(_seen.c.received_at < before))
            connection.execute(sa.delete(_inbox).where(_inbox.c.received_at < before))
            left = sa.select(_inbox.c.number)
            connection.execute(sa.delete(_happened).where(_happened.c.number.not_in(left)))
            self._count(connection, expired, now)

    def status(self, systems: Iterable[str]) -> list[InboxStatus]:
        """How each system's events stand."""
        oldest = sa.select(
            _inbox.c.system, sa.func.count(), sa.func.min(_inbox.c.received_at)
        ).group_by(_inbox.c.system)
        with self._engine.connect() as connection:
            waiting = {system: (count, at) for system, count, at in connection.execute(oldest)}
            counted = (
                connection.execute(sa.select(_counts).order_by(_counts.c.outcome)).mappings().all()
            )
        found: list[InboxStatus] = []
        for system in systems:
            own = [row for row in counted if row["system"] == system]
            received = [row["last_at"] for row in own if row["outcome"] == RECEIVED]
            refused = [row["last_at"] for row in own if row["outcome"] not in _NO_REFUSALS]
            found.append(
                InboxStatus(
                    system,
                    *waiting.get(system, (0, None)),
                    {row["outcome"]: row["count"] for row in own},
                    max(received, default=None),
                    max(refused, default=None),
                )
            )
        return found


def refusals(counts: dict[str, int]) -> dict[str, int]:
    """Those of an `InboxStatus`' counts that are refusals."""
    return {outcome: n for outcome, n in counts.items() if outcome not in _NO_REFUSALS}


def _digest(named: Named) -> str | None:
    """Short, and without anything of the event itself."""
    if named.replay_key is None:
        return None
    # one event may name records of several kinds
    told = "\0".join([named.replay_key, named.sync, named.key or ""])
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]
