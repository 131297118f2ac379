"""`consent`: proof of what a customer consented to, and taking an unsubscription back."""

from __future__ import annotations

import getpass
from datetime import datetime
from pathlib import Path
from typing import Annotated, cast
from zoneinfo import ZoneInfo

import typer

from profile_pipelines.cli.options import AsJson, Identifier, Now

consent = typer.Typer(
    name="consent", help="What a customer consented to, with proof.", no_args_is_help=True
)


@consent.command()
def history(
    identifier: Identifier,
    purpose: Annotated[
        str | None,
        typer.Option("--purpose", metavar="PURPOSE", help="Only this one, such as email."),
    ] = None,
    as_json: AsJson = False,
    now: Now = None,
) -> None:
    """Prove a customer's consents: each value with its receipt, acts, and messages sent."""
    from profile_pipelines.cli.consent_tables import print_consent
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import note, print_json
    from profile_pipelines.cli.session import open_customers

    customers = open_customers()
    timezone = customers.workspace.catalogue.settings.timezone
    found = customers.consent_history(identifier, purpose=purpose, now=present(now, timezone))
    if as_json:
        print_json([{"profile_id": each, "purposes": told} for each, told in found.items()])
        return
    if not any(found.values()):
        note("no attribute of the catalogue is a consent")
    for profile_id, histories in found.items():
        print_consent(profile_id, histories, timezone)


@consent.command()
def restore(
    identifier: Identifier,
    purpose: Annotated[
        str, typer.Argument(metavar="PURPOSE", help="What they unsubscribed from, such as email.")
    ],
    because: Annotated[
        str,
        typer.Option(
            "--because",
            metavar="TEXT",
            help="How the customer asked for it; kept as proof, so name no one in it.",
        ),
    ],
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Who does it; else your login.")
    ] = None,
    as_json: AsJson = False,
    now: Now = None,
) -> None:
    """Take a customer's unsubscription back, at their wish; the systems decide again."""
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import print_json, stdout
    from profile_pipelines.cli.session import open_customers
    from profile_pipelines.privacy_steps import restore_consent

    if not because.strip():
        raise typer.BadParameter("--because must say how the customer asked for it")
    workspace = open_customers().workspace
    moment = present(now, workspace.catalogue.settings.timezone)
    who = by or getpass.getuser()
    found = restore_consent(
        workspace, identifier, purpose, by=who, because=because.strip(), now=moment
    )
    if as_json:
        print_json({"restored": found, "purpose": purpose})
        return
    for profile_id in found:
        told = f"Profile {profile_id} is no longer unsubscribed from {purpose}; from the next run"
        stdout().print(f"{told} on the systems decide again", soft_wrap=True)


@consent.command()
def suppress(
    address: Annotated[
        str | None, typer.Argument(metavar="[ADDRESS]", help="That gets nothing any more.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="A CSV file with address[, purpose, reason, at]."),
    ] = None,
    purpose: Annotated[
        str | None,
        typer.Option("--purpose", metavar="PURPOSE", help="Such as email; else for all."),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", help="Why: unsubscribed, bounced, complained or imported.")
    ] = "imported",
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Who does it; else your login.")
    ] = None,
    now: Now = None,
) -> None:
    """Suppress an address, or those of a file; they are kept as keyed hashes."""
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import spell_count, stdout
    from profile_pipelines.cli.session import open_workspace
    from profile_pipelines.consent.permission import check_purpose
    from profile_pipelines.consent.suppression_list import import_list
    from profile_pipelines.ledger.suppressions import REASONS, Reason

    if (address is None) == (file is None):
        raise typer.BadParameter("give an address, or a --file of them")
    if reason not in REASONS:
        raise typer.BadParameter(f"a reason is one of {', '.join(REASONS)}")
    workspace = open_workspace()
    zone = workspace.catalogue.settings.timezone
    moment, who = present(now, zone), by or getpass.getuser()
    if purpose is not None:
        check_purpose(workspace.catalogue, purpose)
    suppressions, why = workspace.ledger.suppressions, cast(Reason, reason)
    if file is not None:
        new = import_list(
            workspace.catalogue, suppressions, file, purpose=purpose, reason=why, by=who,
            now=moment, when=lambda text: _moment(text, zone),
        )  # fmt: skip
    else:
        mark = suppressions.mark(address or "")
        new = int(suppressions.add(mark, purpose, why, at=moment, by=who))
    stdout().print(f"{spell_count(new)} suppressed anew")


@consent.command()
def suppressed(
    purpose: Annotated[
        str | None, typer.Option("--purpose", metavar="PURPOSE", help="Only for this one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count the suppressed addresses; with --json list them, as keyed hashes."""
    from profile_pipelines.cli.output import print_json, spell, spell_count, stdout, table
    from profile_pipelines.cli.session import open_workspace
    from profile_pipelines.consent.permission import check_purpose
    from profile_pipelines.consent.suppression_list import counts

    workspace = open_workspace()
    if purpose is not None:
        check_purpose(workspace.catalogue, purpose)
    suppressions = workspace.ledger.suppressions
    if as_json:
        print_json(suppressions.standing(purpose))
        return
    rows = table("purpose", "reason", "#addresses")
    for each in counts(suppressions, purpose):
        rows.add_row(each.purpose or "all", spell(each.reason), spell_count(each.addresses))
    stdout().print(rows)


@consent.command()
def bounces(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PATH]",
            help="A Maildir, mbox file or folder of .eml files; else those that channels declare.",
        ),
    ] = None,
    as_json: AsJson = False,
    now: Now = None,
) -> None:
    """Read the mails that servers sent back, and suppress the addresses that bounced."""
    from profile_pipelines.cli.consent_tables import print_bounces
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import note, print_json
    from profile_pipelines.cli.session import open_workspace
    from profile_pipelines.consent.bounces import declared_mailboxes, read_bounces

    workspace = open_workspace()
    catalogue = workspace.catalogue
    moment = present(now, catalogue.settings.timezone)
    paths = [path] if path is not None else list(declared_mailboxes(catalogue).values())
    found = [read_bounces(catalogue, workspace.ledger, each, now=moment) for each in paths]
    if as_json:
        print_json(found)
        return
    if not found:
        note("no channel declares a mailbox; give one, or see docs/channels.md for how to")
    for each in found:
        print_bounces(each, listed=True)


def _moment(text: str, timezone: str) -> datetime:
    """A time of a list; one without an offset is the catalogue's own. Raises ValueError."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=ZoneInfo(timezone))
