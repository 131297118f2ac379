"""What systems send by themselves: an asset and a sensor for each system with a webhook.

The asset is not the system's attributes: an event verifies one record, and materialising the
attributes would tell Dagster that all of them are fresh.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.systems import System
from profile_pipelines.errors import ProfilePipelinesError
from profile_pipelines.orchestration.session import Session, now_of

if TYPE_CHECKING:
    from profile_pipelines.system_steps import ReadStep

_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=10), timedelta(minutes=15)
_LOOK_BACK = 12
BY_TAG = "dagster/sensor_name"
"""Run tag, set by the daemon: the sensor that asked for the run."""


def webhook_systems(catalogue: Catalogue) -> list[str]:
    """The systems that declare a webhook."""
    return [name for name, system in catalogue.systems.items() if system.webhook is not None]


def webhook_key(system: str) -> dg.AssetKey:
    """The asset of what a system's events named."""
    return dg.AssetKey(["webhooks", system])


def webhook_keys(catalogue: Catalogue) -> list[dg.AssetKey]:
    """The assets of all systems with a webhook."""
    return [webhook_key(name) for name in webhook_systems(catalogue)]


def webhook_assets(catalogue: Catalogue) -> list[dg.AssetsDefinition]:
    """An asset for each system with a webhook."""
    return [_asset(catalogue, name) for name in webhook_systems(catalogue)]


def _asset(catalogue: Catalogue, system: str) -> dg.AssetsDefinition:
    declared = catalogue.systems[system]

    @dg.asset(
        key=webhook_key(system),
        group_name=system,
        kinds={declared.kind, "webhook"},
        pool=system,
        required_resource_keys={"session"},
        description=f"The records that events of {system} named, read one by one.",
    )
    def read_named(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        session: Session = context.resources.session
        counts: dict[str, int] = dict.fromkeys(
            ("events", "rows_read", "changed", "deleted", "invalid"), 0
        )
        failure: dg.Failure | None = None
        for step in event_steps(
            session, declared, now=now_of(context.run.tags), run_id=context.run.run_id
        ):
            outcome = session.read(step)
            for result in outcome.named:
                for name in counts:
                    counts[name] += getattr(result, name)
                session.report.named.append(result)
            try:
                with session.failing(step.name):
                    outcome.check()
            except dg.Failure as error:
                failure = error
        yield dg.MaterializeResult(metadata={**counts})
        if failure is not None:
            # after the result: what was committed has to reach the profiles all the same
            raise failure

    return read_named


def event_steps(
    session: Session, declared: System, *, now: datetime, run_id: str
) -> "list[ReadStep]":
    """What is read of the system for its events."""
    from profile_pipelines.system_steps import events_step

    return [
        events_step(lambda: session.workspace, declared.system, sync, now=now, run_id=run_id)
        for sync in sorted(declared.syncs)
    ]


def webhook_sensor(system: str, derived: list[dg.AssetKey], seconds: int) -> dg.SensorDefinition:
    """Starts a run as soon as an event of the system waits, unless one is under way.

    The run reads the named records and brings everything up to date: a second one for that would
    cost seconds. After runs that couldn't read them it waits, longer each time; not after those
    that failed later, as where a destination is down: the events were read.
    """
    name = f"{system}_webhooks"
    keys = [webhook_key(system), *derived]

    @dg.sensor(
        name=name,
        target=dg.AssetSelection.assets(*keys),
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={"session"},
        description=f"Reads the records that events of {system} named, within seconds.",
    )
    def events(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        session: Session = context.resources.session
        try:
            inbox = session.current().ledger.inbox
        except ProfilePipelinesError as error:
            return dg.SkipReason(str(error))
        if not any(named == system for named, _ in inbox.syncs_waiting()):
            return dg.SkipReason("no event waits")
        runs = context.instance.get_run_records(
            dg.RunsFilter(tags={BY_TAG: name}), limit=_LOOK_BACK
        )
        if any(not record.dagster_run.is_finished for record in runs):
            return dg.SkipReason("a run that reads the named records is under way")
        until = _pause_until(context.instance, system, runs)
        if until is not None and datetime.now(UTC) < until:
            return dg.SkipReason(f"the last run failed; the next begins after {until:%H:%M:%S} UTC")
        known: dict[str, Any] = json.loads(context.cursor) if context.cursor else {}
        number = known.get("number", 0) + 1
        return dg.SensorResult(
            # the same key for a tick that is evaluated again
            run_requests=[dg.RunRequest(run_key=f"{name}:{number}", asset_selection=keys)],
            cursor=json.dumps({"number": number}),
        )

    return events


def _pause_until(
    instance: dg.DagsterInstance, system: str, runs: Sequence[dg.RunRecord]
) -> datetime | None:
    """When to try again after the newest runs failed to read one after another; None: now."""
    failed = 0
    for record in runs:
        if record.dagster_run.is_success or _has_read(instance, system, record.dagster_run.run_id):
            break
        failed += 1
    if not failed or runs[0].end_time is None:
        return None
    wait = min(_FIRST_WAIT * 2 ** (failed - 1), _LONGEST_WAIT)
    return datetime.fromtimestamp(runs[0].end_time, UTC) + wait


def _has_read(instance: dg.DagsterInstance, system: str, run_id: str) -> bool:
    done = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
    step = webhook_key(system).to_python_identifier()
    return any(each.event_log_entry.step_key == step for each in done.records)
