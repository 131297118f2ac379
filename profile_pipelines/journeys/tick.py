"""One tick of a journey: who leaves, moves on and enters, decided together and written at once."""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from profile_pipelines.catalog.journeys import Journey
from profile_pipelines.journeys.chance import share_of
from profile_pipelines.journeys.definition import definition_of, read_definition
from profile_pipelines.journeys.entry import entry_of, followed_of, keep_entry_up, told_of
from profile_pipelines.journeys.facts import Facts
from profile_pipelines.journeys.joined import carried_over
from profile_pipelines.journeys.mark import Mark, digest_of
from profile_pipelines.journeys.moving import EXITS, Moved, Moving
from profile_pipelines.journeys.newcomers import at_the_door, turned_away
from profile_pipelines.journeys.program import END, program
from profile_pipelines.ledger.enrolments import Changes, Enrolments, Move, Tick
from profile_pipelines.ledger.outbox import Claimed, message_id
from profile_pipelines.ledger.passages import Passage

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
    decided: tuple[Claimed, ...] = ()
    """In a dry run, the messages that it would decide."""


def tick(
    facts: Facts, enrolments: Enrolments, name: str, *, run_id: str, dry: bool = False
) -> TickResult:
    """Move one journey to the moment of the facts; with `dry`, only tell what that would do.

    Its audience must be up to date. Raises Conflict when another tick came first: nothing was
    written then.
    """
    journey, now = facts.catalogue.journeys[name], facts.now
    before = enrolments.tick(name)
    put_back = before.at is not None and before.at > now
    definition, fingerprint = definition_of(journey)
    versions = {each.version: each for each in enrolments.versions.of(name)}
    last = max(versions, default=0)
    if versions and versions[last].fingerprint == fingerprint:
        current = last
    else:
        current = last + 1
        if not dry:
            current = enrolments.versions.launch(name, fingerprint, definition, now=now)
    if not dry:
        keep_entry_up(facts, journey, run_id=run_id)
    pinned = entry_of(facts.lake, journey).pin()

    def asked(of: set[int]) -> str:
        """What tells whether the answers to these versions' questions can be others by now."""
        declared = [
            journey if v == current else read_definition(versions[v].definition)
            for v in sorted({*of, current})
        ]
        read = [facts.questions(each) for each in declared]
        entries = pinned.changes(["profile_id", "member"], "entries")
        return "|".join([followed_of(journey), *map(digest_of, [entries, *read])])

    if not dry and before.mark is not None and not put_back:
        mark = Mark.read(before.mark)
        mapped = journey.mapping is not None and journey.mapping.version in mark.versions
        if not mapped and not mark.is_due(now) and mark.asked == asked(mark.versions):
            return _result(name, mark.active, {}, _nothing(before), wrote=False)
    active, carried = carried_over(facts.catalogue, facts.lake, enrolments.active(name))
    active = active.with_columns(arrived_at=facts.counted(active["arrived_at"]))
    active, taken, passages = _taken_over(journey, active, current)
    inside = active["profile_id"].to_numpy()
    door = at_the_door(facts, enrolments, journey, pinned, before, inside, dry=dry)
    newcomers, reasons = door.may, {}
    new_ids = np.arange(before.next_id, before.next_id + len(newcomers), dtype=np.int64)
    moving = {current, *active["version"].unique()}
    known = "" if dry else asked(moving)  # before the answers are read, which may be newer
    results: dict[int, Moved] = {}
    entered = pl.DataFrame()
    for version in sorted(moving):
        declared = journey if version == current else read_definition(versions[version].definition)
        nodes = program(declared)
        own = active.filter(pl.col("version") == version).drop("version")
        new = own.clear()
        if version == current and len(newcomers):
            new = enrolled(declared, newcomers, new_ids, nodes[0].path, now)
        ids = pl.concat([own["profile_id"], new["profile_id"]])
        found = facts.of(declared, ids.to_numpy())
        own = facts.beside(own, found)
        new, outside = admitted(new.join(found, on="profile_id", how="inner"))
        reasons |= outside
        moved = Moving(declared, version, nodes, now).move(own, new)
        moved.events[ENTRY, "entered", ""] += len(new)
        if len(new):
            entered = _rows(new, moved, version)
        results[version] = moved
    away = turned_away(journey, door, reasons)
    for reason, count in away.counts.items():
        results[current].events[ENTRY, "turned_away", reason] += count
    changes = Changes(
        moves=[*taken, *(each for moved in results.values() for each in _moves(moved, new_ids))],
        entered=entered,
        messages=[row for moved in results.values() for row in moved.messages],
        passages=[
            *passages,
            *(
                Passage(version, path, event, count, reason)
                for version, moved in results.items()
                for (path, event, reason), count in moved.events.items()
                if count
            ),
        ],
        audience_seq=pinned.seq,
        next_id=before.next_id + len(newcomers),
        held=sum(moved.held for moved in results.values()),
        followed=followed_of(journey),
        carried_over=carried,
        watch=away.watch,
        unwatch=away.unwatch,
    )
    result = _result(name, len(active), results, changes)
    if not dry:
        due = [away.next_due, *(each.next_due for each in results.values())]
        first = min((each for each in due if each is not None), default=None)
        mark = Mark(known, moving, result.active, first, told_of(pinned))
        changes = replace(changes, mark=mark.text)
    changed = bool(
        changes.moves or changes.passages or changes.carried_over or away.watch or away.unwatch
    )
    followed = (changes.audience_seq, changes.held, changes.followed) != (
        before.audience_seq, before.held, before.followed,
    )  # fmt: skip
    if not dry and (changed or followed or put_back or not before.tick):
        enrolments.apply(name, before, changes, now=now)
    elif changes.mark is not None and changes.mark != before.mark:
        enrolments.note(name, before, changes.mark)
    if dry:
        decided = tuple(map(_claimed, changes.messages))
        return replace(result, decided=decided)
    return replace(result, wrote=changed)


def _claimed(row: Mapping[str, Any]) -> Claimed:
    """A message as the outbox would give it out to be sent."""
    names = ("journey", "version", "enrolment", "step", "channel")
    return Claimed(
        message_id=message_id(*(row[name] for name in names)),
        **{name: row[name] for name in names},
        template=row["template"],
        consent=row["consent"],
        profile_id=row["profile_id"],
        attempts=0,
        expires_at=row["expires_at"],
    )


def _nothing(before: Tick) -> Changes:
    return Changes([], pl.DataFrame(), [], [], before.audience_seq, before.next_id, before.held)


def _taken_over(
    journey: Journey, active: pl.DataFrame, current: int
) -> tuple[pl.DataFrame, list[Move], list[Passage]]:
    """The enrolments after those that are mapped have moved over to the current version."""
    mapping = journey.mapping
    if mapping is None or mapping.version >= current:
        return active, [], []
    older = pl.col("version") == mapping.version
    moves: list[Move] = []
    passages: list[Passage] = []
    for old, new in mapping.steps.items():
        ids = active.filter(older & (pl.col("step") == old))["id"].to_list()
        if ids:
            moves.append(Move(ids, step=new, version=current))
            passages.append(Passage(mapping.version, old, "mapped", len(ids)))
            if new != END:
                passages.append(Passage(current, new, "entered", len(ids), "mapped"))
    mapped = older & pl.col("step").is_in(list(mapping.steps))
    moved = active.with_columns(
        step=pl.when(mapped).then(pl.col("step").replace(mapping.steps)).otherwise(pl.col("step")),
        version=pl.when(mapped).then(current).otherwise(pl.col("version")).cast(pl.Int64()),
    )
    return moved, moves, passages


def enrolled(
    journey: Journey, profile_ids: np.ndarray, ids: np.ndarray, first: str, now: datetime | None
) -> pl.DataFrame:
    """The rows of profiles that enter at the first step, as `Moving` takes them."""
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


def admitted(new: pl.DataFrame) -> tuple[pl.DataFrame, dict[int, str]]:
    """Those who don't fit what they would leave for at once; and by profile that does, for what."""
    reasons: dict[int, str] = {}
    for reason, answer in EXITS.items():
        if answer in new.columns:
            outside = pl.col(answer).fill_null(False)
            reasons |= dict.fromkeys(new.filter(outside)["profile_id"].to_list(), reason)
            new = new.filter(~outside)
    return new, reasons


def _rows(new: pl.DataFrame, moved: Moved, version: int) -> pl.DataFrame:
    """The new enrolments, where they are after the tick's moves."""
    places = [
        pl.DataFrame({"id": ids, "at": path}, schema={"id": pl.Int64, "at": pl.String})
        for path, ids in moved.places.items()
    ]
    step = pl.coalesce("at", "step")
    placed = (
        new.join(pl.concat(places), on="id", how="left")
        if places
        else new.with_columns(at=pl.lit(None, pl.String()))
    )
    return placed.select(
        "id", pl.lit(version).alias("version"), "profile_id", "holdout", step.alias("step"),
        state=pl.when(step == END).then(pl.lit("completed")).otherwise(pl.lit("active")),
    )  # fmt: skip


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
    name: str, active: int, results: dict[int, Moved], changes: Changes, *, wrote: bool = False
) -> TickResult:
    steps: dict[tuple[str, str, str], int] = {}
    for each in changes.passages:
        key = (each.step, each.event, each.reason)
        steps[key] = steps.get(key, 0) + each.count
    exited = sum(len(ids) for moved in results.values() for ids in moved.exits.values())
    completed = sum(len(moved.places.get(END, [])) for moved in results.values())
    return TickResult(
        journey=name,
        active=active + len(changes.entered) - exited - completed,
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
