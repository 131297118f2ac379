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
    """Take webhooks at /webhooks/SYSTEM, and unsubscriptions, until Ctrl-C.

    Put a server with TLS before it. A changed catalogue is read at the next start.
    """
    import uvicorn

    from profile_pipelines.cli.output import note
    from profile_pipelines.cli.session import open_workspace
    from profile_pipelines.errors import UnknownName
    from profile_pipelines.webhooks.receiver import check_secrets, create_app
    from profile_pipelines.webhooks.unsubscribe import declared_routes

    workspace = open_workspace()
    systems = [name for name, each in workspace.catalogue.systems.items() if each.webhook]
    more = declared_routes(lambda: workspace.ledger.unsubscribes)
    if not systems and not more:
        raise UnknownName(
            "no system of the catalogue declares a webhook; see docs/webhooks.md for how to"
        )
    check_secrets(workspace.catalogue)
    for name in systems:
        note(f"http://{host}:{port}/webhooks/{name}")
    if more:
        note(f"http://{host}:{port}/unsubscribe/…")
    app = create_app(workspace.catalogue, lambda: workspace.ledger.inbox, more=more)
    # no access log: addresses may hold what is nobody's business
    uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False)


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

    workspace = open_workspace()
    systems = [name for name, each in workspace.catalogue.systems.items() if each.webhook]
    found = workspace.ledger.inbox.status(systems)
    if as_json:
        print_json(found)
        return
    console = stdout()
    if not found:
        console.print("No system of the catalogue declares a webhook")
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
