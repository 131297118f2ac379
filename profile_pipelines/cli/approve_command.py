"""`approve`: what was set aside, and letting it through."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from profile_pipelines.cli.options import AsJson, Now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from profile_pipelines.ledger import SetAside


def approve(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN", help="The id of the run that set something aside, or its end."
        ),
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Who approves; else your login.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="List also what is no longer waiting.")
    ] = False,
    as_json: AsJson = False,
    now: Now = None,
) -> None:
    """Let through what a run set aside.

    The next sync brings it. Without RUN, list what is waiting.
    """
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import print_json, stdout
    from profile_pipelines.cli.session import open_workspace

    if run is not None and not run.strip():
        raise typer.BadParameter("RUN is empty; without RUN, what is waiting is listed")
    workspace = open_workspace()
    timezone = workspace.catalogue.settings.timezone
    set_asides = workspace.ledger.set_asides
    if run is None:
        rows = set_asides.all() if everything else set_asides.newest()
    else:
        who = by or getpass.getuser()
        rows = set_asides.approve(run, by=who, now=present(now, timezone))
    if as_json:
        print_json([{**vars(row), "says": str(row.excess)} for row in rows])
    elif rows:
        _print(rows, timezone)
        if run is not None:
            systems = sorted({row.system for row in rows})
            at_once = "; ".join(f"profile-pipelines sync {system}" for system in systems)
            hint = f"the next sync of {' and '.join(systems)} brings it (now: {at_once})"
            stdout().print(f"\nApproved: {hint}", soft_wrap=True)
    else:
        stdout().print("Nothing is set aside")


def _print(rows: Sequence[SetAside], timezone: str) -> None:
    from profile_pipelines.cli.output import NOTHING, spell_time, stdout, table

    shown = table("run", "set aside", "at", "~why", "~approved")
    for row in rows:
        approved = NOTHING
        if row.approved_at is not None:
            used = f", used by {row.closed_by}" if row.closed_by else ""
            approved = f"{spell_time(row.approved_at, timezone)} by {row.approved_by}{used}"
        elif row.closed_by:
            approved = f"not needed: brought by {row.closed_by}"
        elif row.excess.kind == "missing":
            approved = "can't be"
        shown.add_row(
            row.run_id, row.place, spell_time(row.seen_at, timezone), str(row.excess), approved
        )
    stdout().print(shown)
    if any(row.excess.kind == "missing" and not row.closed_by for row in rows):
        todo = "correct the mapping in the catalogue, or the source"
        stdout().print(f"\nNo approval brings a missing field back: {todo}", soft_wrap=True)
