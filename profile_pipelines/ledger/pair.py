"""The ledger's half of a pair: which one it is of, its own marks, and how far it knows the lake.

A lake and a ledger that belong together bear the id of their pair. Each tells a least of the
other: the ledger the last commit of every table that it was told of, the lake the last mark of
the ledger. Both are told only after the fact, so that a process that is killed anywhere leaves
each half at least as far as the other says (see docs/adr/0026).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

import sqlalchemy as sa

from profile_pipelines.high_water import PROFILES, Generation, Head, Mark
from profile_pipelines.ledger.storage import UtcDateTime, create_tables, insert_of

_MARKS_KEPT = 100_000
"""How far back is told which marks the ledger was at: some months of many runs a day."""

_metadata = sa.MetaData()

_pair = sa.Table(
    "pair",
    _metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", sa.String, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("mark", sa.BigInteger, nullable=False),
)
"""One row."""

_marks = sa.Table(
    "pair_marks",
    _metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("token", sa.String, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
)

_heads = sa.Table(
    "pair_heads",
    _metadata,
    sa.Column("part", sa.String, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("commit_id", sa.String, nullable=False),
    sa.Column("counters", sa.JSON, nullable=False),
    sa.Column("at", UtcDateTime),
)

_generations = sa.Table(
    "pair_generations",
    _metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("began_at", UtcDateTime, nullable=False),
    sa.Column("because", sa.Text, nullable=False),
    sa.Column("known_to", sa.JSON, nullable=False),
    sa.Column("settled_at", UtcDateTime),
)

_sequences = sa.Table(
    "sequences",
    _metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("next", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True)
class LedgerHalf:
    """What the ledger says: which pair it is half of, its last mark, and how far it knows the
    lake's tables, by their paths below its root."""

    pair: str
    generation: int
    mark: Mark
    heads: Mapping[str, Head]


def any_unsettled() -> sa.Exists:
    """In SQL: whether there is a generation that nobody has settled, so that nothing is sent. The
    tables are there once `LedgerPair` was made."""
    return sa.select(_generations.c.number).where(_generations.c.settled_at.is_(None)).exists()


def raise_sequences(connection: sa.Connection, least: Mapping[str, int]) -> None:
    """Within the caller's transaction: no number below these is given any more."""
    insert = insert_of(connection.engine)(_sequences)
    again = insert.on_conflict_do_update(
        index_elements=["name"],
        set_={"next": insert.excluded.next},
        where=insert.excluded.next > _sequences.c.next,
    )
    rows = [{"name": name, "next": number} for name, number in sorted(least.items())]
    if rows:
        connection.execute(again, rows)


class LedgerPair:
    """The tables of the pair, in the ledger's database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._insert = insert_of(engine)
        create_tables(_metadata, engine)

    def read(self) -> LedgerHalf | None:
        """What the ledger says; None where it is of no pair yet."""
        own = sa.select(_pair.c.id, _pair.c.generation, *_marks.c).join(
            _marks, _marks.c.number == _pair.c.mark
        )
        with self._engine.connect() as connection:
            row = connection.execute(own).first()
            if row is None:
                return None
            heads = {
                part: Head(version, commit, counters, at)
                for part, version, commit, counters, at in connection.execute(sa.select(_heads))
            }
        return LedgerHalf(row.id, row.generation, Mark(row.number, row.token, row.at), heads)

    def knows(self, number: int, token: str) -> bool:
        """Whether the ledger was at this mark, told by its token or the beginning of it. One so
        old that it is forgotten counts as known where the numbers have gone beyond it."""
        select = sa.select(_marks.c.token).where(_marks.c.number == number)
        oldest = sa.select(sa.func.min(_marks.c.number))
        with self._engine.connect() as connection:
            found = connection.execute(select).scalar()
            return (
                found.startswith(token)
                if found
                else number < (connection.execute(oldest).scalar() or 0)
            )

    def is_still(self, half: LedgerHalf, also: Mark | None) -> bool:
        """Whether the ledger is what it was when it said this half, or has gone on since; and knows
        the mark `also`."""
        marks = [half.mark] if also is None else [half.mark, also]
        named = _marks.c.number.in_([mark.number for mark in marks])
        select = sa.select(_pair.c.id, _pair.c.generation, _marks.c.number, _marks.c.token)
        with self._engine.connect() as connection:
            rows = connection.execute(select.outerjoin(_marks, named)).all()
        if not rows or rows[0][:2] != (half.pair, half.generation):
            return False
        tokens = {number: token for _, _, number, token in rows}
        return all(
            tokens.get(mark.number) == mark.token
            or (mark.number not in tokens and self.knows(mark.number, mark.token))
            for mark in marks
        )

    def knows_profile(self, profile_id: int, number: int, token: str) -> bool:
        """Whether a profile's number that was given when the ledger was at this mark is that of
        the same profile still.

        A mark that the ledger never was at is of a past that was lost. What that past numbered
        anew since may be another one's by now; what was known when a generation began is not.
        """
        if self.knows(number, token):
            return True
        known_to = (each.known_to.get(PROFILES, 0) for each in self.generations() if each.because)
        return profile_id < max(known_to, default=0)

    def begin(
        self,
        pair: str,
        heads: Mapping[str, Head],
        *,
        now: datetime,
        because: str = "",
        kept_back: bool = True,
        sequences: Mapping[str, int] | None = None,
        known_to: Mapping[str, int] | None = None,
    ) -> LedgerHalf:
        """Become half of this pair, whose lake stands at these commits; with a reason, in a new
        generation. With `kept_back`, no message goes out until a person settles it.

        `sequences` are the least next numbers that the lake knows of the ledger's. Where another
        process was faster, nothing is written. Answers with what the ledger says then.
        """
        own = {"id": pair, "generation": 1, "mark": 1}
        first = self._insert(_pair).values(number=1, **own).on_conflict_do_nothing()
        step = (
            sa.update(_pair)
            .values(id=pair, generation=_pair.c.generation + 1, mark=_pair.c.mark + 1)
            .returning(_pair.c.generation, _pair.c.mark)
        )
        with self._engine.begin() as connection:
            generation = number = 1
            is_new = connection.execute(first).rowcount == 1
            if because and not is_new:
                generation, number = connection.execute(step).one()
            if because or is_new:
                self._mark(connection, number, now)
                connection.execute(sa.delete(_heads))
                self._note(connection, heads)
                connection.execute(
                    sa.insert(_generations).values(
                        number=generation,
                        began_at=now,
                        because=because,
                        known_to=dict(known_to or {}),
                        settled_at=None if because and kept_back else now,
                    )
                )
                raise_sequences(connection, sequences or {})
        half = self.read()
        assert half is not None
        return half

    def advance(
        self, half: LedgerHalf, heads: Mapping[str, Head], *, now: datetime
    ) -> LedgerHalf | None:
        """A new mark, and the lake's tables noted at these commits; None where the ledger isn't
        this half of a pair any more, in this generation."""
        own = sa.and_(_pair.c.id == half.pair, _pair.c.generation == half.generation)
        step = sa.update(_pair).where(own).values(mark=_pair.c.mark + 1).returning(_pair.c.mark)
        with self._engine.begin() as connection:
            number = connection.execute(step).scalar()
            if number is None:
                return None
            mark = self._mark(connection, number, now)
            self._note(connection, heads)
        return LedgerHalf(half.pair, half.generation, mark, {**half.heads, **heads})

    def _mark(self, connection: sa.Connection, number: int, now: datetime) -> Mark:
        mark = Mark(number, uuid4().hex, now)
        gone = sa.or_(_marks.c.number <= number - _MARKS_KEPT, _marks.c.number >= number)
        connection.execute(sa.delete(_marks).where(gone))
        row = {"number": mark.number, "token": mark.token, "at": mark.at}
        connection.execute(sa.insert(_marks), row)
        return mark

    def _note(self, connection: sa.Connection, heads: Mapping[str, Head]) -> None:
        insert = self._insert(_heads)
        again = insert.on_conflict_do_update(
            index_elements=["part"],
            set_={
                name: insert.excluded[name] for name in ("version", "commit_id", "counters", "at")
            },
            # another process may have noted a later one meanwhile
            where=insert.excluded.version > _heads.c.version,
        )
        rows = [
            {
                "part": part,
                "version": head.version,
                "commit_id": head.commit,
                "counters": dict(head.counters),
                "at": head.at,
            }
            for part, head in sorted(heads.items())
        ]
        if rows:
            connection.execute(again, rows)

    def sequences(self) -> dict[str, int]:
        """The least next numbers, by sequence."""
        with self._engine.connect() as connection:
            return {row.name: row.next for row in connection.execute(sa.select(_sequences))}

    def next_of(self, name: str) -> int:
        """The least next number of a sequence; 1 where nothing is known of it."""
        select = sa.select(_sequences.c.next).where(_sequences.c.name == name)
        with self._engine.connect() as connection:
            return connection.execute(select).scalar() or 1

    def generations(self) -> list[Generation]:
        """What the pair was since it began, the first one first."""
        select = sa.select(_generations).order_by(_generations.c.number)
        with self._engine.connect() as connection:
            return [Generation(*row) for row in connection.execute(select)]

    def unsettled(self) -> list[Generation]:
        """The generations that nobody has settled yet: what was decided before they began, or is
        decided since, may have been sent already, and is kept back until a person says so."""
        return [each for each in self.generations() if each.settled_at is None]

    def settle(self, numbers: Collection[int], *, now: datetime) -> int:
        """Note a person's word that what was kept back since these generations began may go out;
        how many weren't settled yet."""
        statement = (
            sa.update(_generations)
            .where(_generations.c.number.in_(sorted(numbers)), _generations.c.settled_at.is_(None))
            .values(settled_at=now)
        )
        with self._engine.begin() as connection:
            return connection.execute(statement).rowcount
