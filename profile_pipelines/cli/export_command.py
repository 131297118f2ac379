"""`export`: everything held about one customer, for an access request."""

from __future__ import annotations

from typing import Annotated

import typer

from profile_pipelines.cli.options import Identifier, Now, Output


def export(
    identifier: Identifier,
    output: Output = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a file that is there already.")
    ] = False,
    now: Now = None,
) -> None:
    """Write everything held about one customer as JSON, for an access request."""
    import sys

    from profile_pipelines.catalog.spelling import json_text
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import note
    from profile_pipelines.cli.session import open_customers
    from profile_pipelines.privacy.access import write_private

    customers = open_customers()
    moment = present(now, customers.workspace.catalogue.settings.timezone)
    document = customers.everything_about(identifier, now=moment)
    text = json_text(document, indent=2) + "\n"
    if output is None:
        sys.stdout.write(text)
        return
    write_private(output, text, force=force)
    readable = ", which only you can read" if output.is_file() else ""
    note(f"everything held about this customer is in {output}{readable}")
