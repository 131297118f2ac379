"""`journey`: how journeys stand, what they would do, and where one customer is."""

from __future__ import annotations

from typing import Annotated

import typer

from profile_pipelines.cli.options import AsJson, JourneyName, Now

journey = typer.Typer(
    name="journey", help="Reminders and offers, until the fact changes.", no_args_is_help=True
)
Who = Annotated[str, typer.Argument(metavar="IDENTIFIER", help="Any identifier, in any spelling.")]


@journey.command(name="list")
def list_journeys(as_json: AsJson = False, now: Now = None) -> None:
    """Show every journey with its numbers."""
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import print_json, spell_count, spell_time, stdout, table
    from profile_pipelines.cli.session import open_workspace
    from profile_pipelines.journey_steps import journey_status

    workspace = open_workspace()
    timezone = workspace.catalogue.settings.timezone
    moment = present(now, timezone)
    found = [journey_status(workspace, name, now=moment) for name in workspace.catalogue.journeys]
    if as_json:
        print_json(found)
        return
    rows = table(
        "journey", "#active", "#entered today", "#completed", "#exited", "#converted", "last tick"
    )
    for each in found:
        exited = sum(each.exited.values())
        numbers = (each.active, each.entered_today, each.completed, exited, each.converted)
        rows.add_row(each.journey, *map(spell_count, numbers), spell_time(each.ticked_at, timezone))
    stdout().print(rows if found else "The catalogue declares no journey; see docs/journeys.md")


@journey.command()
def status(
    name: JourneyName,
    days: Annotated[
        int, typer.Option(min=0, max=400, help="Show each of the last so many days, too.")
    ] = 0,
    step: Annotated[
        str | None, typer.Option(metavar="PATH", help="With --days: of this step alone, as `2.0`.")
    ] = None,
    as_json: AsJson = False,
    now: Now = None,
) -> None:
    """Show each step: who came, waits, was sent something, left; in all, today, and by day."""
    from profile_pipelines.cli.journey_tables import print_days, print_status
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import note, print_json, stdout
    from profile_pipelines.cli.session import open_workspace
    from profile_pipelines.errors import UnknownName
    from profile_pipelines.journey_steps import journey_days, journey_status

    if step is not None and not days:
        raise typer.BadParameter("--step needs --days: how many of the last days to show")
    workspace = open_workspace()
    moment = present(now, workspace.catalogue.settings.timezone)
    found = journey_status(workspace, name, now=moment)
    if told := workspace.ledger.clock.seen().told(moment):
        note(told)
    by_day = journey_days(workspace, name, days, now=moment) if days else []
    paths = [each.path for each in found.steps]
    if step is not None and step not in paths:
        raise UnknownName(f"journey {name} has no step {step}; its steps are {', '.join(paths)}")
    if as_json:
        print_json({**vars(found), "days": by_day} if days else found)
        return
    print_status(found)
    if days:
        stdout().print()
        print_days(by_day, step)


@journey.command(name="test")
def dry_run(name: JourneyName, as_json: AsJson = False, now: Now = None) -> None:
    """Tell what the next tick would do to real profiles, without enrolling or sending anyone."""
    from profile_pipelines.cli.journey_tables import (
        journey_document,
        preview_document,
        print_dry_run,
        print_preview,
    )
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import print_json
    from profile_pipelines.cli.session import open_customers
    from profile_pipelines.journey_steps import preview_decided, tick_journey

    workspace = open_customers().workspace
    moment = present(now, workspace.catalogue.settings.timezone)
    found = tick_journey(workspace, name, now=moment, dry=True)
    preview = preview_decided(workspace, found, now=moment)
    if as_json:
        print_json({**journey_document(found), "preview": preview_document(preview)})
    else:
        print_dry_run(workspace.catalogue.journeys[name], found)
        print_preview(preview)


@journey.command()
def explain(name: JourneyName, identifier: Who, as_json: AsJson = False, now: Now = None) -> None:
    """Tell where a customer is in a journey, since when, what comes next, what would end it."""
    from profile_pipelines.cli.journey_tables import print_explanation
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import print_json
    from profile_pipelines.cli.session import open_customers
    from profile_pipelines.journey_steps import explain_journey

    workspace = open_customers().workspace
    timezone = workspace.catalogue.settings.timezone
    found = explain_journey(workspace, name, identifier, now=present(now, timezone))
    if as_json:
        print_json(found)
    else:
        print_explanation(name, found, timezone)


@journey.command()
def simulate(
    name: JourneyName,
    start: Annotated[
        str, typer.Option("--from", metavar="WHEN", help="The date or timestamp of its launch.")
    ],
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="WHEN", help="The last moment; the present by default."),
    ] = None,
    every: Annotated[
        str,
        typer.Option(metavar="TIME", help="How far ticks lie apart, or `change`: at each one."),
    ] = "1 day",
    as_json: AsJson = False,
    now: Now = None,
) -> None:
    """Replay a journey over the stored history, as if launched then; nothing is written or sent."""
    from profile_pipelines.catalog.durations import parse_duration
    from profile_pipelines.cli.journey_tables import print_simulation, simulation_document
    from profile_pipelines.cli.moments import parse_moment, present
    from profile_pipelines.cli.output import print_json, spell_time, stderr
    from profile_pipelines.cli.progress import counted
    from profile_pipelines.cli.session import open_customers
    from profile_pipelines.journey_steps import simulate_journey

    workspace = open_customers().workspace
    timezone = workspace.catalogue.settings.timezone
    moment = present(now, timezone)
    try:
        apart = None if every == "change" else parse_duration(every)
    except ValueError as error:
        raise typer.BadParameter(f"--every {every}: {error}; or write change") from None
    begin = parse_moment(start, timezone)
    moments, ticks = simulate_journey(
        workspace,
        name,
        begin,
        parse_moment(end, timezone) if end is not None else moment,
        now=moment,
        every=apart,
    )
    if moments[0] > begin:
        began = spell_time(moments[0], timezone)
        stderr().print(f"The history begins at {began}: replayed from then on", soft_wrap=True)
    found = list(counted(ticks, len(moments), "replaying"))
    if as_json:
        print_json(simulation_document(name, found))
    else:
        print_simulation(workspace.catalogue.journeys[name], found, timezone)


@journey.command()
def diff(name: JourneyName, as_json: AsJson = False) -> None:
    """Compare the journey with its version of today: what changed, and whom it concerns."""
    from profile_pipelines.cli.output import print_json, spell_many, stdout
    from profile_pipelines.cli.session import open_workspace
    from profile_pipelines.journey_steps import journey_difference

    found = journey_difference(open_workspace(), name)
    if as_json:
        print_json(found)
        return
    console = stdout()
    if not found.version:
        console.print(f"{name} was never launched; the next run does")
        return
    if found.changed:
        console.print(
            f"{name} differs from version {found.version}; the next run launches version "
            f"{found.version + 1}", soft_wrap=True,
        )  # fmt: skip
    else:
        console.print(f"{name} is as in version {found.version}")
    for key in found.keys:
        console.print(f"  changed: {key}")
    for step, text in found.steps.items():
        console.print(f"  step {step}: {text}", soft_wrap=True)
    if found.mapped_from is not None and not found.mapping:
        console.print(
            f"the mapping is from version {found.mapped_from}, which isn't an older one: "
            "it takes nobody over", soft_wrap=True,
        )  # fmt: skip
    for each in found.mapping:
        moves = spell_many(each.enrolments, "enrolment moves", "enrolments move")
        console.print(
            f"  step {each.old} of version {found.mapped_from}: "
            + (f"{moves} over to {each.new}" if each.known else "there is no such step"),
            soft_wrap=True,
        )  # fmt: skip
    console.print(
        spell_many(found.enrolments, "enrolment finishes", "enrolments finish")
        + " on the older version they began with"
        if found.enrolments or found.changed else "nobody is in an older version"
    )  # fmt: skip
