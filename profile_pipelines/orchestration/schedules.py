"""When systems are synced: one schedule for each system and cadence, and two of the clock's."""

import re
from datetime import UTC, datetime

import dagster as dg

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.plan import cadences_of
from profile_pipelines.orchestration.derived import POOL
from profile_pipelines.orchestration.journeys import downstream_keys
from profile_pipelines.orchestration.lost_runs import executor
from profile_pipelines.orchestration.session import Session, now_of, queued_runs
from profile_pipelines.orchestration.systems import attribute_key

CLOCK_CRON = "*/15 * * * *"
"""Windows such as `within_next: 30 days` move, and values grow stale, by the clock alone; a
quarter of an hour also meets midnight in every time zone."""
_COMPACT_CRON = "20 * * * *"
_BY_TAG = "dagster/schedule_name"
"""Run tag, set by the daemon: the schedule that asked for the run."""


def schedules(catalogue: Catalogue) -> list[dg.ScheduleDefinition]:
    """All schedules, in the catalogue's time zone and running from the start.

    A tick that is missed isn't caught up, nor need it be: a sync reads from where the last one
    ended.
    """
    timezone = catalogue.settings.timezone
    found = [
        _schedule(
            f"{system}_{words}",
            cron,
            [attribute_key(system, name) for name in names],
            timezone,
            f"Syncs {', '.join(names)} of {system}.",
        )
        for system in catalogue.systems
        for words, (cron, names) in _cadences(catalogue, system).items()
    ]
    found.append(
        _schedule(
            "time_passes",
            CLOCK_CRON,
            downstream_keys(catalogue),
            timezone,
            "Moves the customers whom the clock alone brings into an audience or out.",
        )
    )
    found.append(
        dg.ScheduleDefinition(
            name="compact_lake",
            cron_schedule=_COMPACT_CRON,
            job=compact_lake,
            execution_timezone=timezone,
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Keeps the lake quick to read, and from only growing.",
        )
    )
    return found


def _schedule(
    name: str, cron: str, keys: list[dg.AssetKey], timezone: str, description: str
) -> dg.ScheduleDefinition:
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        # or the queue would grow for as long as runs take longer than the cadence
        if queued_runs(context.instance, _BY_TAG, name):
            return dg.SkipReason("a run that waits in the queue will see what is new")
        return dg.RunRequest(asset_selection=keys)  # so that the list of runs shows what it covers

    return dg.ScheduleDefinition(
        name=name,
        cron_schedule=cron,
        execution_fn=tick,
        target=dg.AssetSelection.assets(*keys),
        execution_timezone=timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=description,
    )


def in_words(cron: str) -> str:
    """A cron schedule as a name, the same for no two schedules that tick differently."""
    minute, hour, *days = cron.replace("?", "*").split()
    if days == ["*", "*", "*"]:
        if hour == "*" and (every := re.fullmatch(r"\*/(\d+)", minute)):
            return f"every_{every[1]}_minutes"
        if hour == "*" and minute.isdecimal():
            return f"hourly_at_{int(minute):02}"
        if hour.isdecimal() and minute.isdecimal():
            return f"daily_at_{int(hour):02}_{int(minute):02}"
    words = {"*": "any", "/": "_every_", ",": "_and_", "-": "_to_", " ": "__", "#": "_nth_"}
    return "cron_" + "".join(words.get(c, c) for c in " ".join([minute, hour, *days]).lower())


@dg.op(required_resource_keys={"session"}, pool=POOL)
def fold_change_logs(context: dg.OpExecutionContext) -> None:
    """Fold change logs, put small files together, delete and forget what isn't kept."""
    from profile_pipelines.upkeep import compact, forget_history, sweep

    session: Session = context.resources.session
    with session.step("compact"):
        forgotten = forget_history(session.workspace, now=now_of(context.run.tags))
        context.add_output_metadata(
            {
                "tables_compacted": compact(session.workspace),
                "files_deleted": sweep(session.workspace, clock=datetime.now(UTC)),
                "rows_forgotten": sum(forgotten.values()),
            }
        )


@dg.job(executor_def=executor)
def compact_lake() -> None:
    """Keeps the lake quick to read, and from only growing."""
    fold_change_logs()


def _cadences(catalogue: Catalogue, system: str) -> dict[str, tuple[str, list[str]]]:
    """The schedules in words, with one spelling and the attributes of all: `0 4` is `00 04`."""
    found: dict[str, tuple[str, list[str]]] = {}
    for sync in catalogue.systems[system].syncs.values():
        for cron, names in cadences_of(sync).items():
            found.setdefault(in_words(cron), (cron, []))[1].extend(names)
    return found
