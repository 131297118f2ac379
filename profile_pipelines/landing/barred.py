"""Keeps out what a source still says of people who were erased."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from profile_pipelines.catalog.mapped_fields import FURTHER
from profile_pipelines.ledger.erasures import Erasures

if TYPE_CHECKING:
    import polars as pl


class Barred:
    """Recognises the records of one sync that have a tombstone.

    A record has one by any of its identifiers, and by its key, which is all that a system's note
    of a deletion may hold.
    """

    def __init__(self, erasures: Erasures, system: str, sync: str) -> None:
        self._erasures = erasures if erasures.any else None
        self._record = record_kind(system, sync)
        self._found: set[str] = set()
        self.kept_out = 0
        """How many records were."""

    def without(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The validated records without theirs."""
        import polars as pl

        erasures = self._erasures
        if erasures is None:
            return frame
        digests = {
            name: [None if value is None else erasures.digest(kind, value) for value in frame[name]]
            for name, kind in self._kinds(frame)
        }
        further = {
            name: [
                [erasures.digest(kind, value) for value in values or ()]
                for values in frame[name].to_list()
            ]
            for name, kind in self._further(frame)
        }
        known = {each for column in digests.values() for each in column if each is not None}
        known |= {each for column in further.values() for row in column for each in row}
        barred = erasures.tombstoned(known)
        if not barred:
            return frame
        marks = [pl.Series(name, column, pl.String) for name, column in digests.items()]
        hit = pl.any_horizontal(pl.col(mark.name).is_in(list(barred)) for mark in marks)
        for name, column in further.items():
            found = [not barred.isdisjoint(row) for row in column]
            marks.append(pl.Series(name, found, pl.Boolean))
            hit |= pl.col(name)
        hits = pl.DataFrame(marks).select(hit.fill_null(False).alias("hit"))["hit"]
        self.kept_out += int(hits.sum())
        self._found |= barred
        return frame.filter(~hits)

    def note(self, *, whole: bool, now: datetime) -> None:
        """Keep whom the sync still delivers, and after a `whole` read, whom it no longer does."""
        if self._erasures is None:
            return
        if whole:
            self._erasures.tombstones.read_whole(self._record, self._found, now=now)
        elif self._found:
            self._erasures.tombstones.kept_out(self._record, self._found)

    def _kinds(self, frame: pl.DataFrame) -> list[tuple[str, str]]:
        identifiers = [name for name in frame.columns if name.startswith("id_")]
        return [*((name, name.removeprefix("id_")) for name in identifiers),
                ("record_key", self._record)]  # fmt: skip

    def _further(self, frame: pl.DataFrame) -> list[tuple[str, str]]:
        names = [name for name in frame.columns if name.endswith(FURTHER)]
        return [(name, name.removesuffix(FURTHER)) for name in names]


def record_kind(system: str, sync: str) -> str:
    """The kind of tombstone that a record's key has."""
    return f"{system}/{sync}"
