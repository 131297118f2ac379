"""A commented catalogue file for a preset, with the attributes and identifiers that it needs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import yaml

from profile_pipelines.catalog.draft import Draft
from profile_pipelines.catalog.durations import format_duration
from profile_pipelines.catalog.load import read_draft
from profile_pipelines.catalog.mapped_fields import MappedField
from profile_pipelines.catalog.preset_files import LoadedPreset, Preset, PresetField, Stream
from profile_pipelines.catalog.schedules import longest_gap
from profile_pipelines.catalog.starter_files import write_new
from profile_pipelines.errors import CatalogueError

_FRESH = timedelta(hours=24)


def write_preset_starter(folder: Path, loaded: LoadedPreset, name: str) -> list[Path]:
    """Write the files for a system `name` over the preset into the catalogue in `folder`.

    What the catalogue declares already is left alone: a stream none of whose identifiers it knows
    and an attribute that it has are written as comments. Raises CatalogueError, and writes
    nothing, when that leaves nothing to read or a file is there already.
    """
    draft = read_draft(folder) if folder.is_dir() and any(folder.rglob("*.yaml")) else Draft()
    if not draft.is_unknown("system", name):
        place = draft.places["system", name].file
        raise CatalogueError([f"{folder / place}: declares the system {name} already"])
    plan = _Plan(loaded.preset, name, draft)
    if not any(map(plan.identifiers, loaded.preset.streams.values())):
        wanted = _block(plan.declared_identifiers())
        raise CatalogueError(
            [f"{folder / 'identifiers.yaml'}: add one of these, which {name} has:\n{wanted}"]
        )
    contents = {
        folder / "sources" / f"{name}.yaml": "\n".join(plan.source()) + "\n",
        folder / "attributes" / f"{name}.yaml": "\n".join(plan.attributes()) + "\n",
    }
    if not draft.declared("identifier"):
        contents[folder / "identifiers.yaml"] = (
            "# The keys by which records are found to be one customer; the strongest first.\n\n"
            + _block(plan.declared_identifiers())
        )
    return write_new(folder, {path: text for path, text in contents.items() if text.strip()})


class _Plan:
    def __init__(self, preset: Preset, name: str, draft: Draft) -> None:
        self.preset, self.name = preset, name
        self.known_identifiers = draft.declared("identifier") or list(preset.identifiers)
        self.known_attributes = {
            attribute: draft.places["attribute", attribute]
            for attribute in draft.declared("attribute")
        }

    def identifiers(self, stream: Stream) -> dict[str, MappedField]:
        """Those of the stream that the catalogue declares."""
        return {k: v for k, v in stream.identifiers.items() if k in self.known_identifiers}

    def declared_identifiers(self) -> dict[str, Any]:
        return {
            name: each.model_dump(mode="json", exclude_unset=True)
            for name, each in self.preset.identifiers.items()
        }

    def source(self) -> Iterator[str]:
        preset = self.preset
        yield f"# {preset.title}, read by the preset {preset.preset}; every key of it can be"
        yield f"# overridden here: profile-pipelines sources show {preset.preset}"
        if preset.docs:
            yield f"# {preset.docs}"
        yield ""
        yield f"system: {self.name}"
        yield f"kind: {preset.kind}"
        yield "connection:"
        yield f"  type: {preset.preset}"
        for key, field in preset.fields.items():
            yield f"  # {field.description}"
            yield f"  {'' if field.required else '# '}{key}: {_example(preset, key, field)}"
        yield "syncs:"
        for key, stream in preset.streams.items():
            usable = bool(self.identifiers(stream))
            if not usable:
                wanted = ", ".join(stream.identifiers)
                yield f"  # Declare one of {wanted} in identifiers.yaml to read this stream too."
            for line in self._sync(key, stream):
                yield f"  {line}" if usable or line.startswith("#") else f"  # {line}"

    def _sync(self, key: str, stream: Stream) -> Iterator[str]:
        yield f"# {stream.description}"
        for note in stream.notes:
            yield f"# {note}"
        yield f"{key}:"
        known = self.identifiers(stream) or stream.identifiers
        yield f"  identifiers: {flow({k: v.as_written for k, v in known.items()})}"
        for identifier, each in stream.identifiers.items():
            if identifier not in known:
                added = flow({identifier: each.as_written}).strip("{}")
                yield f"  # {added} could be added, once identifiers.yaml declares it"
        yield f"  schedule: {flow(stream.schedule)}"
        new = [name for name in stream.attributes if name not in self.known_attributes]
        yield "  attributes:" if new else "  attributes: []"
        for name, suggestion in stream.attributes.items():
            told = suggestion.attribute.description or suggestion.origin
            if name in new:
                yield f"    - {name} # {told}"
            else:
                file = self.known_attributes[name].file
                yield f"    # - {name} # {told}; first add {self.name} to its sources in {file}"

    def attributes(self) -> Iterator[str]:
        found = [
            (name, suggestion, stream)
            for stream in self.preset.streams.values()
            if self.identifiers(stream)
            for name, suggestion in stream.attributes.items()
            if name not in self.known_attributes
        ]
        if found:
            yield f"# What {self.preset.title} knows about a customer. Take out what you don't"
            yield f"# need, here and in sources/{self.name}.yaml."
        for name, suggestion, stream in found:
            wanted = suggestion.attribute
            gap = longest_gap(suggestion.schedule or stream.schedule)
            fresh = wanted.fresh_within or max(_FRESH, 2 * gap)
            yield ""
            yield f"{name}:"
            if wanted.description:
                yield f"  description: {flow(wanted.description)}"
            yield f"  type: {wanted.type}"
            yield f"  sources: [{self.name}]"
            if wanted.merge:
                yield f"  merge: {wanted.merge}"
            yield f"  fresh_within: {format_duration(fresh)}"
            if wanted.valid:
                yield f"  valid: {flow(wanted.valid)}"
            if wanted.consent:
                yield f"  consent: {wanted.consent}"


def variable(preset: str, field: str) -> str:
    """The environment variable that is suggested for a secret field."""
    return f"{preset}_{field}".upper()


def flow(value: object) -> str:
    """A value on one line of YAML."""
    dump: Any = cast(Any, yaml).safe_dump
    text: str = dump(
        [value], default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True
    )
    return text.strip()[1:-1]


def _block(value: object) -> str:
    return _yaml(value, default_flow_style=None, width=100)


def _yaml(value: object, **style: Any) -> str:
    return cast(Any, yaml).safe_dump(value, sort_keys=False, allow_unicode=True, **style)


def _example(preset: Preset, key: str, field: PresetField) -> str:
    if field.secret:
        return f"{{env: {variable(preset.preset, key)}}}"
    value = field.default if field.default is not None else field.example
    return flow(value if value is not None else "")
