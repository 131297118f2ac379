"""`audience list`, `preview` and `members`."""

from __future__ import annotations

from typing import Annotated

import typer

from profile_pipelines.cli.options import AsJson, AsOf, AudienceName, AudienceOrFile, Now

audience = typer.Typer(name="audience", help="Who is in which audience.", no_args_is_help=True)
_ROWS = 50


@audience.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the audiences with their size at the last evaluation."""
    from profile_pipelines.cli.output import NOTHING, print_json, spell_count, stdout, table
    from profile_pipelines.cli.session import open_workspace
    from profile_pipelines.reading import Customers

    workspace = open_workspace()
    customers = Customers(workspace)
    found = []
    for name, declared in workspace.catalogue.audiences.items():
        members, held = customers.audience_size(name) or (None, None)
        found.append(
            {
                "audience": name,
                "description": declared.description,
                "owner": declared.owner,
                "members": members,
                "held": held,
            }
        )
    if as_json:
        print_json(found)
        return
    rows = table("audience", "#members", "#held", "~who")
    for each in found:
        members, held = (
            NOTHING if each[key] is None else spell_count(each[key]) for key in ("members", "held")
        )
        rows.add_row(each["audience"], members, held, each["description"])
    stdout().print(rows)


@audience.command()
def preview(target: AudienceOrFile, as_json: AsJson = False, now: Now = None) -> None:
    """Evaluate an audience on today's profiles without writing anything."""
    from pathlib import Path

    from profile_pipelines.audiences.materialise import preview as evaluate
    from profile_pipelines.catalog.audience_file import load_audience
    from profile_pipelines.catalog.conditions import attributes_of
    from profile_pipelines.catalog.mistakes import did_you_mean
    from profile_pipelines.cli.audience_tables import print_preview
    from profile_pipelines.cli.moments import present
    from profile_pipelines.cli.output import print_json
    from profile_pipelines.cli.session import open_customers
    from profile_pipelines.errors import UnknownName
    from profile_pipelines.samples import profiles_by_id

    space = open_customers().workspace
    catalogue, timezone = space.catalogue, space.catalogue.settings.timezone
    if target in catalogue.audiences:
        found = catalogue.audiences[target]
    elif Path(target).is_file():
        found = load_audience(Path(target), catalogue)
    else:
        hint = did_you_mean(target, catalogue.audiences, all_of="there are")
        raise UnknownName(f"{target} is neither an audience of the catalogue nor a file{hint}")
    result = evaluate(
        catalogue,
        space.lake,
        space.ledger.coverage(),
        found.where,
        now=present(now, timezone),
        name=found.audience if found.audience in catalogue.audiences else None,
    )
    names = sorted(attributes_of(found.where))
    sample = profiles_by_id(space, result.sample[:5], names)
    if as_json:
        print_json({"audience": found.audience, "counts": result.counts, "sample": sample})
    else:
        known = found.audience in catalogue.audiences
        print_preview(found, result.counts, sample, list(catalogue.identifiers), timezone, known)


@audience.command()
def members(
    name: AudienceName,
    as_of: AsOf = None,
    held: Annotated[
        bool, typer.Option("--held", help="Those that are held, instead of the members.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="So many at most (a table: 50; JSON: all).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List an audience's members as of its last evaluation, or of a past moment."""
    from profile_pipelines.cli.moments import past
    from profile_pipelines.cli.output import (
        joined,
        note,
        print_json,
        spell,
        spell_count,
        spell_many,
        stdout,
        table,
    )
    from profile_pipelines.cli.session import open_customers
    from profile_pipelines.samples import profiles_by_id

    customers = open_customers()
    space = customers.workspace
    moment = past(as_of, space.catalogue.settings.timezone)
    state = {
        row["profile_id"]: row
        for row in customers.members(name, as_of=moment).to_arrow().to_pylist()
    }
    chosen = sorted(id_ for id_, row in state.items() if row["held" if held else "member"])
    shown = chosen[: limit or (None if as_json else _ROWS)]
    found = profiles_by_id(space, shown, as_of=moment)
    if as_json:
        identifiers = {row["profile_id"]: row for row in found}
        print_json([{**state[id_], **identifiers.get(id_, {})} for id_ in shown])
        return
    rows = table("#profile", *(f"~{name}" for name in space.catalogue.identifiers), "")
    for each in found:
        spellings = [joined(map(spell, each.get(i, ()))) for i in space.catalogue.identifiers]
        mark = "held" if state[each["profile_id"]]["held"] else ""
        rows.add_row(str(each["profile_id"]), *spellings, mark)
    stdout().print(rows)
    total = f"{spell_count(len(chosen))} held" if held else spell_many(len(chosen), "member")
    note(total if shown == chosen else f"{total}, the first {len(shown)} of them shown")
