"""Proves a backup by reading all of it: that it could be put back as the pair that it was."""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from profile_pipelines.backup.place import BackupPlace, Manifest, Moved, Stored
from profile_pipelines.errors import BackupError, LakeError
from profile_pipelines.lake import delta
from profile_pipelines.lake.heads import LakeHalf, write_half
from profile_pipelines.lake_place import Place
from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.copies import count_rows
from profile_pipelines.pairing import Pairing
from profile_pipelines.private_files import temporary_folder

_AT_ONCE = 4


@dataclass(frozen=True)
class Proof:
    """What reading a backup found. It can be put back where `wrong` is empty."""

    files: int
    size: int
    tables: int
    rows: int
    ledger_rows: int
    wrong: list[str] = field(default_factory=list[str])


def prove(
    place: BackupPlace,
    manifest: Manifest,
    told: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Proof:
    """Read all of a backup: every file's checksum, every row of its Parquet files, the tables that
    its logs make of them, and its ledger, which has to go with them. Nothing is written there."""
    done = 0

    def moved(size: int) -> None:
        nonlocal done
        done += size
        told("reading", done, manifest.size)

    with temporary_folder("proof") as folder:
        wrong = _read_lake(place, manifest, folder, moved)
        ledger_rows = 0
        if not wrong:
            told("opening both halves", manifest.size, manifest.size)
            try:
                ledger_rows = _open(place, manifest, folder)
            except LakeError as error:
                wrong = [str(error)]
    return Proof(
        files=len(manifest.files),
        size=manifest.size,
        tables=len({part.rpartition("/")[0] for part in manifest.tables}),
        rows=sum(each.rows or 0 for each in manifest.lake.values()),
        ledger_rows=ledger_rows,
        wrong=wrong,
    )


def _put_logs(place: BackupPlace, manifest: Manifest, root: Path) -> None:
    for path, stored in manifest.lake.items():
        if stored.rows is None:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            with (root / path).open("wb") as target:
                place.read(stored, target)


def _read_lake(place: BackupPlace, manifest: Manifest, folder: Path, moved: Moved) -> list[str]:
    def wrong_with(stored: Stored) -> str | None:
        at = place.root / stored.at
        try:
            if isinstance(at, Path):
                place.read(stored, None, moved)
                return _wrong_rows(stored, at, at)
            file = folder / uuid4().hex
            with file.open("wb") as target:
                place.read(stored, target, moved)
            found = _wrong_rows(stored, file, at)
            file.unlink()
        except BackupError as error:
            return str(error)
        else:
            return found

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [found for found in pool.map(wrong_with, manifest.files) if found is not None]


def _wrong_rows(stored: Stored, file: Path, shown: Place) -> str | None:
    if stored.rows is None:
        return None
    try:
        with pq.ParquetFile(file) as parquet:
            rows = sum(batch.num_rows for batch in parquet.iter_batches())
    except (pa.ArrowException, OSError) as error:
        return f"{shown} isn't sound Parquet ({type(error).__name__})"
    if rows != stored.rows:
        return f"{shown} has {rows:,} rows, where its table counts {stored.rows:,}"
    return None


def _open(place: BackupPlace, manifest: Manifest, folder: Path) -> int:
    """Open both halves as they would be restored; how many rows the ledger has.

    Raises LakeError where one can't be, or where they don't go together.
    """
    root = folder / "lake"
    _put_logs(place, manifest, root)
    for part, commit in manifest.tables.items():
        table = delta.open_table(root / part)
        if table is None or table.version() != commit.version:
            raise BackupError(f"{part} doesn't stand at commit {commit.version}")
        files = {f"{part}/{Path(each.path).name}" for each in delta.files(table, root / part)}
        lost = sorted(files - manifest.lake.keys())
        if lost:
            raise BackupError(f"{part} needs {lost[0]}, which the backup hasn't got")
    copy = folder / "ledger.db"
    with copy.open("wb") as target:
        place.read(manifest.ledger, target)
    rows = sum(count_rows(copy).values())
    ledger = Ledger(f"sqlite:///{copy}")
    own = ledger.pair.read()
    if own is None:
        raise BackupError("its ledger is of no pair")
    write_half(root, LakeHalf(own.pair, own.generation, own.mark, ledger.pair.sequences()))
    Pairing(root, ledger, "of the backup").check()
    return rows
