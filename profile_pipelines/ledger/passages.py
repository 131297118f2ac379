"""What happened at the steps of journeys, in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from profile_pipelines.ledger.storage import UtcDateTime, create_tables, day_of

_metadata = sa.MetaData()

_passages = sa.Table(
    "journey_passages",
    _metadata,
    sa.Column("journey", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("tick", sa.BigInteger, primary_key=True),
    sa.Column("step", sa.String, primary_key=True),
    sa.Column("event", sa.String, primary_key=True),
    sa.Column("reason", sa.String, primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True)
class Passage:
    """How many enrolments of a version came through something at a step."""

    version: int
    step: str
    event: str
    count: int
    reason: str = ""
    at: datetime | None = None


class Passages:
    """The table of passages, in the ledger's database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        create_tables(_metadata, engine)

    def record(
        self,
        connection: sa.Connection,
        journey: str,
        tick: int,
        passages: Iterable[Passage],
        *,
        now: datetime,
    ) -> None:
        """Count what happened in a tick, within the caller's transaction."""
        rows = [
            {
                "journey": journey, "version": each.version, "tick": tick,
                "step": each.step, "event": each.event, "reason": each.reason,
                "at": now, "count": each.count,
            }
            for each in passages
        ]  # fmt: skip
        if rows:
            connection.execute(sa.insert(_passages), rows)

    def totals(self, journey: str, since: datetime | None = None) -> list[Passage]:
        """What happened at each step, in all or since a moment, with the time it was last."""
        table = _passages.c
        groups = (table.version, table.step, table.event, table.reason)
        select = (
            sa.select(*groups, sa.func.sum(table["count"]), sa.func.max(table.at))
            .where(table.journey == journey)
            .group_by(*groups)
        )
        if since is not None:
            select = select.where(table.at >= since)
        with self._engine.connect() as connection:
            return [
                Passage(version, step, event, int(count), reason, at)
                for version, step, event, reason, count, at in connection.execute(select)
            ]

    def by_day(
        self, journey: str, midnights: Sequence[datetime]
    ) -> list[tuple[int, str, str, int]]:
        """(number of the day, step, event, count) of what happened between the first midnight and
        the last."""
        table = _passages.c
        day = day_of(table.at, midnights).label("day")
        select = (
            sa.select(day, table.step, table.event, sa.func.sum(table["count"]))
            .where(table.journey == journey, table.at >= midnights[0], table.at < midnights[-1])
            .group_by(day, table.step, table.event)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(select).all()
        return [(number, step, event, int(count)) for number, step, event, count in rows]
