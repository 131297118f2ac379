"""JSON Schemas of the catalogue's files, by which editors complete and check them."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from importlib.resources import files
from itertools import chain, pairwise
from typing import Any, Literal, cast, get_args

from pydantic import ConfigDict, RootModel
from pydantic.json_schema import models_json_schema

from profile_pipelines.catalog.channels import Channels
from profile_pipelines.catalog.declaration import Name
from profile_pipelines.catalog.destinations import Destination
from profile_pipelines.catalog.journeys import Journey
from profile_pipelines.catalog.models import Attribute, Audience, Identifier, Settings
from profile_pipelines.catalog.preset_files import LoadedPreset, Preset, shipped, shipped_names
from profile_pipelines.catalog.preset_schema import add_preset_systems
from profile_pipelines.catalog.systems import System

FileKind = Literal[
    "catalogue",
    "identifiers",
    "attributes",
    "preset",
    "source",
    "audience",
    "journey",
    "channels",
    "destination",
]
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Identifiers(RootModel[dict[Name, Identifier]]):
    """The keys of a customer by name, the strongest first."""

    model_config = ConfigDict(title="identifiers.yaml")


class _Attributes(RootModel[dict[Name, Attribute]]):
    """The profile attributes by name."""

    model_config = ConfigDict(title="attributes.yaml, attributes/*.yaml")


_MODELS: dict[FileKind, Any] = {
    "catalogue": Settings,
    "identifiers": _Identifiers,
    "attributes": _Attributes,
    "preset": Preset,
    "source": System,
    "audience": Audience,
    "journey": Journey,
    "channels": Channels,
    "destination": Destination,
}
FILE_KINDS: tuple[FileKind, ...] = get_args(FileKind)


def file_schema(kind: FileKind, presets: Iterable[LoadedPreset] | None = None) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one kind of file; a source may use the presets."""
    if kind == "source":
        return catalogue_schema(kind, presets=presets)
    schema = _MODELS[kind].model_json_schema(mode="validation")
    return {"$schema": _DIALECT, **_for_editors(schema)}


def catalogue_schema(
    *only: FileKind, presets: Iterable[LoadedPreset] | None = None
) -> dict[str, Any]:
    """One JSON Schema that fits every file of a catalogue, whichever kind it is.

    Without `presets`, sources may use those of the package.
    """
    models = [_MODELS[kind] for kind in only or FILE_KINDS]
    references, shared = models_json_schema(
        [(model, "validation") for model in models], title="A file of a catalogue"
    )
    kinds = [references[(model, "validation")] for model in models]
    schema = _for_editors({**shared, "anyOf": kinds})
    known = map(shipped, shipped_names()) if presets is None else presets
    kinds.append(add_preset_systems(schema["$defs"], known))
    return {"$schema": _DIALECT, **schema}


def _for_editors(schema: dict[str, Any]) -> dict[str, Any]:
    """Add the words that the models' source has for each key, and refuse malformed names."""
    described = _descriptions()
    for name, model in {schema.get("title"): schema, **schema.get("$defs", {})}.items():
        for key, field in model.get("properties", {}).items():
            text = described.get((name, key))
            if text is not None:
                field.setdefault("description", text)
    _close(schema)
    return schema


def _descriptions() -> dict[tuple[str | None, str], str]:
    """The docstrings under the models' fields; read here, since it would slow every start."""
    found: dict[tuple[str | None, str], str] = {}
    modules = [e for e in files("profile_pipelines.catalog").iterdir() if e.name.endswith(".py")]
    for model in chain.from_iterable(ast.parse(e.read_text("utf-8")).body for e in modules):
        body = model.body if isinstance(model, ast.ClassDef) else []
        for field, below in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                name = ast.unparse(field.target).rstrip("_")
                text = ast.literal_eval(below.value)
                found[(cast(ast.ClassDef, model).name, name)] = text
    return found


def _close(schema: object) -> None:
    if isinstance(schema, list):
        for item in cast(list[object], schema):
            _close(item)
    elif isinstance(schema, dict):
        node = cast(dict[str, Any], schema)
        if "patternProperties" in node:
            node["additionalProperties"] = False
        for item in node.values():
            _close(item)
