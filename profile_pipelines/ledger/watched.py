"""Whom journeys have turned away and watch: they enter once nothing speaks against it any more."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from profile_pipelines.ledger.storage import create_tables

_metadata = sa.MetaData()
_watched = sa.Table(
    "journey_watched",
    _metadata,
    sa.Column("journey", sa.String, primary_key=True),
    sa.Column("profile_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("reason", sa.String, nullable=False),
)


class Watched:
    """The profiles that journeys watch, in the ledger's database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        create_tables(_metadata, engine)

    def of(self, journey: str) -> dict[int, str]:
        """By profile, why it was turned away."""
        select = sa.select(_watched.c.profile_id, _watched.c.reason).filter_by(journey=journey)
        with self._engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(select)}

    def of_profiles(self, profile_ids: Collection[int]) -> list[dict[str, Any]]:
        """Where these profiles are watched, by column."""
        own = _watched.c.profile_id.in_(sorted(profile_ids))
        select = sa.select(_watched).where(own).order_by(_watched.c.journey, _watched.c.profile_id)
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(select).mappings()]

    def counts(self, journey: str) -> dict[str, int]:
        """By reason: how many profiles."""
        select = (
            sa.select(_watched.c.reason, sa.func.count())
            .filter_by(journey=journey)
            .group_by(_watched.c.reason)
        )
        with self._engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(select)}

    def change(
        self,
        connection: sa.Connection,
        journey: str,
        watch: Mapping[int, str],
        unwatch: Collection[int],
    ) -> None:
        """Within the caller's transaction, watch these from now on, and those no more."""
        gone = sorted({*watch, *unwatch})
        for start in range(0, len(gone), 10_000):
            own = _watched.c.profile_id.in_(gone[start : start + 10_000])
            connection.execute(sa.delete(_watched).filter_by(journey=journey).where(own))
        rows = [
            {"journey": journey, "profile_id": profile_id, "reason": reason}
            for profile_id, reason in watch.items()
        ]
        if rows:
            connection.execute(sa.insert(_watched), rows)

    def forget(self, connection: sa.Connection, profile_ids: Collection[int]) -> None:
        """Within the caller's transaction, watch these profiles nowhere."""
        own = _watched.c.profile_id.in_(sorted(profile_ids))
        connection.execute(sa.delete(_watched).where(own))
