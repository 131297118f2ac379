"""The steps in order: what is due, syncs, identities, profiles, audiences.

The command line and Dagster call the same steps; each is idempotent and stands on what the
lake says was done, not on what ran before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic, sleep
from typing import TypeVar
from zoneinfo import ZoneInfo

from profile_pipelines.audiences.materialise import AudienceResult, materialise
from profile_pipelines.catalog.plan import find_declared, schedule_of
from profile_pipelines.consent.opt_outs import keep_opt_outs, lift_opt_outs
from profile_pipelines.errors import Conflict, Held
from profile_pipelines.identity import IdentitiesResult, resolve
from profile_pipelines.landing import SyncResult, sync
from profile_pipelines.landing.extraction import Progress
from profile_pipelines.landing.named import NamedResult, sync_named
from profile_pipelines.landing.remapped import remapped
from profile_pipelines.profiles.merge import ProfilesResult, merge
from profile_pipelines.profiles.unsubscribed import land_unsubscribes
from profile_pipelines.workspace import Workspace

_ATTEMPTS = 5
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two looks at whether another run has ended."""
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class DueSync:
    """A sync with those of its attributes whose schedule has come round."""

    system: str
    sync: str
    attributes: tuple[str, ...]


def due_syncs(workspace: Workspace, now: datetime, *, everything: bool = False) -> list[DueSync]:
    """The syncs with a schedule tick since they last succeeded, and what is declared otherwise than
    it was read; with `everything`, all.

    A tick at `now` itself counts.
    """
    from profile_pipelines.catalog.schedules import last_tick

    catalogue = workspace.catalogue
    coverage = workspace.ledger.coverage()
    zone = ZoneInfo(catalogue.settings.timezone)
    ticks: dict[str, datetime | None] = {}
    due: dict[tuple[str, str], list[str]] = defaultdict(list)
    if not everything:
        for anew in remapped_syncs(workspace):
            due[anew.system, anew.sync] += anew.attributes
    for system, declared in catalogue.systems.items():
        for name, each in declared.syncs.items():
            for attribute in each.attributes:
                covered_at = coverage.get((system, attribute))
                schedule = schedule_of(catalogue, system, attribute)
                if schedule not in ticks:
                    ticks[schedule] = last_tick(schedule, now, zone)
                tick = ticks[schedule]
                if everything or covered_at is None or (tick is not None and tick > covered_at):
                    due[system, name].append(attribute)
    return [_due(system, name, names) for (system, name), names in due.items()]


def remapped_syncs(workspace: Workspace) -> list[DueSync]:
    """What is declared otherwise than it was read, which no schedule has to wait for.

    A sync that only links identifiers is read with any other one of its system.
    """
    due: dict[tuple[str, str], list[str]] = defaultdict(list)
    for system, declared in workspace.catalogue.systems.items():
        for name, each in declared.syncs.items():
            found = remapped(workspace.catalogue, workspace.lake, system, name)
            if found:
                due[system, name] += found
            elif found is None:
                with_it = (n for n, other in declared.syncs.items() if other.attributes)
                read = name if each.attributes else next(with_it, None)
                if read is not None:
                    due[system, read] += declared.syncs[read].attributes
    return [_due(system, name, names) for (system, name), names in due.items()]


def _due(system: str, name: str, attributes: Sequence[str]) -> DueSync:
    return DueSync(system, name, tuple(dict.fromkeys(attributes)))


def sync_attributes(
    workspace: Workspace,
    due: DueSync,
    *,
    now: datetime,
    run_id: str,
    full: bool = False,
    progress: Progress | None = None,
) -> SyncResult:
    """Run one sync, again when another run committed to the same table meanwhile."""
    with workspace.at_work(now=now):
        return again(
            lambda: sync(
                workspace.catalogue,
                workspace.lake,
                workspace.ledger,
                due.system,
                due.sync,
                due.attributes,
                now=now,
                run_id=run_id,
                full=full,
                progress=progress,
            )
        )


def sync_named_records(
    workspace: Workspace, system: str, name: str, *, now: datetime, run_id: str
) -> NamedResult:
    """Read the records that events named, again when another run was faster."""
    with workspace.at_work(now=now):
        return again(
            lambda: sync_named(
                workspace.catalogue,
                workspace.lake,
                workspace.ledger,
                system,
                name,
                now=now,
                run_id=run_id,
            )
        )


def resolve_identities(workspace: Workspace, *, now: datetime, run_id: str) -> IdentitiesResult:
    """Bring identities up to date, again when another run was faster."""
    with workspace.at_work(now=now):
        return again(lambda: resolve(workspace.catalogue, workspace.lake, now=now, run_id=run_id))


def merge_profiles(workspace: Workspace, *, now: datetime, run_id: str) -> ProfilesResult:
    """Bring profiles up to date with records and unsubscriptions, again when another run was
    faster."""
    with workspace.at_work(now=now):
        catalogue, lake = workspace.catalogue, workspace.lake
        if any(each.consent for each in catalogue.attributes.values()):
            unsubscribes = workspace.ledger.unsubscribes
            # no opt-out is older than what was noted before, by whatever clock
            latest = workspace.ledger.clock.seen().not_before(now)
            keep_opt_outs(catalogue, lake, unsubscribes, now=latest)
            lift_opt_outs(catalogue, lake, unsubscribes, now=latest)
            again(lambda: land_unsubscribes(lake, unsubscribes, now=now, run_id=run_id))
        return again(lambda: merge(catalogue, lake, now=now, run_id=run_id))


def evaluate_audience(
    workspace: Workspace, name: str, *, now: datetime, run_id: str
) -> AudienceResult:
    """Bring one audience up to date, again when another run was faster.

    Raises UnknownName when the catalogue declares none such.
    """
    find_declared("audience", name, workspace.catalogue.audiences)
    with workspace.at_work(now=now):
        return again(
            lambda: materialise(
                workspace.catalogue,
                workspace.lake,
                workspace.ledger.coverage(),
                name,
                now=now,
                run_id=run_id,
            )
        )


def again(step: Callable[[], _Result]) -> _Result:
    """Run a step; when another run committed to its table meanwhile, read again and retry."""
    for _ in range(_ATTEMPTS - 1):
        with suppress(Conflict):
            return step()
    return step()


def in_turn(
    workspace: Workspace, step: Callable[[], _Result], waits: Callable[[str], None] | None
) -> _Result:
    """Run a step; while another run is at what only one may be at, wait for it as long as the
    catalogue's `wait_for_runs` says. `waits` is told for whom, and since when they are at it.

    Raises Held when that was too short.
    """
    began = monotonic()
    patience = workspace.catalogue.settings.wait_for_runs
    told, pause = "", _FIRST_PAUSE
    while True:
        try:
            return step()
        except Held as held:
            waited = timedelta(seconds=monotonic() - began)
            if waited >= patience:
                raise Held(held.thing, held.by, held.since, waited) from None
            if waits is not None and held.waiting != told:
                told = held.waiting
                waits(told)
            sleep(min(pause, (patience - waited).total_seconds()))
            pause = min(2 * pause, _LONGEST_PAUSE)
