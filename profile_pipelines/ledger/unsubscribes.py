"""Who has unsubscribed from what, from the moment of the click: obeyed before any sync.

A log of acts; of a customer's acts for a purpose the last one counts.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from profile_pipelines.ledger.storage import UtcDateTime, create_tables

_metadata = sa.MetaData()

_acts = sa.Table(
    "consent_acts",
    _metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("profile_id", sa.BigInteger, nullable=False),
    sa.Column("purpose", sa.String, nullable=False),
    sa.Column("unsubscribed", sa.Boolean, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("by", sa.String),
    sa.Column("because", sa.String),
    sa.Index("consent_acts_profile", "profile_id", "purpose"),
)
_NOBODY = 0
"""The profile of acts that were forgotten: no profile has this number."""
_LOCK = 0x70705F61637473
"""Any number that nothing else in the database locks by."""


@dataclass(frozen=True)
class Act:
    """A customer unsubscribed, or somebody took that back for a reason.

    `by` is None for a customer's click; an opt-out that is kept bears the system that said it.

    `profile_id` is the profile that the customer was then. Numbers and times rise with the acts.
    """

    number: int
    profile_id: int
    purpose: str
    unsubscribed: bool
    at: datetime
    by: str | None
    because: str | None


class Unsubscribes:
    """The ledger's consent acts. They hold opaque profile ids; only a reason may say more."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        create_tables(_metadata, engine)

    def add(self, profile_id: int, purpose: str, *, now: datetime) -> bool:
        """Keep an unsubscription for good; whether it is one: of several in a row the first is."""
        return self._act(profile_id, purpose, True, now, None, None)

    def keep(self, profile_id: int, purpose: str, *, by: str, because: str, now: datetime) -> bool:
        """Keep an opt-out that a system said of the customer, and why it is kept; whether it is
        one that wasn't yet."""
        return self._act(profile_id, purpose, True, now, by, because)

    def restore(
        self, profile_id: int, purpose: str, *, by: str, because: str, now: datetime
    ) -> bool:
        """Take an unsubscription back, so that the systems decide again; whether it did."""
        return self._act(profile_id, purpose, False, now, by, because)

    def _act(
        self,
        profile_id: int,
        purpose: str,
        unsubscribed: bool,
        now: datetime,
        by: str | None,
        because: str | None,
    ) -> bool:
        last = (
            sa.select(_acts.c.unsubscribed)
            .where(_acts.c.profile_id == profile_id, _acts.c.purpose == purpose)
            .order_by(_acts.c.number.desc())
            .limit(1)
            .scalar_subquery()
        )
        number = sa.select(sa.func.coalesce(sa.func.max(_acts.c.number), 0) + 1).scalar_subquery()
        latest = sa.select(sa.func.max(_acts.c.at)).scalar_subquery()
        present = sa.literal(now, UtcDateTime)
        values = {
            "number": number,
            "profile_id": sa.literal(profile_id, sa.BigInteger),
            "purpose": sa.literal(purpose, sa.String),
            "unsubscribed": sa.literal(unsubscribed, sa.Boolean),
            "at": sa.case((latest > present, latest), else_=present),
            "by": sa.literal(by, sa.String),
            "because": sa.literal(because, sa.String),
        }
        rows = sa.select(*values.values()).where(last.is_distinct_from(sa.literal(unsubscribed)))
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                # whoever reads up to a number must never find a lower one later
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            return connection.execute(sa.insert(_acts).from_select(list(values), rows)).rowcount > 0

    def last(self) -> int:
        """The number of the last act; 0 without any."""
        with self._engine.connect() as connection:
            return connection.execute(sa.select(sa.func.max(_acts.c.number))).scalar() or 0

    def since(self, number: int) -> list[Act]:
        """The acts after a number, in order."""
        return self._read(sa.select(_acts).where(_acts.c.number > number))

    def of_profiles(self, profile_ids: Collection[int]) -> list[Act]:
        """The acts of these profiles, in order."""
        return self._read(sa.select(_acts).where(_acts.c.profile_id.in_(sorted(profile_ids))))

    def of(self, purpose: str) -> set[int]:
        """The profiles whose last act for the purpose was to unsubscribe, whatever became of them
        since."""
        last = {act.profile_id: act for act in self.since(0) if act.purpose == purpose}
        return {profile_id for profile_id, act in last.items() if act.unsubscribed}

    def forget(self, connection: sa.Connection, profile_ids: Collection[int]) -> int:
        """Within the caller's transaction, take these profiles' acts away; how many.

        Their numbers stay with nobody: a number that was given again would be passed over by
        whoever has read up to it.
        """
        statement = (
            sa.update(_acts)
            .where(_acts.c.profile_id.in_(sorted(profile_ids)))
            .values(profile_id=_NOBODY, purpose="", unsubscribed=False, by=None, because=None)
        )
        return connection.execute(statement).rowcount

    def _read(self, select: sa.Select[tuple[object, ...]]) -> list[Act]:
        select = select.where(_acts.c.profile_id != _NOBODY).order_by(_acts.c.number)
        with self._engine.connect() as connection:
            return [Act(*row) for row in connection.execute(select)]
