"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer


def _names(kind: str) -> Callable[[str], list[str]]:
    """Shell completion by the catalogue's names."""

    def complete(incomplete: str) -> list[str]:
        from profile_pipelines.catalog.load import load_catalogue
        from profile_pipelines.cli.session import places
        from profile_pipelines.errors import ProfilePipelinesError

        try:
            names = getattr(load_catalogue(places().catalogue), kind)
        except ProfilePipelinesError:
            return []
        return sorted(name for name in names if name.startswith(incomplete))

    return complete


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Now = Annotated[
    str | None,
    typer.Option("--now", metavar="WHEN", help="A date or timestamp that stands for the present."),
]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="WHEN", help="Show the state at a date or timestamp."),
]
Identifier = Annotated[
    str,
    typer.Argument(
        metavar="IDENTIFIER",
        help="Any identifier in any spelling, or 'profile 123' for a profile's own id.",
    ),
]
Full = Annotated[
    bool, typer.Option("--full", help="Read the systems whole, not only what has changed.")
]
SystemName = Annotated[
    str,
    typer.Argument(
        metavar="SYSTEM", autocompletion=_names("systems"), help="A system of the catalogue."
    ),
]
AnySystem = Annotated[
    str | None,
    typer.Argument(
        metavar="[SYSTEM]",
        autocompletion=_names("systems"),
        help="Only this system of the catalogue.",
    ),
]
AttributeNames = Annotated[
    list[str] | None,
    typer.Option(
        "--attribute",
        metavar="NAME",
        autocompletion=_names("attributes"),
        help="Only this attribute; may be given several times.",
    ),
]
AudienceName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", autocompletion=_names("audiences"), help="An audience of the catalogue."
    ),
]
JourneyName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", autocompletion=_names("journeys"), help="A journey of the catalogue."
    ),
]
DestinationName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", autocompletion=_names("destinations"), help="A destination by its name."
    ),
]
AudienceOrFile = Annotated[
    str,
    typer.Argument(
        metavar="NAME|FILE",
        autocompletion=_names("audiences"),
        help="An audience of the catalogue, or a YAML file with one.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="FILE", help="Write to a file instead of stdout."),
]
Folder = Annotated[
    Path,
    typer.Option(
        "--folder",
        envvar="PROFILE_PIPELINES_DEMO",
        help="The demo's folder: systems, lake and ledger.",
    ),
]
DEMO_FOLDER = Path(".demo")
