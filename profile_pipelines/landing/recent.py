"""The newest records of a read, as one digest.

An incremental read begins a while before the cursor, for what comes late (`lateness`). Most often
nothing has: when the newest records are those of the read before, there's nothing to compare with
what is known.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from profile_pipelines.landing.cursors import digest

if TYPE_CHECKING:
    import polars as pl

RECENT = "recent"
"""The key of the digest in a commit's state."""
_MOST = 10_000


class Recent:
    """Collects the records of a read that the next one will meet again.

    They are forgotten once they are more than is worth keeping in memory.
    """

    def __init__(self, lateness: timedelta) -> None:
        self._lateness = lateness
        self._frames: list[pl.DataFrame] = []
        self._columns: list[str] = []
        self._rows = 0
        self.oldest: datetime | None = None
        """The oldest time of a record: some sources bring more than what has changed."""

    def add(self, frame: pl.DataFrame) -> None:
        """Look at one batch of validated records."""
        self._columns = frame.columns
        oldest = frame["updated_at"].min()
        if isinstance(oldest, datetime) and (self.oldest is None or oldest < self.oldest):
            self.oldest = oldest
        if self._rows > _MOST:
            return
        times = frame["updated_at"]
        newest = times.max()
        if isinstance(newest, datetime):
            frame = frame.filter((times >= newest - self._lateness) | times.is_null())
        self._rows += len(frame)
        self._frames = [*self._frames, frame] if self._rows <= _MOST else []

    def digest(self, latest: datetime | None) -> str | None:
        """Of the records since a while before `latest`, the newest time that is past.

        None if they are many, or when there are others, without a time or with one in the
        future, which is another at each read.
        """
        if latest is None or not self._frames:
            return None
        rows: list[str] = []
        for frame in self._frames:
            times = frame["updated_at"]
            if times.null_count() or (times > latest).any():
                return None
            rows += map(repr, frame.filter(times >= latest - self._lateness).iter_rows())
        return digest("\n".join([*sorted(rows), *self._columns]))
