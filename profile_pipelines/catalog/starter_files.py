"""A first catalogue to start from: a commented copy of the package's `starter` folder."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from profile_pipelines.errors import CatalogueError


def write_starter(folder: Path) -> list[Path]:
    """Write the starter catalogue into `folder` and return the files that were written.

    Raises CatalogueError, and writes nothing, when one of the files is there already or when the
    folder can't be written.
    """
    return write_new(folder, dict(_texts(files("profile_pipelines.catalog") / "starter", folder)))


def write_new(folder: Path, contents: Mapping[Path, str]) -> list[Path]:
    """Write files that belong into `folder`, all or none of them, and return them in order.

    Raises CatalogueError as `write_starter` does.
    """
    taken = sorted(path for path in contents if path.exists())
    if taken:
        raise CatalogueError([f"{path}: is there already; nothing was written" for path in taken])
    try:
        for path, text in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
    except OSError as error:
        raise CatalogueError([f"{folder}: can't be written: {error.strerror}"]) from None
    return sorted(contents)


def _texts(source: Traversable, target: Path) -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    for entry in source.iterdir():
        if entry.is_dir():
            found += _texts(entry, target / entry.name)
        elif entry.name.endswith(".yaml"):
            found.append((target / entry.name, entry.read_text(encoding="utf-8")))
    return found
