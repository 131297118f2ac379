"""Imports go down the layers that docs/architecture.md lists, never up."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

import profile_pipelines

PACKAGE = Path(profile_pipelines.__file__).parent
PAGE = PACKAGE.parent / "docs" / "architecture.md"


@cache
def _layers() -> list[list[str]]:
    """The names of each row of the page's table of layers, such as `cli` and `*_steps`."""
    _, _, table = PAGE.read_text().partition("## The layers")
    rows = re.findall(r"^\| (`.*?) \|", table.partition("\n## ")[0], flags=re.MULTILINE)
    return [[re.sub(r"/$|\.py$", "", name) for name in re.findall(r"`(.*?)`", row)] for row in rows]


def _layer(name: str) -> int:
    """Where a package or a module stands, from above."""
    found = [
        number
        for number, names in enumerate(_layers())
        if any(fnmatch(name, each) for each in names)
    ]
    assert len(found) == 1, f"{name} stands in {len(found)} rows of {PAGE.name}"
    return found[0]


def _imported(module: Path) -> Iterator[tuple[int, str]]:
    """The line, and the package or module of ours that is imported there, wherever it stands."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            first, *rest = node.module.split(".")
            if first == PACKAGE.name:
                for name in rest[:1] or [each.name for each in node.names]:
                    yield node.lineno, name


def test_imports_go_down() -> None:
    """Of every module, also those that a function imports or that only name a type."""
    wrong: list[str] = []
    modules = [each for each in PACKAGE.rglob("*.py") if each != PACKAGE / "__init__.py"]
    assert len(modules) > 100
    for module in modules:
        place = module.relative_to(PACKAGE)
        own = place.parts[0].removesuffix(".py")
        for line, name in _imported(module):
            if _layer(name) < _layer(own):
                wrong.append(f"{place}:{line} imports {name}")
    assert wrong == []


def test_only_orchestration_imports_dagster() -> None:
    """Everything else works without it."""
    pattern = re.compile(r"^\s*(?:import|from) dagster\b", flags=re.MULTILINE)
    found = {m.parent.name for m in PACKAGE.rglob("*.py") if pattern.search(m.read_text())}
    assert found == {"orchestration"}


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_what_a_page_names_is_there(page: str) -> None:
    """Every file and folder of the repository that a page for developers names."""
    root = PACKAGE.parent
    named = re.findall(
        r"`((?:profile_pipelines|docs|benchmarks|deploy)[\w/.]*)`", (root / page).read_text()
    )
    assert [each for each in named if not (root / each).exists()] == []
