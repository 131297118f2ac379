"""Presets: declarations of well-known systems, shipped as YAML or written by users.

A preset says which fields its connection takes, the connection they stand for, and the streams
that can be read through it. `preset_expansion` makes ordinary systems of what users write.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, Any, cast, get_args

from pydantic import (
    BeforeValidator,
    Field,
    StrictInt,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from profile_pipelines.catalog.connections import Connection
from profile_pipelines.catalog.declaration import Declaration, Duration, Name
from profile_pipelines.catalog.mistakes import Path
from profile_pipelines.catalog.models import Identifier, MergeRule, Valid
from profile_pipelines.catalog.plain_words import in_plain_words, located
from profile_pipelines.catalog.preset_template import NotTextError, fields_in, fill
from profile_pipelines.catalog.secret_literals import literal_secrets
from profile_pipelines.catalog.sync_checks import sync_mistakes
from profile_pipelines.catalog.systems import SourceField, Sync, SystemKind
from profile_pipelines.catalog.validity import typed_rules
from profile_pipelines.catalog.values import AttributeType
from profile_pipelines.catalog.yaml_lines import Document, read_yaml


class PresetField(Declaration):
    """A key that the preset's connection takes."""

    description: str
    secret: bool = False
    """Whether it must be `{env: NAME}`."""
    default: str | StrictInt | None = None
    """Its value when the user gives none; with `null` it may be left out."""
    example: str | None = None

    @property
    def required(self) -> bool:
        return "default" not in self.model_fields_set


class SuggestedAttribute(Declaration):
    """The profile attribute that a suggested mapping is meant for."""

    type: AttributeType = Field(examples=["string"])
    description: str = ""
    merge: MergeRule | None = None
    valid: dict[str, Any] = {}
    """As `valid` in attributes.yaml."""
    consent: Name | None = None
    fresh_within: Duration | None = None

    @field_validator("valid")
    @classmethod
    def _fits_the_type(cls, valid: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        rules = Valid.model_validate(valid)
        if "type" in info.data and (mistakes := typed_rules(info.data["type"], rules)[1]):
            raise located(mistakes)
        return valid


class Suggestion(SourceField):
    """A mapping to take or leave, with the attribute to declare for it."""

    attribute: SuggestedAttribute = Field(examples=[{"type": "string"}])


class Stream(Sync):
    """What a preset's system offers to read: a sync with suggested mappings."""

    description: str
    docs: str | None = None
    """Where the vendor documents it."""
    notes: list[str] = []
    """What a user should know: limits, deletions, what isn't seen."""
    # a dict of the more special kind, which nobody writes to
    attributes: dict[Name, Annotated[Suggestion, BeforeValidator(SourceField.read)]] = {}  # pyright: ignore[reportIncompatibleVariableOverride]


class Preset(Declaration):
    """A well-known system: its connection's fields, and its streams."""

    preset: Name = Field(examples=["my_shop"])
    """The name that stands as the connection's `type`."""
    title: str = Field(examples=["My shop"])
    kind: SystemKind = Field(examples=["crm"])
    description: str = ""
    docs: str | None = None
    """Where the vendor documents the API."""
    fields: Annotated[
        dict[Name, PresetField], BeforeValidator(lambda value: cast(object, value or {}))
    ] = {}
    """The keys that its connection takes."""
    identifiers: dict[Name, Identifier] = {}
    """Declarations for the identifiers of its streams, as in identifiers.yaml."""
    connection: dict[str, Any] = Field(examples=[{"type": "rest"}])
    """The connection that `{field}` texts are put into."""
    streams: dict[Name, Stream] = Field(min_length=1)
    """What can be read, by name."""


@dataclass(frozen=True)
class LoadedPreset:
    """A preset, and the plain data of its YAML, which expansion works on."""

    preset: Preset
    data: dict[str, Any]
    shipped: bool = False


_KEPT_NAMES = ("type", "since", "until", "changes", "fields", "job")
_CONNECTION: TypeAdapter[Connection] = TypeAdapter(Connection)


def connection_keys() -> dict[str, list[str]]:
    """The types of connections that are no presets, with their keys."""
    return {
        get_args(model.model_fields["type"].annotation)[0]: list(model.model_fields)
        for model in get_args(get_args(Connection)[0])
    }


def shipped_names() -> list[str]:
    """The presets that come with the package."""
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in _folder().iterdir()
        if entry.name.endswith(".yaml")
    )


@cache
def shipped(name: str) -> LoadedPreset:
    """A preset of the package; KeyError when there is none of this name."""
    if name not in shipped_names():
        raise KeyError(name)
    data: dict[str, Any] = read_yaml(shipped_text(name).encode()).data
    return LoadedPreset(Preset.model_validate(data), data, shipped=True)


def shipped_text(name: str) -> str:
    """The YAML of a preset of the package."""
    return (_folder() / f"{name}.yaml").read_text(encoding="utf-8")


def read_preset(document: Document) -> tuple[LoadedPreset | None, list[tuple[Path, str]]]:
    """A user's preset, or what is wrong in it, each with its path."""
    data = document.data
    try:
        preset = Preset.model_validate(data)
    except ValidationError as error:
        return None, in_plain_words(error, data)
    mistakes = list(preset_mistakes(preset, data))
    return (None if mistakes else LoadedPreset(preset, data)), mistakes


def preset_mistakes(preset: Preset, data: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """What is wrong in a preset whose keys are right: its connection, its streams."""
    fields = {name: placeholder(field) for name, field in preset.fields.items()}
    for name in fields:
        if name in _KEPT_NAMES:
            yield ("fields", name), "has a meaning of its own; choose another name"
    # the body of a login may be a query in braces
    written = {k: v for k, v in data["connection"].items() if k != "auth"}
    written["auth"] = {**(data["connection"].get("auth") or {}), "body": None}
    unknown = sorted(fields_in(written) - fields.keys())
    for name in unknown:
        text = f"{{{name}}} is none of the preset's fields; declare it under fields"
        yield ("connection",), text
    if unknown:
        return
    try:
        filled = fill(data["connection"], fields)
    except NotTextError as error:
        yield ("fields", str(error), "secret"), "a secret can't be a part of another text"
        return
    yield from literal_secrets({"connection": filled})
    try:
        connection = _CONNECTION.validate_python(filled)
    except ValidationError as error:
        yield from ((("connection", *p), text) for p, text in in_plain_words(error, filled))
        return
    for name, stream in preset.streams.items():
        for path, text in sync_mistakes(connection, stream):
            yield ("streams", name, *path), text


def placeholder(field: PresetField) -> object:
    """A value that the field could have."""
    if field.secret:
        return {"env": "SECRET"}
    return field.default if field.default is not None else field.example or "1"


def _folder() -> Traversable:
    return files("profile_pipelines.catalog") / "presets"
