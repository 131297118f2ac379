"""Takes a backup while runs go on.

The ledger is looked at first, then the lake is pinned, then both are copied. Where a run that knew
a later ledger wrote meanwhile, or a file that was pinned has gone since (it was compacted, or
somebody was erased), the look is taken again: what was copied by then is held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep
from uuid import uuid4

from profile_pipelines.backup.pins import DataFile, PinnedPart, fits, pin_lake
from profile_pipelines.backup.place import BackupPlace, Commit, Manifest, Stored
from profile_pipelines.errors import BackupError, NotFound
from profile_pipelines.high_water import PROFILES
from profile_pipelines.ledger.copies import copy_out
from profile_pipelines.ledger.pair import LedgerHalf, LedgerPair
from profile_pipelines.pairing import IDENTITIES
from profile_pipelines.private_files import temporary_folder
from profile_pipelines.store_errors import damaged, using_lake
from profile_pipelines.workspace import Workspace

_LOOKS = 20
_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_AT_ONCE = 8
_SIGN_OF_LIFE = 60.0
HOLD = "backup"
Told = Callable[[str, int, int], None]
"""Hears what is being done, and how many bytes of how many are."""


@dataclass(frozen=True)
class Taken:
    """A backup that was taken. `copied` counts the files that weren't held yet, and their bytes;
    `removed` the older backups that were taken away."""

    manifest: Manifest
    copied: int
    copied_bytes: int
    removed: list[str]


@dataclass(frozen=True)
class _Look:
    """Both halves at one moment."""

    half: LedgerHalf
    sequences: dict[str, int]
    parts: list[PinnedPart]


def take(
    workspace: Workspace,
    to: BackupPlace,
    *,
    now: datetime,
    keep: int | None = None,
    told: Told = lambda what, done, total: None,
) -> Taken:
    """Back lake and ledger up to a place, as a pair; then only the last `keep` backups stay.

    Killed at any moment, the earlier backups stay whole, and the next one goes on with what was
    copied. Raises BackupError where the place can't be written, or where runs keep deleting what
    is being copied; NotFound where nothing has run yet; Held while another backup is taken.
    """
    root = workspace.places.lake
    _refuse_within(str(root), str(to.root))
    ledger = workspace.ledger
    if ledger.pair.read() is None:
        raise NotFound(
            f"the lake {root} and its ledger are no pair yet: nothing has run; back them up after "
            "`profile-pipelines run`"
        )
    with ledger.holds.holding(HOLD) as renew, temporary_folder("backup") as folder:
        before = to.manifests()
        job = _Copying(workspace, to, before, _renewing(renew, told))
        look, stored, copy = _until_it_fits(job, folder)
        id_ = f"{now:%Y%m%dT%H%M%SZ}-{uuid4().hex[:6]}"
        manifest = Manifest(
            id=id_,
            taken_at=now,
            pair=look.half.pair,
            generation=look.half.generation,
            mark=look.half.mark.number,
            catalogue=workspace.mark.as_json(),
            tables={each.part: Commit(each.head.version, each.head.commit) for each in look.parts},
            lake=stored,
            ledger=to.take_ledger(copy, id_),
            next_profile=_next_profile(look),
            sequences=look.sequences,
        )
        to.add(manifest)
        gone = before[: max(len(before) + 1 - keep, 0)] if keep is not None else []
        to.forget(gone)
        to.sweep()
    copied = [*job.copied, manifest.ledger]
    size = sum(each.size for each in copied)
    return Taken(manifest, len(copied), size, [each.id for each in gone])


def _renewing(renew: Callable[[], None], told: Told) -> Told:
    """Tells on, and gives a sign of life now and then."""
    last = monotonic()

    def telling(what: str, done: int, total: int) -> None:
        nonlocal last
        if monotonic() - last > _SIGN_OF_LIFE:
            last = monotonic()
            renew()
        told(what, done, total)

    return telling


def _until_it_fits(job: _Copying, folder: Path) -> tuple[_Look, dict[str, Stored], Path]:
    """Both halves at one moment, what holds the lake's files, and the copy of the ledger."""
    for tried in range(_LOOKS):
        if tried:
            sleep(min(_PAUSE * tried, _LONGEST_PAUSE))
        copy = folder / f"{uuid4().hex}.db"
        look = job.look(copy)
        stored = None if look is None else job.copy(look)
        if look is not None and stored is not None:
            return look, stored, copy
        copy.unlink(missing_ok=True)
    raise BackupError(
        f"no backup was taken: runs kept writing to the lake {job.root} while it was looked at; "
        "take it when fewer of them are at work"
    )


def _refuse_within(lake: str, place: str) -> None:
    for inner, outer in ((lake, place), (place, lake)):
        if f"{inner.rstrip('/')}/".startswith(f"{outer.rstrip('/')}/"):
            raise BackupError(f"backups can't lie in the lake, nor the lake in them: {place}")


def _next_profile(look: _Look) -> int:
    found = [each.head.counters for each in look.parts if each.part == IDENTITIES]
    known = [counters.get("next_profile_id", 1) for counters in found]
    return max([*known, look.sequences.get(PROFILES, 1)])


class _Copying:
    """The files of one look, brought to the place: those that it doesn't hold yet."""

    def __init__(
        self, workspace: Workspace, to: BackupPlace, before: Iterable[Manifest], told: Told
    ) -> None:
        self.root = workspace.places.lake
        self._workspace = workspace
        self._to = to
        self._told = told
        self._held = to.present()
        self._known = {each.at: each for manifest in before for each in manifest.lake.values()}
        self._done = self._total = 0
        self.copied: list[Stored] = []

    def look(self, copy: Path) -> _Look | None:
        """Both halves as they go together, the ledger copied; None where a run wrote meanwhile so
        that they don't."""
        looks: list[_Look] = []

        def meanwhile(pair: LedgerPair) -> bool:
            half = pair.read()
            assert half is not None
            try:
                parts = pin_lake(self.root, self._workspace.catalogue)
            except FileNotFoundError:
                return False
            if not fits(self.root, parts, half, pair.knows):
                return False
            looks.append(_Look(half, pair.sequences(), parts))
            return True

        self._told("looking at the ledger and the lake", 0, 0)
        copied = copy_out(
            self._workspace.places.ledger,
            copy,
            meanwhile,
            lambda table: self._told(f"reading the ledger: {table}", 0, 0),
        )
        return looks[0] if copied else None

    def copy(self, look: _Look) -> dict[str, Stored] | None:
        """By path in the lake what holds it; None where a file has gone meanwhile."""
        found: dict[str, Stored] = {}
        missing: list[DataFile] = []
        for each in (each for part in look.parts for each in part.data):
            held = self._known.get(self._to.at(each.path))
            if held is not None and self._held.get(held.at) == held.size == each.size:
                found[each.path] = held
            else:
                missing.append(each)
        self._total = sum(each.size for each in missing)
        logs = [path for part in look.parts for path in part.log]
        try:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                waiting = {
                    **{path: pool.submit(self._log, path) for path in logs},
                    **{each.path: pool.submit(self._data, each) for each in missing},
                }
                try:
                    found |= {path: each.result() for path, each in waiting.items()}
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
        except FileNotFoundError:
            return None
        return found

    def _data(self, file: DataFile) -> Stored:
        # one that is held and that no backup names was copied by one that was killed
        held = self._held.get(self._to.at(file.path)) == file.size
        take = self._to.know_data if held else self._to.take_data
        stored = take(self.root / file.path, file.path, file.rows, self._moved)
        if stored.size != file.size:
            raise damaged(self.root / file.path, "the file isn't whole")
        return self._is_held(stored, is_new=not held)

    def _log(self, path: str) -> Stored:
        content = None
        with using_lake(self.root / path, "read"), suppress(FileNotFoundError):
            content = (self.root / path).read_bytes()
        if content is None:
            raise FileNotFoundError(path)
        stored = self._to.take_log(content, self._held)
        return self._is_held(stored, is_new=self._held.get(stored.at) != stored.size)

    def _is_held(self, stored: Stored, *, is_new: bool) -> Stored:
        """From now on, also where the look is taken again."""
        self._known[stored.at] = stored
        self._held[stored.at] = stored.size
        if is_new:
            self.copied.append(stored)
        return stored

    def _moved(self, size: int) -> None:
        self._done += size
        self._told("copying", self._done, self._total)
