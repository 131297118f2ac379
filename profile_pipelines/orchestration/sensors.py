"""What starts runs besides the clock: a source that moved, attributes that were synced."""

import json
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import dagster as dg

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.errors import CatalogueError, ProfilePipelinesError
from profile_pipelines.orchestration.derived import IDENTITIES, PROFILES
from profile_pipelines.orchestration.journeys import downstream_keys
from profile_pipelines.orchestration.lost_runs import lost_runs_sensor
from profile_pipelines.orchestration.session import Session, queued_runs
from profile_pipelines.orchestration.systems import (
    RETRIES_TAG,
    attribute_key,
    attribute_keys,
    attributes_of,
)
from profile_pipelines.orchestration.webhooks import (
    BY_TAG,
    webhook_keys,
    webhook_sensor,
    webhook_systems,
)

UP_TO_DATE = "bring_up_to_date"
REMAPPED = "catalogue_changed"
_SECONDS = "PROFILE_PIPELINES_SENSOR_SECONDS"
_FIRST_WAIT, _LONGEST_WAIT = timedelta(seconds=30), timedelta(hours=1)
_LOOK_BACK = 12
_WEBHOOK_SECONDS = 1
"""Less than the five of the daemon's loop, so that every loop looks, rather than every second."""
_HAVE_MARKS = ("sql", "files", "custom")
"""Connections that may tell cheaply that something changed; HTTP APIs can't."""
_IN_THE_QUEUE = dg.SkipReason("a run that waits in the queue will see what is new")
_FINISHED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


def sensors(catalogue: Catalogue) -> list[dg.SensorDefinition]:
    """All sensors, running from the start.

    They look every 30 seconds, or every `PROFILE_PIPELINES_SENSOR_SECONDS`. Raises CatalogueError
    when that is no number of seconds.
    """
    seconds = _interval(os.environ.get(_SECONDS) or "30")
    return [
        *(
            _change_sensor(catalogue, name, seconds)
            for name, system in catalogue.systems.items()
            if system.connection.type in _HAVE_MARKS and attributes_of(system)
        ),
        *(
            webhook_sensor(name, downstream_keys(catalogue), min(seconds, _WEBHOOK_SECONDS))
            for name in webhook_systems(catalogue)
        ),
        *([_remapped_sensor(catalogue, seconds)] if attribute_keys(catalogue) else []),
        _up_to_date_sensor(catalogue, seconds),
        lost_runs_sensor(),
    ]


def _interval(told: str) -> int:
    if not told.strip().isdecimal() or int(told) == 0:
        raise CatalogueError([f"{_SECONDS}: {told!r} must be a whole number of seconds above 0"])
    return int(told)


def _change_sensor(catalogue: Catalogue, name: str, seconds: int) -> dg.SensorDefinition:
    system = catalogue.systems[name]
    keys = [attribute_key(name, attribute) for attribute in attributes_of(system)]

    sensor_name = f"{name}_changed"

    @dg.sensor(
        name=sensor_name,
        target=dg.AssetSelection.assets(*keys),
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            f"Syncs {name} as soon as something has changed in it; what it couldn't read is asked "
            "for again, after pauses that grow."
        ),
    )
    def changed(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        from profile_pipelines.sources import open_limited

        known: dict[str, Any] = json.loads(context.cursor) if context.cursor else {}
        before: dict[str, str] = known.get("marks", {})
        try:
            found = {
                sync: open_limited(system, declared).change_mark()
                for sync, declared in system.syncs.items()
            }
        except ProfilePipelinesError as error:
            return dg.SkipReason(str(error))
        marks = {sync: mark for sync, mark in found.items() if mark is not None}
        # without a cursor nothing is known of what the last sync saw, so all of it moved
        moved = [sync for sync, mark in marks.items() if before.get(sync) != mark]
        failed = _to_ask_again(context.instance, sensor_name, keys, datetime.now(UTC))
        if not moved and not failed:
            return dg.SkipReason(f"nothing has changed in {name}")
        number = known.get("number", 0) + 1
        selection = [
            attribute_key(name, attribute)
            for sync in moved
            for attribute in system.syncs[sync].attributes
        ]
        # a sync that only links is read with any other, and has no asset of its own
        selection = selection or (keys if moved else [])
        selection += [key for key in keys if key in failed and key not in selection]
        cursor = json.dumps({"number": number, "marks": marks})
        if any(
            run.asset_selection and run.asset_selection >= set(selection)
            for run in queued_runs(context.instance, BY_TAG, sensor_name)
        ):
            return dg.SensorResult(skip_reason=_IN_THE_QUEUE, cursor=cursor)
        # the key is the same for a tick that is evaluated again, another when marks come back
        run_key = f"{name}:{number}:{_digest(marks)}"
        request = dg.RunRequest(run_key=run_key, asset_selection=selection)
        return dg.SensorResult(run_requests=[request], cursor=cursor)

    return changed


def _remapped_sensor(catalogue: Catalogue, seconds: int) -> dg.SensorDefinition:
    """Looks at the lake once for each catalogue, and asks for what was read by another one."""

    @dg.sensor(
        name=REMAPPED,
        target=dg.AssetSelection.assets(*attribute_keys(catalogue)),
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={"session"},
        description="Syncs at once what the catalogue declares otherwise than it was read.",
    )
    def remapped(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        from profile_pipelines.landing.cursors import fingerprint
        from profile_pipelines.pipeline import remapped_syncs

        declared = fingerprint(catalogue)
        if context.cursor == declared:
            return dg.SkipReason("all is declared as it was read, or is asked for")
        session: Session = context.resources.session
        try:
            anew = remapped_syncs(session.current())
        except ProfilePipelinesError as error:
            return dg.SkipReason(str(error))
        keys = [attribute_key(each.system, name) for each in anew for name in each.attributes]
        if not keys:
            return dg.SensorResult(skip_reason="all is declared as it was read", cursor=declared)
        request = dg.RunRequest(run_key=f"{REMAPPED}:{declared}", asset_selection=keys)
        return dg.SensorResult(run_requests=[request], cursor=declared)

    return remapped


def _up_to_date_sensor(catalogue: Catalogue, seconds: int) -> dg.SensorDefinition:
    derived = downstream_keys(catalogue)
    watched = [*attribute_keys(catalogue), *webhook_keys(catalogue), IDENTITIES, PROFILES]

    @dg.sensor(
        name=UP_TO_DATE,
        target=dg.AssetSelection.assets(*derived),
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Brings identities, profiles and audiences up to date however a system's attributes "
            "were synced: by a schedule, a sensor or by hand."
        ),
    )
    def bring_up_to_date(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        """The cursor holds the number of the last materialisation seen, and the runs on which
        we wait since they mean to bring everything up to date themselves."""
        instance = context.instance
        known: dict[str, Any] = json.loads(context.cursor) if context.cursor else {}
        seen: int = known.get("seen", 0)
        waiting: list[str] = known.get("waiting", [])
        behind = False
        newest = seen
        for run_id, storage_id in _materialised_after(instance, watched, seen):
            newest = max(newest, storage_id)
            if run_id in waiting:
                continue
            if _means_to_materialise(instance, run_id, derived):
                waiting.append(run_id)
            else:
                behind = True
        still_waiting: list[str] = []
        for run_id in waiting:
            run = instance.get_run_by_id(run_id)
            if run is not None and run.status not in _FINISHED:
                still_waiting.append(run_id)
            elif run is not None and not run.is_success and run.tags.get(BY_TAG) != UP_TO_DATE:
                # a check or a failure stopped it before profiles; our own failed runs are for
                # retries and the next change, or a lasting error would start one run after another
                behind = True
        cursor = json.dumps({"seen": newest, "waiting": still_waiting})
        if not behind:
            reason = (
                "runs that do it are under way" if still_waiting else "everything is up to date"
            )
            return dg.SensorResult(skip_reason=dg.SkipReason(reason), cursor=cursor)
        if queued_runs(instance, BY_TAG, UP_TO_DATE):
            return dg.SensorResult(skip_reason=_IN_THE_QUEUE, cursor=cursor)
        request = dg.RunRequest(
            run_key=f"{UP_TO_DATE}:{_digest([newest, waiting])}",
            asset_selection=derived,
        )
        return dg.SensorResult(run_requests=[request], cursor=cursor)

    return bring_up_to_date


def _to_ask_again(
    instance: dg.DagsterInstance, sensor: str, keys: Sequence[dg.AssetKey], now: datetime
) -> set[dg.AssetKey]:
    """The assets whose last run that the sensor asked for failed, once its pause is over.

    Each failure after another doubles the pause. Not what another run has synced since, what a
    run is under way for, nor what was read and set aside: to read that again would bring the same.
    """
    records = instance.get_run_records(dg.RunsFilter(tags={BY_TAG: sensor}), limit=_LOOK_BACK)
    found: dict[dg.AssetKey, float] = {}
    for key in keys:
        runs = [r for r in records if key in (r.dagster_run.asset_selection or ())]
        failures = 0
        for record in runs:
            run = record.dagster_run
            if run.status != dg.DagsterRunStatus.FAILURE or run.tags.get(RETRIES_TAG) == "0":
                break
            failures += 1
        if not failures or (ended := runs[0].end_time) is None:
            continue
        pause = min(_FIRST_WAIT * 2 ** (failures - 1), _LONGEST_WAIT)
        if datetime.fromtimestamp(ended, UTC) + pause <= now:
            found[key] = ended
    for record in instance.get_asset_records(list(found)) if found else ():
        last = record.asset_entry.last_materialization_record
        if last is not None and last.timestamp > found[record.asset_entry.asset_key]:
            del found[record.asset_entry.asset_key]
    return set(found)


def _materialised_after(
    instance: dg.DagsterInstance, keys: list[dg.AssetKey], seen: int
) -> Iterable[tuple[str, int]]:
    """The runs that last materialised the assets, with the greatest number of their events."""
    runs: dict[str, int] = {}
    for record in instance.get_asset_records(keys):
        last = record.asset_entry.last_materialization_record
        if last is not None and last.storage_id > seen:
            runs[last.run_id] = max(last.storage_id, runs.get(last.run_id, 0))
    return runs.items()


def _means_to_materialise(
    instance: dg.DagsterInstance, run_id: str, derived: list[dg.AssetKey]
) -> bool:
    planned = instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    )
    keys = {record.asset_key for record in planned.records}
    return keys.issuperset(derived)


def _digest(told: object) -> str:
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
