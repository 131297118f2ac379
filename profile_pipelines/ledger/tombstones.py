"""Whose a tombstone is, whether a system still delivers them, and its end.

A tombstone keeps a person out until it is lifted at somebody's word, or ends as was declared. All
of a person's tombstones end together, and the register keeps what ended, when and why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import sqlalchemy as sa

from profile_pipelines.ledger.storage import COUNTED, UtcDateTime, create_tables, insert_of

ASKED_AT_ONCE = 500
_BY_SETTINGS = "profile-pipelines"

metadata = sa.MetaData()
tombstones = sa.Table(
    "tombstones",
    metadata,
    sa.Column("digest", sa.String, primary_key=True),
    sa.Column("erasure", sa.Integer, nullable=False),
)
_owners = sa.Table(
    "tombstone_owners",
    metadata,
    sa.Column("digest", sa.String, primary_key=True),
    sa.Column("erasure", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("person", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Index("tombstone_owners_person", "erasure", "person"),
)
_syncs = sa.Table(
    "tombstone_syncs",
    metadata,
    sa.Column("erasure", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("person", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("sync", sa.String, primary_key=True),
    sa.Column("absent_at", UtcDateTime),
)
_terms = sa.Table(
    "erasure_terms",
    metadata,
    sa.Column("erasure", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("until", sa.String, nullable=False),
)
_ends = sa.Table(
    "tombstone_ends",
    metadata,
    sa.Column("number", COUNTED, primary_key=True, autoincrement=True),
    sa.Column("erasure", sa.Integer, nullable=False),
    sa.Column("person", sa.BigInteger),
    sa.Column("ended_at", UtcDateTime, nullable=False),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("because", sa.String, nullable=False),
    sa.Column("tombstones", sa.JSON, nullable=False),
)
_rereads = sa.Table(
    "rereads",
    metadata,
    sa.Column("number", COUNTED, primary_key=True, autoincrement=True),
    sa.Column("sync", sa.String, nullable=False),
    sa.Column("attribute", sa.String, nullable=False),
)

Declared = Mapping[str, Collection[str]]
"""By sync, as `system/sync`: its attributes."""
_Row = TypeVar("_Row")
Person = tuple[int, int]
"""The number of an erasure, and of a person in it."""


@dataclass(frozen=True)
class TombstoneEnd:
    """That people aren't kept out any more: proof without their names.

    `person` is the opaque id of their profile; None where it concerns all of the erasure that were
    left. `tombstones` counts by kind, an identifier's name or a sync whose record keys they were.
    """

    erasure: int
    person: int | None
    ended_at: datetime
    by: str
    because: str
    tombstones: dict[str, int]


class Tombstones:
    """The tables of what tombstones are whose, and of their ends, in the ledger's database.

    `told` hears of tombstones that end, within the transaction; and of none before it begins, so
    that it can look up what it needs.
    """

    def __init__(self, engine: sa.Engine, told: Callable[[Collection[str]], None]) -> None:
        self._engine = engine
        self._told = told
        self._insert = insert_of(engine)
        create_tables(metadata, engine)

    def put_up(
        self,
        connection: sa.Connection,
        erasure: int,
        marks: Collection[tuple[str, str, int]],
        until: str | None,
    ) -> None:
        """Within the caller's transaction, put up (digest, kind, person); what is there stays.

        A person who is erased again belongs to the later erasure.
        """
        put = self._insert(tombstones)
        put = put.on_conflict_do_update(
            index_elements=["digest"], set_={"erasure": put.excluded.erasure}
        )
        told = self._insert(_owners).on_conflict_do_nothing()
        from_sync = self._insert(_syncs).on_conflict_do_nothing()
        for part in _parts(sorted({digest for digest, _, _ in marks})):
            connection.execute(put.values([{"digest": d, "erasure": erasure} for d in part]))
        for part in _parts(sorted(marks)):
            connection.execute(
                told.values(
                    [
                        {"digest": digest, "erasure": erasure, "person": person, "kind": kind}
                        for digest, kind, person in part
                    ]
                )
            )
        for part in _parts(sorted({(person, kind) for _, kind, person in marks if "/" in kind})):
            rows = [{"erasure": erasure, "person": person, "sync": kind} for person, kind in part]
            connection.execute(from_sync.values(rows))
        if until is not None:
            own = self._insert(_terms).values(erasure=erasure, until=until)
            connection.execute(
                own.on_conflict_do_update(index_elements=["erasure"], set_={"until": until})
            )

    def kept_out(self, sync: str, digests: Collection[str]) -> None:
        """Note that a sync delivers the people of these tombstones."""
        with self._engine.begin() as connection:
            for erasure, person in self._people(connection, digests):
                own = self._insert(_syncs).values(
                    erasure=erasure, person=person, sync=sync, absent_at=None
                )
                connection.execute(
                    own.on_conflict_do_update(
                        index_elements=["erasure", "person", "sync"], set_={"absent_at": None}
                    )
                )

    def read_whole(self, sync: str, digests: Collection[str], *, now: datetime) -> None:
        """Note that all that a sync has was read, and that it delivers the people of these
        tombstones alone."""
        with self._engine.begin() as connection:
            absent = _syncs.c.absent_at.is_(None)
            connection.execute(
                sa.update(_syncs).where(_syncs.c.sync == sync, absent).values(absent_at=now)
            )
        self.kept_out(sync, digests)

    def terms(self) -> dict[int, str]:
        """By erasure, how long its people are kept out, where that was said of it alone."""
        with self._engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(sa.select(_terms))}

    def standing(self) -> list[int]:
        """The erasures of which tombstones stand."""
        select = sa.select(tombstones.c.erasure).distinct().order_by(tombstones.c.erasure)
        with self._engine.connect() as connection:
            return list(connection.execute(select).scalars())

    def undelivered(self, erasures: Collection[int], syncs: Collection[str]) -> list[Person]:
        """The people of these erasures whom none of the `syncs` that are declared still delivers:
        each was read whole without them."""
        delivered = (
            sa.select(_syncs.c.person)
            .where(
                _syncs.c.erasure == _owners.c.erasure,
                _syncs.c.person == _owners.c.person,
                _syncs.c.sync.in_(sorted(syncs)),
                _syncs.c.absent_at.is_(None),
            )
            .exists()
        )
        select = (
            sa.select(_owners.c.erasure, _owners.c.person)
            .distinct()
            .where(_owners.c.erasure.in_(sorted(erasures)), ~delivered)
            .order_by(_owners.c.erasure, _owners.c.person)
        )
        with self._engine.connect() as connection:
            return [(erasure, person) for erasure, person in connection.execute(select)]

    def lift(
        self, digests: Collection[str], declared: Declared, *, by: str, because: str, now: datetime
    ) -> list[TombstoneEnd]:
        """Let the people of these tombstones in again, by whatever they are known; what was
        lifted.

        What an older version put up has no person: of that, these digests alone are lifted.
        """
        found: list[TombstoneEnd] = []
        with self._engine.begin() as connection:
            for person in self._people(connection, digests):
                found += self._end(connection, person, declared, by, because, now)
            alone = self._of_nobody(connection, digests)
            for erasure in sorted(set(alone.values())):
                theirs = {digest for digest, number in alone.items() if number == erasure}
                self._remove(connection, theirs, erasure)
                self._read_again(connection, declared, declared)
                counts = {"": len(theirs)}
                found.append(self._keep(connection, (erasure, None), now, by, because, counts))
        return found

    def end_people(
        self, people: Iterable[Person], declared: Declared, *, because: str, now: datetime
    ) -> list[TombstoneEnd]:
        """End the tombstones of these people, as was declared; another run may be faster."""
        self._told(())
        with self._engine.begin() as connection:
            return [
                end
                for person in people
                for end in self._end(connection, person, declared, _BY_SETTINGS, because, now)
            ]

    def end_erasure(
        self, erasure: int, declared: Declared, *, because: str, now: datetime
    ) -> list[TombstoneEnd]:
        """End all tombstones of an erasure that are left, as was declared."""
        self._told(())
        with self._engine.begin() as connection:
            select = sa.select(_owners.c.digest, _owners.c.kind).where(_owners.c.erasure == erasure)
            kinds = {row[0]: row[1] for row in connection.execute(select)}
            removed = connection.execute(
                sa.delete(tombstones)
                .where(tombstones.c.erasure == erasure)
                .returning(tombstones.c.digest)
            )
            ended = list(removed.scalars())
            counts = Counter(kinds.get(digest, "") for digest in ended)
            if not counts:
                return []
            self._told(ended)
            where = _syncs.c.erasure == erasure, _syncs.c.absent_at.is_(None)
            syncs = list(connection.execute(sa.select(_syncs.c.sync).where(*where)).scalars())
            self._read_again(connection, declared if "" in counts else syncs, declared)
            for table in (_owners, _syncs):
                connection.execute(sa.delete(table).where(table.c.erasure == erasure))
            end = (erasure, None), now, _BY_SETTINGS, because, dict(counts)
            return [self._keep(connection, *end)]

    def ends(self) -> list[TombstoneEnd]:
        """Every end, the first one first."""
        names = [_ends.c[name] for name in TombstoneEnd.__dataclass_fields__]
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(*names).order_by(_ends.c.number))
            return [TombstoneEnd(*row) for row in rows]

    def to_read_again(self, sync: str, attributes: Collection[str]) -> int:
        """The last number under which any of a sync's attributes is to be read whole, since people
        are let in who were kept out; 0 where none is."""
        select = sa.select(sa.func.max(_rereads.c.number)).where(
            _rereads.c.sync == sync, _rereads.c.attribute.in_(sorted(attributes))
        )
        with self._engine.connect() as connection:
            return connection.execute(select).scalar() or 0

    def was_read_again(self, sync: str, attributes: Collection[str], number: int) -> None:
        """Note that attributes were read whole by a read that began with this number."""
        with self._engine.begin() as connection:
            connection.execute(
                sa.delete(_rereads).where(
                    _rereads.c.sync == sync,
                    _rereads.c.attribute.in_(sorted(attributes)),
                    _rereads.c.number <= number,
                )
            )

    def _people(self, connection: sa.Connection, digests: Collection[str]) -> list[Person]:
        found: set[Person] = set()
        for part in _parts(sorted(digests)):
            select = sa.select(_owners.c.erasure, _owners.c.person).distinct()
            for erasure, person in connection.execute(select.where(_owners.c.digest.in_(part))):
                found.add((erasure, person))
        return sorted(found)

    def _of_nobody(self, connection: sa.Connection, digests: Collection[str]) -> dict[str, int]:
        """The erasures of those of the digests that stand and are told to be no person's."""
        owned = sa.select(_owners.c.digest).where(_owners.c.digest == tombstones.c.digest)
        select = sa.select(tombstones.c.digest, tombstones.c.erasure).where(
            tombstones.c.digest.in_(sorted(digests)), ~owned.exists()
        )
        return {row[0]: row[1] for row in connection.execute(select)}

    def _end(
        self,
        connection: sa.Connection,
        person: Person,
        declared: Declared,
        by: str,
        because: str,
        now: datetime,
    ) -> list[TombstoneEnd]:
        theirs = [
            sa.and_(table.c.erasure == person[0], table.c.person == person[1])
            for table in (_owners, _syncs)
        ]
        removed = connection.execute(
            sa.delete(_owners).where(theirs[0]).returning(_owners.c.digest, _owners.c.kind)
        )
        kinds = {row[0]: row[1] for row in removed}
        if not kinds:
            return []
        delivered = sa.select(_syncs.c.sync).where(theirs[1], _syncs.c.absent_at.is_(None))
        self._read_again(connection, list(connection.execute(delivered).scalars()), declared)
        connection.execute(sa.delete(_syncs).where(theirs[1]))
        self._remove(connection, kinds, person[0])
        counts = dict(Counter(kinds.values()))
        return [self._keep(connection, person, now, by, because, counts)]

    def let_in(self, digests: Collection[str]) -> None:
        """Take these tombstones away, which ended in a ledger that is lost; its register of why
        went with it."""
        with self._engine.begin() as connection:
            for part in _parts(sorted(digests)):
                for table in (tombstones, _owners):
                    connection.execute(sa.delete(table).where(table.c.digest.in_(part)))

    def _remove(self, connection: sa.Connection, digests: Iterable[str], erasure: int) -> None:
        # those that a later erasure put up again stay
        own = tombstones.c.erasure == erasure
        removed: list[str] = []
        for part in _parts(sorted(digests)):
            gone = sa.delete(tombstones).where(own, tombstones.c.digest.in_(part))
            removed += connection.execute(gone.returning(tombstones.c.digest)).scalars()
        self._told(removed)

    def _read_again(
        self, connection: sa.Connection, syncs: Iterable[str], declared: Declared
    ) -> None:
        """Have the syncs read whole: what was kept out lies before their cursors."""
        rows = [
            {"sync": sync, "attribute": attribute}
            for sync in sorted(set(syncs))
            for attribute in declared.get(sync, ())
        ]
        if rows:
            connection.execute(sa.insert(_rereads), rows)

    def _keep(
        self,
        connection: sa.Connection,
        person: tuple[int, int | None],
        now: datetime,
        by: str,
        because: str,
        counts: dict[str, int],
    ) -> TombstoneEnd:
        erasure, number = person
        end = TombstoneEnd(erasure, number, now, by, because, counts)
        connection.execute(sa.insert(_ends).values(**vars(end)))
        return end


def _parts(rows: list[_Row]) -> Iterator[list[_Row]]:
    for start in range(0, len(rows), ASKED_AT_ONCE):
        yield rows[start : start + ASKED_AT_ONCE]
