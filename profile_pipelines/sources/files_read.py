"""Which files a source has read: what wasn't among them is read whatever its records' times say.

A branch's export, a migration or a backfill may bring records that were changed long before the
newest one known; only that their file is new shows that they were never read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

_MOST = 10_000
"""So many files are remembered one by one; of more only the time of the newest is."""
_LETTERS = 8


class FileMark(NamedTuple):
    """What tells a file from any other and from its own earlier versions: path, size and time in a
    text, and the time of change alone (ns since 1970), if it is known."""

    text: str
    changed: int | None

    @property
    def digest(self) -> str:
        """Short, and without a name: it stands in a table's metadata."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:_LETTERS]


@dataclass(frozen=True)
class FilesRead:
    """The files that were there at one read."""

    digests: frozenset[str]
    until: int | None

    @classmethod
    def of(cls, marks: Collection[FileMark]) -> FilesRead:
        """These ones."""
        few = len(marks) <= _MOST
        digests = frozenset(mark.digest for mark in marks) if few else frozenset[str]()
        times = [mark.changed for mark in marks if mark.changed is not None]
        return cls(digests, max(times, default=None))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> FilesRead:
        """As `state` wrote it."""
        texts: str = state["digests"]
        parts = (texts[at : at + _LETTERS] for at in range(0, len(texts), _LETTERS))
        return cls(frozenset(parts), state["until"])

    @property
    def state(self) -> dict[str, Any]:
        """What a commit can remember."""
        return {"digests": "".join(sorted(self.digests)), "until": self.until}

    def has(self, mark: FileMark) -> bool:
        """Whether the file was there, as it is now."""
        if self.digests:
            return mark.digest in self.digests
        return mark.changed is not None and self.until is not None and mark.changed <= self.until
