"""How a run tells whoever watches it how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class HowFar:
    """What has been read so far: rows, and pages of an API. `expected` rows will come, as far as
    that can be told: as many as came before, where everything is read again."""

    rows: int
    pages: int = 0
    expected: int | None = None


class RunProgress(Protocol):
    """Called by a run as its steps go by; a step's name is `system.sync`, `identities`,
    `profiles`, or `audiences.name`."""

    def step_started(self, name: str) -> None:
        """A step has begun."""
        ...

    def read(self, name: str, so_far: HowFar) -> None:
        """A step has read so much."""
        ...

    def waiting(self, name: str, detail: str) -> None:
        """A step waits; `detail` says for whom, and since when they hold it up."""
        ...

    def step_finished(self, name: str, detail: str) -> None:
        """A step has ended; `detail` says in a few words what it did, or why it failed."""
        ...


class Unwatched:
    """Progress that nobody watches."""

    def step_started(self, name: str) -> None:
        """Nothing."""

    def read(self, name: str, so_far: HowFar) -> None:
        """Nothing."""

    def waiting(self, name: str, detail: str) -> None:
        """Nothing."""

    def step_finished(self, name: str, detail: str) -> None:
        """Nothing."""
