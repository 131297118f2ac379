"""`consent`: proof of what a customer consented to, and taking an unsubscription back."""

from __future__ import annotations

import getpass
from typing import Annotated

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
