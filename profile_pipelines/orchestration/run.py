"""Runs the pipeline through Dagster in this process, as the command line does."""

import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.utils import make_new_run_id

from profile_pipelines.errors import Conflict
from profile_pipelines.orchestration.build import build_definitions
from profile_pipelines.orchestration.journeys import downstream_keys
from profile_pipelines.orchestration.lost_runs import signs_of_life
from profile_pipelines.orchestration.session import FULL_TAG, NOW_TAG, Session
from profile_pipelines.orchestration.systems import attribute_key
from profile_pipelines.orchestration.unrecorded import unrecorded_instance
from profile_pipelines.orchestration.webhooks import webhook_key, webhook_systems
from profile_pipelines.progress import RunProgress
from profile_pipelines.report import RunReport

if TYPE_CHECKING:
    from profile_pipelines.pipeline import DueSync
    from profile_pipelines.workspace import Workspace

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def run_in_process(
    workspace: "Workspace",
    selection: "Sequence[DueSync]",
    *,
    now: datetime,
    full: bool = False,
    progress: RunProgress | None = None,
    instance: dg.DagsterInstance | None = None,
    downstream: bool = True,
    named: bool = False,
) -> RunReport:
    """Sync what is selected, then bring identities, profiles and audiences up to date.

    Two Dagster runs, so that the second takes place even where a system couldn't be read; then
    the lake is kept in order. `now` (aware) stands for the present. Without
    an `instance` the runs are recorded where `DAGSTER_HOME` says, or else nowhere. Raises
    nothing for a step that fails: the report has its error; and LakeError where the lake isn't
    the one that goes with the ledger. With `named` the records that events named are read, too.
    """
    workspace.check_lake(now=now)
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    session = Session(lambda: workspace, progress)
    report = session.report
    report.now = now.astimezone(UTC)
    keys = [attribute_key(due.system, name) for due in selection for name in due.attributes]
    if named:
        waiting = {system for system, _ in workspace.ledger.inbox.syncs_waiting()}
        keys += [webhook_key(s) for s in webhook_systems(workspace.catalogue) if s in waiting]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        job = _job(workspace, session)
        with instance or _instance() as used:
            if keys:
                report.run_ids.append(_run(job, used, keys, report.now, full))
            if downstream:
                derived = downstream_keys(workspace.catalogue)
                report.run_ids.append(_run(job, used, derived, report.now, full))
    _upkeep(workspace, compacting=report.wrote_anything, now=report.now)
    return report


def _job(workspace: "Workspace", session: Session) -> dg.JobDefinition:
    definitions = build_definitions(workspace.catalogue, lambda: workspace, session=session)
    return definitions.resolve_implicit_global_asset_job_def()


def _instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.get() if os.environ.get("DAGSTER_HOME") else unrecorded_instance()


def _run(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    keys: list[dg.AssetKey],
    now: datetime,
    full: bool,
) -> str:
    run_id = make_new_run_id()
    with signs_of_life(instance, run_id):
        job.execute_in_process(
            run_config=_QUIET,
            instance=instance,
            raise_on_error=False,
            run_id=run_id,
            tags={NOW_TAG: now.isoformat(), **({FULL_TAG: "true"} if full else {})},
            asset_selection=keys,
        )
    return run_id


def _upkeep(workspace: "Workspace", *, compacting: bool, now: datetime) -> None:
    from profile_pipelines.upkeep import compact, forget_history, sweep

    if compacting:
        compact(workspace)
        sweep(workspace, clock=datetime.now(UTC))
    with suppress(Conflict):  # another run writes at this moment; a later one does it
        forget_history(workspace, now=now)
