"""`init`, `check`, `adopt`, `schema`: the catalogue itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from profile_pipelines.cli.failures import ExitCode
from profile_pipelines.cli.options import AsJson, Now
from profile_pipelines.cli.output import print_json, spell_many, stderr, stdout

if TYPE_CHECKING:
    from profile_pipelines.catalog.models import Catalogue

_SAMPLE = 5_000


def init(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="The catalogue's folder.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source", metavar="PRESET", help="Write a file for this system of `sources`."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="SYSTEM", help="The system's name, if not the preset's."),
    ] = None,
) -> None:
    """Write a commented starter catalogue into DIR, or with --source a file for one system.

    With --source, DIR is the catalogue in use, or `catalog`; what is there already stays as it is.
    """
    from profile_pipelines.catalog.starter_files import write_starter
    from profile_pipelines.cli.session import CATALOG
    from profile_pipelines.cli.source_commands import preset_named

    console = stdout()
    if source is not None:
        from profile_pipelines.catalog.preset_starter import write_preset_starter

        folder = folder or Path(os.environ.get(CATALOG) or "catalog")
        system = source if name is None else _system_name(name)
        written = write_preset_starter(folder, preset_named(source), system)
    elif name is not None:
        raise typer.BadParameter("--name needs --source: the system's preset")
    elif folder is None:
        raise typer.BadParameter("name the folder into which the starter is written")
    else:
        written = write_starter(folder)
    for path in written:
        console.print(str(path), soft_wrap=True)
    beside = folder.parent
    console.print(
        f"\nNext: fit the files to your system, then\n"
        f"  export PROFILE_PIPELINES_CATALOG={folder}\n"
        f"  export PROFILE_PIPELINES_LAKE={beside / 'lake'}   # the default: beside the catalogue\n"
        f"  export PROFILE_PIPELINES_LEDGER=sqlite:///{beside / 'ledger.db'}   # likewise\n"
        f"  profile-pipelines check --live",
        soft_wrap=True,
    )


def _system_name(name: str) -> str:
    """The name, if a system may bear it. Raises BadParameter, with a name that it may."""
    import re

    from pydantic import TypeAdapter, ValidationError

    from profile_pipelines.catalog.declaration import Name

    names = TypeAdapter[str](Name)
    try:
        return names.validate_python(name)
    except ValidationError:
        near = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:63]
    try:
        example = names.validate_python(near)
    except ValidationError:
        example = "stripe_eu"
    raise typer.BadParameter(
        f"--name {name!r}: a system's name is lower case words joined by single underscores, "
        f"at most 63 letters, like {example}"
    )


def check(
    live: Annotated[
        bool, typer.Option("--live", help="Connect to every system and compare it too.")
    ] = False,
    sample: Annotated[
        int | None,
        typer.Option(min=0, help="Records to read of each sync with --live (5000); 0: all."),
    ] = None,
    as_json: AsJson = False,
    now: Now = None,
) -> None:
    """Check the catalogue, with --live its systems too.

    With --live every system is read: each mapped field with its type, how full it is, how many
    values the rules refuse, and three masked samples; each identifier with its match rates; and
    which fields are others than the last sync saw.
    """
    from profile_pipelines.catalog.load import load_catalogue
    from profile_pipelines.catalog.survivorship_checks import survivorship_notes
    from profile_pipelines.cli.output import note
    from profile_pipelines.cli.session import places, reachable_systems
    from profile_pipelines.workspace import Workspace

    if sample is not None and not live:
        raise typer.BadParameter("--sample needs --live: how many records to read of the systems")
    folder = places().catalogue
    catalogue = load_catalogue(folder)
    if (told := Workspace(places(), catalogue).check_marks(reach=live)) is not None:
        note(f"note: {told}")
    _check_stored_types(catalogue, live=live)
    counts = {
        "systems": len(catalogue.systems),
        "syncs": sum(len(system.syncs) for system in catalogue.systems.values()),
        "attributes": len(catalogue.attributes),
        "identifiers": len(catalogue.identifiers),
        "audiences": len(catalogue.audiences),
        "journeys": len(catalogue.journeys),
        "destinations": len(catalogue.destinations),
        "channels": len(catalogue.channels),
        "templates": len(catalogue.templates),
    }
    notes = list(survivorship_notes(catalogue))
    if not live:
        if as_json:
            print_json({"catalogue": folder, **counts, "mistakes": [], "notes": notes})
        else:
            told = ", ".join(spell_many(n, name.removesuffix("s")) for name, n in counts.items())
            stdout().print(f"{folder}: no mistakes ({told})", soft_wrap=True)
            for each in notes:
                note(f"note: {each}")
        return
    from profile_pipelines.cli.live_tables import print_live
    from profile_pipelines.cli.moments import present
    from profile_pipelines.lake import Lake
    from profile_pipelines.live_check import check_live

    with reachable_systems(), stderr().status("") as status:
        report = check_live(
            catalogue,
            now=present(now, catalogue.settings.timezone),
            sample=_SAMPLE if sample is None else sample or None,
            lake=Lake(places().lake),
            progress=lambda system, sync: status.update(f"reading {system}.{sync}"),
        )
    if as_json:
        print_json(report)
    else:
        print_live(report)
    if report.failed:
        raise typer.Exit(ExitCode.SOURCE)
    if report.missing or report.broken:
        raise typer.Exit(ExitCode.USAGE)


def _check_stored_types(catalogue: Catalogue, *, live: bool) -> None:
    """Raise CatalogueError for attributes that the lake has stored in another type.

    Without `live` only of a lake in a folder, which is there or isn't.
    """
    from profile_pipelines.catalog.load import read_draft
    from profile_pipelines.cli.session import places
    from profile_pipelines.errors import CatalogueError, LakeError
    from profile_pipelines.workspace import Workspace

    lake = places().lake
    if not (lake.is_dir() if isinstance(lake, Path) else live):
        return
    from profile_pipelines.lake_tables import changed_types

    try:
        changed = changed_types(Workspace(places(), catalogue))
    except LakeError:  # a run tells it; this is about the catalogue
        return
    draft = read_draft(places().catalogue)
    todo = f"(in {lake}): give the attribute a new name, or start a new lake"
    for column, how in changed.items():
        if ("attribute", column) in draft.places:
            draft.report("attribute", column, ("type",), f"{how} {todo}")
        else:
            draft.missing("sources", f"the field {column} {how} {todo}")
    if draft.mistakes:
        raise CatalogueError(draft.in_order())


def adopt(
    put_back: Annotated[
        bool,
        typer.Option(
            "--put-back", help="Both were put back from one copy, and so don't show that they were."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take lake and ledger over for this catalogue, and for a pair, as they are now.

    Needed only where a command refuses them, as another catalogue's or because one is older than
    the other knows; and after both were put back by hand. What is to be sent then waits for
    `outbox settle`.
    """
    from datetime import UTC, datetime

    from profile_pipelines.adoption import PUT_BACK
    from profile_pipelines.adoption import adopt as take_over
    from profile_pipelines.cli.session import open_workspace

    workspace = open_workspace()
    because = take_over(workspace, now=datetime.now(UTC), put_back=PUT_BACK if put_back else None)
    if as_json:
        print_json({**workspace.mark.as_json(), "accepted": because})
        return
    lake, folder = workspace.places.lake, workspace.places.catalogue
    out = stdout()
    out.print(f"The lake {lake} and its ledger belong to {folder} now", soft_wrap=True)
    if because is not None:
        out.print(f"Accepted: {because}", soft_wrap=True)
        out.print(
            "Messages are kept back from now on, since some may have been sent already: run, then "
            "see `profile-pipelines outbox settle`",
            soft_wrap=True,
        )


def schema(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]",
            help="One of catalogue, identifiers, attributes, preset, source, audience, channels, "
            "destination or journey.",
        ),
    ] = None,
) -> None:
    """Print the JSON Schema of the catalogue.

    Editors complete and check the files by it; KIND is one kind of file.
    """
    from profile_pipelines.catalog.json_schema import FILE_KINDS, catalogue_schema, file_schema
    from profile_pipelines.cli.source_commands import known_presets

    if kind is None:
        print_json(catalogue_schema(presets=known_presets().values()))
        return
    for known in FILE_KINDS:
        if kind == known:
            print_json(file_schema(known, known_presets().values()))
            return
    raise typer.BadParameter(f"{kind!r} is no kind of file; there are {', '.join(FILE_KINDS)}")
