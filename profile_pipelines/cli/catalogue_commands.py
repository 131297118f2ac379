"""`init`, `check`, `schema`: the catalogue itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from profile_pipelines.cli.failures import ExitCode
from profile_pipelines.cli.options import AsJson, Now
from profile_pipelines.cli.output import print_json, stderr, stdout


def init(folder: Annotated[Path, typer.Argument(metavar="DIR")]) -> None:
    """Write a commented starter catalogue into DIR."""
    from profile_pipelines.catalog.starter_files import write_starter

    console = stdout()
    for path in write_starter(folder):
        console.print(str(path), soft_wrap=True)
    console.print(
        f"\nNext: fit the files to your system, then\n"
        f"  export PROFILE_PIPELINES_CATALOG={folder}\n"
        f"  profile-pipelines check --live",
        soft_wrap=True,
    )


def check(
    live: Annotated[
        bool, typer.Option("--live", help="Connect to every system and compare it too.")
    ] = False,
    sample: Annotated[
        int, typer.Option(min=0, help="Records to read of each sync with --live; 0: all.")
    ] = 5_000,
    as_json: AsJson = False,
    now: Now = None,
) -> None:
    """Check the catalogue, with --live its systems too.

    With --live every system is read: each mapped field with its type, how full it is, how many
    values the rules refuse, and three masked samples; each identifier with its match rates.
    """
    from profile_pipelines.catalog.load import load_catalogue
    from profile_pipelines.cli.session import places, reachable_systems

    folder = places().catalogue
    catalogue = load_catalogue(folder)
    counts = {
        "systems": len(catalogue.systems),
        "syncs": sum(len(system.syncs) for system in catalogue.systems.values()),
        "attributes": len(catalogue.attributes),
        "identifiers": len(catalogue.identifiers),
        "audiences": len(catalogue.audiences),
    }
    if not live:
        if as_json:
            print_json({"catalogue": folder, **counts, "mistakes": []})
        else:
            told = ", ".join(f"{count} {name}" for name, count in counts.items())
            stdout().print(f"{folder}: no mistakes ({told})", soft_wrap=True)
        return
    from profile_pipelines.cli.live_tables import print_live
    from profile_pipelines.cli.moments import present
    from profile_pipelines.live_check import check_live

    with reachable_systems(), stderr().status("") as status:
        report = check_live(
            catalogue,
            now=present(now, catalogue.settings.timezone),
            sample=sample or None,
            progress=lambda system, sync: status.update(f"reading {system}.{sync}"),
        )
    if as_json:
        print_json(report)
    else:
        print_live(report)
    if report.failed:
        raise typer.Exit(ExitCode.SOURCE)
    if report.missing:
        raise typer.Exit(ExitCode.USAGE)


def schema(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]", help="catalogue, identifiers, attributes, source or audience."
        ),
    ] = None,
) -> None:
    """Print the JSON Schema of the catalogue.

    Editors complete and check the files by it; KIND is one kind of file.
    """
    from profile_pipelines.catalog.json_schema import FILE_KINDS, catalogue_schema, file_schema

    if kind is None:
        print_json(catalogue_schema())
        return
    for known in FILE_KINDS:
        if kind == known:
            print_json(file_schema(known))
            return
    raise typer.BadParameter(f"{kind!r} is no kind of file; there are {', '.join(FILE_KINDS)}")
