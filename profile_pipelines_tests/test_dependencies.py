"""What is installed is pinned, also by hashes, and under the licences that are told."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "GNU LESSER GENERAL PUBLIC LICENSE": "LGPL-2.1-or-later",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
"""The SPDX name of what packages write in other words."""


def _pins(file: str) -> dict[str, str]:
    """By name the version that the file pins, without what other systems than this one need."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    found = [Requirement(line.removesuffix("\\")) for line in lines if re.match(r"\w", line)]
    return {
        canonicalize_name(each.name): str(each.specifier)
        for each in found
        if each.marker is None or each.marker.evaluate()
    }


def _needed(requirements: list[Requirement], seen: set[str]) -> Iterator[str]:
    """The names of what is installed for these requirements, each once."""
    for each in requirements:
        name = canonicalize_name(each.name)
        extras = {"", *each.extras}
        if str((name, sorted(extras))) in seen:
            continue
        seen.add(str((name, sorted(extras))))
        yield name
        yield from _needed(
            [
                needed
                for needed in map(Requirement, distribution(name).requires or [])
                if needed.marker is None
                or any(needed.marker.evaluate({"extra": extra}) for extra in extras)
            ],
            seen,
        )


def _licence(found: Distribution) -> str:
    told = found.metadata.get_all("License-Expression")
    if told:
        return told[0]
    kinds = found.metadata.get_all("Classifier") or []
    names = [each.split(" :: ")[-1] for each in kinds if each.startswith("License :: ")]
    if not names:
        names = "\n".join(found.metadata.get_all("License") or ["not told"]).strip().split("\n")[:1]
    names = [
        SPDX.get(each, each) for each in names if each not in ("OSI Approved", "DFSG approved")
    ]
    return " OR ".join(names)


def _told(section: str) -> dict[str, str]:
    """By package the licence that a table of docs/security.md tells."""
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    table = text.split(f"### {section}\n")[1].split("\n#")[0]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", table, flags=re.MULTILINE)
    return {name: licence for licence, names in rows for name in names.split(", ")}


def test_hashes_are_those_of_the_pinned_versions() -> None:
    """Whoever installs with hashes gets the versions that the tests ran with, from anywhere."""
    text = (ROOT / "constraints.hashes.txt").read_text(encoding="utf-8")
    assert _pins("constraints.hashes.txt") == _pins("constraints.txt")
    assert "://" not in text
    for each in re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", each), each.splitlines()[0]


def test_licences_are_told() -> None:
    """docs/security.md names each package under the licence that its own metadata has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    product = set(_needed([Requirement(each) for each in project["dependencies"]], set()))
    told = _told("The product") | _told("Extras and development")
    wrong: list[str] = []
    for name in {*_pins("constraints.txt"), *product}:
        try:
            licence = _licence(distribution(name))
        except PackageNotFoundError:  # what only another system needs
            continue
        if told.get(name) != licence:
            wrong.append(f"{name}: {licence}")
    assert not wrong
