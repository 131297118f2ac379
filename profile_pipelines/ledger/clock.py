"""The presents by which the ledger was written, and what becomes of what they noted when the clock
is put back.

What was noted at a moment that the clock hasn't come to was noted by a clock that was ahead of
today's, by mistake or not: nobody can tell. It stays as it is, and counts as of the moment to
which the clock was put back, for as long as the clock hasn't come to it again. So a wait that
began then is no longer for it than the clock was put back, and never a year where the clock was a
year ahead for a minute; and where it was the present clock that was wrong, everything is as
before once it is put right (see docs/adr/0028).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from profile_pipelines.catalog.local_time import CLOCKS_DIFFER
from profile_pipelines.ledger.storage import UtcDateTime, create_tables, insert_of

_metadata = sa.MetaData()

_clock = sa.Table(
    "clock",
    _metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seen", UtcDateTime, nullable=False),
)
"""One row: the latest present since the clock was put back last, if it ever was."""

_steps = sa.Table(
    "clock_put_back",
    _metadata,
    sa.Column("seen", UtcDateTime, primary_key=True),
    sa.Column("put_back_to", UtcDateTime, nullable=False),
)
"""The latest present before the clock was put back, which it hasn't come to again since."""


@dataclass(frozen=True)
class Seen:
    """The presents by which the ledger was written.

    `latest` is the latest of all; `put_back` has the times at which the clock was put back and
    which it hasn't made good since: from which moment, to which, the earliest first.
    """

    latest: datetime | None = None
    put_back: tuple[tuple[datetime, datetime], ...] = ()

    def counted(self, noted: datetime, now: datetime) -> datetime:
        """As of which moment something counts that was noted at a moment."""
        if noted <= now + CLOCKS_DIFFER or not self.put_back:
            return noted
        fitting = (to for seen, to in self.put_back if seen >= noted)
        return next(fitting, self.put_back[-1][1])

    def not_before(self, now: datetime) -> datetime:
        """The present, or the latest one where that is later."""
        return now if self.latest is None else max(self.latest, now)

    def is_ahead(self, now: datetime) -> bool:
        """Whether the ledger was written by a later present than this one can be."""
        return self.latest is not None and self.latest > now + CLOCKS_DIFFER

    def told(self, now: datetime) -> str:
        """What to tell people of a clock that was put back; empty where none was."""
        if self.latest is None or not self.is_ahead(now):
            return ""
        return (
            f"the ledger was written when it was {self.latest:%Y-%m-%dT%H:%M:%SZ}, which is yet to "
            f"come: the clock, which shows {now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}, was put back, "
            "or a run was told another time. What was noted later than that counts as of the "
            "moment to which it was put back: no message waits longer than by that difference. See "
            "whether the clock is right now"
        )


class LedgerClock:
    """The ledger's own record of the clock, in its database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._insert = insert_of(engine)
        create_tables(_metadata, engine)

    def look(self, now: datetime) -> Seen:
        """Note a present (aware) by which the ledger is written from now on.

        Clocks of two machines that lie apart by no more than `CLOCKS_DIFFER` count as one.
        """
        with self._engine.begin() as connection:
            if self._is_new(connection, now):
                self._note(connection, now)
            return self._read(connection)

    def seen(self) -> Seen:
        """The presents by which the ledger was written."""
        with self._engine.connect() as connection:
            return self._read(connection)

    def _is_new(self, connection: sa.Connection, now: datetime) -> bool:
        seen = connection.execute(sa.select(_clock.c.seen)).scalar()
        return seen is None or seen < now or seen - now > CLOCKS_DIFFER

    def _note(self, connection: sa.Connection, now: datetime) -> None:
        first = self._insert(_clock).values(number=1, seen=now).on_conflict_do_nothing()
        if connection.execute(first).rowcount == 1:
            return
        # locks the row, so that of two that look at once the second sees what the first noted
        connection.execute(sa.update(_clock).values(number=_clock.c.number))
        if not self._is_new(connection, now):
            return
        seen = connection.execute(sa.select(_clock.c.seen)).scalar_one()
        if seen > now:
            earlier = sa.update(_steps).where(_steps.c.put_back_to > now).values(put_back_to=now)
            connection.execute(earlier)
            step = self._insert(_steps).values(seen=seen, put_back_to=now)
            connection.execute(
                step.on_conflict_do_update(index_elements=["seen"], set_={"put_back_to": now})
            )
        else:
            connection.execute(sa.delete(_steps).where(_steps.c.seen <= now))
        connection.execute(sa.update(_clock).values(seen=now))

    def _read(self, connection: sa.Connection) -> Seen:
        latest = connection.execute(sa.select(_clock.c.seen)).scalar()
        select = sa.select(_steps.c.seen, _steps.c.put_back_to).order_by(_steps.c.seen)
        put_back = tuple((seen, to) for seen, to in connection.execute(select))
        known = [each for each in (latest, *(seen for seen, _ in put_back)) if each is not None]
        return Seen(max(known, default=None), put_back)
