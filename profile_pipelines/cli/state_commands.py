"""`freshness` and `quarantine`: how far the data can be trusted now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from profile_pipelines.cli.options import AnySystem, AsJson, Now

if TYPE_CHECKING:
    from profile_pipelines.workspace import Workspace


def freshness(as_json: AsJson = False, now: Now = None) -> None:
    """Show how old the values are, and which are stale."""
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import (
        print_json,
        spell_duration,
        spell_time,
        stdout,
        styled,
        table,
    )
    from profile_pipelines.cli.session import open_workspace
    from profile_pipelines.landing.result import about_left_out
    from profile_pipelines.reading import Customers

    workspace = open_workspace()
    timezone = workspace.catalogue.settings.timezone
    customers = Customers(workspace)
    found, left_out = customers.freshness(now=present(now, timezone)), customers.left_out()
    if as_json:
        print_json(
            [
                {
                    "attribute": each.attribute,
                    "system": each.system,
                    "synced_at": each.covered_at,
                    "age_seconds": each.age,
                    "fresh_within_seconds": each.fresh_within,
                    "stale": each.stale,
                    "left_out": left_out.get(_sync_of(workspace, each.system, each.attribute), 0),
                }
                for each in found
            ]
        )
        return
    rows = table("attribute", "system", "synced", "#age", "#fresh within", "")
    for each in found:
        rows.add_row(
            each.attribute,
            each.system,
            spell_time(each.covered_at, timezone),
            spell_duration(each.age),
            spell_duration(each.fresh_within),
            styled("stale", "yellow") if each.stale else styled("fresh", "green"),
        )
    console = stdout()
    console.print(rows)
    stale = sum(each.stale for each in found)
    console.print(f"\n{stale} of {len(found)} are stale" if stale else "\nEverything is fresh")
    for name, count in left_out.items():
        console.print(
            styled("late: ", "yellow"), f"{name}: {about_left_out(count)}", soft_wrap=True, sep=""
        )


def _sync_of(workspace: Workspace, system: str, attribute: str) -> str:
    from profile_pipelines.catalog.plan import sync_of

    return f"{system}.{sync_of(workspace.catalogue, system, attribute)[0]}"


def quarantine(
    system: AnySystem = None,
    records: Annotated[
        bool, typer.Option("--records", help="List every value with its record.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the values that failed validation.

    A value leaves the quarantine when its source is corrected.
    """
    from profile_pipelines.cli.output import print_json, stdout
    from profile_pipelines.cli.quarantine_table import print_records, print_summary
    from profile_pipelines.cli.session import open_workspace
    from profile_pipelines.reading import Customers

    workspace = open_workspace()
    rows = Customers(workspace).quarantine(system).to_arrow().to_pylist()
    if as_json:
        print_json(rows)
    elif rows and records:
        print_records(rows, workspace.catalogue.settings.timezone)
    elif rows:
        print_summary(rows)
    else:
        stdout().print("The quarantine is empty" + (f" for {system}" if system else ""))
