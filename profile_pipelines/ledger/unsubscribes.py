"""Who has unsubscribed from what, from the moment of the click: obeyed before any sync.

A log of acts; of a customer's acts for a purpose the last one counts.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import sqlalchemy as sa

from profile_pipelines.ledger.storage import UtcDateTime, create_tables, insert_of

if TYPE_CHECKING:
    from profile_pipelines.ledger.refusals import Keeper

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
_ids = sa.Table(
    "consent_act_ids",
    _metadata,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("id", sa.String, nullable=False),
)
"""By what an act is told from that of the same number in a ledger that was put back, and went
another way since. Acts of before there were ids have none."""
_LOST_BY, _LOST = "the lake", "the ledger was put back to before it"
_NOBODY = 0
"""The profile of acts that were forgotten: no profile has this number."""
_LOCK = 0x70705F61637473
"""Any number that nothing else in the database locks by."""


@dataclass(frozen=True)
class Act:
    """A customer unsubscribed, or somebody took that back for a reason.

    `by` is None for a customer's click; an opt-out that is kept bears the system that said it.

    `profile_id` is the profile that the customer was then. Numbers rise with the acts; times, too,
    but for those that were lost and taken back.
    """

    number: int
    profile_id: int
    purpose: str
    unsubscribed: bool
    at: datetime
    by: str | None
    because: str | None


def _rising(now: datetime) -> sa.ColumnElement[datetime]:
    """The present, and never before the last act."""
    latest = sa.select(sa.func.max(_acts.c.at)).scalar_subquery()
    present = sa.literal(now, UtcDateTime)
    return sa.case((latest > present, latest), else_=present)


class Unsubscribes:
    """The ledger's consent acts. They hold opaque profile ids; only a reason may say more."""

    def __init__(self, engine: sa.Engine, keeper: Keeper | None = None) -> None:
        self._engine = engine
        self._insert = insert_of(engine)
        self._keeper = keeper
        create_tables(_metadata, engine)

    def add(self, profile_id: int, purpose: str, *, now: datetime) -> bool:
        """Keep an unsubscription for good; whether it is one: of several in a row the first is."""
        return self._act(profile_id, purpose, True, _rising(now), None, None)

    def keep(self, profile_id: int, purpose: str, *, by: str, because: str, now: datetime) -> bool:
        """Keep an opt-out that a system said of the customer, and why it is kept; whether it is
        one that wasn't yet."""
        return self._act(profile_id, purpose, True, _rising(now), by, because)

    def restore(
        self, profile_id: int, purpose: str, *, by: str, because: str, now: datetime
    ) -> bool:
        """Take an unsubscription back, so that the systems decide again; whether it did."""
        return self._act(profile_id, purpose, False, _rising(now), by, because)

    def take_back(self, profile_id: int, purpose: str, unsubscribed: bool, at: datetime) -> bool:
        """Keep an act that this ledger has lost, with its own time; whether it did."""
        by, because = (None, None) if unsubscribed else (_LOST_BY, _LOST)
        present = sa.literal(at, UtcDateTime)
        return self._act(profile_id, purpose, unsubscribed, present, by, because)

    def _act(
        self,
        profile_id: int,
        purpose: str,
        unsubscribed: bool,
        at: sa.ColumnElement[datetime],
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
        values = {
            "number": number,
            "profile_id": sa.literal(profile_id, sa.BigInteger),
            "purpose": sa.literal(purpose, sa.String),
            "unsubscribed": sa.literal(unsubscribed, sa.Boolean),
            "at": at,
            "by": sa.literal(by, sa.String),
            "because": sa.literal(because, sa.String),
        }
        rows = sa.select(*values.values()).where(last.is_distinct_from(sa.literal(unsubscribed)))
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                # whoever reads up to a number must never find a lower one later
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            insert = sa.insert(_acts).from_select(list(values), rows)
            found = connection.execute(insert.returning(_acts.c.number, _acts.c.at)).first()
            if found is not None:
                self._name(connection, found.number)
                told = {"profile_id": profile_id, "purpose": purpose, "unsubscribed": unsubscribed}
                # a system that said no is named, with why that is kept; never what people wrote
                why = {"by": by, "because": because} if unsubscribed else {"by": None}
                if self._keeper is not None:
                    self._keeper.keep("consent", [{**told, "at": found.at, **why}])
            return found is not None

    def _name(self, connection: sa.Connection, number: int) -> None:
        row = {"number": number, "id": uuid4().hex}
        connection.execute(self._insert(_ids).values(row).on_conflict_do_nothing())

    def last(self) -> tuple[int, str]:
        """The number of the last act, and its id; 0 and no id without any."""
        number = sa.select(sa.func.max(_acts.c.number))
        with self._engine.begin() as connection:
            found = connection.execute(number).scalar() or 0
            if not found:
                return 0, ""
            select = sa.select(_ids.c.id).where(_ids.c.number == found)
            if connection.execute(select).scalar() is None:
                self._name(connection, found)  # it is older than ids
            return found, connection.execute(select).scalar_one()

    def has(self, number: int, id_: str) -> bool:
        """Whether the act of this number is the one with this id: all before it are the same then,
        too, wherever they were read."""
        select = sa.select(_ids.c.id).where(_ids.c.number == number)
        with self._engine.connect() as connection:
            return connection.execute(select).scalar() == id_

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
