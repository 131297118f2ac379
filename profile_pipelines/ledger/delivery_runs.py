"""The runs over destinations: only one at a time, how the last one ended, where it delivered to."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from profile_pipelines.errors import Conflict
from profile_pipelines.ledger.storage import UtcDateTime, create_tables

LEASE = timedelta(minutes=15)
"""How long a run may be silent until another one takes over."""

_metadata = sa.MetaData()

_destinations = sa.Table(
    "destinations",
    _metadata,
    sa.Column("destination", sa.String, primary_key=True),
    sa.Column("place", sa.String, nullable=False),
    sa.Column("taken_by", sa.String),
    sa.Column("taken_at", UtcDateTime),
    sa.Column("not_before", UtcDateTime),
    sa.Column("synced_at", UtcDateTime),
    sa.Column("error", sa.String),
    sa.Column("counts", sa.JSON),
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
        create_tables(_metadata, engine)

    def take(self, destination: str, place: str, *, now: datetime) -> str:
        """Begin a run over the destination; the name by which it writes.

        Raises Conflict while another run is at it. One that was killed on this machine is none.
        """
        table = _destinations.c
        by = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        with self._engine.begin() as connection:
            row = connection.execute(
                sa.select(table.taken_by, table.taken_at).where(table.destination == destination)
            ).first()
            values = {"taken_by": by, "taken_at": now, "place": place}
            if row is None:
                try:
                    connection.execute(
                        sa.insert(_destinations).values(destination=destination, **values)
                    )
                except IntegrityError:
                    raise Conflict(_busy(destination)) from None
                return by
            if row.taken_by is not None and _is_alive(row.taken_by, row.taken_at, now):
                raise Conflict(_busy(destination))
            same = table.taken_by.is_not_distinct_from(row.taken_by)
            taken = connection.execute(
                sa.update(_destinations)
                .where(table.destination == destination, same)
                .values(values)
            )
            if taken.rowcount != 1:
                raise Conflict(_busy(destination))
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
        values: dict[str, Any] = {
            "taken_by": None, "taken_at": None, "error": error, "not_before": not_before,
        }  # fmt: skip
        if counts is not None:
            values |= {"counts": dict(counts), "synced_at": now}
        with self._engine.begin() as connection:
            connection.execute(
                sa.update(_destinations)
                .where(_destinations.c.destination == destination, _destinations.c.taken_by == by)
                .values(values)
            )

    def place(self, destination: str) -> str | None:
        """Where the destination's last run delivered to; None before the first."""
        select = sa.select(_destinations.c.place).filter_by(destination=destination)
        with self._engine.connect() as connection:
            return connection.execute(select).scalar()

    def still(self, connection: sa.Connection, destination: str, by: str, now: datetime) -> None:
        """Within the caller's transaction, renew the run's hold on the destination.

        Raises Conflict when it has lost it.
        """
        renewed = connection.execute(
            sa.update(_destinations)
            .where(_destinations.c.destination == destination, _destinations.c.taken_by == by)
            .values(taken_at=now)
        )
        if renewed.rowcount != 1:
            raise Conflict(f"another run has taken over the destination {destination}")

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


def _busy(destination: str) -> str:
    return f"another run is delivering to {destination} at this moment; try again later"


def _is_alive(by: str, at: datetime | None, now: datetime) -> bool:
    if at is None or at < now - LEASE:
        return False
    host, pid, _ = by.rsplit(":", 2)
    if host != socket.gethostname():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
