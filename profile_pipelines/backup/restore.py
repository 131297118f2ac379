"""Puts a backup back: both halves, as one pair, in a new generation.

All work is done on a pair that is staged beside the lake: it is read from the backup, opened,
proved, and its numbers go on above those that may have been given since. Only then what was there
is moved aside, and the staged pair put in its place. Killed before that, nothing has changed;
killed in the middle, both the old halves and the new ones are there, every command says so, and
the same restore ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from profile_pipelines.adoption import LEAP, go_on
from profile_pipelines.backup.moving import beside, is_there, move, remove
from profile_pipelines.backup.place import BackupPlace, Manifest, Stored
from profile_pipelines.catalogue_mark import CatalogueMark, mark_lake
from profile_pipelines.errors import BackupError, LakeError
from profile_pipelines.high_water import PROFILES
from profile_pipelines.lake.heads import LakeHalf, heads, read_half, restoring, write_half
from profile_pipelines.lake.stored import table_names
from profile_pipelines.lake_place import Place
from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.copies import copy_in, copy_out, is_empty
from profile_pipelines.ledger.enrolments import sequence_of
from profile_pipelines.ledger.refusals import RESTORED, PutBack, put_back
from profile_pipelines.pairing import IDENTITIES
from profile_pipelines.privacy.erasure import erase, tombstoned_profiles
from profile_pipelines.private_files import make_private_file, make_private_folder, temporary_folder
from profile_pipelines.refusals import Refusals
from profile_pipelines.store_errors import using_lake
from profile_pipelines.workspace import Places, Workspace, ledger_file

_STAGED = ".restoring"
_PAIR_FILE = "pair.json"
_AT_ONCE = 8
Told = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Present:
    """What lies where a backup is to be put. `tables` are those of the lake; `half_done` tells
    that this backup was being put there."""

    tables: int
    has_lake: bool
    has_ledger: bool
    ledger_is_readable: bool
    half_done: bool

    @property
    def anything(self) -> bool:
        """Whether something would be replaced."""
        return (self.has_lake and not self.half_done) or self.has_ledger


@dataclass(frozen=True)
class Restored:
    """What was put back, and where what was there before lies now; None where nothing was.

    `refused` is what people refused since the backup was taken; None where that is kept nowhere.
    """

    manifest: Manifest
    lake_aside: str | None
    ledger_aside: str | None
    refused: PutBack | None


def look_at(workspace: Workspace, manifest: Manifest) -> Present:
    """What lies in the workspace's places. Raises LakeError where that can't be told."""
    root = workspace.places.lake
    begun = restoring(root)
    readable = True
    try:
        has_ledger = workspace.ledger_may_be_there() and not is_empty(workspace.places.ledger)
    except LakeError:
        if (file := ledger_file(workspace.places.ledger)) is None:
            raise
        has_ledger, readable = file.exists(), False
    half_done = begun is not None and begun[0] == manifest.id
    tables = 0
    with suppress(LakeError):
        tables = len(table_names(root))
    return Present(tables, is_there(root), has_ledger, readable, half_done)


def restore(
    workspace: Workspace,
    place: BackupPlace,
    manifest: Manifest,
    *,
    now: datetime,
    replace: bool = False,
    told: Told = lambda what, done, total: None,
) -> Restored:
    """Put a backup where the workspace's lake and ledger are; with `replace` also where something
    is, which is moved aside.

    Nobody else may be at work on either meanwhile. Raises BackupError where the backup isn't what
    was written, or something is there; LakeError where a half can't be written; PairError where
    the halves of the backup don't go together.
    """
    catalogue = CatalogueMark.read(manifest.catalogue)
    if catalogue is not None and not catalogue.fits(workspace.mark):
        raise BackupError(
            f"nothing was restored: the backup {manifest.id} belongs to another catalogue "
            f"({catalogue}), not to {workspace.mark.folder}; name its catalogue with --catalog"
        )
    present = look_at(workspace, manifest)
    root, url = workspace.places.lake, workspace.places.ledger
    if present.half_done and _ledger_is_in(workspace):
        _end(root, url)  # it was killed just before its end
        return Restored(manifest, None, None, None)
    if present.anything and not replace:
        raise BackupError(
            f"nothing was restored: {about(workspace, present)}; with --replace the backup takes "
            "their place, and they are moved aside"
        )
    mark = _mark_of(workspace, present)
    staged = beside(root, _STAGED)
    lake_to, ledger_to = _asides(workspace, f"{now:%Y%m%dT%H%M%SZ}")
    with temporary_folder("restore") as folder:
        remove(staged)
        ledger_file_staged = folder / "ledger.db"
        _stage(workspace, place, manifest, staged, ledger_file_staged, told)
        told("opening both halves", 0, 0)
        space = Workspace(
            Places(workspace.places.catalogue, staged, f"sqlite:///{ledger_file_staged}"),
            workspace.catalogue,
        )
        space.pairing.check()
        told("bringing back what was refused since", 0, 0)
        refused = _refuse_again(space, workspace, manifest, now=now)
        _renew(space, workspace, manifest, present, now=now)
        half = read_half(staged)
        assert half is not None
        write_half(staged, half, restoring=manifest.id)
        if _mark_of(workspace, present) != mark:
            remove(staged)
            raise BackupError(
                f"nothing was restored: something wrote to the lake {root} and its ledger "
                "meanwhile; stop Dagster, cron and the receiver, and restore again"
            )
        ledger_aside = _set_ledger_aside(workspace, present, ledger_to)
        lake_aside = _swap_lake(root, staged, present, lake_to)
        told("writing the ledger", 0, 0)
        copy_in(ledger_file_staged, url)
        _end(root, url)
    return Restored(manifest, lake_aside, ledger_aside, refused)


def about(workspace: Workspace, present: Present) -> str:
    """What lies in the workspace's places, as people read it."""
    lake, ledger = workspace.places.lake, workspace.shown_ledger
    said: list[str] = []
    if present.has_lake:
        tables = f"{present.tables} tables" if present.tables != 1 else "a table"
        said.append(f"the lake {lake} has {tables}")
    if present.has_ledger:
        said.append(f"the ledger {ledger} is in use")
    return " and ".join(said)


def _mark_of(workspace: Workspace, present: Present) -> str | None:
    """At which mark the ledger is that is there, if it can be told: each step of a run moves it."""
    if not present.has_ledger or not present.ledger_is_readable:
        return None
    own = Ledger(workspace.places.ledger).pair.read()
    return None if own is None else own.mark.token


def _ledger_is_in(workspace: Workspace) -> bool:
    begun = restoring(workspace.places.lake)
    if begun is None or not workspace.ledger_may_be_there():
        return False
    own = Ledger(workspace.places.ledger).pair.read()
    return own is not None and own.mark.token == begun[1]


def _end(root: Place, url: str) -> None:
    ledger = Ledger(url)
    own = ledger.pair.read()
    assert own is not None
    write_half(root, LakeHalf(own.pair, own.generation, own.mark, ledger.pair.sequences()))


def _stage(
    workspace: Workspace,
    place: BackupPlace,
    manifest: Manifest,
    staged: Place,
    ledger: Path,
    told: Told,
) -> None:
    done = 0

    def moved(size: int) -> None:
        nonlocal done
        done += size
        told("restoring", done, manifest.size)

    def bring(entry: tuple[str, Stored]) -> None:
        target = staged / entry[0]
        with using_lake(target, "written"):
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                place.read(entry[1], file, moved)

    if isinstance(staged, Path):
        make_private_folder(staged, like=Path(str(workspace.places.lake)))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        waiting = [pool.submit(bring, entry) for entry in manifest.lake.items()]
        try:
            for each in waiting:
                each.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    with ledger.open("wb") as file:
        place.read(manifest.ledger, file, moved)
    mark_lake(staged, workspace.mark)
    kept = Ledger(f"sqlite:///{ledger}")
    own = kept.pair.read()
    if own is None:
        raise BackupError(f"the ledger of the backup {manifest.id} is of no pair")
    kept.mark_catalogue(workspace.mark.as_json())
    write_half(staged, LakeHalf(own.pair, own.generation, own.mark, kept.pair.sequences()))


def _refuse_again(
    space: Workspace, before: Workspace, manifest: Manifest, *, now: datetime
) -> PutBack | None:
    """Bring what people refused into the staged pair: who was erased since goes from it anew."""
    place = before.places.refusals
    lake, ledger, _ = space.unchecked()
    ledger.holds.end_all()
    found = None
    if place is not None:
        kept = Refusals(place).read()
        found = put_back(ledger, kept, known_profiles=manifest.next_profile)
    back = set(tombstoned_profiles(space.catalogue, lake, ledger))
    back |= set() if found is None else found.profiles
    if back:
        erase(
            space.catalogue, lake, ledger, before.places.outbox, back,
            reference=None, by=RESTORED, now=now,
        )  # fmt: skip
    return found


def _renew(
    space: Workspace, before: Workspace, manifest: Manifest, present: Present, *, now: datetime
) -> None:
    """Begin a new generation of the staged pair, above all numbers that are known."""
    lake, _, pairing = space.unchecked()
    half = read_half(lake.root)
    assert half is not None
    journeys = dict.fromkeys(map(sequence_of, space.catalogue.journeys), 1)
    least = _greatest(
        journeys, manifest.sequences, {PROFILES: manifest.next_profile}, _known(before, present)
    )
    above = {name: number + LEAP for name, number in least.items()}
    go_on(lake.identities(space.catalogue), {"next_profile_id": above[PROFILES]}, now=now)
    at = f"{manifest.taken_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    pairing.accept(
        now=now,
        because=f"restored from the backup {manifest.id}, which was taken {at}",
        lake=LakeHalf(half.pair, half.generation, half.mark, above),
        next_profile=manifest.next_profile,
    )


def _known(workspace: Workspace, present: Present) -> dict[str, int]:
    """The next numbers that the halves know which are there, as far as they can be read."""
    found: dict[str, int] = {}
    root = workspace.places.lake
    with suppress(LakeError):
        half = read_half(root)
        found = _greatest(found, {} if half is None else half.sequences)
    with suppress(LakeError):
        head = heads(root).get(IDENTITIES)
        if head is not None:
            found = _greatest(found, {PROFILES: head.counters.get("next_profile_id", 1)})
    if present.has_ledger and present.ledger_is_readable:
        with suppress(LakeError):
            ledger = Ledger(workspace.places.ledger)
            own = ledger.pair.read()
            head = None if own is None else own.heads.get(IDENTITIES)
            known = {} if head is None else {PROFILES: head.counters.get("next_profile_id", 1)}
            numbers = ledger.enrolments.next_numbers()
            found = _greatest(found, ledger.pair.sequences(), numbers, known)
    return found


def _greatest(*known: Mapping[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in known:
        for name, number in each.items():
            found[name] = max(number, found.get(name, 1))
    return found


def _asides(workspace: Workspace, stamp: str) -> tuple[Place, Path]:
    """Where what lies in the workspace's places is moved: where nothing is yet."""
    root, file = workspace.places.lake, ledger_file(workspace.places.ledger)
    if file is None:
        file = (root.parent if isinstance(root, Path) else Path()) / "ledger.db"
    for number in count(1):
        suffix = f".before-{stamp}" if number == 1 else f".before-{stamp}-{number}"
        found = beside(root, suffix), file.with_name(f"{file.name}{suffix}")
        if not is_there(found[0]) and not found[1].exists():
            return found
    raise AssertionError


def _set_ledger_aside(workspace: Workspace, present: Present, aside: Path) -> str | None:
    if not present.has_ledger:
        return None
    file = ledger_file(workspace.places.ledger)
    if file is not None and not present.ledger_is_readable:
        file.replace(aside)
    else:
        make_private_file(aside)
        copy_out(workspace.places.ledger, aside, lambda pair: True)
    return str(aside)


def _swap_lake(root: Place, staged: Place, present: Present, aside: Place) -> str | None:
    is_moved = present.has_lake and not present.half_done
    if present.half_done:
        remove(root)
    elif is_moved:
        move(root, aside)
    move(staged, root, first=_PAIR_FILE)
    return str(aside) if is_moved else None
