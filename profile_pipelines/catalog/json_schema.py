"""JSON Schemas of the catalogue's files, by which editors complete and check them."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import ConfigDict, RootModel
from pydantic.json_schema import models_json_schema

from profile_pipelines.catalog.models import (
    Attribute,
    Audience,
    Identifier,
    Name,
    Settings,
    System,
)

FileKind = Literal["catalogue", "identifiers", "attributes", "source", "audience"]
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
    "source": System,
    "audience": Audience,
}
FILE_KINDS: tuple[FileKind, ...] = get_args(FileKind)


def file_schema(kind: FileKind) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one kind of file."""
    return {"$schema": _DIALECT, **_MODELS[kind].model_json_schema(mode="validation")}


def catalogue_schema() -> dict[str, Any]:
    """One JSON Schema that fits every file of a catalogue, whichever kind it is."""
    references, shared = models_json_schema(
        [(model, "validation") for model in _MODELS.values()], title="A file of a catalogue"
    )
    kinds = [references[(model, "validation")] for model in _MODELS.values()]
    return {"$schema": _DIALECT, "title": shared["title"], "anyOf": kinds, "$defs": shared["$defs"]}
