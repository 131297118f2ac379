"""Deliveries: which customer a destination holds, under which key, in which state of their row.

What is about to be sent is written down before, so that a destination never holds anybody of
whom the ledger doesn't know:

    (nobody) ──begin add──▶ adding ──settled──▶ held ──begin add──▶ adding …
                              │                  └──begin remove──▶ removing ──settled──▶ (nobody)
                              └──refused──▶ refused: not held, or held as before; tried again later

A batch that was begun and not settled may have arrived; it is sent again under its own id. A row
has the profile's id, a digest of what was told and the key by which the destination knows the
customer: who is gone here has to be removed there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from profile_pipelines.ledger.delivery_runs import DeliveryRuns
from profile_pipelines.ledger.storage import UtcDateTime, create_tables, insert_of

if TYPE_CHECKING:
    import polars as pl

Operation = Literal["add", "remove"]
_FIRST_WAIT = timedelta(hours=1)
_LONGEST_WAIT = timedelta(days=7)
_CHUNK = 10_000

_metadata = sa.MetaData()

_deliveries = sa.Table(
    "deliveries",
    _metadata,
    sa.Column("destination", sa.String, primary_key=True),
    sa.Column("profile_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("digest", sa.String),
    sa.Column("operation", sa.String),
    sa.Column("new_digest", sa.String),
    sa.Column("batch", sa.String),
    sa.Column("refusals", sa.Integer, nullable=False, server_default="0"),
    sa.Column("reason", sa.String),
    sa.Column("next_attempt_at", UtcDateTime),
    sa.Column("changed_at", UtcDateTime, nullable=False),
    sa.Index("deliveries_batch", "destination", "batch"),
    sa.Index("deliveries_profile", "profile_id"),
)


class Deliveries:
    """The deliveries in the ledger's database, SQLite or PostgreSQL."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._insert = insert_of(engine)
        self.runs = DeliveryRuns(engine)
        create_tables(_metadata, engine)

    def rows(self, destination: str) -> pl.DataFrame:
        """All that is known of its customers: profile_id, key, digest, operation, new_digest,
        batch, reason, next_attempt_at and changed_at, when any of it was noted last."""
        import polars as pl

        table = _deliveries.c
        select = sa.select(
            table.profile_id, table.key, table.digest, table.operation, table.new_digest,
            table.batch, table.reason, table.next_attempt_at, table.changed_at,
        ).where(table.destination == destination)  # fmt: skip
        with self._engine.connect() as connection:
            found = connection.execute(select).all()
        return pl.DataFrame(
            list(zip(*found, strict=True)) or [[] for _ in range(9)],
            schema={
                "profile_id": pl.Int64(),
                "key": pl.String(),
                "digest": pl.String(),
                "operation": pl.String(),
                "new_digest": pl.String(),
                "batch": pl.String(),
                "reason": pl.String(),
                "next_attempt_at": pl.Datetime("us", "UTC"),
                "changed_at": pl.Datetime("us", "UTC"),
            },
            orient="col",
        )

    def begin(
        self,
        destination: str,
        by: str,
        batch: str,
        operation: Operation,
        rows: Iterable[tuple[int, str, str]],
        *,
        now: datetime,
    ) -> None:
        """Note that (profile_id, key, digest) are about to be sent. Raises Conflict when another
        run has taken over."""
        values = [
            {
                "destination": destination, "profile_id": profile_id, "key": key,
                "operation": operation, "new_digest": digest, "batch": batch, "changed_at": now,
            }
            for profile_id, key, digest in rows
        ]  # fmt: skip
        statement = self._insert(_deliveries)
        changed = ("key", "operation", "new_digest", "batch", "changed_at")
        statement = statement.on_conflict_do_update(
            index_elements=["destination", "profile_id"],
            set_={name: statement.excluded[name] for name in changed},
        )
        with self._engine.begin() as connection:
            self.runs.still(connection, destination, by)
            for start in range(0, len(values), _CHUNK):
                connection.execute(statement, values[start : start + _CHUNK])

    def settle(
        self,
        destination: str,
        by: str,
        batch: str,
        refused: Mapping[int, str],
        *,
        now: datetime,
    ) -> None:
        """Note that a batch has arrived, but for those who were refused, each for a reason."""
        table = _deliveries.c
        own = (table.destination == destination, table.batch == batch)
        with self._engine.begin() as connection:
            self.runs.still(connection, destination, by)
            if refused:
                self._refuse(connection, destination, batch, refused, now)
            connection.execute(sa.delete(_deliveries).where(*own, table.operation == "remove"))
            connection.execute(
                sa.update(_deliveries)
                .where(*own, table.operation == "add")
                .values(
                    digest=table.new_digest, operation=None, new_digest=None, batch=None,
                    refusals=0, reason=None, next_attempt_at=None, changed_at=now,
                )
            )  # fmt: skip

    def _refuse(
        self,
        connection: sa.Connection,
        destination: str,
        batch: str,
        refused: Mapping[int, str],
        now: datetime,
    ) -> None:
        table, bound = _deliveries.c, sa.bindparam
        ids = sorted(refused)
        before: dict[int, int] = {}
        for start in range(0, len(ids), 500):
            select = sa.select(table.profile_id, table.refusals).where(
                table.destination == destination,
                table.batch == batch,
                table.profile_id.in_(ids[start : start + 500]),
            )
            before |= {row.profile_id: row.refusals for row in connection.execute(select)}
        if not before:
            return
        statement = (
            sa.update(_deliveries)
            .where(table.destination == destination, table.profile_id == bound("id"))
            .values(
                operation=None, batch=None, refusals=table.refusals + 1, reason=bound("why"),
                next_attempt_at=bound("next", type_=UtcDateTime), changed_at=now,
            )
        )  # fmt: skip
        rows = [
            {
                "id": profile_id,
                "why": refused[profile_id][:200],
                "next": now + min(_FIRST_WAIT * 2 ** min(times, 10), _LONGEST_WAIT),
            }
            for profile_id, times in before.items()
        ]
        connection.execute(statement, rows)

    def drop(self, destination: str, by: str, profile_ids: Collection[int]) -> None:
        """Forget customers whom the destination doesn't hold, or holds as somebody else."""
        with self._engine.begin() as connection:
            self.runs.still(connection, destination, by)
            self._delete(connection, profile_ids, _deliveries.c.destination == destination)

    def reset(self, destination: str, by: str) -> None:
        """Forget everybody: the destination certainly holds nobody."""
        with self._engine.begin() as connection:
            self.runs.still(connection, destination, by)
            connection.execute(sa.delete(_deliveries).filter_by(destination=destination))

    def retry(self, destination: str, *, now: datetime) -> int:
        """Let the next run try again everybody who was refused, and ask the destination at once;
        how many were refused."""
        table = _deliveries.c
        with self._engine.begin() as connection:
            self.runs.ask_at_once(connection, destination)
            return connection.execute(
                sa.update(_deliveries)
                .where(table.destination == destination, table.reason.is_not(None))
                .values(next_attempt_at=now)
            ).rowcount

    def counts(self) -> dict[str, dict[tuple[str, str | None], int]]:
        """By destination, also those that aren't declared any more: how many customers are
        `held`, `unsettled` (they may have arrived) or `refused`, and the reason."""
        table = _deliveries.c
        state = sa.case(
            (table.operation.is_not(None), "unsettled"),
            (table.reason.is_not(None), "refused"),
            else_="held",
        )
        select = sa.select(table.destination, state, table.reason, sa.func.count()).group_by(
            table.destination, state, table.reason
        )
        found: dict[str, dict[tuple[str, str | None], int]] = {}
        with self._engine.connect() as connection:
            for destination, name, reason, count in connection.execute(select):
                of = found.setdefault(destination, {})
                key = (name, reason if name == "refused" else None)
                of[key] = of.get(key, 0) + count
        return found

    def of_profiles(self, profile_ids: Collection[int]) -> list[dict[str, Any]]:
        """The deliveries of these profiles, by column."""
        found: list[dict[str, Any]] = []
        ids = sorted(set(profile_ids))
        for start in range(0, len(ids), 500):
            select = (
                sa.select(_deliveries)
                .where(_deliveries.c.profile_id.in_(ids[start : start + 500]))
                .order_by(_deliveries.c.profile_id, _deliveries.c.destination)
            )
            with self._engine.connect() as connection:
                found += [dict(row) for row in connection.execute(select).mappings()]
        return found

    def forget(self, profile_ids: Collection[int]) -> int:
        """Delete all that is known of these profiles' deliveries; how many rows.

        The destinations aren't asked to remove them: `activation.erase` does that before.
        """
        with self._engine.begin() as connection:
            return self._delete(connection, profile_ids)

    def _delete(
        self,
        connection: sa.Connection,
        profile_ids: Collection[int],
        *where: sa.ColumnElement[bool],
    ) -> int:
        ids: Sequence[int] = sorted(set(profile_ids))
        return sum(
            connection.execute(
                sa.delete(_deliveries).where(
                    _deliveries.c.profile_id.in_(ids[start : start + 500]), *where
                )
            ).rowcount
            for start in range(0, len(ids), 500)
        )
