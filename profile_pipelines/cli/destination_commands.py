"""`destination`: whom the destinations hold, and bringing them to the present."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from profile_pipelines.cli.options import AsJson, DestinationName, Now

if TYPE_CHECKING:
    from profile_pipelines.activation.deliver import DeliveryResult

destination = typer.Typer(
    name="destination",
    help="Audiences delivered to other systems, as changes.",
    no_args_is_help=True,
)


@destination.command(name="list")
def list_destinations(as_json: AsJson = False) -> None:
    """Show every destination with whom it holds; also those that aren't declared any more."""
    from profile_pipelines.cli.destination_tables import print_standings, standing_documents
    from profile_pipelines.cli.output import print_json, stdout
    from profile_pipelines.cli.session import open_workspace

    workspace = open_workspace()
    found = standing_documents(workspace)
    if as_json:
        print_json(found)
    elif found:
        print_standings(found, workspace.catalogue.settings.timezone)
    else:
        stdout().print("The catalogue declares no destination; see docs/destinations.md")


@destination.command()
def status(name: DestinationName, as_json: AsJson = False) -> None:
    """Show whom a destination holds, what its last run did, and why customers were refused."""
    from profile_pipelines.cli.destination_tables import print_standing, standing_documents
    from profile_pipelines.cli.output import print_json
    from profile_pipelines.cli.session import open_workspace
    from profile_pipelines.destination_steps import find_destination

    workspace = open_workspace()
    known = {each["destination"]: each for each in standing_documents(workspace)}
    if name not in known:
        find_destination(workspace, name)
    if as_json:
        print_json(known[name])
    else:
        print_standing(known[name], workspace.catalogue.settings.timezone)


@destination.command()
def sync(
    name: DestinationName,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count; nothing is sent or written.")
    ] = False,
    as_json: AsJson = False,
    now: Now = None,
) -> None:
    """Deliver who was added, changed and removed since the last time."""
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import note, stderr
    from profile_pipelines.cli.session import open_customers
    from profile_pipelines.destination_steps import deliver

    workspace = open_customers().workspace
    timezone = workspace.catalogue.settings.timezone
    with stderr().status(f"delivering to {name}") as shown:
        result = deliver(
            workspace,
            name,
            clock=lambda: present(now, timezone),
            dry=dry_run,
            progress=lambda done: shown.update(f"{done:,} customers delivered to {name}"),
            waits=note,
        )
    _finish(result, as_json=as_json, dry=dry_run)


@destination.command()
def retry(name: DestinationName, as_json: AsJson = False, now: Now = None) -> None:
    """Let the next run try everybody again whom the destination refused."""
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import print_json, stdout
    from profile_pipelines.cli.session import open_workspace
    from profile_pipelines.destination_steps import find_destination

    workspace = open_workspace()
    find_destination(workspace, name)
    moment = present(now, workspace.catalogue.settings.timezone)
    count = workspace.ledger.deliveries.retry(name, now=moment)
    if as_json:
        print_json({"refused": count})
    else:
        stdout().print(f"{count:,} refused customers are tried again by the next run")


@destination.command()
def empty(name: DestinationName, as_json: AsJson = False, now: Now = None) -> None:
    """Remove everybody from a destination, before it is given up or moved."""
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import note
    from profile_pipelines.cli.session import open_workspace
    from profile_pipelines.destination_steps import empty_destination

    workspace = open_workspace()
    timezone = workspace.catalogue.settings.timezone
    result = empty_destination(workspace, name, clock=lambda: present(now, timezone), waits=note)
    _finish(result, as_json=as_json, dry=False)


def _finish(result: DeliveryResult, *, as_json: bool, dry: bool) -> None:
    from profile_pipelines.cli.destination_tables import deliveries_table
    from profile_pipelines.cli.failures import ExitCode
    from profile_pipelines.cli.output import print_json, stderr, stdout, styled

    if as_json:
        print_json(result)
    else:
        stdout().print(deliveries_table([result]))
        if dry:
            stdout().print("A dry run: nothing was sent")
    if result.error:
        stderr().print(styled(result.error, "red"), soft_wrap=True)
        raise typer.Exit(ExitCode.FAILURES)
