"""`demo`: five sample systems, the whole path from them to audiences, and changes to watch."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from profile_pipelines.cli.options import DEMO_FOLDER, AsJson, Folder, Now

demo = typer.Typer(name="demo", help="Five sample systems and what comes of them.")

Customers = Annotated[
    int | None,
    typer.Option(min=10, help="How many customers new sample systems have (5000)."),
]
Seed = Annotated[int | None, typer.Option(help="Other customers for another number (7).")]


@demo.callback(invoke_without_command=True)
def run_demo(
    context: typer.Context,
    customers: Customers = None,
    seed: Seed = None,
    folder: Folder = DEMO_FOLDER,
    as_json: AsJson = False,
    now: Now = None,
) -> None:
    """Make and start the sample systems, run everything, show the result.

    The second time, see what has changed since (try `profile-pipelines demo change` between).
    """
    os.environ["PROFILE_PIPELINES_DEMO"] = str(folder)
    if context.invoked_subcommand is not None:
        return
    from profile_pipelines.cli.demo_result import document, print_result
    from profile_pipelines.cli.demo_session import DemoSession
    from profile_pipelines.cli.output import print_json
    from profile_pipelines.cli.run_tables import end_run

    with DemoSession(folder, customers, seed, now) as session:
        first = session.is_new
        report = session.run_everything()
    if as_json:
        print_json(document(session.workspace, report))
    else:
        print_result(session.workspace, report, folder, first=first)
    end_run(report)


@demo.command()
def change(
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the customers to change in each way.")
    ] = 0.01,
    seed: Annotated[
        int | None, typer.Option(help="The same changes again for the same number.")
    ] = None,
    folder: Folder = DEMO_FOLDER,
    as_json: AsJson = False,
    now: Now = None,
) -> None:
    """Change the sample systems believably: renewals, consents, packages, tickets, customers."""
    from profile_pipelines.catalog.load import load_catalogue
    from profile_pipelines.cli.demo_session import demo_places
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import print_json, spell_count, stdout, table
    from profile_pipelines.demo.changes import change as make_changes

    timezone = load_catalogue(demo_places(folder).catalogue).settings.timezone
    counts = make_changes(folder.resolve(), present(now, timezone), share, seed)
    if as_json:
        print_json(counts)
        return
    rows = table("changed in the sample systems", "#customers")
    for kind, count in counts.items():
        rows.add_row(kind.replace("_", " "), spell_count(count))
    console = stdout()
    console.print(rows)
    console.print("\nNext: profile-pipelines demo   picks up just these changes")


@demo.command()
def follow(folder: Folder = DEMO_FOLDER, now: Now = None) -> None:
    """Follow one customer: reminded, confirms the renewal in billing, leaves the journey."""
    from profile_pipelines.cli.demo_session import DemoSession
    from profile_pipelines.cli.demo_story import tell_story
    from profile_pipelines.cli.run_tables import end_run
    from profile_pipelines.demo.store import STORE
    from profile_pipelines.errors import NotFound

    if not (folder / STORE).is_file():
        raise NotFound(f"{folder} holds no demo yet; make it with `profile-pipelines demo`")
    with DemoSession(folder, None, None, now) as session:
        report = tell_story(session.workspace, folder, session.run, now=session.now)
    end_run(report)


@demo.command()
def up(
    customers: Customers = None,
    seed: Seed = None,
    port: Annotated[int, typer.Option(help="The port of Dagster's web server.")] = 3000,
    folder: Folder = DEMO_FOLDER,
) -> None:
    """Run the sample systems and Dagster (web server and daemon) until Ctrl-C."""
    from profile_pipelines.cli.demo_session import DemoSession

    with DemoSession(folder, customers, seed, None) as session:
        session.serve_dagster(port)


@demo.command()
def reset(
    folder: Folder = DEMO_FOLDER,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Delete the demo's folder: sample systems, lake, ledger."""
    import shutil

    from profile_pipelines.cli.asking import ask
    from profile_pipelines.cli.output import stdout
    from profile_pipelines.demo.store import STORE
    from profile_pipelines.errors import NotFound

    if not (folder / STORE).is_file():
        raise NotFound(f"{folder} holds no demo; nothing was deleted")
    if not yes:
        ask(f"Delete {folder} with all that is in it?", f"{folder} would go with all that is in it")
    shutil.rmtree(folder)
    stdout().print(f"{folder} is gone; `profile-pipelines demo` makes it anew", soft_wrap=True)
