"""`outbox`: what waits to be sent, what was sent, and what needs a look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from profile_pipelines.cli.failures import ExitCode
from profile_pipelines.cli.options import AsJson, Now
from profile_pipelines.cli.output import (
    NOTHING,
    note,
    print_json,
    spell_count,
    spell_many,
    spell_time,
    stderr,
    stdout,
    styled,
    table,
)
from profile_pipelines.errors import NotFound

if TYPE_CHECKING:
    from profile_pipelines.ledger import Ledger
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


def _tell_clock(ledger: Ledger, now: datetime) -> None:
    """On stderr, if the clock was put back."""
    from profile_pipelines.cli.output import note

    if told := ledger.clock.seen().told(now):
        note(told)


@outbox.command()
def status(as_json: AsJson = False) -> None:
    """Count the messages by journey, step, channel, state and reason."""
    from profile_pipelines.cli.session import open_workspace
    from profile_pipelines.ledger.outbox import KEPT_BACK

    ledger = open_workspace().ledger
    found = ledger.outbox.counts()
    _tell_clock(ledger, datetime.now(UTC))
    if as_json:
        print_json(found)
        return
    rows = table("journey", "step", "channel", "state", "~reason", "#messages")
    for each in found:
        cells = (each.journey, each.step, each.channel, each.state, each.reason or "")
        rows.add_row(*cells, spell_count(each.count))
    stdout().print(rows if found else "The outbox is empty")
    if any(each.reason == KEPT_BACK for each in found):
        note("what is kept back waits for `profile-pipelines outbox settle`")


@outbox.command(name="list")
def list_messages(
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="Only messages in this state; may be repeated."),
    ] = None,
    journey: Annotated[
        str | None, typer.Option("--journey", metavar="NAME", help="Only this journey's.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List messages, the newest first. They tell the profile's number, nothing personal."""
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
    from profile_pipelines.cli.journey_tables import (
        dispatch_document,
        print_dispatch,
        say_what_needs_a_word,
    )
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.session import open_customers
    from profile_pipelines.journey_steps import dispatch

    workspace = open_customers().workspace
    timezone = workspace.catalogue.settings.timezone
    _tell_clock(workspace.ledger, present(now, timezone))
    due = workspace.ledger.outbox.due(now=present(now, timezone))
    with stderr().status(spell_many(due, "message is due", "messages are due")) as shown:
        result = dispatch(
            workspace,
            clock=lambda: present(now, timezone),
            progress=lambda done: shown.update(f"{done:,} of {spell_many(due, 'message')}"),
            waits=note,
        )
    if as_json:
        print_json(dispatch_document(result))
    elif result.counts:
        print_dispatch(result)
    elif not result.kept_back:
        stdout().print("Nothing is due")
    for message in result.errors.values():
        stderr().print(styled(message, "red"), soft_wrap=True)
    say_what_needs_a_word(result.needs_a_word)
    if result.errors or result.needs_a_word:
        raise typer.Exit(ExitCode.FAILURES)


@outbox.command()
def retry(
    state: Annotated[
        list[str], typer.Option("--state", help="Either failed or unknown; may be given twice.")
    ],
    channel: ChannelName = None,
    as_json: AsJson = False,
    now: Now = None,
) -> None:
    """Send failed messages again. Of those in doubt (unknown), only what is recognised if it comes
    twice; `outbox settle` has the others."""
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.session import open_workspace

    if set(state) - {"failed", "unknown"}:
        raise typer.BadParameter("--state takes failed or unknown")
    workspace = open_workspace()
    if channel is not None:
        _known("channel", channel, workspace)
    moment = present(now, workspace.catalogue.settings.timezone)
    messages = workspace.ledger.outbox
    failed = set(state) - {"unknown"}
    count = messages.retry(failed, now=moment, channel=channel) if failed else 0
    left = 0
    if "unknown" in state:
        doubtful = _in_doubt(workspace, [], channel)
        sure = [each.message_id for each in doubtful if each.is_safe]
        count += messages.retry(["unknown"], now=moment, only=sure)
        left = len(doubtful) - len(sure)
    if as_json:
        print_json({"pending": count, "in_doubt": left})
    else:
        _say_pending(count)
    if left:
        note(
            f"{spell_many(left, 'message stays', 'messages stay')} in doubt, since sent again they "
            "may arrive twice: see `profile-pipelines outbox settle`"
        )


@outbox.command()
def settle(
    messages: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MESSAGE]…",
            help="Only these, by their ids or as the other side's log has them.",
        ),
    ] = None,
    arrived: Annotated[
        bool, typer.Option("--arrived", help="They have arrived: they count as sent.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Send those again that are recognised if they come twice."),
    ] = False,
    even_twice: Annotated[
        bool, typer.Option("--even-twice", help="With --again: the others, too, as of mail.")
    ] = False,
    kept_back: Annotated[
        bool,
        typer.Option(
            "--kept-back", help="Those kept back since lake and ledger were put back, or accepted."
        ),
    ] = False,
    release: Annotated[
        bool, typer.Option("--release", help="All that is kept back may be sent from now on.")
    ] = False,
    channel: ChannelName = None,
    as_json: AsJson = False,
    now: Now = None,
) -> None:
    """Show the messages in doubt, which may have arrived, and those kept back, since lake and
    ledger may not know what was sent; and say what is to become of them."""
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.session import open_workspace

    if arrived and again:
        raise typer.BadParameter("--arrived and --again exclude each other")
    if even_twice and not again:
        raise typer.BadParameter("--even-twice goes with --again")
    if again and kept_back:
        raise typer.BadParameter("--again is for messages in doubt; --release lets kept ones go")
    if release and (arrived or again or messages or channel):
        raise typer.BadParameter("--release goes for all that is kept back, and alone")
    workspace = open_workspace()
    moment = present(now, workspace.catalogue.settings.timezone)
    if channel is not None:
        _known("channel", channel, workspace)
    if release:
        _release(workspace, moment, as_json=as_json)
    elif kept_back:
        which = _kept_back(workspace, messages or [], channel)
        _settle_kept_back(workspace, which, moment, arrived=arrived, as_json=as_json)
    else:
        found = _in_doubt(workspace, messages or [], channel)
        if arrived or again:
            chosen = [each for each in found if arrived or even_twice or each.is_safe]
            _settle_doubtful(workspace, chosen, moment, arrived=arrived, as_json=as_json)
            _say_left_out(len(found) - len(chosen))
        elif as_json:
            print_json([vars(each) for each in found])
        else:
            _print_in_doubt(found, workspace)
            _print_kept_back(workspace)


def _settle_doubtful(
    workspace: Workspace,
    chosen: Sequence[_Doubtful],
    now: datetime,
    *,
    arrived: bool,
    as_json: bool,
) -> None:
    outbox, ids = workspace.ledger.outbox, [each.message_id for each in chosen]
    if arrived:
        count = outbox.arrived(ids, now=now)
    else:
        count = outbox.retry(["unknown"], now=now, only=ids)
    if as_json:
        left = len(outbox.in_doubt())
        print_json({"sent" if arrived else "pending": count, "in_doubt": left})
    elif arrived:
        _say_arrived(count)
    else:
        _say_pending(count)


def _say_left_out(count: int) -> None:
    """Where some aren't sent again, say so, and end with 1."""
    if count:
        unsure = spell_many(count, "message isn't", "messages aren't")
        note(
            f"{unsure} sent again, since nothing tells the other side that it is a repeat; where "
            "its log has no trace of them, send them with --again --even-twice"
        )
        raise typer.Exit(ExitCode.FAILURES)


@dataclass(frozen=True)
class _Doubtful:
    """A message of unknown fate, with what the other side's log could tell."""

    message_id: str
    journey: str
    step: str
    channel: str
    known_as: str | None
    begun_at: datetime | None
    reason: str | None
    is_safe: bool
    """Whether it is recognised there if it comes twice."""


def _in_doubt(workspace: Workspace, chosen: Sequence[str], channel: str | None) -> list[_Doubtful]:
    """Those in doubt, over one channel or only the chosen ones. Raises NotFound for one that
    isn't."""
    from profile_pipelines.channels.senders import is_idempotent, known_as

    channels, code = workspace.catalogue.channels, workspace.ledger.suppressions.code
    found: list[_Doubtful] = []
    for each in workspace.ledger.outbox.in_doubt():
        declared = channels.get(each.channel)
        found.append(
            _Doubtful(
                each.message_id, each.journey, each.step, each.channel,
                known_as(declared, each.message_id, code(each.message_id)),
                each.begun_at, each.reason,
                is_safe=declared is not None and is_idempotent(declared),
            )
        )  # fmt: skip
    if channel is not None:
        found = [each for each in found if each.channel == channel]
    if not chosen:
        return found
    by_name = {each.message_id: each for each in found}
    by_name |= {each.known_as.strip("<>"): each for each in found if each.known_as}
    wanted = [each.strip("<>") for each in chosen]
    if strangers := [each for each in wanted if each not in by_name]:
        raise NotFound(
            f"no message {strangers[0]} is in doubt; `profile-pipelines outbox settle` lists those "
            "that are"
        )
    return list({by_name[each].message_id: by_name[each] for each in wanted}.values())


def _print_in_doubt(found: Sequence[_Doubtful], workspace: Workspace) -> None:
    if not found:
        stdout().print("No message is in doubt")
        return
    timezone = workspace.catalogue.settings.timezone
    rows = table("message", "channel", "~known there as", "begun", "if it comes twice")
    for each in found:
        rows.add_row(
            each.message_id, each.channel, each.known_as or NOTHING,
            spell_time(each.begun_at, timezone),
            "it is recognised" if each.is_safe else "it arrives twice",
        )  # fmt: skip
    console = stdout()
    console.print(rows)
    console.print(
        "\nWhoever sent these was lost before the receipt. Look for them in the other side's log,\n"
        "by the name and about the time that stand here; then say\n"
        "  profile-pipelines outbox settle MESSAGE --arrived              it has come there\n"
        "  profile-pipelines outbox settle MESSAGE --again --even-twice   it hasn't: send it"
    )


def _print_kept_back(workspace: Workspace) -> None:
    """Since when and why messages are kept back, and how many; nothing where none ever are."""
    unsettled = workspace.ledger.pair.unsettled()
    if not unsettled:
        return
    timezone, console = workspace.catalogue.settings.timezone, stdout()
    for each in unsettled:
        at = spell_time(each.began_at, timezone)
        console.print(f"\nMessages are kept back since {at}: {each.because}", soft_wrap=True)
    found = workspace.ledger.outbox.kept_back()
    if found:
        rows = table("journey", "step", "channel", "#messages", "first decided")
        for each in found:
            cells = (each.journey, each.step, each.channel, spell_count(each.count))
            rows.add_row(*cells, spell_time(each.oldest_at, timezone))
        console.print(rows)
    else:
        console.print("There is none yet")
    console.print(
        "\nSome may have been sent by what was lost. Look at them, then say\n"
        "  profile-pipelines outbox settle --kept-back                     each of them\n"
        "  profile-pipelines outbox settle --kept-back --arrived MESSAGE   it has been sent\n"
        "  profile-pipelines outbox settle --release                       the others may go"
    )


def _kept_back(
    workspace: Workspace, chosen: Sequence[str], channel: str | None
) -> list[dict[str, Any]]:
    """Those kept back, over one channel or only the chosen ones. Raises NotFound for one that
    isn't."""
    outbox = workspace.ledger.outbox
    found = outbox.messages(states=["pending"], limit=None) if outbox.kept_back() else []
    if channel is not None:
        found = [each for each in found if each["channel"] == channel]
    if not chosen:
        return found
    by_id = {each["message_id"]: each for each in found}
    if strangers := [each for each in chosen if each not in by_id]:
        raise NotFound(
            f"no message {strangers[0]} is kept back; `profile-pipelines outbox settle "
            "--kept-back` lists those that are"
        )
    return [by_id[each] for each in dict.fromkeys(chosen)]


def _settle_kept_back(
    workspace: Workspace,
    which: Sequence[Mapping[str, Any]],
    now: datetime,
    *,
    arrived: bool,
    as_json: bool,
) -> None:
    """Show each of these, or count them as sent."""
    if arrived:
        count = workspace.ledger.outbox.arrived([row["message_id"] for row in which], now=now)
        if as_json:
            print_json({"sent": count})
        else:
            _say_arrived(count)
        return
    if as_json:
        print_json(which)
        return
    timezone = workspace.catalogue.settings.timezone
    rows = table("message", "profile", "journey", "step", "channel", "decided")
    for row in which:
        cells = (row["message_id"], str(row["profile_id"]), row["journey"], row["step"])
        rows.add_row(*cells, row["channel"], spell_time(row["decided_at"], timezone))
    stdout().print(rows if which else "No message is kept back")


def _release(workspace: Workspace, now: datetime, *, as_json: bool) -> None:
    ledger = workspace.ledger
    count = sum(each.count for each in ledger.outbox.kept_back())
    settled = ledger.pair.settle([each.number for each in ledger.pair.unsettled()], now=now)
    if as_json:
        print_json({"released": count})
    elif settled:
        _say_pending(count)
    else:
        stdout().print("Nothing is kept back")


def _say_arrived(count: int) -> None:
    stdout().print(f"{spell_many(count, 'message counts', 'messages count')} as sent")


def _say_pending(count: int) -> None:
    pending = spell_many(count, "message is", "messages are")
    them = "it" if count == 1 else "them"
    stdout().print(f"{pending} pending again; the next run sends {them}", soft_wrap=True)


@outbox.command()
def preview(
    template: Annotated[str, typer.Argument(metavar="TEMPLATE", help="The template's name.")],
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
