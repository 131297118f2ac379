"""A small valid catalogue folder, of which tests replace files."""

from __future__ import annotations

from pathlib import Path

from profile_pipelines.catalog.load import load_catalogue
from profile_pipelines.errors import CatalogueError

VALID = {
    "identifiers.yaml": "email: {normalise: [email]}\n",
    "attributes.yaml": """\
tier:
  type: string
  sources: [crm]
  fresh_within: 24h
points:
  type: integer
  sources: [crm]
  fresh_within: 24h
""",
    "sources/crm.yaml": """\
system: crm
kind: crm
connection: {type: sql, url: {env: CRM_URL}}
syncs:
  contacts:
    table: contacts
    identifiers: {email: email}
    attributes:
      tier: tier
      points: points
""",
}


def write_catalogue(folder: Path, **files: str) -> Path:
    """The valid catalogue in `folder`, with some files replaced or added."""
    for name, text in {**VALID, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def mistakes_in(folder: Path) -> list[str]:
    """The lines that loading the folder gives; none for a valid catalogue."""
    try:
        load_catalogue(folder)
    except CatalogueError as error:
        return error.mistakes
    return []


def replaced(file: str, old: str, new: str) -> dict[str, str]:
    """The valid catalogue's file with one place changed."""
    assert old in VALID[file]
    return {file: VALID[file].replace(old, new, 1)}


def attr(old: str, new: str) -> dict[str, str]:
    """The same in attributes.yaml."""
    return replaced("attributes.yaml", old, new)


def crm(old: str, new: str) -> dict[str, str]:
    """The same in sources/crm.yaml."""
    return replaced("sources/crm.yaml", old, new)


def sources(connection: str, place: str) -> dict[str, str]:
    """The system crm with another connection and another place of its sync's records."""
    text = VALID["sources/crm.yaml"].replace("table: contacts", place)
    return {"sources/crm.yaml": text.replace("{type: sql, url: {env: CRM_URL}}", connection)}


def audience(where: str, name: str = "a") -> dict[str, str]:
    """An audience with a condition."""
    return {f"audiences/{name}.yaml": f"audience: {name}\nwhere: {where}\n"}
