"""`outbox`: what waits to be sent, what was sent, and what needs a look."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from profile_pipelines.cli.options import AsJson, Now

if TYPE_CHECKING:
    from profile_pipelines.workspace import Workspace

outbox = typer.Typer(
    name="outbox", help="Messages that are decided, and what became of them.", no_args_is_help=True
)
ChannelName = Annotated[
    str | None, typer.Option("--channel", metavar="NAME", help="Only this channel.")
]


def _known(kind: Literal["journey", "channel"], name: str, workspace: Workspace) -> None:
    """Raises UnknownName unless the catalogue declares the name, or a message bears it still."""
    from profile_pipelines.catalog.plan import find_declared

    catalogue = workspace.catalogue
    if not any(getattr(each, kind) == name for each in workspace.ledger.outbox.counts()):
        find_declared(kind, name, catalogue.journeys if kind == "journey" else catalogue.channels)


@outbox.command()
def status(as_json: AsJson = False) -> None:
    """Count the messages by journey, step, channel, state and reason."""
    from profile_pipelines.cli.output import print_json, spell_count, stdout, table
    from profile_pipelines.cli.session import open_workspace

    found = open_workspace().ledger.outbox.counts()
    if as_json:
        print_json(found)
        return
    rows = table("journey", "step", "channel", "state", "~reason", "#messages")
    for each in found:
        cells = (each.journey, each.step, each.channel, each.state, each.reason or "")
        rows.add_row(*cells, spell_count(each.count))
    stdout().print(rows if found else "The outbox is empty")


@outbox.command(name="list")
def list_messages(
    state: Annotated[
        list[str] | None, typer.Option("--state", help="pending, sent, skipped, failed, unknown …")
    ] = None,
    journey: Annotated[str | None, typer.Option("--journey", metavar="NAME")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List messages, the newest first. They tell the profile's number, nothing personal."""
    from profile_pipelines.cli.output import print_json, spell_time, stdout, table
    from profile_pipelines.cli.session import open_workspace
    from profile_pipelines.ledger.outbox import STATES

    if unknown := set(state or []) - set(STATES):
        raise typer.BadParameter(f"there is no state {min(unknown)}; there are {', '.join(STATES)}")
    workspace = open_workspace()
    if journey is not None:
        _known("journey", journey, workspace)
    found = workspace.ledger.outbox.messages(states=state or None, journey=journey, limit=limit)
    if as_json:
        print_json(found)
        return
    timezone = workspace.catalogue.settings.timezone
    rows = table("profile", "journey", "step", "channel", "template", "state", "~reason", "at")
    for row in found:
        names = ("journey", "step", "channel", "template", "state")
        at = spell_time(row["ended_at"] or row["decided_at"], timezone)
        rows.add_row(str(row["profile_id"]), *(row[n] for n in names), row["reason"] or "", at)
    stdout().print(rows if found else "No such message")


@outbox.command()
def send(as_json: AsJson = False, now: Now = None) -> None:
    """Send what is due, with progress."""
    from profile_pipelines.cli.failures import ExitCode
    from profile_pipelines.cli.journey_tables import dispatch_document, print_dispatch
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import print_json, spell_many, stderr, stdout, styled
    from profile_pipelines.cli.session import open_customers
    from profile_pipelines.journey_steps import dispatch

    workspace = open_customers().workspace
    timezone = workspace.catalogue.settings.timezone
    due = workspace.ledger.outbox.due(now=present(now, timezone))
    with stderr().status(spell_many(due, "message is due", "messages are due")) as shown:
        result = dispatch(
            workspace,
            clock=lambda: present(now, timezone),
            progress=lambda done: shown.update(f"{done:,} of {spell_many(due, 'message')}"),
        )
    if as_json:
        print_json(dispatch_document(result))
    elif result.counts:
        print_dispatch(result)
    else:
        stdout().print("Nothing is due")
    for message in result.errors.values():
        stderr().print(styled(message, "red"), soft_wrap=True)
    if result.errors:
        raise typer.Exit(ExitCode.FAILURES)


@outbox.command()
def retry(
    state: Annotated[
        list[str], typer.Option("--state", help="failed or unknown; may be given twice.")
    ],
    channel: ChannelName = None,
    as_json: AsJson = False,
    now: Now = None,
) -> None:
    """Send failed messages again, or those of unknown fate, which may then arrive twice."""
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import print_json, spell_many, stdout
    from profile_pipelines.cli.session import open_workspace

    if set(state) - {"failed", "unknown"}:
        raise typer.BadParameter("--state takes failed or unknown")
    workspace = open_workspace()
    if channel is not None:
        _known("channel", channel, workspace)
    moment = present(now, workspace.catalogue.settings.timezone)
    count = workspace.ledger.outbox.retry(state, now=moment, channel=channel)
    if as_json:
        print_json({"pending": count})
    else:
        pending = spell_many(count, "message is", "messages are")
        them = "it" if count == 1 else "them"
        stdout().print(f"{pending} pending again; the next run sends {them}", soft_wrap=True)


@outbox.command()
def preview(
    template: Annotated[str, typer.Argument(metavar="TEMPLATE")],
    identifier: Annotated[
        str, typer.Option("--for", metavar="IDENTIFIER", help="The customer to fill it in for.")
    ],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the HTML there.")
    ] = None,
    as_json: AsJson = False,
    now: Now = None,
) -> None:
    """Show a template as a customer would read it; nothing is sent."""
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import note, print_json, stdout
    from profile_pipelines.cli.session import open_customers
    from profile_pipelines.errors import ProfilePipelinesError
    from profile_pipelines.journey_steps import preview_message
    from profile_pipelines.whole_file import whole_file

    workspace = open_customers().workspace
    moment = present(now, workspace.catalogue.settings.timezone)
    subject, text, design = preview_message(workspace, template, identifier, now=moment)
    if html is not None:
        if design is None:
            raise ProfilePipelinesError(
                f"the template {template} has no HTML: leave --html out, or add "
                f"templates/{template}.html"
            )
        with whole_file(html) as target:
            target.write(design.encode())
        note(f"the HTML is in {html}")
    if as_json:
        print_json({"subject": subject, "text": text, "html": design})
    else:
        stdout().print(f"Subject: {subject}\n\n{text}", soft_wrap=True)
