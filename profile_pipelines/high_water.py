"""How far lake and ledger have come, as each of them tells of the other (see docs/adr/0026)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

PROFILES = "profiles"
"""The sequence of the profiles' numbers."""


@dataclass(frozen=True)
class FileStamp:
    """What tells a file from another one in its place, and from itself before it was written to."""

    device: int
    inode: int
    changed_ns: int
    size: int

    def is_same_file(self, other: FileStamp | None) -> bool:
        """Whether they are of one file, written to meanwhile or not."""
        return other is not None and (self.device, self.inode) == (other.device, other.inode)


def file_stamp(path: Path) -> FileStamp | None:
    """The stamp of a file; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return FileStamp(found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


@dataclass(frozen=True)
class Mark:
    """A point in the ledger's history, which the lake knows. `at` is the present of its run (UTC).

    Numbers rise; the token tells two histories apart that came to the same number.
    """

    number: int
    token: str
    at: datetime


@dataclass(frozen=True)
class Head:
    """The last commit of a Delta table, as the ledger knows it.

    `counters` are the numbers that the table gave out, such as `seq` and `next_profile_id`: the
    last ones, or the next. `at` is the present of its run, where the commit tells it.
    """

    version: int
    commit: str
    counters: Mapping[str, int] = field(default_factory=dict[str, int])
    at: datetime | None = None


class Witness(Protocol):
    """Who is told of each commit of a lake, and what a commit bears."""

    def stamp(self) -> dict[str, Any]:
        """The pair that the lake is of, and how far its ledger is."""
        ...

    def committed(self, part: str, head: Head) -> None:
        """A commit was made to the Delta table that lies at this path below the lake's root."""
        ...


@dataclass(frozen=True)
class Generation:
    """What a pair is from one beginning to the next: a person accepted both halves as they were,
    or they were restored.

    `known_to` are the next numbers that were known then, by sequence: what bears a greater or the
    same number and comes from an earlier generation is unknown to both halves.
    """

    number: int
    began_at: datetime
    because: str
    known_to: Mapping[str, int]
    settled_at: datetime | None = None
    """When a person said that what was held since may go on; None: not yet."""
