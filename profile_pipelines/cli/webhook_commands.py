"""`webhooks`: take what the systems send by themselves, and see how it stands."""

from __future__ import annotations

from typing import Annotated

import typer

from profile_pipelines.cli.options import AsJson

webhooks = typer.Typer(
    name="webhooks", help="What systems send as soon as something changes.", no_args_is_help=True
)


@webhooks.command()
def serve(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen at.")] = 8787,
) -> None:
    """Take webhooks at /webhooks/SYSTEM, feedback at /feedback/CHANNEL, and unsubscriptions.

    Runs until Ctrl-C. Put a server with TLS before it. A changed catalogue is read at the next
    start.
    """
    from datetime import UTC, datetime

    import uvicorn

    from profile_pipelines.cli.output import note
    from profile_pipelines.cli.session import open_workspace
    from profile_pipelines.errors import UnknownName
    from profile_pipelines.webhooks.feedback import declared_feedback, told_to
    from profile_pipelines.webhooks.receiver import check_secrets, create_app
    from profile_pipelines.webhooks.server import settings
    from profile_pipelines.webhooks.unsubscribe import declared_routes
    from profile_pipelines.workspace import Standing, Workspace

    workspace = open_workspace()
    systems = [name for name, each in workspace.catalogue.systems.items() if each.webhook]
    channels = told_to(workspace.catalogue)
    current = Standing(lambda: Workspace(workspace.places, workspace.catalogue))
    unsubscribing = declared_routes(lambda: current().ledger)
    if not systems and not unsubscribing and not channels:
        raise UnknownName(
            "no system of the catalogue declares a webhook, and no channel feedback; see "
            "docs/webhooks.md for how to"
        )
    check_secrets(workspace.catalogue)
    if told := workspace.ledger.clock.seen().told(datetime.now(UTC)):
        note(told)
    more = [*unsubscribing, *declared_feedback(workspace.catalogue, lambda: current().ledger)]
    for name in systems:
        note(f"http://{host}:{port}/webhooks/{name}")
    for name in channels:
        note(f"http://{host}:{port}/feedback/{name}")
    if unsubscribing:
        note(f"http://{host}:{port}/unsubscribe/…")
    app = create_app(workspace.catalogue, lambda: current().ledger.inbox, more=more)
    uvicorn.run(app, host=host, port=port, **settings())


@webhooks.command()
def status(as_json: AsJson = False) -> None:
    """Show what waits to be read, when something came last, and what was refused."""
    from datetime import UTC, datetime

    from profile_pipelines.cli.output import (
        print_json,
        spell_ago,
        spell_count,
        stdout,
        styled,
        table,
    )
    from profile_pipelines.cli.session import open_workspace
    from profile_pipelines.ledger.inbox import RECEIVED, refusals
    from profile_pipelines.webhooks.feedback import counted_as, told_to

    workspace = open_workspace()
    systems = [name for name, each in workspace.catalogue.systems.items() if each.webhook]
    channels = [counted_as(name) for name in told_to(workspace.catalogue)]
    found = workspace.ledger.inbox.status([*systems, *channels])
    if as_json:
        print_json(found)
        return
    console = stdout()
    if not found:
        console.print("No system of the catalogue declares a webhook, and no channel feedback")
        return
    now = datetime.now(UTC)
    rows = table(
        "system", "#waiting", "oldest", "#received", "last", "#repeated", "#refused", "~why"
    )
    for each in found:
        refused = refusals(each.counts)
        count = spell_count(sum(refused.values()))
        rows.add_row(
            each.system,
            spell_count(each.waiting),
            spell_ago(now - each.oldest_at) if each.oldest_at else "",
            spell_count(each.counts.get(RECEIVED, 0)),
            spell_ago(now - each.last_received_at if each.last_received_at else None),
            spell_count(each.counts.get("repeated", 0)),
            styled(count, "yellow") if refused else count,
            ", ".join(f"{outcome} {spell_count(n)}" for outcome, n in refused.items()),
        )
    console.print(rows)


@webhooks.command()
def unread(as_json: AsJson = False) -> None:
    """List the feedback that couldn't be read: why, and the event but for what is personal."""
    from profile_pipelines.cli.output import print_json, spell_time, stdout, table
    from profile_pipelines.cli.session import open_workspace

    workspace = open_workspace()
    found = workspace.ledger.feedback.unread()
    if as_json:
        print_json(found)
        return
    if not found:
        stdout().print("Everything that came could be read")
        return
    rows = table("received", "channel", "why", "~event")
    timezone = workspace.catalogue.settings.timezone
    for each in found:
        received = spell_time(each.received_at, timezone)
        rows.add_row(received, each.channel, each.why, each.content)
    stdout().print(rows)
