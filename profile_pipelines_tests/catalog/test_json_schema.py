"""The JSON Schema that editors use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from profile_pipelines.catalog.json_schema import (
    FILE_KINDS,
    FileKind,
    catalogue_schema,
    file_schema,
)
from profile_pipelines.catalog.starter_files import write_starter

DEMO = Path(__file__).parents[2] / "profile_pipelines" / "demo" / "catalog"
KINDS: dict[str, FileKind] = {
    "catalogue.yaml": "catalogue",
    "identifiers.yaml": "identifiers",
    "attributes.yaml": "attributes",
    "presets": "preset",
    "sources": "source",
    "audiences": "audience",
    "journeys": "journey",
    "destinations": "destination",
    "channels.yaml": "channels",
}


def _as_editors_see(text: str) -> Any:
    """YAML as JSON: dates are text."""
    return json.loads(json.dumps(yaml.safe_load(text), default=str))


def _files(folder: Path) -> Iterator[tuple[FileKind, Any]]:
    for path in sorted(folder.rglob("*.yaml")):
        kind = KINDS[path.relative_to(folder).parts[0]]
        yield kind, _as_editors_see(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("schema", [catalogue_schema(), *map(file_schema, FILE_KINDS)])
def test_is_a_schema(schema: dict[str, Any]):
    """Each schema is valid JSON Schema 2020-12."""
    Draft202012Validator.check_schema(schema)


def test_fits_starter_and_demo(tmp_path: Path):
    """The files of valid catalogues fit their kind's schema and the one for all."""
    write_starter(tmp_path)
    validators = {kind: Draft202012Validator(file_schema(kind)) for kind in FILE_KINDS}
    whole = Draft202012Validator(catalogue_schema())
    for folder in (tmp_path, DEMO):
        for kind, data in _files(folder):
            validators[kind].validate(data)
            whole.validate(data)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("catalogue", "zone: UTC"),
        ("identifiers", "email: {normalise: [uper]}"),
        ("attributes", "tier: {type: text, sources: [crm], fresh_within: 24h}"),
        ("attributes", "tier: {type: string, sources: [crm]}"),
        ("attributes", "Tier: {type: string, sources: [crm], fresh_within: 24h}"),
        ("attributes", "tier: {type: string, sources: [crm], fresh_within: soon}"),
        ("source", "system: crm"),
        ("audience", "audience: a\nwhere: {tier: {equals: gold}}"),
        ("audience", "audience: a\nwhere: {tier: {is: gold}, points: {is: 1}}"),
    ],
)
def test_finds_mistakes(kind: FileKind, text: str):
    """What the loader refuses within one file, the editor marks too."""
    data = _as_editors_see(text)
    assert not Draft202012Validator(file_schema(kind)).is_valid(data)
    assert not Draft202012Validator(catalogue_schema()).is_valid(data)


def test_keys_are_described():
    """Editors show the words that the models have for a key."""
    attribute = file_schema("attributes")["$defs"]["Attribute"]["properties"]
    assert "source of truth first" in attribute["sources"]["description"]
    assert file_schema("audience")["properties"]["where"]["description"]
