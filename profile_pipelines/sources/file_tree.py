"""The files that match a path below a root; nothing outside the root is ever opened."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, cast
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

from profile_pipelines.errors import SourceError, SourceUnreachable


@dataclass(frozen=True)
class FoundFile:
    """A file by its path below the root, size in bytes and time of change in ns since 1970."""

    path: str
    size: int
    mtime_ns: int


class FileTree:
    """A root (local path or object-store URL) and a path below it, with `*`, `?` and `**`."""

    def __init__(self, where: str, root: str, path: str) -> None:
        parts = PurePosixPath(path).parts
        if ".." in parts or path.startswith("/") or "://" in path or "\\" in path:
            raise SourceError(f"{where}: path {path!r} leads out of the root; write it below it")
        self.where = where
        self.root = root
        self.path = "/".join(part for part in parts if part != ".")
        self.is_local = "://" not in root

    @property
    def has_wildcards(self) -> bool:
        return any(mark in self.path for mark in "*?[")

    @property
    def shown_root(self) -> str:
        """The root without user, password or options."""
        if self.is_local:
            return self.root
        parts = urlsplit(self.root)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @cached_property
    def filesystem(self) -> fs.FileSystem:
        return self._opened[0]

    def files(self) -> list[FoundFile]:
        """The files that match, by path; raises SourceError when there are none."""
        pattern = self.path.split("/")
        # hidden files are some writer's own: markers, checksums, half-written parts
        found = [
            FoundFile(below, info.size or 0, info.mtime_ns or 0)
            for info in self._listed()
            if (below := self._below(info.path)) and _matches(below.split("/"), pattern)
            if info.is_file and not PurePosixPath(below).name.startswith((".", "_"))
        ]
        if not found:
            raise SourceError(f"{self.where}: no file matches {self.path} under {self.shown_root}")
        return sorted(found, key=lambda file: file.path)

    def open(self, file: FoundFile) -> pa.NativeFile:
        """The file's bytes, decompressed by its extension."""
        return self.filesystem.open_input_stream(self.full_path(file.path))

    def full_path(self, below: str) -> str:
        """The path as the file system wants it; raises SourceError if a link leads outside."""
        if self.is_local:
            root = Path(self.root).resolve()
            if not (root / below).resolve().is_relative_to(root):
                raise SourceError(f"{self.where}: {below} is a link that leads out of the root")
        return f"{self._opened[1].rstrip('/')}/{below}"

    def has_delta_log(self) -> bool:
        info = self.filesystem.get_file_info(self.full_path(f"{self.path}/_delta_log"))
        return cast(fs.FileInfo, info).type == fs.FileType.Directory

    def delta_table(self) -> Any:
        """The Delta table at the path, which has no wildcards."""
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        if self.has_wildcards:
            raise SourceError(f"{self.where}: a Delta table's path has no wildcards")
        full = self.full_path(self.path)
        try:
            return DeltaTable(full if self.is_local else f"{self.root.rstrip('/')}/{self.path}")
        except TableNotFoundError:
            raise SourceError(
                f"{self.where}: there is no Delta table {self.path} under {self.shown_root}"
            ) from None

    @cached_property
    def _opened(self) -> tuple[fs.FileSystem, str]:
        if self.is_local:
            root = Path(self.root).resolve()
            if not root.is_dir():
                raise SourceUnreachable(f"{self.where}: there is no folder {self.root}")
            return fs.LocalFileSystem(), root.as_posix()
        try:
            filesystem, path = fs.FileSystem.from_uri(self.root)
            return filesystem, path
        except pa.ArrowInvalid:
            return self._by_fsspec()

    def _by_fsspec(self) -> tuple[fs.FileSystem, str]:
        from fsspec.core import url_to_fs

        try:
            filesystem, path = url_to_fs(self.root)
        except (ImportError, ValueError) as error:
            raise SourceError(
                f"{self.where}: nothing installed reads {self.shown_root} "
                f"({type(error).__name__}); install the fsspec package for it"
            ) from None
        return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), str(path)

    def _listed(self) -> list[fs.FileInfo]:
        plain = []
        for part in self.path.split("/")[:-1]:
            if any(mark in part for mark in "*?["):
                break
            plain.append(part)
        start = "/".join([self._opened[1].rstrip("/"), *plain])
        deep = "**" in self.path or self.path.count("/") > len(plain)
        selector = fs.FileSelector(start, recursive=deep, allow_not_found=True)
        return cast(list[fs.FileInfo], self.filesystem.get_file_info(selector))

    def _below(self, path: str) -> str:
        root = self._opened[1].strip("/")
        return path.strip("/").removeprefix(root).strip("/")


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Part by part, so that `*` never crosses a slash; `**` is any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[skip:], pattern[1:]) for skip in range(len(parts) + 1))
    return (
        bool(parts)
        and fnmatch.fnmatchcase(parts[0], pattern[0])
        and _matches(parts[1:], pattern[1:])
    )
