"""The ledger: which syncs succeeded, when, and for which attributes.

SQLite by default, PostgreSQL in production; SQLAlchemy Core throughout. The lake holds the
data; this log holds its coverage, which moves on even when no data has changed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from profile_pipelines.ledger.set_asides import (
    WHOLE_SYNC,
    Excess,
    SetAsides,
    in_order,
    record_set_asides,
    set_asides,
)
from profile_pipelines.ledger.storage import (
    UtcDateTime,
    create_tables,
    file_of,
    insert_of,
    open_engine,
)

if TYPE_CHECKING:
    from profile_pipelines.high_water import FileStamp
    from profile_pipelines.ledger.clock import LedgerClock
    from profile_pipelines.ledger.deliveries import Deliveries
    from profile_pipelines.ledger.enrolments import Enrolments
    from profile_pipelines.ledger.erasures import Erasures
    from profile_pipelines.ledger.feedback import FeedbackLog
    from profile_pipelines.ledger.holds import Holds
    from profile_pipelines.ledger.inbox import Inbox
    from profile_pipelines.ledger.outbox import Outbox
    from profile_pipelines.ledger.pair import LedgerPair
    from profile_pipelines.ledger.refusals import Keeper
    from profile_pipelines.ledger.suppressions import Suppressions
    from profile_pipelines.ledger.unsubscribes import Unsubscribes

_metadata = sa.MetaData()


_syncs = sa.Table(
    "syncs",
    _metadata,
    sa.Column("run_id", sa.String, primary_key=True),
    sa.Column("system", sa.String, primary_key=True),
    sa.Column("sync", sa.String, primary_key=True),
    sa.Column("covered_at", UtcDateTime, nullable=False),
    sa.Column("full", sa.Boolean, nullable=False),
    sa.Column("rows_read", sa.BigInteger, nullable=False),
    sa.Column("rows_changed", sa.BigInteger, nullable=False),
    sa.Column("rows_deleted", sa.BigInteger, nullable=False),
    sa.Column("bad_records", sa.BigInteger, nullable=False),
)

_coverage = sa.Table(
    "sync_attributes",
    _metadata,
    sa.Column("run_id", sa.String, primary_key=True),
    sa.Column("system", sa.String, primary_key=True),
    sa.Column("attribute", sa.String, primary_key=True),
    sa.Column("sync", sa.String, nullable=False),
    sa.Column("covered_at", UtcDateTime, nullable=False),
    sa.Column("values_read", sa.BigInteger, nullable=False),
    sa.Column("invalid", sa.BigInteger, nullable=False),
    sa.Column("reasons", sa.JSON, nullable=False),
    sa.Column("set_aside", sa.Boolean, nullable=False),
    sa.Column("in_quarantine", sa.BigInteger, nullable=False),
    sa.Index("sync_attributes_latest", "system", "attribute", "covered_at"),
)

_upkeep = sa.Table(
    "upkeep",
    _metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False),
)

_catalogue = sa.Table(
    "catalogue",
    _metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("mark", sa.JSON, nullable=False),
)
"""One row: which catalogue the ledger belongs to."""


@dataclass(frozen=True)
class AttributeEntry:
    """What one sync found of one attribute.

    `reasons` counts the invalid values that it read by reason; `in_quarantine` those that lie in
    quarantine after it, whichever sync brought them.
    """

    values_read: int = 0
    invalid: int = 0
    reasons: dict[str, int] = field(default_factory=dict[str, int])
    set_aside: bool = False
    in_quarantine: int = 0


@dataclass(frozen=True)
class SyncEntry:
    """One sync that came to its end. `covered_at` is the `now` with which it began (UTC).

    `set_aside` has the reasons by attribute, under WHOLE_SYNC those for which nothing was brought.
    """

    run_id: str
    system: str
    sync: str
    covered_at: datetime
    full: bool
    rows_read: int
    rows_changed: int
    rows_deleted: int
    bad_records: int
    attributes: dict[str, AttributeEntry]
    set_aside: dict[str, tuple[Excess, ...]] = field(default_factory=dict[str, tuple[Excess, ...]])


class Ledger:
    """Opens (and, when it is new, creates) the ledger at a SQLAlchemy URL.

    A part is loaded when it is first asked for: most commands need one or none of them. `mapped`
    says which sync brings an attribute of a system today; the `keeper` is told what people refuse.
    """

    def __init__(
        self,
        url: str,
        mapped: Mapping[tuple[str, str], str] | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self._mapped = mapped or {}
        self._keeper = keeper
        self._engine = open_engine(url)
        create_tables(_metadata, self._engine)
        self.set_asides = SetAsides(self._engine)
        self._file = self.stamp()

    def is_in_place(self) -> bool:
        """Whether the database is the one that was opened: a file that was put in place of it, or
        taken away, would be written to by nobody who has opened it before."""
        found = self.stamp()
        return found is None if self._file is None else self._file.is_same_file(found)

    def stamp(self) -> FileStamp | None:
        """What changes whenever the database's file is written to or replaced; None for another
        database."""
        return file_of(self._engine)

    @property
    def is_in_memory(self) -> bool:
        """Whether it lies in no file and no server, and all threads share its one connection."""
        return isinstance(self._engine.pool, sa.StaticPool)

    def catalogue_mark(self) -> dict[str, Any] | None:
        """Which catalogue the ledger belongs to, as `mark_catalogue` noted it; None: not yet."""
        with self._engine.connect() as connection:
            return connection.execute(sa.select(_catalogue.c.mark)).scalar()

    def mark_catalogue(self, mark: Mapping[str, Any]) -> None:
        """Note which catalogue the ledger belongs to, in place of what it bore."""
        insert = insert_of(self._engine)(_catalogue).values(number=1, mark=dict(mark))
        with self._engine.begin() as connection:
            connection.execute(
                insert.on_conflict_do_update(
                    index_elements=["number"], set_={"mark": insert.excluded.mark}
                )
            )

    @cached_property
    def pair(self) -> LedgerPair:
        """Which pair the ledger is half of, and how far it knows the lake."""
        from profile_pipelines.ledger.pair import LedgerPair

        return LedgerPair(self._engine)

    @cached_property
    def clock(self) -> LedgerClock:
        """By which presents the ledger was written."""
        from profile_pipelines.ledger.clock import LedgerClock

        return LedgerClock(self._engine)

    @cached_property
    def inbox(self) -> Inbox:
        """What the systems' events named, until it has been read."""
        from profile_pipelines.ledger.inbox import Inbox

        return Inbox(self._engine)

    @cached_property
    def outbox(self) -> Outbox:
        """The messages that are decided, and what became of them."""
        from profile_pipelines.ledger.outbox import Outbox

        return Outbox(self._engine)

    @cached_property
    def deliveries(self) -> Deliveries:
        """Which customers the destinations hold."""
        from profile_pipelines.ledger.deliveries import Deliveries

        return Deliveries(self._engine)

    @cached_property
    def holds(self) -> Holds:
        """Who is at what only one run may be at."""
        from profile_pipelines.ledger.holds import Holds

        return Holds(self._engine)

    @cached_property
    def unsubscribes(self) -> Unsubscribes:
        """Who has unsubscribed from what."""
        from profile_pipelines.ledger.unsubscribes import Unsubscribes

        return Unsubscribes(self._engine, self._keeper)

    @cached_property
    def suppressions(self) -> Suppressions:
        """Which addresses get nothing any more."""
        from profile_pipelines.ledger.suppressions import Suppressions

        return Suppressions(self._engine, self.erasures, self._keeper)

    @cached_property
    def feedback(self) -> FeedbackLog:
        """What providers and mail servers tell of messages."""
        from profile_pipelines.ledger.feedback import FeedbackLog

        return FeedbackLog(self._engine, self.suppressions)

    @cached_property
    def erasures(self) -> Erasures:
        """Who was erased, and what keeps them out."""
        from profile_pipelines.ledger.erasures import Erasures

        return Erasures(self._engine, self._keeper)

    @cached_property
    def enrolments(self) -> Enrolments:
        """Who is in which journey, and what happened there."""
        from profile_pipelines.ledger.enrolments import Enrolments

        return Enrolments(self._engine, self.outbox)

    def forget(self, profile_ids: Collection[int], *, now: datetime) -> dict[str, int]:
        """Take people out of the ledger, all at once; how much was there, by table.

        Of enrolments and messages stays that there was one, for the journeys' numbers, with
        nobody's profile.
        """
        # each creates its tables when it is first asked for, outside of the transaction
        enrolments, outbox, acts = self.enrolments, self.outbox, self.unsubscribes
        self.deliveries.forget(profile_ids)
        with self._engine.begin() as connection:
            return {
                "enrolments": enrolments.forget(connection, profile_ids, now=now),
                "outbox": outbox.forget(connection, profile_ids, now=now),
                "consent acts": acts.forget(connection, profile_ids),
            }

    def upkeep(self, name: str) -> datetime | None:
        """When this upkeep was last done."""
        with self._engine.connect() as connection:
            return connection.execute(sa.select(_upkeep.c.at).filter_by(name=name)).scalar()

    def note_upkeep(self, name: str, at: datetime) -> None:
        """Remember that this upkeep was done."""
        with self._engine.begin() as connection:
            connection.execute(sa.delete(_upkeep).filter_by(name=name))
            connection.execute(sa.insert(_upkeep).values(name=name, at=at))

    def vacuum(self) -> None:
        """Leave nothing of deleted rows in the database's files."""
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("VACUUM"))

    def record(self, entry: SyncEntry) -> None:
        """Add a sync to the log; recording the same run again replaces it."""
        identity = {"run_id": entry.run_id, "system": entry.system}
        with self._engine.begin() as connection:
            connection.execute(sa.delete(_syncs).filter_by(**identity, sync=entry.sync))
            connection.execute(sa.delete(_coverage).filter_by(**identity, sync=entry.sync))
            connection.execute(
                sa.insert(_syncs).values(
                    **identity,
                    sync=entry.sync,
                    covered_at=entry.covered_at,
                    full=entry.full,
                    rows_read=entry.rows_read,
                    rows_changed=entry.rows_changed,
                    rows_deleted=entry.rows_deleted,
                    bad_records=entry.bad_records,
                )
            )
            if entry.attributes:
                connection.execute(
                    sa.insert(_coverage),
                    [
                        {
                            **identity,
                            "sync": entry.sync,
                            "attribute": name,
                            "covered_at": entry.covered_at,
                            "values_read": found.values_read,
                            "invalid": found.invalid,
                            "reasons": found.reasons,
                            "set_aside": found.set_aside,
                            "in_quarantine": found.in_quarantine,
                        }
                        for name, found in entry.attributes.items()
                    ],
                )
            held = [name for name, found in entry.attributes.items() if found.set_aside]
            brought = [name for name in entry.attributes if name not in held]
            record_set_asides(
                connection,
                entry.set_aside,
                **identity,
                sync=entry.sync,
                brought=brought if WHOLE_SYNC in entry.set_aside else [*brought, WHOLE_SYNC],
                full=entry.full,
                now=entry.covered_at,
            )

    def synced(self) -> list[tuple[str, str]]:
        """System and sync of all syncs that ever wrote to the lake."""
        wrote = _syncs.c.rows_changed + _syncs.c.rows_deleted > 0
        select = sa.select(_syncs.c.system, _syncs.c.sync).where(wrote).distinct()
        with self._engine.connect() as connection:
            return [(row.system, row.sync) for row in connection.execute(select)]

    def coverage(self, as_of: datetime | None = None) -> dict[tuple[str, str], datetime]:
        """When each (system, attribute) was last synced with success, now or as of a moment.

        Today that is by the sync that brings it today: what another one brought, under its former
        name or before it moved, isn't read any more.
        """
        groups = (_coverage.c.system, _coverage.c.attribute, _coverage.c.sync)
        select = (
            sa.select(*groups, sa.func.max(_coverage.c.covered_at))
            .where(_coverage.c.set_aside.is_(False))
            .group_by(*groups)
        )
        if as_of is not None:
            select = select.where(_coverage.c.covered_at <= as_of)
        found: dict[tuple[str, str], datetime] = {}
        with self._engine.connect() as connection:
            for system, attribute, sync, moment in connection.execute(select):
                where = (system, attribute)
                if as_of is not None or self._mapped.get(where, sync) == sync:
                    found[where] = max(moment, found.get(where, moment))
        return found

    def last_full(self, system: str, sync: str) -> datetime | None:
        """When the sync last read its source in full, and set nothing aside."""
        held = (
            sa.select(set_asides.c.run_id)
            .filter_by(system=system, sync=sync)
            .where(set_asides.c.run_id == _syncs.c.run_id, set_asides.c.kind != "missing")
        )
        select = (
            sa.select(sa.func.max(_syncs.c.covered_at))
            .filter_by(system=system, sync=sync, full=True)
            .where(~held.exists())
        )
        with self._engine.connect() as connection:
            return connection.execute(select).scalar()

    def latest_of(self, system: str) -> dict[str, AttributeEntry]:
        """What the most recent sync of each of a system's attributes found, set aside or not."""
        newest = (
            sa.select(_coverage.c.attribute, sa.func.max(_coverage.c.covered_at).label("at"))
            .filter_by(system=system)
            .group_by(_coverage.c.attribute)
            .subquery()
        )
        select = sa.select(
            _coverage.c.attribute,
            _coverage.c.values_read,
            _coverage.c.invalid,
            _coverage.c.reasons,
            _coverage.c.set_aside,
            _coverage.c.in_quarantine,
        ).join(
            newest,
            (_coverage.c.attribute == newest.c.attribute)
            & (_coverage.c.covered_at == newest.c.at)
            & (_coverage.c.system == system),
        )
        in_turn = in_order(select, _coverage, _coverage.c.covered_at)
        with self._engine.connect() as connection:
            # the last of one moment stays
            return {
                attribute: AttributeEntry(*found)
                for attribute, *found in connection.execute(in_turn)
            }

    def runs(self, limit: int = 50) -> list[dict[str, Any]]:
        """The most recent syncs, newest first."""
        newest = in_order(sa.select(_syncs), _syncs, _syncs.c.covered_at, newest_first=True)
        select = newest.limit(limit)
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(select).mappings()]
