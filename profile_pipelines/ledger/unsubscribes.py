"""Who has unsubscribed from what, from the moment of the click: obeyed before any sync."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from profile_pipelines.ledger.storage import UtcDateTime, create_tables

_metadata = sa.MetaData()

_unsubscribes = sa.Table(
    "unsubscribes",
    _metadata,
    sa.Column("profile_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("purpose", sa.String, primary_key=True),
    sa.Column("unsubscribed_at", UtcDateTime, nullable=False),
)


class Unsubscribes:
    """The ledger's unsubscriptions. They hold opaque profile ids and nothing personal."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        create_tables(_metadata, engine)

    def add(self, profile_id: int, purpose: str, *, now: datetime) -> None:
        """Keep an unsubscription for good; of several, the first one's time stays."""
        dialect = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        row = {"profile_id": profile_id, "purpose": purpose, "unsubscribed_at": now}
        with self._engine.begin() as connection:
            connection.execute(dialect.insert(_unsubscribes).values(row).on_conflict_do_nothing())

    def of(self, purpose: str) -> set[int]:
        """All profiles that have unsubscribed from the purpose, also those that are no more."""
        with self._engine.connect() as connection:
            all_ = sa.select(_unsubscribes.c.profile_id).where(_unsubscribes.c.purpose == purpose)
            return set(connection.execute(all_).scalars())
