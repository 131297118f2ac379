"""The runs over destinations: only one at a time, how the last one ended, where it delivered to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from profile_pipelines.ledger.holds import Holds
from profile_pipelines.ledger.storage import UtcDateTime, create_tables, insert_of

_metadata = sa.MetaData()

_destinations = sa.Table(
    "destinations",
    _metadata,
    sa.Column("destination", sa.String, primary_key=True),
    sa.Column("place", sa.String, nullable=False),
    sa.Column("not_before", UtcDateTime),
    sa.Column("synced_at", UtcDateTime),
    sa.Column("error", sa.String),
    sa.Column("counts", sa.JSON(none_as_null=True)),
)


@dataclass(frozen=True)
class Standing:
    """How a destination stands. `error` says why its last run ended early, without values."""

    destination: str
    synced_at: datetime | None = None
    error: str | None = None
    not_before: datetime | None = None
    """The destination asked for no request before."""
    counts: Mapping[str, int] | None = None
    """The numbers of the last run that came to its end."""


class DeliveryRuns:
    """The destinations in the ledger's database, SQLite or PostgreSQL."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._insert = insert_of(engine)
        self.holds = Holds(engine)
        create_tables(_metadata, engine)

    def take(self, destination: str, place: str) -> str:
        """Begin a run over the destination; the name by which it writes.

        Raises Held while another run is at it. One that was killed on this machine is none.
        """
        insert = self._insert(_destinations).values(destination=destination, place=place)
        moved = {"place": insert.excluded.place}
        with self._engine.begin() as connection:
            by = self.holds.take(connection, _thing(destination))
            connection.execute(
                insert.on_conflict_do_update(index_elements=["destination"], set_=moved)
            )
        return by

    def release(
        self,
        destination: str,
        by: str,
        *,
        now: datetime,
        counts: Mapping[str, int] | None = None,
        error: str | None = None,
        not_before: datetime | None = None,
    ) -> None:
        """End a run; `counts` are those of one that came to its end."""
        values: dict[str, Any] = {"error": error, "not_before": not_before}
        if counts is not None:
            values |= {"counts": dict(counts), "synced_at": now}
        with self._engine.begin() as connection:
            if self.holds.release(connection, _thing(destination), by):
                own = _destinations.c.destination == destination
                connection.execute(sa.update(_destinations).where(own).values(values))

    def place(self, destination: str) -> str | None:
        """Where the destination's last run delivered to; None before the first."""
        select = sa.select(_destinations.c.place).filter_by(destination=destination)
        with self._engine.connect() as connection:
            return connection.execute(select).scalar()

    def still(self, connection: sa.Connection, destination: str, by: str) -> None:
        """Within the caller's transaction, renew the run's hold on the destination.

        Raises Conflict when it has lost it.
        """
        self.holds.still(connection, _thing(destination), by)

    def ask_at_once(self, connection: sa.Connection, destination: str) -> None:
        """Within the caller's transaction, let the next run not wait as the destination asked."""
        connection.execute(
            sa.update(_destinations)
            .where(_destinations.c.destination == destination)
            .values(not_before=None)
        )

    def standing(self, destination: str) -> Standing:
        """How a destination stands."""
        table = _destinations.c
        select = sa.select(
            table.destination, table.synced_at, table.error, table.not_before, table.counts
        ).where(table.destination == destination)
        with self._engine.connect() as connection:
            row = connection.execute(select).first()
        return Standing(destination) if row is None else Standing(*row)


def _thing(destination: str) -> str:
    return f"destination {destination}"
