"""One tick of a journey: who leaves, moves on and enters, decided together and written at once."""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa
from sqlglot import exp

from profile_pipelines.audiences.decide import decided
from profile_pipelines.audiences.staleness import Coverage
from profile_pipelines.catalog.journeys import Journey
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.sql import column, literal, named
from profile_pipelines.journeys.chance import share_of
from profile_pipelines.journeys.definition import definition_of, read_definition
from profile_pipelines.journeys.moving import EXITS, Moved, Moving
from profile_pipelines.journeys.program import END, dates, program, questions, withdrawal
from profile_pipelines.lake import Lake
from profile_pipelines.ledger.enrolments import Changes, Enrolments, Move, Passage, Tick

_NEW = {
    "id": pl.Int64(),
    "profile_id": pl.Int64(),
    "holdout": pl.Boolean(),
    "step": pl.String(),
    "arrived_at": pl.Datetime("us", "UTC"),
    "converted": pl.Boolean(),
}
ENTRY = "entry"
"""Where entries are counted, before the first step."""


@dataclass(frozen=True)
class TickResult:
    """What a tick did, or (in a dry run) would do; in enrolments."""

    journey: str
    active: int
    """Who is in the journey after it."""
    entered: int
    moved: int
    exited: int
    completed: int
    converted: int
    messages: int
    held: int
    """Who stays where they are because a value that decides is stale."""
    wrote: bool
    steps: dict[tuple[str, str, str], int]
    """By (path, event, reason): how many."""


def tick(
    catalogue: Catalogue,
    lake: Lake,
    enrolments: Enrolments,
    coverage: Coverage,
    name: str,
    *,
    now: datetime,
    dry: bool = False,
) -> TickResult:
    """Move one journey to the present; with `dry`, only tell what that would do.

    Its audience must be up to date. Raises Conflict when another tick came first: nothing was
    written then.
    """
    journey = catalogue.journeys[name]
    before = enrolments.tick(name)
    now = max(now.astimezone(UTC), before.at or now)
    definition, fingerprint = definition_of(journey)
    versions = {each.version: each for each in enrolments.versions(name)}
    last = max(versions, default=0)
    if versions and versions[last].fingerprint == fingerprint:
        current = last
    else:
        current = last + 1
        if not dry:
            current = enrolments.launch(name, fingerprint, definition, now=now)
    active = enrolments.active(name)
    pinned = lake.audience(journey.audience).pin()
    newcomers = _newcomers(lake, enrolments, journey, before, active, now)
    new_ids = np.arange(before.next_id, before.next_id + len(newcomers), dtype=np.int64)
    timezone = ZoneInfo(catalogue.settings.timezone)
    results: dict[int, Moved] = {}
    entered: list[dict[str, Any]] = []
    for version in sorted({current, *active["version"].unique()}):
        declared = journey if version == current else read_definition(versions[version].definition)
        nodes = program(declared)
        own = active.filter(pl.col("version") == version).drop("version")
        new = own.clear()
        if version == current and len(newcomers):
            new = _enrolled(declared, newcomers, new_ids, nodes[0].path, now)
        asked = pl.concat([own["profile_id"], new["profile_id"]])
        facts = facts_of(catalogue, lake, coverage, declared, asked.to_numpy(), now)
        own = own.join(facts, on="profile_id", how="left").with_columns(
            pl.col("exists now").fill_null(False)
        )
        new = new.join(facts, on="profile_id", how="inner")
        turned_away: dict[str, int] = {}
        for reason, answer in EXITS.items():
            if answer in facts.columns:
                outside = pl.col(answer).fill_null(False)
                turned_away[reason] = len(new.filter(outside))
                new = new.filter(~outside)
        moved = Moving(declared, version, nodes, now, timezone).move(own, new)
        moved.events[ENTRY, "entered", ""] += len(new)
        for reason, count in turned_away.items():
            moved.events[ENTRY, "turned_away", reason] += count
        if len(new):
            entered = _rows(new, moved, version)
        results[version] = moved
    changes = Changes(
        moves=[each for moved in results.values() for each in _moves(moved, new_ids)],
        entered=entered,
        messages=[row for moved in results.values() for row in moved.messages],
        passages=[
            Passage(version, path, event, count, reason)
            for version, moved in results.items()
            for (path, event, reason), count in moved.events.items()
            if count
        ],
        audience_seq=pinned.seq,
        next_id=before.next_id + len(newcomers),
        held=sum(moved.held for moved in results.values()),
    )
    changed = bool(changes.moves or changes.entered or changes.passages)
    followed = (changes.audience_seq, changes.held) != (before.audience_seq, before.held)
    if not dry and (changed or followed or not before.tick):
        enrolments.apply(name, before, changes, now=now)
    return _result(name, active, results, changes, wrote=changed and not dry)


def _newcomers(
    lake: Lake,
    enrolments: Enrolments,
    journey: Journey,
    before: Tick,
    active: pl.DataFrame,
    now: datetime,
) -> np.ndarray:
    """The profiles that enter: members who became so since the last tick, or at the launch."""
    pinned = lake.audience(journey.audience).pin()
    if not pinned.exists or (not before.tick and journey.launch == "newcomers"):
        return np.empty(0, np.int64)
    members = pinned.current(["profile_id", "member", "held"], "m")
    select = exp.select(column("profile_id", "m")).from_(members.sql.subquery("m"))
    select = select.where(column("member", "m"))
    relations = dict(members.relations)
    if before.tick:
        log = pinned.changes(["profile_id", "member"], "l")
        was = exp.Window(
            this=exp.Lag(this=column("member", "l")),
            partition_by=[column("profile_id", "l")],
            order=exp.Order(expressions=[exp.Ordered(this=column("seq", "l"))]),
        )
        became = (
            exp.select(
                column("profile_id", "l"),
                column("seq", "l"),
                column("member", "l"),
                exp.alias_(exp.func("COALESCE", was, exp.false()), "was", quoted=True),
            )
            .from_(log.sql.subquery("l"))
            .subquery("b")
        )
        entered = (
            exp.select(column("profile_id", "b"))
            .distinct()
            .from_(became)
            .where(
                column("seq", "b") > literal(before.audience_seq),
                column("member", "b"),
                exp.not_(column("was", "b")),
            )
        )
        select = select.join(
            entered.subquery("e"),
            on=column("profile_id", "e").eq(column("profile_id", "m")),
            join_type="semi",
        )
        relations |= log.relations
    found = lake.engine.query(select, relations)["profile_id"].to_numpy()
    kind = journey.reenter.kind
    inside: Collection[int] = active["profile_id"].to_numpy()
    if kind != "always":
        after = None if kind == "never" else now - journey.reenter.after
        inside = np.fromiter(enrolments.been(journey.journey, after), np.int64)
    return np.sort(found[~np.isin(found, inside)])


def _enrolled(
    journey: Journey, profile_ids: np.ndarray, ids: np.ndarray, first: str, now: datetime
) -> pl.DataFrame:
    chance = share_of(profile_ids, f"{journey.journey} holdout")
    return pl.DataFrame(
        {
            "id": ids,
            "profile_id": profile_ids,
            "holdout": chance < journey.holdout,
            "step": first,
            "arrived_at": now,
            "converted": False,
        },
        schema=_NEW,
    )


def facts_of(
    catalogue: Catalogue,
    lake: Lake,
    coverage: Coverage,
    journey: Journey,
    profile_ids: Sequence[int] | np.ndarray,
    now: datetime,
) -> pl.DataFrame:
    """`profile_id`, `exists now`, `member now`, the answers and the dates, of profiles that are."""
    nodes = program(journey)
    asking = questions(journey, nodes) | withdrawal(catalogue, journey)
    rows = decided(catalogue, lake, coverage, asking, now=now, columns=dates(nodes))
    asked = pa.table({"profile_id": pa.array(np.unique(profile_ids), pa.int64())})
    members = lake.audience(journey.audience).pin().current(["profile_id", "member"], "m")
    # who is in none of the audience's rows is no member
    member = exp.func("COALESCE", column("member", "m"), exp.false())
    only = (
        rows.sql.select(
            exp.alias_(exp.true(), "exists now", quoted=True),
            exp.alias_(member, "member now", quoted=True),
        )
        .join(
            members.sql.subquery("m"),
            on=column("profile_id", "m").eq(column("profile_id", "profiles")),
            join_type="left",
        )
        .join(
            named("asked_profiles", "asked"),
            on=column("profile_id", "asked").eq(column("profile_id", "profiles")),
            join_type="semi",
        )
    )
    relations = {**rows.relations, **members.relations, "asked_profiles": asked}
    return cast(pl.DataFrame, pl.from_arrow(lake.engine.query(only, relations)))


def _rows(new: pl.DataFrame, moved: Moved, version: int) -> list[dict[str, Any]]:
    """The new enrolments, where they are after the tick's moves."""
    place = {one: path for path, ids in moved.places.items() for one in ids}
    rows: list[dict[str, Any]] = []
    for one, profile_id, holdout, first in new.select(
        "id", "profile_id", "holdout", "step"
    ).iter_rows():
        at = place.get(one, first)
        rows.append(
            {
                "id": one, "version": version, "profile_id": profile_id, "holdout": holdout,
                "step": at, "state": "completed" if at == END else "active",
            }
        )  # fmt: skip
    return rows


def _moves(moved: Moved, new_ids: np.ndarray) -> list[Move]:
    first_new = int(new_ids[0]) if len(new_ids) else None

    def known(ids: list[int]) -> list[int]:
        return ids if first_new is None else [one for one in ids if one < first_new]

    moves = [Move(ids, state="exited", reason=reason) for reason, ids in moved.exits.items()]
    moves.append(Move(moved.converted, converted=True))
    for path, ids in moved.places.items():
        state = "completed" if path == END else "active"
        moves.append(Move(known(ids), step=path, state=state))
    return [each for each in moves if each.ids]


def _result(
    name: str, active: pl.DataFrame, results: dict[int, Moved], changes: Changes, *, wrote: bool
) -> TickResult:
    steps: dict[tuple[str, str, str], int] = {}
    for moved in results.values():
        for key, count in moved.events.items():
            if count:
                steps[key] = steps.get(key, 0) + count
    exited = sum(len(ids) for moved in results.values() for ids in moved.exits.values())
    completed = sum(len(moved.places.get(END, [])) for moved in results.values())
    return TickResult(
        journey=name,
        active=len(active) + len(changes.entered) - exited - completed,
        entered=len(changes.entered),
        moved=sum(
            len(ids) for moved in results.values() for p, ids in moved.places.items() if p != END
        ),
        exited=exited,
        completed=completed,
        converted=sum(len(moved.converted) for moved in results.values()),
        messages=len(changes.messages),
        held=changes.held,
        wrote=wrote,
        steps=steps,
    )
