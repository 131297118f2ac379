"""Reads a catalogue folder: YAML files to typed declarations, or all mistakes at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path as FilePath
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from profile_pipelines.catalog.channels import Channels
from profile_pipelines.catalog.cross_checks import cross_check
from profile_pipelines.catalog.declaration import Declaration, Name
from profile_pipelines.catalog.destinations import Destination
from profile_pipelines.catalog.draft import Draft, Kind, Place
from profile_pipelines.catalog.journeys import Journey
from profile_pipelines.catalog.message_templates import FOLDER as TEMPLATES
from profile_pipelines.catalog.message_templates import read_templates
from profile_pipelines.catalog.mistakes import Mistake, Path, did_you_mean
from profile_pipelines.catalog.models import Attribute, Audience, Catalogue, Identifier, Settings
from profile_pipelines.catalog.plain_words import in_plain_words
from profile_pipelines.catalog.preset_expansion import expand_system
from profile_pipelines.catalog.preset_files import (
    LoadedPreset,
    read_preset,
    shipped,
    shipped_names,
)
from profile_pipelines.catalog.salvage import salvage
from profile_pipelines.catalog.secret_literals import literal_secrets
from profile_pipelines.catalog.systems import System
from profile_pipelines.catalog.yaml_lines import MAX_BYTES, Document, YamlError, read_yaml
from profile_pipelines.errors import CatalogueError

_FILES: dict[str, Kind] = {
    "catalogue.yaml": "settings",
    "identifiers.yaml": "identifier",
    "attributes.yaml": "attribute",
    "channels.yaml": "channels",
}
_FOLDERS: dict[str, Kind] = {
    "attributes": "attribute",
    "presets": "preset",
    "sources": "system",
    "audiences": "audience",
    "journeys": "journey",
    "destinations": "destination",
}
_TYPE_WANTED = "must be sql, rest, files or custom, or a preset of `profile-pipelines sources`"
_NAME: TypeAdapter[str] = TypeAdapter(Name)
_D = TypeVar("_D", bound=Declaration)


def load_catalogue(folder: FilePath) -> Catalogue:
    """Read and check the catalogue in `folder`.

    Raises CatalogueError with a line for every mistake, sorted by file and line.
    """
    draft = read_draft(folder)
    cross_check(draft)
    if draft.mistakes:
        raise CatalogueError(draft.in_order())
    return Catalogue(
        settings=draft.settings,
        identifiers=draft.identifiers,
        attributes=draft.attributes,
        systems=draft.systems,
        audiences=draft.audiences,
        channels=draft.channels.channels,
        journeys=draft.journeys,
        destinations=draft.destinations,
        limits=draft.channels.limits,
        templates=draft.templates,
    )


def read_draft(folder: FilePath) -> Draft:
    """Read every file of the catalogue, without looking across declarations.

    Raises CatalogueError when there is no catalogue in `folder` at all.
    """
    # systems are read by means of presets
    files = sorted(_yaml_files(folder), key=lambda file: (_kind_of(file) != "preset", file))
    if not files:
        found = "holds no YAML files" if folder.is_dir() else "isn't there"
        todo = f"write a catalogue to start from with `profile-pipelines init {folder}`"
        raise CatalogueError([f"{folder}: the catalogue folder {found}; {todo}"])
    draft = Draft()
    for file in files:
        kind = _kind_of(file)
        place = Place(file, Document())
        if kind is None:
            draft.mistakes.append(place.mistake((), _not_a_part(file)))
        else:
            _read_file(draft, folder / file, kind, file)
    named = dict.fromkeys([*draft.declared("attribute"), *draft.declared("identifier")])
    draft.templates, mistakes = read_templates(folder, named)
    draft.template_names = {path.stem for path in (folder / TEMPLATES).glob("*.txt")}
    if not draft.unread & {"attribute", "identifier"}:
        draft.mistakes += mistakes
    return draft


def read_presets(folder: FilePath) -> dict[str, LoadedPreset]:
    """The presets that the catalogue in `folder` declares, and those of the package.

    Raises CatalogueError for mistakes in the former.
    """
    draft = Draft()
    for file in sorted(f for f in _yaml_files(folder) if _kind_of(f) == "preset"):
        _read_file(draft, folder / file, "preset", file)
    if draft.mistakes:
        raise CatalogueError(draft.in_order())
    return {**{name: shipped(name) for name in shipped_names()}, **draft.presets}


def _yaml_files(folder: FilePath) -> Iterator[str]:
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.lower().endswith((".yaml", ".yml")) and not name.startswith("."):
                yield (FilePath(root) / name).relative_to(folder).as_posix()


def _kind_of(file: str) -> Kind | None:
    folder, _, name = file.rpartition("/")
    if not name.endswith(".yaml"):
        return None
    return _FOLDERS.get(folder) if folder else _FILES.get(name)


def _not_a_part(file: str) -> str:
    renamed = f"{file.rpartition('.')[0]}.yaml"
    if renamed != file and _kind_of(renamed):
        return f"isn't read; name it {renamed}"
    known = [*_FILES, *(f"{folder}/{file.rpartition('/')[2]}" for folder in _FOLDERS)]
    parts = "a catalogue has catalogue.yaml, identifiers.yaml, attributes.yaml and the folders"
    hint = did_you_mean(file, known)
    return (
        f"is no part of a catalogue{hint or f'; {parts} attributes, presets, sources, audiences'}"
    )


def _read_file(draft: Draft, path: FilePath, kind: Kind, file: str) -> None:
    try:
        with path.open("rb") as opened:
            document = read_yaml(opened.read(MAX_BYTES + 1))
    except (YamlError, OSError) as error:
        draft.unread.add(kind)
        line, at = (error.line, error.path) if isinstance(error, YamlError) else (1, ())
        text = error.text if isinstance(error, YamlError) else f"can't be read: {error.strerror}"
        document = Document(lines={at: line})
        draft.mistakes.append(Place(file, document).mistake(at, text))
        return
    place = Place(file, document)
    draft.mistakes += [
        Mistake(file, mistake.line, mistake.path, mistake.text) for mistake in document.mistakes
    ]
    content: object = document.data
    if content is None and kind == "settings":
        return
    if not isinstance(content, dict):
        empty = content is None
        text = "the file is empty; fill it or delete it" if empty else "must hold keys (key: value)"
        draft.unread.add(kind)
        draft.mistakes.append(place.mistake((), text))
        return
    data = cast(dict[str, Any], content)
    match kind:
        case "settings":
            if draft.declare("settings", "", place):
                draft.settings = _read(draft, kind, Settings, data, place) or draft.settings
        case "channels":
            if draft.declare("channels", "", place):
                _read_channels(draft, data, place)
        case "identifier":
            draft.identifiers |= _read_named(draft, kind, Identifier, data, place)
        case "attribute":
            draft.attributes |= _read_named(draft, kind, Attribute, data, place)
        case "system":
            draft.systems |= _read_system(draft, data, place)
        case "preset":
            _read_preset(draft, document, place)
        case "audience":
            draft.audiences |= _read_whole(draft, kind, Audience, data, place)
        case "journey":
            draft.journeys |= _read_whole(draft, kind, Journey, data, place)
        case "destination":
            draft.destinations |= _read_whole(draft, kind, Destination, data, place)


def _read_channels(draft: Draft, data: dict[str, Any], place: Place) -> None:
    declared = _read(draft, "channels", Channels, data, place)
    left = draft.salvaged.get(("channels", ""))
    draft.channels = declared or (left and left.declaration) or draft.channels
    named: object = data.get("channels")
    if isinstance(named, dict):
        draft.channel_names = set(cast(dict[str, object], named))
    else:
        draft.unread.add("channels")


def _read_named(
    draft: Draft, kind: Kind, model: type[_D], data: dict[str, Any], file: Place
) -> dict[str, _D]:
    """A file that declares by name: `name: {…}`."""
    found: dict[str, _D] = {}
    for name, value in data.items():
        place = Place(file.file, file.document, (name,))
        declaration = _read(draft, kind, model, value, place, name=name)
        is_named = _is_named(draft, name, place)
        if draft.declare(kind, name, place) and declaration is not None and is_named:
            found[name] = declaration
    return found


def _is_named(draft: Draft, name: str, place: Place) -> bool:
    try:
        _NAME.validate_python(name)
    except ValidationError as error:
        draft.mistakes += [place.mistake((), text) for _, text in in_plain_words(error, name)]
        return False
    return True


def _read_preset(draft: Draft, document: Document, place: Place) -> None:
    preset, mistakes = read_preset(document)
    draft.mistakes += [place.mistake(path, text) for path, text in mistakes]
    name = document.data.get("preset")
    if not isinstance(name, str):
        draft.unread.add("preset")
    elif draft.declare("preset", name, place, ("preset",)) and preset is not None:
        draft.presets[name] = preset


def _read_system(draft: Draft, data: dict[str, Any], place: Place) -> dict[str, System]:
    """A system; where its connection names a preset, the system that it stands for."""
    found = expand_system(draft, data)
    draft.mistakes += [place.mistake(path, text) for path, text in found.mistakes]
    told: list[Path] = [path for path, _ in found.mistakes] if found.known else [()]
    connection: object = data.get("connection")
    if isinstance(connection, dict) and not isinstance(
        cast(dict[str, object], connection).get("type", ""), str
    ):
        told = [("kind",)]  # a preset would say it
        draft.mistakes.append(place.mistake(("connection", "type"), _TYPE_WANTED))
        told.append(("connection",))
    declared = _read_whole(draft, "system", System, found.data, place, told)
    return {} if told else declared


def _read_whole(
    draft: Draft,
    kind: Kind,
    model: type[_D],
    data: dict[str, Any],
    place: Place,
    told: Sequence[Path] = (),
) -> dict[str, _D]:
    """A file that is one declaration, with its name under the kind's own key."""
    name = data.get(kind)
    declaration = _read(draft, kind, model, data, place, told, name=name)
    if not isinstance(name, str):
        draft.unread.add(kind)
        return {}
    if draft.declare(kind, name, place, (kind,)) and declaration is not None:
        return {name: declaration}
    return {}


def _read(
    draft: Draft,
    kind: Kind,
    model: type[_D],
    data: object,
    place: Place,
    told: Sequence[Path] = (),
    *,
    name: object = "",
) -> _D | None:
    """The declaration, or its mistakes except those that follow from `told` ones.

    Then the draft gets what is left of it, and the mistakes that they hide.
    """
    known = {mistake.path for mistake in place.document.mistakes}
    if model in (System, Channels, Destination):
        for path, text in literal_secrets(data):
            if any(_leads_to(each, path) for each in told):
                continue
            draft.mistakes.append(place.mistake(path, text))
            known.add(path)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = in_plain_words(error, data)
    if not told:
        left = salvage(model, data, [path for path, _ in found])
        found += left.mistakes
        if isinstance(name, str):
            draft.salvaged[kind, name] = left
    for path, text in found:
        whole = (*place.path, *path)
        if any(_leads_to(each, path) for each in told):
            continue
        if whole not in known or text.startswith("unknown key"):
            draft.mistakes.append(place.mistake(path, text))
    return None


def _leads_to(told: Path, path: Path) -> bool:
    """Whether a mistake at `path` follows from the one at `told`: around it, or below it."""
    if told[:1] == ("connection",):
        return path[:1] == ("connection",)
    return path == told[: len(path)] or told == path[: len(told)]
