"""`sources`: the systems that can be connected by a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from profile_pipelines.cli.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from profile_pipelines.catalog.preset_files import LoadedPreset, Stream

sources = typer.Typer(
    name="sources",
    help="The business systems for which there is a preset.",
    invoke_without_command=True,
)


@sources.callback()
def list_sources(context: typer.Context, as_json: AsJson = False) -> None:
    """List the presets: kind, name and streams. `sources show NAME` explains one."""
    if context.invoked_subcommand is not None:
        return
    from profile_pipelines.cli.output import joined, print_json, stdout, table

    presets = sorted(
        known_presets().values(), key=lambda each: (each.preset.kind, each.preset.preset)
    )
    if as_json:
        print_json([_summary(each) for each in presets])
        return
    rows = table("kind", "name", "~streams", "~what")
    for each in presets:
        preset = each.preset
        what = preset.title if each.shipped else f"{preset.title} (your own)"
        rows.add_row(preset.kind, preset.preset, joined(preset.streams), what)
    console = stdout()
    console.print(rows)
    console.print("\nAnd without a preset: any SQL database (sql), JSON API (rest), files (files)")


@sources.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The preset's name.")],
    as_json: AsJson = False,
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="Print the preset's own YAML, to start a new one from.")
    ] = False,
) -> None:
    """Explain a preset: fields, streams, suggested attributes, an example."""
    from profile_pipelines.catalog.preset_files import shipped_text
    from profile_pipelines.cli.output import print_json, stdout

    loaded = preset_named(name)
    console = stdout()
    if as_json:
        print_json({**_summary(loaded), "declaration": loaded.data})
    elif as_yaml and loaded.shipped:
        console.print(shipped_text(name), soft_wrap=True, end="")
    elif as_yaml:
        raise typer.BadParameter(f"{name} is your own preset; see the folder presets")
    else:
        for line in _explained(loaded):
            console.print(line, soft_wrap=True)


def known_presets() -> dict[str, LoadedPreset]:
    """The presets of the package and of the catalogue in use."""
    from profile_pipelines.catalog.load import read_presets
    from profile_pipelines.cli.session import places

    return read_presets(places().catalogue)


def preset_named(name: str) -> LoadedPreset:
    """The preset. Raises NotFound, with what there is."""
    from profile_pipelines.catalog.mistakes import did_you_mean
    from profile_pipelines.errors import NotFound

    presets = known_presets()
    if name not in presets:
        hint = did_you_mean(name, presets, all_of="there are")
        raise NotFound(f"there is no preset {name}{hint}")
    return presets[name]


def _summary(loaded: LoadedPreset) -> dict[str, Any]:
    preset = loaded.preset
    return {
        "name": preset.preset,
        "title": preset.title,
        "kind": preset.kind,
        "docs": preset.docs,
        "own": not loaded.shipped,
        "streams": list(preset.streams),
    }


def _explained(loaded: LoadedPreset) -> Iterator[str]:
    from profile_pipelines.catalog.preset_starter import flow, variable

    preset = loaded.preset
    yield f"{preset.title} ({preset.kind})"
    yield from filter(None, (preset.description, preset.docs))
    yield "\nFields of the connection"
    for name, field in preset.fields.items():
        if field.secret:
            told = f"{{env: {variable(preset.preset, name)}}}"
        elif field.required:
            told = f"for example {field.example}" if field.example else "required"
        else:
            told = f"default {flow(field.default)}"
        yield f"  {name}: {field.description} ({told})"
    for name, stream in preset.streams.items():
        yield f"\nStream {name}: {stream.description}"
        yield from (f"  {line}" for line in _stream(stream))
    yield "\nFor example, in sources/" + preset.preset + ".yaml"
    yield from (f"  {line}" for line in _example(loaded))
    yield f"\nprofile-pipelines init --source {preset.preset} writes a catalogue file for it"


def _stream(stream: Stream) -> Iterator[str]:
    from profile_pipelines.catalog.plan import is_incremental
    from profile_pipelines.catalog.preset_starter import flow

    if stream.docs:
        yield stream.docs
    yield f"identifiers: {flow({k: v.as_written for k, v in stream.identifiers.items()})}"
    reads_changes = is_incremental(stream)
    what = "everything"
    if reads_changes and stream.updated_at is not None:
        what = f"what changed, by {stream.updated_at.field}"
    if stream.events is not None:
        what = f"what events name, from {stream.events.path}"
    yield f"reads: {what}"
    if stream.full_every is not None:
        from profile_pipelines.catalog.durations import format_duration

        yield f"reads everything every {format_duration(stream.full_every)}"
    if stream.deleted:
        yield f"deletions: {stream.deleted.field}"
    elif stream.events is not None:
        yield "deletions: records that events name and that are gone"
    elif not reads_changes or stream.full_every is not None:
        yield "deletions: records that are gone when everything is read"
    yield f"schedule: {flow(stream.schedule)}"
    yield from (f"note: {note}" for note in stream.notes)
    if stream.attributes:
        yield "suggested attributes:"
    for name, suggestion in stream.attributes.items():
        told = f"; {suggestion.attribute.description}" if suggestion.attribute.description else ""
        yield f"  {name}: {suggestion.attribute.type}, from {suggestion.origin}{told}"


def _example(loaded: LoadedPreset) -> Iterator[str]:
    from profile_pipelines.catalog.preset_starter import flow, variable

    preset = loaded.preset
    given = ", ".join(
        f"{name}: "
        + (f"{{env: {variable(preset.preset, name)}}}" if f.secret else flow(f.example or "…"))
        for name, f in preset.fields.items()
        if f.required
    )
    stream, declared = next(iter(preset.streams.items()))
    yield f"system: {preset.preset}"
    yield f"connection: {{type: {preset.preset}{', ' if given else ''}{given}}}"
    yield "syncs:"
    yield f"  {stream}:"
    known = {k: v.as_written for k, v in declared.identifiers.items()}
    yield f"    identifiers: {flow(known)}"
    yield f"    attributes: {flow(list(declared.attributes))}"
