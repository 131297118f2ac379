"""The steps in order: what is due, syncs, identities, profiles, audiences.

The command line and Dagster call the same steps; each is idempotent and stands on what the
lake says was done, not on what ran before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from profile_pipelines.audiences.materialise import AudienceResult, materialise
from profile_pipelines.catalog.plan import find_declared, schedule_of
from profile_pipelines.errors import Conflict
from profile_pipelines.identity import IdentitiesResult, resolve
from profile_pipelines.landing import SyncResult, sync
from profile_pipelines.landing.extraction import Progress
from profile_pipelines.landing.named import NamedResult, sync_named
from profile_pipelines.profiles.merge import ProfilesResult, merge
from profile_pipelines.profiles.unsubscribed import land_unsubscribes
from profile_pipelines.workspace import Workspace

_ATTEMPTS = 5
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class DueSync:
    """A sync with those of its attributes whose schedule has come round."""

    system: str
    sync: str
    attributes: tuple[str, ...]


def due_syncs(workspace: Workspace, now: datetime, *, everything: bool = False) -> list[DueSync]:
    """The syncs with a schedule tick since they last succeeded; with `everything`, all.

    A tick at `now` itself counts.
    """
    from croniter import croniter

    catalogue = workspace.catalogue
    coverage = workspace.ledger.coverage()
    # croniter's previous tick lies strictly before
    local = now.astimezone(ZoneInfo(catalogue.settings.timezone)) + timedelta(microseconds=1)
    due: dict[tuple[str, str], list[str]] = defaultdict(list)
    for system, declared in catalogue.systems.items():
        for name, each in declared.syncs.items():
            for attribute in each.attributes:
                covered_at = coverage.get((system, attribute))
                schedule = schedule_of(catalogue, system, attribute)
                if (
                    everything
                    or covered_at is None
                    or croniter(schedule, local).get_prev(datetime) > covered_at
                ):
                    due[system, name].append(attribute)
    return [DueSync(system, name, tuple(names)) for (system, name), names in due.items()]


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
    workspace.check_lake()
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
    workspace.check_lake()
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
    workspace.check_lake()
    return again(lambda: resolve(workspace.catalogue, workspace.lake, now=now, run_id=run_id))


def merge_profiles(workspace: Workspace, *, now: datetime, run_id: str) -> ProfilesResult:
    """Bring profiles up to date with records and unsubscriptions, again when another run was
    faster."""
    workspace.check_lake()
    catalogue, lake = workspace.catalogue, workspace.lake
    if any(each.consent for each in catalogue.attributes.values()):
        unsubscribes = workspace.ledger.unsubscribes
        again(lambda: land_unsubscribes(lake, unsubscribes, now=now, run_id=run_id))
    return again(lambda: merge(catalogue, lake, now=now, run_id=run_id))


def evaluate_audience(
    workspace: Workspace, name: str, *, now: datetime, run_id: str
) -> AudienceResult:
    """Bring one audience up to date, again when another run was faster.

    Raises UnknownName when the catalogue declares none such.
    """
    workspace.check_lake()
    find_declared("audience", name, workspace.catalogue.audiences)
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
