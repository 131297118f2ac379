"""The versions of journeys: as they were declared when enrolments began on them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from profile_pipelines.errors import Conflict
from profile_pipelines.ledger.storage import UtcDateTime, create_tables

_metadata = sa.MetaData()

_versions = sa.Table(
    "journey_versions",
    _metadata,
    sa.Column("journey", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("fingerprint", sa.String, nullable=False),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("launched_at", UtcDateTime, nullable=False),
)


@dataclass(frozen=True)
class Version:
    """A journey as it was declared when enrolments began on it; `definition` is JSON."""

    version: int
    fingerprint: str
    definition: str
    launched_at: datetime


class JourneyVersions:
    """The table of versions, in the ledger's database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        create_tables(_metadata, engine)

    def of(self, journey: str) -> list[Version]:
        """All versions that were launched, the first one first."""
        select = (
            sa.select(
                _versions.c.version,
                _versions.c.fingerprint,
                _versions.c.definition,
                _versions.c.launched_at,
            )
            .filter_by(journey=journey)
            .order_by(_versions.c.version)
        )
        with self._engine.connect() as connection:
            return [Version(*row) for row in connection.execute(select)]

    def launch(self, journey: str, fingerprint: str, definition: str, *, now: datetime) -> int:
        """The number of the version with this fingerprint, which is made when the last is another.

        Raises Conflict when another process launched one at the same time.
        """
        known = self.of(journey)
        if known and known[-1].fingerprint == fingerprint:
            return known[-1].version
        version = known[-1].version + 1 if known else 1
        row = {
            "journey": journey, "version": version, "fingerprint": fingerprint,
            "definition": definition, "launched_at": now,
        }  # fmt: skip
        try:
            with self._engine.begin() as connection:
                connection.execute(sa.insert(_versions), row)
        except IntegrityError:
            raise Conflict(f"another run launched journey {journey} at the same time") from None
        return version
