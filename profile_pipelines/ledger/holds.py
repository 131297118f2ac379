"""Who is at something that only one run may be at: a destination, a journey.

A hold is its run's until it is released, or its process is gone: at once where that ran on this
machine, elsewhere after `LEASE` without a sign of life. It is reckoned by the database's clock,
which all machines share, and never by what a run takes for the present.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from profile_pipelines.errors import Conflict, Held
from profile_pipelines.ledger.holders import is_gone, own_name, spell_holder
from profile_pipelines.ledger.storage import UtcDateTime, create_tables, insert_of

LEASE = timedelta(minutes=15)
"""How long a run may be silent until another one takes over."""

_metadata = sa.MetaData()

_holds = sa.Table(
    "holds",
    _metadata,
    sa.Column("thing", sa.String, primary_key=True),
    sa.Column("taken_by", sa.String, nullable=False),
    sa.Column("since", UtcDateTime, nullable=False),
    sa.Column("renewed_at", UtcDateTime, nullable=False),
)


class Holds:
    """The holds in the ledger's database, SQLite or PostgreSQL. A thing is named as people read
    it: `destination offers`."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._insert = insert_of(engine)
        create_tables(_metadata, engine)

    def take(self, connection: sa.Connection, thing: str) -> str:
        """Within the caller's transaction, begin to be at a thing; the name of the hold. Raises
        Held while another run is."""
        hold = own_name()
        table = _holds.c
        present = self._present(connection)
        row = connection.execute(sa.select(_holds).filter_by(thing=thing)).first()
        values: dict[str, Any] = {"taken_by": hold, "since": present, "renewed_at": present}
        if row is None:
            insert = self._insert(_holds).values(thing=thing, **values)
            taken = connection.execute(insert.on_conflict_do_nothing())
        elif is_gone(row.taken_by) or abs(present - row.renewed_at) > LEASE:
            same = sa.and_(table.thing == thing, table.taken_by == row.taken_by)
            taken = connection.execute(sa.update(_holds).where(same).values(values))
        else:
            raise Held(thing, spell_holder(row.taken_by), row.since)
        if taken.rowcount != 1:
            raise Held(thing, "another run, which was faster,", present)
        return hold

    def still(self, connection: sa.Connection, thing: str, hold: str) -> None:
        """Within the caller's transaction, give a sign of life. Raises Conflict when another run
        has taken over."""
        own = sa.and_(_holds.c.thing == thing, _holds.c.taken_by == hold)
        renewed = sa.update(_holds).where(own).values(renewed_at=self._present(connection))
        if connection.execute(renewed).rowcount != 1:
            raise Conflict(f"another run has taken over the {thing}")

    def release(self, connection: sa.Connection, thing: str, hold: str) -> bool:
        """Within the caller's transaction, end it; whether it was still the run's."""
        own = sa.and_(_holds.c.thing == thing, _holds.c.taken_by == hold)
        return connection.execute(sa.delete(_holds).where(own)).rowcount > 0

    @contextmanager
    def holding(self, thing: str) -> Generator[Callable[[], None]]:
        """Be at a thing meanwhile; what is given has to be called within `LEASE`, again and again,
        by what takes long. Raises Held while another run is."""
        with self._engine.begin() as connection:
            hold = self.take(connection, thing)

        def renew() -> None:
            with self._engine.begin() as connection:
                self.still(connection, thing, hold)

        try:
            yield renew
        finally:
            with self._engine.begin() as connection:
                self.release(connection, thing, hold)

    def end_all(self) -> None:
        """End every hold, in a ledger that was put back: whoever held is at another one."""
        with self._engine.begin() as connection:
            connection.execute(sa.delete(_holds))

    def _present(self, connection: sa.Connection) -> datetime:
        if connection.dialect.name == "postgresql":
            return connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        return datetime.now(UTC)  # the file's one machine
