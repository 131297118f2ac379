"""What every kind of destination does with a batch of customers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import polars as pl

Refusals = Mapping[int, str]
"""By profile id: why the destination won't have that row; a code or its own words, never values."""


@dataclass(frozen=True)
class Batch:
    """Customers who are told together. The same batch may come twice; it must count once.

    `rows` has `profile_id`, `key` and, when they are added, the destination's columns.
    """

    batch_id: str
    rows: pl.DataFrame

    @property
    def keys(self) -> list[tuple[int, str]]:
        """(profile_id, key) of each customer."""
        return list(self.rows.select("profile_id", "key").iter_rows())


class Target(Protocol):
    """One destination, opened. All of it is idempotent: rows are told apart by their key."""

    at_once: int | None
    """The largest batch that it takes; None: any."""

    def is_empty(self) -> bool:
        """Whether it certainly holds nobody, since its place isn't there (any more)."""
        ...

    def add(self, batch: Batch) -> Refusals:
        """Put customers in, in place of what it held of them.

        Raises DestinationError when the whole batch may or may not have arrived.
        """
        ...

    def remove(self, batch: Batch) -> Refusals:
        """Take customers out; those who aren't there count as removed. Raises like `add`."""
        ...

    def tidy(self, now: datetime) -> None:
        """Take away what is only kept for a time."""
        ...

    def erase(self, profile_ids: set[int]) -> None:
        """Take away every trace of removed customers that we keep ourselves."""
        ...

    def close(self) -> None:
        """End the connections."""
        ...


class Remote:
    """What holds for the destinations that others run."""

    def is_empty(self) -> bool:
        return False

    def tidy(self, now: datetime) -> None:
        """Nothing of theirs is kept here."""

    def erase(self, profile_ids: set[int]) -> None:
        """They hold nothing of who was removed, or nothing that can be reached."""
