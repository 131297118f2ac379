"""The catalogue's reference is complete and right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from profile_pipelines.catalog.conditions import KEYWORDS, Condition, check_condition
from profile_pipelines.catalog.connections import Auth, Paging
from profile_pipelines.catalog.convert_steps import CONVERT_STEPS, WORDS, ConvertStep
from profile_pipelines.catalog.declaration import Declaration
from profile_pipelines.catalog.load import load_catalogue
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.normalise_steps import STEP_NAMES
from profile_pipelines.catalog.operators import OPERATORS
from profile_pipelines.catalog.values import AttributeType

REFERENCE = (Path(__file__).parents[2] / "docs" / "catalogue.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", REFERENCE, re.MULTILINE | re.DOTALL)
OPERATOR_TABLE = REFERENCE.partition("| operator |")[2]
EXAMPLES = re.findall(r"`(\{[^`]*\})` \|$", OPERATOR_TABLE, re.MULTILINE)


def named_examples() -> dict[str, str]:
    """The files of the catalogue that the reference's named examples form."""
    named = ((re.match(r"# ([\w/]+\.yaml)\n", block), block) for block in BLOCKS)
    return {found[1]: block for found, block in named if found}


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    """The catalogue that the reference's named examples form."""
    for name, block in named_examples().items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(block, encoding="utf-8")
    return load_catalogue(tmp_path)


def test_examples_are_a_catalogue(catalogue: Catalogue):
    """The examples that name a file are one catalogue without mistakes."""
    assert {system.connection.type for system in catalogue.systems.values()} == {
        "sql",
        "rest",
        "files",
    }
    assert {attribute.type for attribute in catalogue.attributes.values()} == set(
        AttributeType.__args__
    )


def test_condition_examples(catalogue: Catalogue):
    """The table of operators shows valid conditions."""
    assert len(EXAMPLES) >= 15
    for example in EXAMPLES:
        condition = Condition.model_validate(yaml.safe_load(example))
        assert check_condition(condition, catalogue.attributes, catalogue.audiences) == []


@pytest.mark.parametrize(("key", "kind"), [("auth", Auth), ("paging", Paging)])
def test_fragments(key: str, kind: Any):
    """Each line that shows a way of paging or authentication is right."""
    found = [
        yaml.safe_load(line)[key]
        for block in BLOCKS
        for line in block.splitlines()
        if line.startswith(f"{key}: ")
    ]
    shown = {TypeAdapter(kind).validate_python(fragment).type for fragment in found}
    assert len(shown) >= 3


def test_convert_examples():
    """The table of conversions shows valid steps, one of each kind that takes an argument."""
    table = REFERENCE.partition("| step | what it does | it takes |")[2].partition("\n\n")[0]
    steps = [yaml.safe_load(found) for found in re.findall(r"`(\{[^`]*\})`", table)]
    for step in steps:
        TypeAdapter(ConvertStep).validate_python(step)
    assert {next(iter(step)) for step in steps} == set(CONVERT_STEPS) - set(WORDS)


def test_every_key_is_explained():
    """Each key, operator and step of the language stands in the reference as code."""
    keys = {
        field.alias or name
        for model in _all_declarations(Declaration)
        for name, field in model.model_fields.items()
    }
    code = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`[^`\n]+`", REFERENCE) + BLOCKS)))
    assert keys | set(OPERATORS) | set(KEYWORDS) | set(STEP_NAMES) | set(CONVERT_STEPS) <= code


def _all_declarations(base: type[Declaration]) -> Iterator[type[Declaration]]:
    for model in base.__subclasses__():
        yield model
        yield from _all_declarations(model)
