"""What destinations of files share: a folder of our own, the file of all, the files of changes.

`NAME.csv` holds everybody who is delivered; `changes/BATCH.csv` what one delivery changed, with
the column `operation` (`add`, `remove`). A file appears only when it is whole.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from profile_pipelines.activation.target import Batch, Refusals
from profile_pipelines.errors import DestinationError


class FileTarget(ABC):
    """Writes both kinds of file, in the format of a subclass."""

    at_once: int | None = None
    suffix: str

    def __init__(self, name: str, folder: Path, keep: timedelta) -> None:
        self._name = name
        self._keep = keep
        self.file = folder / f"{name}.{self.suffix}"
        self.changes = folder / "changes"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.changes.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise self._unwritable(error) from None

    def is_empty(self) -> bool:
        return not self.file.exists()

    def add(self, batch: Batch) -> Refusals:
        rows = batch.rows.drop("key")
        self._change(batch.batch_id, rows.select(pl.lit("add").alias("operation"), pl.all()))
        self._fold(rows["profile_id"], rows)
        return {}

    def remove(self, batch: Batch) -> Refusals:
        ids = batch.rows["profile_id"]
        self._change(
            batch.batch_id, batch.rows.select(pl.lit("remove").alias("operation"), "profile_id")
        )
        if self.file.exists():
            self._fold(ids, None)
        return {}

    def tidy(self, now: datetime) -> None:
        try:
            self._remove_unfinished()
            for path in self.changes.iterdir():
                stamp = re.search(r"-(\d{8}T\d{6}Z)-\w+\.\w+$", path.name)
                if stamp is None:
                    continue
                written = datetime.strptime(stamp[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
                if written < now - self._keep:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from None

    def erase(self, profile_ids: set[int]) -> None:
        ids = pl.Series("profile_id", sorted(profile_ids), pl.Int64())
        try:
            self._remove_unfinished()
            for path in [self.file, *self.changes.glob(f"*.{self.suffix}")]:
                if path.exists():
                    self._without(path, ids, None)
        except OSError as error:
            raise self._unwritable(error) from None

    def _remove_unfinished(self) -> None:
        """What lost runs were about to write; nobody else is at this destination now."""
        for folder in (self.file.parent, self.changes):
            for path in folder.glob(f".*.{self.suffix}.unfinished"):
                path.unlink(missing_ok=True)

    def close(self) -> None:  # noqa: B027
        """Nothing is open."""

    def _change(self, batch_id: str, rows: pl.DataFrame) -> None:
        self._replace(self.changes / f"{batch_id}.{self.suffix}", rows)

    def _fold(self, ids: pl.Series, rows: pl.DataFrame | None) -> None:
        if self.file.exists():
            self._without(self.file, ids, rows)
        elif rows is not None:
            self._replace(self.file, rows)

    def _replace(self, path: Path, rows: pl.DataFrame) -> None:
        unfinished = path.with_name(f".{path.name}.unfinished")
        try:
            self._write(unfinished, rows)
            os.replace(unfinished, path)
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> DestinationError:
        place = Path(error.filename or self._name).parent
        return DestinationError(
            f"destination {self._name}: {place} can't be written ({error.strerror})"
        )

    @abstractmethod
    def _write(self, path: Path, rows: pl.DataFrame) -> None:
        """Write rows to a new file."""

    @abstractmethod
    def _without(self, path: Path, ids: pl.Series, rows: pl.DataFrame | None) -> None:
        """Write a file again without the rows of some profiles, and with others."""
