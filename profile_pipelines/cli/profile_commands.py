"""`profile show`, `profiles export` and `profiles shared`."""

from __future__ import annotations

from typing import Annotated

import typer

from profile_pipelines.cli.options import AsJson, AsOf, Identifier, Now, Output

profile = typer.Typer(name="profile", help="One customer's profile.", no_args_is_help=True)
profiles = typer.Typer(name="profiles", help="All customers' profiles.", no_args_is_help=True)


@profile.callback()
def _profile() -> None:
    """One customer's profile."""


@profiles.callback()
def _profiles() -> None:
    """All customers' profiles."""


@profile.command()
def show(
    identifier: Identifier,
    as_of: AsOf = None,
    history: Annotated[
        bool, typer.Option("--history", help="Also every change, newest first.")
    ] = False,
    as_json: AsJson = False,
    now: Now = None,
) -> None:
    """Show a profile: values with receipts, freshness, audiences; also as of a past moment."""
    from profile_pipelines.cli.moments import past, present
    from profile_pipelines.cli.output import note, print_json
    from profile_pipelines.cli.profile_tables import print_history, print_profile
    from profile_pipelines.cli.session import open_customers
    from profile_pipelines.profiles.document import profile_document
    from profile_pipelines.profiles.view import history_of

    customers = open_customers()
    space = customers.workspace
    timezone = space.catalogue.settings.timezone
    views = customers.profiles_with(
        identifier, as_of=past(as_of, timezone), now=present(now, timezone)
    )
    changes = [
        history_of(space.catalogue, space.lake, view.profile_id) if history else None
        for view in views
    ]
    if as_json:
        print_json([profile_document(*each) for each in zip(views, changes, strict=True)])
        return
    if len(views) > 1:
        note(f"{len(views)} profiles have this identifier")
    for view, each in zip(views, changes, strict=True):
        print_profile(view, timezone)
        if each is not None:
            print_history(each, timezone)


@profiles.command()
def export(
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="One of jsonl, csv and parquet.")
    ] = "jsonl",
    receipts: Annotated[
        bool,
        typer.Option("--receipts", help="Add <attribute>__from: the systems that decided it."),
    ] = False,
    as_of: AsOf = None,
    output: Output = None,
) -> None:
    """Write all profiles as JSON lines, CSV or Parquet."""
    import sys
    from datetime import UTC, datetime

    from profile_pipelines.cli.moments import past
    from profile_pipelines.cli.output import joined, note, spell_many
    from profile_pipelines.cli.session import open_customers
    from profile_pipelines.exporting import FORMATS, export_profiles, export_to_file
    from profile_pipelines.profiles.view import attributes_not_kept

    if form not in FORMATS:
        raise typer.BadParameter(f"{form!r} is no format; there are {', '.join(FORMATS)}")
    if output is None and form == "parquet" and sys.stdout.isatty():
        raise typer.BadParameter("Parquet is no text: name a file with -o, or use a pipe")
    customers = open_customers()
    catalogue = customers.workspace.catalogue
    moment = past(as_of, catalogue.settings.timezone)
    if moment is not None and (gone := attributes_not_kept(catalogue, moment, datetime.now(UTC))):
        note(f"history no longer kept (keep_history): {joined(gone)}")
    if output is None:
        export_profiles(customers, sys.stdout.buffer, form, as_of=moment, provenance=receipts)
        return
    count = export_to_file(customers, output, form, as_of=moment, provenance=receipts)
    note(f"{spell_many(count, 'profile')} written to {output}")


@profiles.command()
def shared(
    records: Annotated[
        bool, typer.Option("--records", help="List the records that are held apart instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the identifiers that fit several customers and so join nobody.

    A mailbox of two customer numbers, say. A record that has nothing else belongs to no customer.
    """
    from profile_pipelines.cli.output import print_json
    from profile_pipelines.cli.profile_tables import print_held_apart, print_shared
    from profile_pipelines.cli.session import open_customers

    customers = open_customers()
    frame = customers.held_apart() if records else customers.shared_identifiers()
    rows = frame.to_arrow().to_pylist()
    if as_json:
        print_json(rows)
    elif records:
        print_held_apart(rows, list(customers.workspace.catalogue.identifiers))
    else:
        print_shared(rows)
