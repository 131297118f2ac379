"""Runs whose process has died whole: found by their silence, and ended in Dagster's books.

Dagster's run monitoring asks a launcher whether a run is still worked on; the launcher that starts
processes can't tell, and a run without a process would hold its places in queue and pools until
`max_runtime_seconds`. So whatever works on a run writes a sign of life into Dagster's own storage
every few seconds, wherever it is; the sensor looks whether it still changes. It compares no clocks
of two machines, and what was missed while nobody looked counts for little.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from time import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from zlib import crc32

import dagster as dg
from dagster._core.executor.in_process import InProcessExecutor
from dagster._core.storage.dagster_run import DagsterRunStatus

from profile_pipelines.orchestration.session import NOW_TAG

if TYPE_CHECKING:
    from dagster._core.events import DagsterEvent
    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan

END_LOST_RUNS = "end_lost_runs"
_SIGN_EVERY = 5.0
_LOOK_EVERY = 10
_LOST_AFTER = 30.0
_LONGEST_GAP = 15.0
"""More of the time between two looks doesn't count: the storage, or the machine, may have stood
still, and with it the runs."""
_PLACES = 4096
_SAID = (
    "Nobody works on this run any more: no sign of life came from its process for {:.0f} seconds. "
    "It was killed, or its machine went down. Nothing is half done; the next run makes it good."
)


@contextmanager
def signs_of_life(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """While the block runs, whoever looks at the instance sees that the run is worked on."""
    if instance.is_ephemeral:
        yield
        return
    place, ended = _place(run_id), Event()

    def sign() -> None:
        while True:
            # a storage that can't be reached doesn't end the run; the next sign may get through
            with suppress(Exception):
                instance.daemon_cursor_storage.set_cursor_values({place: uuid4().hex})
            if ended.wait(_SIGN_EVERY):
                return

    thread = Thread(target=sign, name="signs of life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class _Signing(InProcessExecutor):
    def execute(
        self, plan_context: "PlanOrchestrationContext", execution_plan: "ExecutionPlan"
    ) -> "Iterator[DagsterEvent]":
        with signs_of_life(plan_context.instance, plan_context.run_id):
            yield from super().execute(plan_context, execution_plan)


@dg.executor(name="in_process")
def executor(context: dg.InitExecutorContext) -> InProcessExecutor:
    """All steps one after the other in the run's process, which gives signs of life."""
    from dagster._core.execution.retries import RetryMode

    return _Signing(RetryMode.ENABLED)


def lost_runs_sensor(clock: Callable[[], float] = time) -> dg.SensorDefinition:
    """Ends the runs that nobody works on, and with them what they hold back.

    Its cursor holds the time of the last look, and of each run under way the sign seen last and
    for how many seconds it has been the same.
    """

    @dg.sensor(
        name=END_LOST_RUNS,
        minimum_interval_seconds=_LOOK_EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Ends runs whose process has died, so that what waits behind them goes on.",
    )
    def end_lost_runs(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        instance, now = context.instance, clock()
        known: dict[str, Any] = json.loads(context.cursor) if context.cursor else {}
        gap = min(max(now - known.get("at", now), 0.0), _LONGEST_GAP)
        before: dict[str, tuple[str, float]] = known.get("runs", {})
        origin = context.code_location_origin
        location = origin.location_name if origin is not None else None
        under_way = [run for run in _under_way(instance) if _is_ours(run, location)]
        places = {_place(run.run_id) for run in under_way}
        signs = instance.daemon_cursor_storage.get_cursor_values(places) if places else {}
        silent: dict[str, tuple[str, float]] = {}
        ended = 0
        for run in under_way:
            sign = signs.get(_place(run.run_id), "")
            last, seconds = before.get(run.run_id, ("", 0.0))
            since = seconds + gap if run.run_id in before and sign == last else 0.0
            if since >= _LOST_AFTER:
                ended += _end(instance, run.run_id, since)
            else:
                silent[run.run_id] = sign, since
        cursor = json.dumps({"at": now, "runs": silent})
        told = f"{ended} ended, {len(silent)} under way" if under_way else "no run is under way"
        return dg.SensorResult(skip_reason=told, cursor=cursor)

    return end_lost_runs


def _under_way(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    statuses = [DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
    return list(instance.get_runs(dg.RunsFilter(statuses=statuses)))


def _is_ours(run: dg.DagsterRun, location: str | None) -> bool:
    """Whether it gives signs of life: a run of this code location, or one of `run`."""
    origin = run.remote_job_origin
    if origin is None:
        return NOW_TAG in run.tags
    return location in (None, origin.repository_origin.code_location_origin.location_name)


def _end(instance: dg.DagsterInstance, run_id: str, silent: float) -> bool:
    # it may have ended by itself since it was listed
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return False
    if run.status == DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, _SAID.format(silent))
    else:
        instance.report_run_failed(run, _SAID.format(silent))
    return True


def _place(run_id: str) -> str:
    """Where its sign stands. The places are used again, so that they don't grow with the runs;
    two runs that share one keep each other alive."""
    return f"profile_pipelines/signs_of_life/{crc32(run_id.encode()) % _PLACES}"
