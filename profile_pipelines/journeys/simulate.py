"""What a journey would have done: its ticks over the history that the lake keeps, unwritten.

At each moment the profiles are as they were recorded by then, and what counted as stale then does.
The entry's own condition is asked of them, so that an audience without a history has one here;
audiences that conditions refer to are as they were evaluated. Caps, rates and quiet hours aren't
played, and unsubscriptions count from the run that brought them into the profiles.
"""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from sqlglot import exp

from profile_pipelines.audiences.decide import decided
from profile_pipelines.audiences.staleness import Coverage
from profile_pipelines.catalog.conditions import Condition
from profile_pipelines.catalog.journeys import Journey
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.sql import column, literal
from profile_pipelines.errors import ProfilePipelinesError
from profile_pipelines.journeys.facts import Facts
from profile_pipelines.journeys.moving import Moved, Moving
from profile_pipelines.journeys.newcomers import Door, admissible, turned_away
from profile_pipelines.journeys.program import END, program
from profile_pipelines.journeys.tick import ENTRY, admitted, enrolled
from profile_pipelines.lake import Lake
from profile_pipelines.lake.past import PastLake

CoverageAt = Callable[[datetime], Coverage]


@dataclass(frozen=True)
class SimulatedTick:
    """One moment of the replay, in enrolments."""

    at: datetime
    active: int
    entered: int
    exited: int
    completed: int
    converted: int
    sent: int
    """Messages that would have been sent: decided, and with consent."""
    held: int
    """Who stays where they are because a value that decides is stale, or doesn't come in so."""
    steps: dict[tuple[str, str, str], int]
    """By (path, event, reason): how many. Events: entered, exited, converted, skipped, sent."""
    waiting: dict[str, int]
    """By path: who stands there afterwards."""


def history_begins(catalogue: Catalogue, lake: Lake) -> datetime | None:
    """The time of the first profiles that the lake knows of; None without any."""
    log = lake.profiles(catalogue).pin().changes(["profile_id"], "l")
    first = exp.func("MIN", column("recorded_at", "l"))
    select = exp.select(exp.alias_(first, "first", quoted=True)).from_(log.sql.subquery("l"))
    return lake.engine.rows(select, log.relations)[0]["first"]


def change_times(
    catalogue: Catalogue, lake: Lake, start: datetime, end: datetime
) -> list[datetime]:
    """When profiles changed within a stretch of time, its ends included."""
    log = lake.profiles(catalogue).pin().changes(["profile_id"], "l")
    at = column("recorded_at", "l")
    within = exp.and_(
        exp.GTE(this=at, expression=literal(start)), exp.LTE(this=at, expression=literal(end))
    )
    select = exp.select(at.copy()).distinct().from_(log.sql.subquery("l")).where(within)
    return sorted(lake.engine.query(select, log.relations)["recorded_at"].to_pylist())


def simulated(
    catalogue: Catalogue,
    lake: Lake,
    coverage_at: CoverageAt,
    journey: Journey,
    moments: Sequence[datetime],
) -> Iterator[SimulatedTick]:
    """One tick of the journey at each moment (UTC, in order), as if it had been launched at the
    first; nothing is written."""
    replay = _Replay(catalogue, journey)
    for moment in moments:
        yield replay.tick(PastLake(lake, moment), coverage_at(moment), moment)


class _Replay:
    """The enrolments, in memory."""

    def __init__(self, catalogue: Catalogue, journey: Journey) -> None:
        self._catalogue = catalogue
        self._journey = journey
        self._nodes = program(journey)
        self._entry = journey.enter_when
        if self._entry is None:
            self._entry = catalogue.audiences[str(journey.audience)].where
        self._members: np.ndarray | None = None
        self._undecided = 0
        self._next_id = 1
        self._active = enrolled(journey, np.empty(0, np.int64), np.empty(0, np.int64), "0", None)
        self._ended: dict[int, datetime] = {}
        self._watched: set[int] = set()

    def tick(self, lake: Lake, coverage: Coverage, now: datetime) -> SimulatedTick:
        """Move everybody to a moment."""
        first, before = self._members is None, self._members
        inside = self._fits(lake, coverage, now)
        became = inside if before is None else np.setdiff1d(inside, before)
        self._members = inside
        if first and self._journey.launch == "newcomers":
            became = became[:0]
        watched = np.array(sorted(self._watched), np.int64)
        became = np.union1d(became, np.intersect1d(watched, inside))
        became = became[~np.isin(became, self._active["profile_id"].to_numpy())]
        facts = Facts(self._catalogue, lake, coverage, now)
        became, again_at = admissible(self._journey, became, self._ended, facts)
        ids = np.arange(self._next_id, self._next_id + len(became), dtype=np.int64)
        self._next_id += len(became)
        new = enrolled(self._journey, became, ids, self._nodes[0].path, now)
        asked = pl.concat([self._active["profile_id"], new["profile_id"]]).to_numpy()
        is_member = pl.col("profile_id").is_in(inside.tolist()).alias("member now")
        found = facts.of(self._journey, asked).with_columns(is_member)
        own = facts.beside(self._active, found)
        new, reasons = admitted(new.join(found, on="profile_id", how="inner"))
        moved = Moving(self._journey, 1, self._nodes, now).move(own, new)
        messages = self._sent(lake, coverage, moved, now)
        self._keep(moved, new, now)
        moved.events[ENTRY, "entered", ""] += len(new)
        door = Door(became, again_at, watched=frozenset(self._watched))
        for reason, count in turned_away(self._journey, door, reasons).counts.items():
            moved.events[ENTRY, "turned_away", reason] += count
        self._watched = {*reasons, *again_at} if self._journey.watches else set()
        return SimulatedTick(
            at=now,
            active=len(self._active),
            entered=len(new),
            exited=sum(map(len, moved.exits.values())),
            completed=len(moved.places.get(END, [])),
            converted=len(moved.converted),
            sent=messages,
            held=moved.held + self._undecided,
            steps={key: count for key, count in moved.events.items() if count},
            waiting=dict(self._active.group_by("step").len().iter_rows()),
        )

    def _fits(self, lake: Lake, coverage: Coverage, now: datetime) -> np.ndarray:
        """The members at a moment; whom a stale value would decide is what they were."""
        assert self._entry is not None
        rows = decided(self._catalogue, lake, coverage, {"fits": self._entry}, now=now)
        found = pl.DataFrame(pl.from_arrow(lake.engine.query(rows.sql, rows.relations)))
        before = [] if self._members is None else self._members.tolist()
        was = pl.col("profile_id").is_in(before)
        self._undecided = len(found.filter(pl.col("fits").is_null() & ~was))
        fits = pl.col("fits").fill_null(was)
        return np.sort(found.filter(fits)["profile_id"].to_numpy())

    def _sent(self, lake: Lake, coverage: Coverage, moved: Moved, now: datetime) -> int:
        """Count the messages that would go out, in place of those that were decided."""
        decisions = Counter(str(each["step"]) for each in moved.messages)
        sent = decisions
        purpose = self._journey.consent
        attributes = [n for n, a in self._catalogue.attributes.items() if a.consent == purpose]
        if purpose is not None and moved.messages:
            tests = [{name: {"is": True}} for name in attributes]
            asked = {"consents": Condition.model_validate({"all": tests})}
            rows = decided(self._catalogue, lake, coverage, asked, now=now)
            found = pl.DataFrame(pl.from_arrow(lake.engine.query(rows.sql, rows.relations)))
            consenting = set(found.filter(pl.col("consents"))["profile_id"])
            sent = Counter(
                str(each["step"]) for each in moved.messages if each["profile_id"] in consenting
            )
        for step, count in decisions.items():
            del moved.events[step, "decided", ""]
            moved.events[step, "sent", ""] += sent[step]
            moved.events[step, "skipped", "consent"] += count - sent[step]
        return sent.total()

    def _keep(self, moved: Moved, new: pl.DataFrame, now: datetime) -> None:
        everyone = pl.concat([self._active, new.select(self._active.columns)])
        places = [(one, path) for path, ids in moved.places.items() for one in ids]
        placed = pl.DataFrame(places, schema={"id": pl.Int64(), "place": pl.String()}, orient="row")
        gone = [one for ids in moved.exits.values() for one in ids]
        everyone = everyone.join(placed, on="id", how="left").with_columns(
            step=pl.coalesce("place", "step"),
            arrived_at=pl.when(pl.col("place").is_not_null())
            .then(pl.lit(now).dt.convert_time_zone("UTC").dt.cast_time_unit("us"))
            .otherwise(pl.col("arrived_at")),
            converted=pl.col("converted") | pl.col("id").is_in(moved.converted),
        )
        over = pl.col("id").is_in(gone) | (pl.col("step") == END)
        self._ended |= dict.fromkeys(everyone.filter(over)["profile_id"], now)
        self._active = everyone.filter(~over).drop("place")


def daily(start: datetime, end: datetime, every: timedelta) -> list[datetime]:
    """The moments from start to end, so far apart; the end is one of them.

    Raises ProfilePipelinesError unless they lie apart.
    """
    if every <= timedelta(0):
        raise ProfilePipelinesError(
            "ticks of a replay lie some time apart; write for example 1h or 1 day"
        )
    count = -((start - end) // every)
    return [*(start + number * every for number in range(count)), end]
