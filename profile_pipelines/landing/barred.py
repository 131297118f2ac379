"""Keeps out what a source still says of people who were erased."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
        known = {each for column in digests.values() for each in column if each is not None}
        barred = erasures.tombstoned(known)
        if not barred:
            return frame
        marks = [pl.Series(name, column, pl.String) for name, column in digests.items()]
        hit = pl.any_horizontal(pl.col(mark.name).is_in(list(barred)) for mark in marks)
        return frame.filter(~pl.DataFrame(marks).select(hit.fill_null(False).alias("hit"))["hit"])

    def _kinds(self, frame: pl.DataFrame) -> list[tuple[str, str]]:
        identifiers = [name for name in frame.columns if name.startswith("id_")]
        return [*((name, name.removeprefix("id_")) for name in identifiers),
                ("record_key", self._record)]  # fmt: skip


def record_kind(system: str, sync: str) -> str:
    """The kind of tombstone that a record's key has."""
    return f"{system}/{sync}"
