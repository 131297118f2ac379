"""How a run tells whoever watches it how far it is."""

from __future__ import annotations

from typing import Protocol


class RunProgress(Protocol):
    """Called by a run as its steps go by; a step's name is `system.sync`, `identities`,
    `profiles`, or `audiences.name`."""

    def step_started(self, name: str) -> None:
        """A step has begun."""
        ...

    def rows(self, name: str, n: int) -> None:
        """A step has read `n` rows so far."""
        ...

    def step_finished(self, name: str, detail: str) -> None:
        """A step has ended; `detail` says in a few words what it did, or why it failed."""
        ...


class Unwatched:
    """Progress that nobody watches."""

    def step_started(self, name: str) -> None:
        """Nothing."""

    def rows(self, name: str, n: int) -> None:
        """Nothing."""

    def step_finished(self, name: str, detail: str) -> None:
        """Nothing."""
