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
from profile_pipelines.orchestration.systems import attribute_key, steps_of
from profile_pipelines.orchestration.unrecorded import unrecorded_instance
from profile_pipelines.orchestration.webhooks import event_steps, webhook_key, webhook_systems
from profile_pipelines.progress import RunProgress
from profile_pipelines.report import RunReport

if TYPE_CHECKING:
    from profile_pipelines.pipeline import DueSync
    from profile_pipelines.system_steps import ReadStep
    from profile_pipelines.workspace import Workspace

_INTERRUPTS = ("KeyboardInterrupt", "DagsterExecutionInterruptedError")
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
    parallel: int | None = None,
) -> RunReport:
    """Sync what is selected, then bring identities, profiles and audiences up to date.

    The systems are read side by side, `parallel` of them at once (the catalogue's number unless
    given); Dagster is told what they brought. Two Dagster runs, so that the second takes place
    even where a system couldn't be read; then the lake is kept in order. `now` (aware) stands for
    the present. Without an `instance` the runs are recorded where `DAGSTER_HOME` says, or else
    nowhere. Raises nothing for a step that fails: the report has its error; but LakeError where
    the lake isn't the one that goes with the ledger, and KeyboardInterrupt where that came. With
    `named` the records that events named are read, too.
    """
    from profile_pipelines.system_steps import read_side_by_side

    workspace.check_lake(now=now)
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    session = Session(lambda: workspace, progress)
    report = session.report
    report.now = now.astimezone(UTC)
    report.clock = workspace.ledger.clock.look(now).told(now)
    keys = [attribute_key(due.system, name) for due in selection for name in due.attributes]
    waiting = list[str]()
    if named:
        with_events = {system for system, _ in workspace.ledger.inbox.syncs_waiting()}
        waiting = [s for s in webhook_systems(workspace.catalogue) if s in with_events]
        keys += [webhook_key(system) for system in waiting]
    run_id = make_new_run_id()
    steps = _steps(session, selection, waiting, run_id=run_id, full=full)
    at_once = parallel or workspace.catalogue.settings.parallel
    if workspace.ledger.is_in_memory:
        at_once = 1  # its one connection knows one transaction at a time
    session.read_before = read_side_by_side(steps, session.progress, at_once=at_once)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        job = _job(workspace, session)
        with instance or _instance() as used:
            if keys:
                report.run_ids.append(run_id)
                _run(job, used, run_id, keys, report.now, full)
            if downstream:
                derived = downstream_keys(workspace.catalogue)
                report.run_ids.append(make_new_run_id())
                _run(job, used, report.run_ids[-1], derived, report.now, full)
    _upkeep(workspace, compacting=report.wrote_anything, now=report.now)
    return report


def _steps(
    session: Session,
    selection: "Sequence[DueSync]",
    with_events: Sequence[str],
    *,
    run_id: str,
    full: bool,
) -> "list[list[ReadStep]]":
    """What is read of each system: its syncs, then what its events named."""
    systems, now = session.workspace.catalogue.systems, session.report.now
    found: list[list[ReadStep]] = []
    for name, declared in systems.items():
        selected = {a for due in selection if due.system == name for a in due.attributes}
        steps = (
            steps_of(session, declared, selected, now=now, run_id=run_id, full=full)
            if selected
            else ()
        )
        events = (
            event_steps(session, declared, now=now, run_id=run_id) if name in with_events else ()
        )
        found.append([*(step for step, _ in steps), *events])
    return found


def _job(workspace: "Workspace", session: Session) -> dg.JobDefinition:
    definitions = build_definitions(workspace.catalogue, lambda: workspace, session=session)
    return definitions.resolve_implicit_global_asset_job_def()


def _instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.get() if os.environ.get("DAGSTER_HOME") else unrecorded_instance()


def _run(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    run_id: str,
    keys: list[dg.AssetKey],
    now: datetime,
    full: bool,
) -> None:
    with signs_of_life(instance, run_id):
        result = job.execute_in_process(
            run_config=_QUIET,
            instance=instance,
            raise_on_error=False,
            run_id=run_id,
            tags={NOW_TAG: now.isoformat(), **({FULL_TAG: "true"} if full else {})},
            asset_selection=keys,
        )
    # Dagster takes it for a failure like any other
    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.RUN_FAILURE:
            error = event.job_failure_data.error
            if error is not None and error.cls_name in _INTERRUPTS:
                raise KeyboardInterrupt


def _upkeep(workspace: "Workspace", *, compacting: bool, now: datetime) -> None:
    from profile_pipelines.upkeep import compact, forget_history, sweep

    if compacting:
        compact(workspace)
        sweep(workspace, clock=datetime.now(UTC))
    with suppress(Conflict):  # another run writes at this moment; a later one does it
        forget_history(workspace, now=now)
