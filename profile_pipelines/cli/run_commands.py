"""`run` and `sync`: from the systems to the messages that go out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from profile_pipelines.cli.options import AsJson, AttributeNames, Full, Now, SystemName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from profile_pipelines.pipeline import DueSync
    from profile_pipelines.report import RunReport
    from profile_pipelines.workspace import Workspace

AllowSetAside = Annotated[
    bool, typer.Option("--allow-set-aside", help="End with 0 even where something was set aside.")
]


def run(
    everything: Annotated[
        bool, typer.Option("--all", help="Every sync, not only those whose schedule has come.")
    ] = False,
    full: Full = False,
    allow_set_aside: AllowSetAside = False,
    parallel: Annotated[
        int | None,
        typer.Option(
            "--parallel",
            metavar="N",
            min=1,
            help="Read so many systems at once, in place of the catalogue's `parallel`.",
        ),
    ] = None,
    as_json: AsJson = False,
    now: Now = None,
) -> None:
    """Run what is due, from systems to messages.

    Syncs whose schedule has come round, then profiles, audiences and journeys; then send.
    """
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import note
    from profile_pipelines.cli.session import open_workspace
    from profile_pipelines.pipeline import due_syncs

    workspace = open_workspace()
    moment = present(now, workspace.catalogue.settings.timezone)
    _check_moment(workspace, now, moment)
    due = due_syncs(workspace, moment, everything=everything)
    report = _run(
        workspace, due, now=moment, full=full, downstream=True, named=True, parallel=parallel
    )
    if not due:
        note("no sync is due; --all runs every sync")
    _show(report, as_json=as_json, allow_set_aside=allow_set_aside)


def sync(
    system: SystemName,
    full: Full = False,
    attribute: AttributeNames = None,
    only: Annotated[
        bool, typer.Option("--only", help="Leave profiles and audiences as they are.")
    ] = False,
    allow_set_aside: AllowSetAside = False,
    as_json: AsJson = False,
    now: Now = None,
) -> None:
    """Sync one system, then what depends on it."""
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.session import open_workspace

    workspace = open_workspace()
    selection = _selected(workspace, system, attribute or [])
    moment = present(now, workspace.catalogue.settings.timezone)
    _check_moment(workspace, now, moment)
    report = _run(workspace, selection, now=moment, full=full, downstream=not only)
    _show(report, as_json=as_json, allow_set_aside=allow_set_aside)


def _check_moment(workspace: Workspace, given: str | None, moment: datetime) -> None:
    """The history can't be written before what it holds already; raises BadParameter. What lies
    in the future stands, and is said."""
    from profile_pipelines.catalog.local_time import CLOCKS_DIFFER
    from profile_pipelines.cli.output import note
    from profile_pipelines.lake_tables import last_commit

    latest = max(workspace.ledger.coverage().values(), default=moment)
    if given is None and latest > moment + CLOCKS_DIFFER:
        note(
            f"syncs are on record until {latest:%Y-%m-%dT%H:%M:%SZ}, which is yet to come: until "
            "then no schedule makes them due again, and their values are fresh"
        )
    if given is not None and moment > datetime.now(UTC) + CLOCKS_DIFFER:
        note("--now lies in the future: until then no schedule makes due what is synced here")

    last = None if given is None else last_commit(workspace)
    if last is not None and moment < last:
        raise typer.BadParameter(
            f"--now lies before the lake's last commit, {last:%Y-%m-%dT%H:%M:%SZ}: a run can't "
            "write into the past; to see it use --as-of"
        )


def _selected(workspace: Workspace, system: str, attributes: Sequence[str]) -> list[DueSync]:
    """The system's syncs with the attributes that were asked for. Raises UnknownName."""
    from profile_pipelines.catalog.mistakes import did_you_mean
    from profile_pipelines.catalog.plan import find_declared
    from profile_pipelines.errors import UnknownName
    from profile_pipelines.pipeline import DueSync

    syncs = find_declared("system", system, workspace.catalogue.systems).syncs
    mapped = [name for each in syncs.values() for name in each.attributes]
    for name in attributes:
        if name not in mapped:
            hint = did_you_mean(name, mapped, all_of="it maps")
            raise UnknownName(f"system {system} maps no field to {name}{hint}")
    found: list[DueSync] = []
    for name, each in syncs.items():
        chosen = tuple(a for a in each.attributes if not attributes or a in attributes)
        if chosen or not attributes:
            found.append(DueSync(system, name, chosen))
    return found


def _run(
    workspace: Workspace,
    selection: Sequence[DueSync],
    *,
    now: datetime,
    full: bool,
    downstream: bool,
    named: bool = False,
    parallel: int | None = None,
) -> RunReport:
    from profile_pipelines.cli.output import note
    from profile_pipelines.cli.progress import watching
    from profile_pipelines.cli.session import reachable_systems
    from profile_pipelines.orchestration.journeys import downstream_keys
    from profile_pipelines.orchestration.run import run_in_process

    after = len(downstream_keys(workspace.catalogue)) if downstream else 0
    try:
        with reachable_systems(), watching(len(selection) + after) as progress:
            return run_in_process(
                workspace,
                selection,
                now=now,
                full=full,
                progress=progress,
                downstream=downstream,
                named=named,
                parallel=parallel,
            )
    except KeyboardInterrupt:
        note(
            "interrupted: what was committed until now stays, and nothing half done was; run again "
            "to go on from there"
        )
        raise


def _show(report: RunReport, *, as_json: bool, allow_set_aside: bool) -> None:
    from profile_pipelines.cli.output import print_json
    from profile_pipelines.cli.run_tables import end_run, print_report, report_document

    if as_json:
        print_json(report_document(report))
    else:
        print_report(report)
    end_run(report, allow_set_aside=allow_set_aside)
