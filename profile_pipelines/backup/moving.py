"""Folders and prefixes moved as a whole, so that what was in a place isn't lost on the way."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from profile_pipelines.backup.place import files_below
from profile_pipelines.errors import BackupError
from profile_pipelines.lake_place import Place
from profile_pipelines.store_errors import using_lake

_AT_ONCE = 8


def beside(place: Place, suffix: str) -> Place:
    """The place beside this one whose name has the suffix. Raises BackupError for a whole bucket,
    which nothing is beside."""
    if not place.name:
        raise BackupError(
            f"{place} is a whole bucket: a lake is restored into a prefix of one, such as "
            f"{str(place).rstrip('/')}/lake"
        )
    return place.parent / f"{place.name}{suffix}"


def is_there(place: Place) -> bool:
    """Whether anything lies there. Raises LakeError where that can't be told."""
    with using_lake(place, "read"):
        return next(files_below(place), None) is not None


def remove(place: Place) -> None:
    """Remove what lies there. Raises LakeError where that isn't allowed."""
    with using_lake(place, "written"):
        if isinstance(place, Path):
            if place.exists():
                shutil.rmtree(place)
        elif is_there(place):
            place.fs.rm(place.path, recursive=True)


def move(source: Place, target: Place, *, first: str = "") -> None:
    """Move all that lies in a place to another one, where nothing is: at once in a folder; in an
    object store each object, the `first` one before the others.

    Nothing is removed before all is there. Raises LakeError where it can't be.
    """
    with using_lake(target, "written"):
        if isinstance(source, Path) and isinstance(target, Path):
            if target.exists():
                target.rmdir()  # empty, or it isn't nothing
            source.rename(target)
            return
        assert not isinstance(source, Path)
        assert not isinstance(target, Path)
        fs, paths = source.fs, [path for path, _ in files_below(source)]

        def copy(path: str) -> None:
            fs.cp_file(f"{source.path.rstrip('/')}/{path}", f"{target.path.rstrip('/')}/{path}")

        for path in paths:
            if path == first:
                copy(path)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(copy, (path for path in paths if path != first)))
        fs.rm(source.path, recursive=True)
