"""The files that match a path below a root; nothing outside the root is ever opened."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from profile_pipelines import object_store
from profile_pipelines.catalog.sync_checks import leads_out
from profile_pipelines.errors import SourceError, SourceUnreachable


@dataclass(frozen=True)
class FoundFile:
    """A file by its path below the root, size in bytes and time of change in ns since 1970."""

    path: str
    size: int
    mtime_ns: int


class FileTree:
    """A root (local path or object-store URL) and a path below it, with `*`, `?` and `**`."""

    def __init__(
        self, where: str, root: str, path: str, options: Mapping[str, str] | None = None
    ) -> None:
        parts = PurePosixPath(path).parts
        if leads_out(path):
            raise SourceError(f"{where}: path {path!r} leads out of the root; write it below it")
        self.where = where
        self.root = root
        self.options = dict(options or {})
        self.path = "/".join(part for part in parts if part != ".")
        self.is_local = object_store.is_local(root)

    @property
    def has_wildcards(self) -> bool:
        return any(mark in self.path for mark in "*?[")

    @property
    def shown_root(self) -> str:
        """The root without user, password or options."""
        return object_store.shown(self.root)

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

    def located(self, uri: str) -> str:
        """The file system's path of a URI or path that a table's own metadata names.

        Raises SourceError when it isn't below the root: a table may name any file there is.
        """
        root = self._opened[1].rstrip("/")
        parts = urlsplit(uri)
        if not self.is_local:
            path = os.path.normpath(f"{parts.netloc.partition('@')[0]}{parts.path}").rstrip("/")
            inside = path.startswith(f"{root}/") and bool(parts.scheme)
        else:
            # a URI's path is quoted, a plain path isn't
            plain = unquote(parts.path) if parts.scheme == "file" else uri
            path = Path(plain).resolve().as_posix()
            inside = parts.scheme in ("", "file") and Path(path).is_relative_to(root)
        if not inside:
            raise SourceError(
                f"{self.where}: the table {self.path} under {self.shown_root} names a file "
                "outside of the root; nothing outside it is read"
            )
        return path

    def is_folder(self, below: str) -> bool:
        info = self.filesystem.get_file_info(self.full_path(below))
        return cast(fs.FileInfo, info).type == fs.FileType.Directory

    def delta_table(self) -> Any:
        """The Delta table at the path, which has no wildcards; its files are all in the root."""
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        if self.has_wildcards:
            raise SourceError(f"{self.where}: a Delta table's path has no wildcards")
        full = self.full_path(self.path)
        if self.is_local:
            self._check_links(f"{self.path}/_delta_log")
        try:
            table = DeltaTable(
                full if self.is_local else f"{self.root.rstrip('/')}/{self.path}",
                storage_options=object_store.delta_options(self.root, self.options),
            )
        except TableNotFoundError:
            raise SourceError(
                f"{self.where}: there is no Delta table {self.path} under {self.shown_root}"
            ) from None
        base = full if self.is_local else f"{self.root.rstrip('/')}/{self.path}"
        for path in pa.table(table.get_add_actions())["path"].to_pylist():
            # a log quotes its paths, or doesn't: neither spelling may lead outside
            for spelled in (path, unquote(path)):
                is_whole = spelled.startswith("/") or "://" in spelled
                self.located(spelled if is_whole else f"{base}/{spelled}")
        return table

    def _check_links(self, folder: str) -> None:
        path = Path(self.full_path(folder))
        for entry in os.scandir(path) if path.is_dir() else ():
            if entry.is_symlink():
                self.full_path(f"{folder}/{entry.name}")

    @cached_property
    def _opened(self) -> tuple[fs.FileSystem, str]:
        if self.is_local and not Path(self.root).is_dir():
            raise SourceUnreachable(f"{self.where}: there is no folder {self.root}")
        try:
            return object_store.open_store(self.root, self.options)
        except ImportError as error:
            raise SourceError(
                f"{self.where}: nothing installed reads {self.shown_root} "
                f"({type(error).__name__}); install the fsspec package for it"
            ) from None
        except object_store.OptionError as error:
            raise SourceError(f"{self.where}: options of the connection: {error}") from None

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
