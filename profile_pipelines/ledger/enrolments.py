"""Enrolments: who is in which journey, at which step; and what happened at each step, in numbers.

One transaction moves everybody of a journey, puts their messages into the outbox and notes how
far the journey has followed its audience; a counter on the journey's row lets only one of two
ticks that ran at once do so. Nothing here but a profile's id tells who somebody is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from profile_pipelines.errors import Conflict
from profile_pipelines.ledger.journey_versions import JourneyVersions
from profile_pipelines.ledger.outbox import ERASED, NOBODY, Outbox
from profile_pipelines.ledger.pair import LedgerPair, raise_sequences
from profile_pipelines.ledger.passages import Passage, Passages
from profile_pipelines.ledger.storage import UtcDateTime, create_tables
from profile_pipelines.ledger.watched import Watched

if TYPE_CHECKING:
    import polars as pl

_metadata = sa.MetaData()

_ticks = sa.Table(
    "journey_ticks",
    _metadata,
    sa.Column("journey", sa.String, primary_key=True),
    sa.Column("tick", sa.BigInteger, nullable=False),
    sa.Column("audience_seq", sa.BigInteger, nullable=False),
    sa.Column("next_id", sa.BigInteger, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("held", sa.BigInteger, nullable=False),
)

_followed = sa.Table(
    "journey_followed",
    _metadata,
    sa.Column("journey", sa.String, primary_key=True),
    sa.Column("entry", sa.String, nullable=False),
)

_marks = sa.Table(
    "journey_marks",
    _metadata,
    sa.Column("journey", sa.String, primary_key=True),
    sa.Column("mark", sa.Text, nullable=False),
)

_origins = sa.Table(
    "journey_origins",
    _metadata,
    sa.Column("journey", sa.String, primary_key=True),
    sa.Column("first_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("origin", sa.String, nullable=False),
)
"""By what the enrolments from this number on are told from those of the same numbers in another
ledger, or in this one where it was put back and went another way. Those of before have none."""

_enrolments = sa.Table(
    "enrolments",
    _metadata,
    sa.Column("journey", sa.String, primary_key=True),
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("profile_id", sa.BigInteger, nullable=False, index=True),
    sa.Column("holdout", sa.Boolean, nullable=False),
    sa.Column("entered_at", UtcDateTime, nullable=False),
    sa.Column("step", sa.String, nullable=False),
    sa.Column("arrived_at", UtcDateTime, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("ended_at", UtcDateTime),
    sa.Column("reason", sa.String),
    sa.Column("converted_at", UtcDateTime),
)
sa.Index(
    "enrolments_active",
    _enrolments.c.journey,
    _enrolments.c.profile_id,
    unique=True,
    sqlite_where=_enrolments.c.state == "active",
    postgresql_where=_enrolments.c.state == "active",
)


@dataclass(frozen=True)
class Tick:
    """How far a journey is. `audience_seq` is the last commit of its audience that it followed."""

    tick: int
    audience_seq: int
    next_id: int
    at: datetime | None = None
    held: int = 0
    followed: str | None = None
    """What `audience_seq` is of; None in a ledger that is older than this is noted."""
    mark: str | None = None
    """By what the next tick tells that nothing can have happened since."""


BEFORE_THE_FIRST = Tick(0, 0, 1)


def sequence_of(journey: str) -> str:
    """The name of the sequence of a journey's enrolments."""
    return f"enrolments of {journey}"


@dataclass(frozen=True)
class Move:
    """Where some enrolments stand from now on; `step` None: where they stood."""

    ids: Sequence[int]
    step: str | None = None
    state: str = "active"
    reason: str | None = None
    converted: bool = False
    version: int | None = None
    """The version that they are taken over into, in which they count as arrived when they were."""


@dataclass(frozen=True)
class Changes:
    """What one tick changes."""

    moves: Sequence[Move]
    entered: pl.DataFrame
    """The new enrolments: id, version, profile_id, holdout, step and state."""
    messages: Sequence[Mapping[str, Any]]
    passages: Sequence[Passage]
    audience_seq: int
    next_id: int
    held: int
    followed: str | None = None
    mark: str | None = None
    carried_over: Mapping[int, int] = field(default_factory=dict[int, int])
    """By enrolment, which profile it is of from now on."""
    watch: Mapping[int, str] = field(default_factory=dict[int, str])
    """By profile that is turned away and watched from now on, the reason."""
    unwatch: Collection[int] = ()


class Enrolments:
    """The tables of the journeys, in the ledger's database."""

    def __init__(self, engine: sa.Engine, outbox: Outbox) -> None:
        self._engine = engine
        self._outbox = outbox
        self._pair = LedgerPair(engine)
        self.versions = JourneyVersions(engine)
        self.passages = Passages(engine)
        self.watched = Watched(engine)
        create_tables(_metadata, engine)

    def tick(self, journey: str) -> Tick:
        """How far the journey is."""
        names = ("tick", "audience_seq", "next_id", "at", "held")
        select = (
            sa.select(*(_ticks.c[name] for name in names), _followed.c.entry, _marks.c.mark)
            .outerjoin(_followed, _followed.c.journey == _ticks.c.journey)
            .outerjoin(_marks, _marks.c.journey == _ticks.c.journey)
            .where(_ticks.c.journey == journey)
        )
        with self._engine.connect() as connection:
            row = connection.execute(select).first()
        found = BEFORE_THE_FIRST if row is None else Tick(*row)
        least = self._pair.next_of(sequence_of(journey))
        return replace(found, next_id=max(found.next_id, least))

    def next_numbers(self) -> dict[str, int]:
        """The next enrolment's number of each journey, by the name of its sequence."""
        select = sa.select(_ticks.c.journey, _ticks.c.next_id)
        with self._engine.connect() as connection:
            return {sequence_of(row.journey): row.next_id for row in connection.execute(select)}

    def active(self, journey: str) -> pl.DataFrame:
        """All who are in it: id, version, profile_id, holdout, step, arrived_at, converted."""
        import polars as pl

        table = _enrolments.c
        # SQLite keeps times as texts: a million of them are read faster in one go
        texts = self._engine.dialect.name == "sqlite"
        arrived = sa.type_coerce(table.arrived_at, sa.String) if texts else table.arrived_at
        converted = table.converted_at.is_not(None)
        select = sa.select(
            table.id, table.version, table.profile_id, table.holdout, table.step, arrived, converted
        ).where(table.journey == journey, table.state == "active")
        with self._engine.connect() as connection:
            rows = connection.execute(select).all()
        at = pl.String() if texts else pl.Datetime("us", "UTC")
        frame = pl.DataFrame(
            list(zip(*rows, strict=True)) or [[] for _ in range(7)],
            schema={
                "id": pl.Int64(),
                "version": pl.Int64(),
                "profile_id": pl.Int64(),
                "holdout": pl.Boolean(),
                "step": pl.String(),
                "arrived_at": at,
                "converted": pl.Boolean(),
            },
            orient="col",
        )
        if not texts:
            return frame
        parsed = pl.col("arrived_at").str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us")
        return frame.with_columns(parsed.dt.replace_time_zone("UTC"))

    def been(self, journey: str, since: datetime | None, *, now: datetime) -> dict[int, datetime]:
        """By profile that is or was in it, when that ended last, and `now` where it hasn't; with
        `since`, only what ended after that moment."""
        ended = _enrolments.c.ended_at
        at = sa.func.max(
            sa.func.coalesce(ended, sa.literal(now, UtcDateTime), type_=UtcDateTime),
            type_=UtcDateTime,
        )
        select = (
            sa.select(_enrolments.c.profile_id, at)
            .where(_enrolments.c.journey == journey)
            .group_by(_enrolments.c.profile_id)
        )
        if since is not None:
            select = select.where(sa.or_(ended.is_(None), ended > since))
        with self._engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(select)}

    def apply(self, journey: str, expected: Tick, changes: Changes, *, now: datetime) -> None:
        """Do all that one tick changes, or nothing: Conflict when another tick came first."""
        with self._engine.begin() as connection:
            self._advance(connection, journey, expected, changes, now)
            self._carry_over(connection, journey, changes.carried_over)
            for move in changes.moves:
                self._move(connection, journey, move, now)
            self._enter(connection, journey, changes.entered, now)
            self.watched.change(connection, journey, changes.watch, changes.unwatch)
            if changes.followed != expected.followed:
                gone = sa.delete(_followed).where(_followed.c.journey == journey)
                connection.execute(gone)
                row = {"journey": journey, "entry": changes.followed}
                connection.execute(sa.insert(_followed), row)
            if changes.mark is not None:
                self._mark(connection, journey, changes.mark)
            if changes.next_id > expected.next_id:
                row = {"journey": journey, "first_id": expected.next_id, "origin": token_hex(6)}
                connection.execute(sa.insert(_origins), row)
            if changes.messages:
                least = min(row["enrolment"] for row in changes.messages)
                origin_of = self._origin_of(connection, journey, least)
                self._outbox.decide(connection, changes.messages, origin_of)
            self.passages.record(connection, journey, expected.tick + 1, changes.passages, now=now)

    def _enter(
        self,
        connection: sa.Connection,
        journey: str,
        entered: pl.DataFrame,
        now: datetime,
    ) -> None:
        import polars as pl

        # the one time that they share is converted once, not with each of a million rows
        dialect = connection.dialect
        convert = UtcDateTime().dialect_impl(dialect).bind_processor(dialect)
        at = pl.lit(convert(now) if convert is not None else now)
        ended = pl.when(pl.col("state") != "active").then(at)
        nothing = pl.lit(None, pl.String())
        values = {
            "journey": pl.lit(journey), "entered_at": at, "arrived_at": at, "ended_at": ended,
            "reason": nothing, "converted_at": nothing,
        }  # fmt: skip
        columns: list[Any] = [sa.column(each.name) for each in _enrolments.c]
        insert = sa.insert(sa.table(_enrolments.name, *columns))
        for part in entered.iter_slices(50_000):
            rows = part.with_columns(**values).select(each.name for each in columns)
            if dialect.name == "sqlite":
                # SQLAlchemy would look at each parameter, which takes longer than to insert them
                statement = str(insert.compile(dialect=dialect))
                connection.exec_driver_sql(statement, rows.rows())
            else:
                connection.execute(insert, rows.to_dicts())

    def _origin_of(
        self, connection: sa.Connection, journey: str, least: int
    ) -> Callable[[int], str]:
        """Tells the origins of enrolments from this number on."""
        own = _origins.c.journey == journey
        last_before = sa.select(sa.func.max(_origins.c.first_id)).where(
            own, _origins.c.first_id <= least
        )
        begins = sa.func.coalesce(last_before.scalar_subquery(), 0)
        select = sa.select(_origins.c.first_id, _origins.c.origin).where(
            own, _origins.c.first_id >= begins
        )
        rows = connection.execute(select.order_by(_origins.c.first_id)).all()
        firsts = [first for first, _ in rows]

        def origin(enrolment: int) -> str:
            place = bisect_right(firsts, enrolment)
            return rows[place - 1].origin if place else ""

        return origin

    def _carry_over(
        self, connection: sa.Connection, journey: str, profiles: Mapping[int, int]
    ) -> None:
        own = sa.and_(_enrolments.c.journey == journey, _enrolments.c.id == sa.bindparam("own"))
        statement = sa.update(_enrolments).where(own).values(profile_id=sa.bindparam("today"))
        rows = [{"own": enrolment, "today": today} for enrolment, today in profiles.items()]
        if rows:
            connection.execute(statement, rows)

    def note(self, journey: str, expected: Tick, mark: str) -> None:
        """Keep the mark of a tick that changed nothing, unless another tick came first."""
        select = sa.select(_ticks.c.tick).where(_ticks.c.journey == journey).with_for_update()
        with self._engine.begin() as connection:
            if connection.execute(select).scalar() == expected.tick:
                self._mark(connection, journey, mark)

    def _mark(self, connection: sa.Connection, journey: str, mark: str) -> None:
        connection.execute(sa.delete(_marks).where(_marks.c.journey == journey))
        connection.execute(sa.insert(_marks).values(journey=journey, mark=mark))

    def _advance(
        self,
        connection: sa.Connection,
        journey: str,
        expected: Tick,
        changes: Changes,
        now: datetime,
    ) -> None:
        values = {
            "tick": expected.tick + 1, "audience_seq": changes.audience_seq,
            "next_id": changes.next_id, "at": now, "held": changes.held,
        }  # fmt: skip
        conflict = Conflict(f"another tick of journey {journey} came first")
        raise_sequences(connection, {sequence_of(journey): changes.next_id})
        if expected.tick:
            statement = (
                sa.update(_ticks)
                .where(_ticks.c.journey == journey, _ticks.c.tick == expected.tick)
                .values(**values)
            )
            if connection.execute(statement).rowcount != 1:
                raise conflict
            return
        try:
            connection.execute(sa.insert(_ticks).values(journey=journey, **values))
        except IntegrityError:
            raise conflict from None

    def _move(self, connection: sa.Connection, journey: str, move: Move, now: datetime) -> None:
        values: dict[str, Any] = {}
        if move.step is not None:
            values["step"] = move.step
            if move.version is None:
                values["arrived_at"] = now
            else:
                values["version"] = move.version
        if move.state != "active":
            values |= {"state": move.state, "ended_at": now, "reason": move.reason}
        if move.converted:
            values["converted_at"] = now
        for start in range(0, len(move.ids), 10_000):
            ids = list(move.ids[start : start + 10_000])
            statement = (
                sa.update(_enrolments)
                .where(_enrolments.c.journey == journey, _enrolments.c.id.in_(ids))
                .values(**values)
            )
            connection.execute(statement)

    def standing(self, journey: str) -> list[tuple[Any, ...]]:
        """(version, step, state, reason, converted, count) of all enrolments."""
        table = _enrolments.c
        groups = (
            table.version, table.step, table.state, table.reason, table.converted_at.is_not(None),
        )  # fmt: skip
        select = (
            sa.select(*groups, sa.func.count()).where(table.journey == journey).group_by(*groups)
        )
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(select)]

    def of_profiles(self, journey: str, profile_ids: Iterable[int]) -> list[dict[str, Any]]:
        """All enrolments of profiles, the last one first, by column."""
        select = (
            sa.select(_enrolments)
            .where(
                _enrolments.c.journey == journey,
                _enrolments.c.profile_id.in_(list(profile_ids)),
            )
            .order_by(_enrolments.c.id.desc())
        )
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(select).mappings()]

    def everywhere(self, profile_ids: Iterable[int]) -> list[dict[str, Any]]:
        """All enrolments of profiles in all journeys, the first one first, by column."""
        select = (
            sa.select(_enrolments)
            .where(_enrolments.c.profile_id.in_(list(profile_ids)))
            .order_by(_enrolments.c.entered_at, _enrolments.c.journey, _enrolments.c.id)
        )
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(select).mappings()]

    def left(self, journey: str, ids: Iterable[int]) -> set[int]:
        """Those of the enrolments that left before the end: one that is through still gets what
        its last step sent."""
        select = sa.select(_enrolments.c.id).where(
            _enrolments.c.journey == journey,
            _enrolments.c.id.in_(list(ids)),
            _enrolments.c.state == "exited",
        )
        with self._engine.connect() as connection:
            return set(connection.execute(select).scalars())

    def forget(
        self, connection: sa.Connection, profile_ids: Collection[int], *, now: datetime
    ) -> int:
        """Within the caller's transaction, keep of these profiles' enrolments only that they were.

        Who is under way leaves, and is counted so at the step. How many enrolments there were.
        """
        self.watched.forget(connection, profile_ids)
        table = _enrolments.c
        own = table.profile_id.in_(sorted(profile_ids))
        groups = (table.journey, table.version, table.step)
        leaving = connection.execute(
            sa.select(*groups, sa.func.count())
            .where(own, table.state == "active")
            .group_by(*groups)
        ).all()
        left: dict[str, list[Passage]] = {}
        for journey, version, step, count in leaving:
            passage = Passage(version, step, "exited", count, ERASED)
            left.setdefault(journey, []).append(passage)
        for journey, passages in sorted(left.items()):
            # a tick that has begun knows them still: it must not end
            connection.execute(
                sa.update(_ticks).filter_by(journey=journey).values(tick=_ticks.c.tick + 1)
            )
            connection.execute(sa.delete(_marks).filter_by(journey=journey))
            tick = connection.execute(sa.select(_ticks.c.tick).filter_by(journey=journey)).scalar()
            self.passages.record(connection, journey, tick or 0, passages, now=now)
        connection.execute(
            sa.update(_enrolments)
            .where(own, table.state == "active")
            .values(state="exited", reason=ERASED, ended_at=now)
        )
        return connection.execute(
            sa.update(_enrolments).where(own).values(profile_id=NOBODY)
        ).rowcount
