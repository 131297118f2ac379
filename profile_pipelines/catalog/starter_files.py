"""A first catalogue to start from: a commented copy of the package's `starter` folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from uuid import uuid4

from profile_pipelines.catalog.json_schema import catalogue_schema
from profile_pipelines.catalog.preset_files import shipped, shipped_names
from profile_pipelines.errors import CatalogueError

SCHEMA = "catalogue.schema.json"
"""What editors complete and check the files by; each names it in its first line."""


def write_starter(folder: Path) -> list[Path]:
    """Write the starter catalogue into `folder` and return the files that were written.

    Raises CatalogueError, and writes nothing, when one of the files is there already or when the
    folder can't be written.
    """
    contents = dict(_texts(files("profile_pipelines.catalog") / "starter", folder))
    settings = folder / "catalogue.yaml"
    contents[settings] = contents[settings].replace("id: ID", f"id: {_new_id(folder)}")
    schema = catalogue_schema(presets=map(shipped, shipped_names()))
    contents[folder / SCHEMA] = json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
    return write_new(folder, contents)


def write_new(folder: Path, contents: Mapping[Path, str]) -> list[Path]:
    """Write files that belong into `folder`, all or none of them, and return them in order.

    Raises CatalogueError as `write_starter` does.
    """
    taken = sorted(path for path in contents if path.exists())
    if len(taken) == 1:
        raise CatalogueError([f"{taken[0]}: is there already; nothing was written"])
    if taken:
        names = ", ".join(str(path.relative_to(folder)) for path in taken[:3])
        more = f" and {len(taken) - 3} more" if len(taken) > 3 else ""
        raise CatalogueError([f"{folder}: {names}{more} are there already; nothing was written"])
    try:
        for path, text in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
    except OSError as error:
        raise CatalogueError([f"{folder}: can't be written: {error.strerror}"]) from None
    return sorted(contents)


def _new_id(folder: Path) -> str:
    """An id that no other catalogue has, with the folder's name in it where that is one."""
    name = re.sub(r"[^a-z0-9]+", "_", folder.resolve().name.lower()).strip("_")[:40].strip("_")
    return f"{name if name[:1].isalpha() else 'catalogue'}_{uuid4().hex[:8]}"


def _texts(source: Traversable, target: Path) -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    for entry in source.iterdir():
        if entry.is_dir():
            found += _texts(entry, target / entry.name)
        elif entry.name.endswith((".yaml", ".txt")):
            found.append((target / entry.name, entry.read_text(encoding="utf-8")))
    return found
