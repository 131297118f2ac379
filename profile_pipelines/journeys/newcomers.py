"""Who comes to a journey's door at a tick: who may enter, and who has been in it too recently."""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from profile_pipelines.catalog.journeys import Journey
from profile_pipelines.catalog.local_time import exactly_later, later
from profile_pipelines.journeys.entry import fitting, followed_of, joined_since, members
from profile_pipelines.journeys.facts import Facts
from profile_pipelines.journeys.joined import of_today, were_members
from profile_pipelines.journeys.mark import Mark
from profile_pipelines.lake import Pinned
from profile_pipelines.ledger.enrolments import Enrolments, Tick

REENTER = "reenter"
"""Why one is turned away who has been in the journey too recently."""
_A_DAY_OR_TWO = timedelta(days=2)


@dataclass(frozen=True)
class Door:
    """Who has come to it."""

    may: np.ndarray
    """The profiles that enter, unless they would leave at once."""
    again_at: Mapping[int, datetime] = field(default_factory=dict[int, datetime])
    """By profile that has been in the journey too recently: when it may enter again."""
    stored: Mapping[int, str] = field(default_factory=dict[int, str])
    """Whom the ledger notes as watched, and why."""
    watched: frozenset[int] = frozenset()
    """The profiles that these are today."""


@dataclass(frozen=True)
class TurnedAway:
    """Who was turned away at a tick, and whom the ledger is to watch."""

    counts: Mapping[str, int]
    """By reason: how many came and were turned away, each once."""
    watch: Mapping[int, str]
    unwatch: list[int]
    next_due: datetime | None
    """When the first of those who have been in it too recently may enter."""


def at_the_door(
    facts: Facts,
    enrolments: Enrolments,
    journey: Journey,
    entry: Pinned,
    before: Tick,
    inside: np.ndarray,
    *,
    dry: bool,
) -> Door:
    """Members of the entry's table who became so since the last tick, or at the launch; and
    members who are watched. Who is `inside` the journey doesn't come to its door."""
    catalogue, lake = facts.catalogue, facts.lake
    stored = enrolments.watched.of(journey.journey)
    # another audience, or a condition in place of one, is a launch of its own
    launching = not before.tick or before.followed not in (None, followed_of(journey))
    if launching and journey.launch == "newcomers":
        return Door(np.empty(0, np.int64), stored=stored)
    found = members(lake, entry) if launching else joined_since(lake, entry, before.audience_seq)
    fit = None
    if dry and journey.enter_when is not None:
        # nobody has noted yet for whom it holds by now
        fit = fitting(facts, journey.enter_when)
        new = fit if launching else np.setdiff1d(fit, members(lake, entry))
        found = np.union1d(np.intersect1d(found, fit), new)
    if not launching and len(found):
        was = Mark.read(before.mark).profiles_seq if before.mark is not None else None
        others = were_members(
            catalogue, lake, entry, found, since=before.audience_seq, profiles_seq=was
        )
        found = found[~np.isin(found, others)]
    watched: np.ndarray = np.empty(0, np.int64)
    if stored and journey.watches and not launching:
        today = of_today(catalogue, lake, dict.fromkeys(stored, facts.now))
        watched = np.intersect1d(
            np.array(sorted(today), np.int64), members(lake, entry) if fit is None else fit
        )
        found = np.union1d(found, watched)
    found = found[~np.isin(found, inside)]
    may, again_at = admissible(journey, found, _ended(facts, enrolments, journey, found), facts)
    return Door(may, again_at, stored, frozenset(watched.tolist()))


def _ended(
    facts: Facts, enrolments: Enrolments, journey: Journey, found: np.ndarray
) -> dict[int, datetime]:
    """When those left the journey who have been in it, also as another profile, where that counts
    for who may enter."""
    if not len(found) or journey.reenter.kind == "always":
        return {}
    since = None
    if journey.reenter.kind == "after":
        since = exactly_later(facts.now, -journey.reenter.after.longest - _A_DAY_OR_TWO)
    ended = enrolments.been(journey.journey, since, now=facts.now)
    counted = {one: facts.seen.counted(at, facts.now) for one, at in ended.items()}
    return of_today(facts.catalogue, facts.lake, counted)


def admissible(
    journey: Journey,
    found: np.ndarray,
    ended: Mapping[int, datetime],
    facts: Facts,
) -> tuple[np.ndarray, dict[int, datetime]]:
    """By `reenter`: the profiles that may enter, in order, and when others may; `ended` has when
    each left the journey that has been in it."""
    found = np.sort(found)
    if journey.reenter.kind == "always" or not ended:
        return found, {}
    now, zone = facts.now, ZoneInfo(facts.catalogue.settings.timezone)
    again_at: dict[int, datetime] = {}
    been = found[np.isin(found, np.fromiter(ended, np.int64))]
    may = np.setdiff1d(found, been)
    if journey.reenter.kind == "after":
        again_at = {one: later(ended[one], journey.reenter.after, zone) for one in been.tolist()}
        ready = [one for one, at in again_at.items() if at <= now]
        may = np.union1d(may, np.array(ready, np.int64))
        again_at = {one: at for one, at in again_at.items() if at > now}
    return may, again_at


def turned_away(journey: Journey, door: Door, reasons: Mapping[int, str]) -> TurnedAway:
    """What becomes of those who may not enter now; `reasons` has those who would leave at once."""
    away = {**reasons, **dict.fromkeys(door.again_at, REENTER)}
    counts: dict[str, int] = {}
    for one, reason in away.items():
        if one not in door.watched:
            counts[reason] = counts.get(reason, 0) + 1
    if not journey.watches:
        return TurnedAway(counts, {}, sorted(door.stored), None)
    watch = {one: reason for one, reason in away.items() if door.stored.get(one) != reason}
    unwatch = sorted(one for one in door.stored if one not in away)
    return TurnedAway(counts, watch, unwatch, min(door.again_at.values(), default=None))
