"""Where backups lie: a folder or a prefix in an object store, with what several of them share.

    lake/<path in the lake>       data files, which never change: each is held once
    log/<digest>                  files of Delta logs, by what is in them
    ledger/<backup>.db            the ledger of each backup
    backups/<backup>.json         what a backup consists of; it is there once its manifest is

Whatever no manifest names was left by a process that was killed, or by a backup that is gone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from profile_pipelines.errors import BackupError, NotFound
from profile_pipelines.lake_place import Place, lake_place
from profile_pipelines.private_files import make_private_file, make_private_folder
from profile_pipelines.store_errors import using_backup, using_lake

_CHUNK = 4 * 1024 * 1024
_VERSION = 1
_MANIFESTS, _DATA, _LOGS, _LEDGERS = "backups", "lake", "log", "ledger"
Moved = Callable[[int], None]
"""Hears how many bytes were copied or read since it was last called."""


@dataclass(frozen=True)
class Stored:
    """A file of a backup: where it lies below the backup's place, how long it is, and the SHA-256
    of what is in it. `rows` of a data file as its table's log counts them; else None."""

    at: str
    size: int
    sha256: str
    rows: int | None = None


@dataclass(frozen=True)
class Commit:
    """The commit at which a table of the lake is backed up."""

    version: int
    id: str


@dataclass(frozen=True)
class Manifest:
    """What one backup consists of.

    `tables` are the lake's Delta tables by path, `lake` the files by their path in the lake.
    `next_profile` and `sequences` are the next numbers that the pair gives.
    """

    id: str
    taken_at: datetime
    pair: str
    generation: int
    mark: int
    catalogue: Mapping[str, Any]
    tables: Mapping[str, Commit]
    lake: Mapping[str, Stored]
    ledger: Stored
    next_profile: int
    sequences: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def files(self) -> list[Stored]:
        """Every file that the backup needs."""
        return [*self.lake.values(), self.ledger]

    @property
    def size(self) -> int:
        """How many bytes they are."""
        return sum(each.size for each in self.files)


class BackupPlace:
    """The backups that lie at a place. Raises BackupError for a place that nothing reaches."""

    def __init__(self, text: str) -> None:
        self.root: Place = lake_place(text, "backup")

    def __str__(self) -> str:
        return str(self.root)

    def manifests(self) -> list[Manifest]:
        """Every backup that is whole, the first one first.

        Raises BackupError for a place, or a manifest, that can't be read.
        """
        folder = self.root / _MANIFESTS
        with using_backup(folder, "read"):
            found = list(folder.glob("*.json")) if folder.exists() else []
        return sorted(map(self._manifest, found), key=lambda each: (each.taken_at, each.id))

    def manifest(self, id_: str | None) -> Manifest:
        """A backup by its id; the last one without. Raises NotFound without any such."""
        found = self.manifests()
        if not found:
            raise NotFound(f"there is no backup in {self.root}")
        if id_ is None:
            return found[-1]
        for each in found:
            if each.id == id_:
                return each
        raise NotFound(f"there is no backup {id_} in {self.root}; there are "
                       + ", ".join(each.id for each in found[-10:]))  # fmt: skip

    def _manifest(self, file: Place) -> Manifest:
        with using_backup(file, "read"):
            content = file.read_text(encoding="utf-8")
        try:
            stored = json.loads(content)
            if stored.pop("version") > _VERSION:
                raise BackupError(f"{file} was written by a newer version of profile-pipelines")
            return Manifest(
                **{
                    **stored,
                    "taken_at": datetime.fromisoformat(stored["taken_at"]),
                    "tables": {k: Commit(**v) for k, v in stored["tables"].items()},
                    "lake": {k: Stored(**v) for k, v in stored["lake"].items()},
                    "ledger": Stored(**stored["ledger"]),
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise BackupError(
                f"{file} isn't what was written there: that backup can't be read any more; take "
                "the file away, and use another one"
            ) from None

    def add(self, manifest: Manifest) -> None:
        """Make the backup be there: all its files are by now."""
        told = {**asdict(manifest), "version": _VERSION, "taken_at": manifest.taken_at.isoformat()}
        content = json.dumps(told).encode()
        with self._writing(f"{_MANIFESTS}/{manifest.id}.json") as target:
            target.write(content)

    def present(self) -> dict[str, int]:
        """The length of every file that is held, by its path below the place."""
        found: dict[str, int] = {}
        for folder in (_DATA, _LOGS, _LEDGERS):
            with using_backup(self.root / folder, "read"):
                found |= {f"{folder}/{k}": size for k, size in files_below(self.root / folder)}
        return found

    def at(self, path: str) -> str:
        """Where a data file of the lake is held, below the place."""
        return f"{_DATA}/{path}"

    def take_data(self, source: Place, path: str, rows: int, moved: Moved) -> Stored:
        """Copy a data file of the lake. Raises FileNotFoundError where it has gone."""
        return self._take(source, self.at(path), rows, moved)

    def know_data(self, source: Place, path: str, rows: int, moved: Moved) -> Stored:
        """What `take_data` gives, of a file that is held already. Raises like that."""
        digest, size = hashlib.sha256(), 0
        with source.open("rb") as read:
            for chunk in _chunks(read, source):
                digest.update(chunk)
                size += len(chunk)
                moved(len(chunk))
        return Stored(self.at(path), size, digest.hexdigest(), rows)

    def take_log(self, content: bytes, held: Mapping[str, int]) -> Stored:
        """Keep what a file of a Delta log holds, unless that is held already."""
        digest = hashlib.sha256(content).hexdigest()
        stored = Stored(f"{_LOGS}/{digest}", len(content), digest)
        if held.get(stored.at) != stored.size:
            with self._writing(stored.at) as target:
                target.write(content)
        return stored

    def take_ledger(self, source: Path, id_: str) -> Stored:
        """Copy the copy of a ledger."""
        return self._take(source, f"{_LEDGERS}/{id_}.db", None, lambda size: None)

    def _take(self, source: Place, at: str, rows: int | None, moved: Moved) -> Stored:
        digest, size = hashlib.sha256(), 0
        with source.open("rb") as read, self._writing(at) as target:
            for chunk in _chunks(read, source):
                with using_backup(self.root / at, "written"):
                    target.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                moved(len(chunk))
        return Stored(at, size, digest.hexdigest(), rows)

    def read(
        self, stored: Stored, target: IO[bytes] | None, moved: Moved = lambda size: None
    ) -> None:
        """Read a file of a backup to its end, into `target`.

        Raises BackupError, which names the file, where it isn't what was written.
        """
        file = self.root / stored.at
        digest, size = hashlib.sha256(), 0
        with using_backup(file, "read"):
            try:
                source: IO[bytes] = file.open("rb")
            except FileNotFoundError:
                raise BackupError(f"{file} is missing") from None
        with source:
            while True:
                with using_backup(file, "read"):
                    chunk = source.read(_CHUNK)
                if not chunk:
                    break
                digest.update(chunk)
                size += len(chunk)
                if target is not None:
                    target.write(chunk)
                moved(len(chunk))
        if size != stored.size:
            raise BackupError(f"{file} has {size:,} bytes, where {stored.size:,} were written")
        if digest.hexdigest() != stored.sha256:
            raise BackupError(f"{file} isn't what was written: its checksum is another one")

    def forget(self, manifests: list[Manifest]) -> None:
        """Take these backups away; what they alone need goes with `sweep`."""
        for each in manifests:
            self._delete(f"{_MANIFESTS}/{each.id}.json")

    def sweep(self) -> int:
        """Delete what no backup needs; how many files that were."""
        needed = {stored.at for each in self.manifests() for stored in each.files}
        gone = [path for path in self.present() if path not in needed]
        folder = self.root / _MANIFESTS
        with using_backup(folder, "read"):
            begun = [name for name, _ in files_below(folder) if not name.endswith(".json")]
        for path in [*gone, *(f"{_MANIFESTS}/{name}" for name in begun)]:
            self._delete(path)
        return len(gone)

    def _delete(self, path: str) -> None:
        with using_backup(self.root / path, "written"):
            (self.root / path).unlink(missing_ok=True)

    def _writing(self, at: str) -> AbstractContextManager[IO[bytes]]:
        return _written_whole(self.root, at)


def _chunks(source: IO[bytes], place: Place) -> Iterator[bytes]:
    while True:
        with using_lake(place, "read"):
            chunk = source.read(_CHUNK)
        if not chunk:
            return
        yield chunk


def files_below(folder: Place) -> Iterator[tuple[str, int]]:
    """The path below a folder, and the length, of every file in it."""
    if isinstance(folder, Path):
        for each in folder.rglob("*"):
            with suppress(FileNotFoundError):
                if each.is_file():
                    yield each.relative_to(folder).as_posix(), each.stat().st_size
        return
    prefix = len(str(folder.path).rstrip("/")) + 1
    found: Any = folder.fs.find(folder.path, detail=True)
    for path, told in found.items():
        yield str(path)[prefix:], int(told["size"])


@contextmanager
def _written_whole(root: Place, at: str) -> Generator[IO[bytes]]:
    """A file below the place, which is there only once it is whole, and outlives a crash."""
    file = root / at
    if not isinstance(file, Path):
        with using_backup(file, "written"):
            stored: IO[bytes] = file.open("wb")
        try:
            yield stored
        finally:
            with using_backup(file, "written"):
                stored.close()
        return
    with using_backup(file, "written"):
        make_private_folder(file.parent)
        unfinished = file.with_name(f".{file.name}.{uuid4().hex}.unfinished")
        make_private_file(unfinished)
    try:
        with unfinished.open("wb") as target:
            yield target
            with using_backup(file, "written"):
                target.flush()
                os.fsync(target.fileno())
        with using_backup(file, "written"):
            unfinished.replace(file)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
