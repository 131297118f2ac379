"""What the destinations over HTTP share: a batch that is refused is halved until it is known for
whom, and what a service says of a customer is kept without their values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from profile_pipelines.activation.api import Api, BatchRefusedError
from profile_pipelines.activation.target import Batch, Refusals, Remote
from profile_pipelines.errors import DestinationError

Row = Mapping[str, Any]
"""`profile_id`, `key`, and the destination's columns where they are told."""
Operation = Literal["add", "remove"]
_LOST_CAUSE = 20
"""So many refusals without a single success are no fault of the customers."""


class Service(Remote, ABC):
    """Sends batches through an `Api`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def add(self, batch: Batch) -> Refusals:
        return self._isolated("add", batch)

    def remove(self, batch: Batch) -> Refusals:
        return self._isolated("remove", batch)

    def close(self) -> None:
        self._api.close()

    @abstractmethod
    def _send(self, operation: Operation, rows: Sequence[Row], part: str) -> Refusals:
        """Send rows in one request; `part` is an id of them, the same whenever they are sent.

        Raises BatchRefusedError where it isn't known for which row.
        """

    def _isolated(self, operation: Operation, batch: Batch) -> Refusals:
        rows = batch.rows.to_dicts()
        refused: dict[int, str] = {}
        taken = 0
        waiting: list[tuple[int, int]] = [(0, len(rows))]
        while waiting:
            start, end = waiting.pop()
            whole = end - start == len(rows)
            part = batch.batch_id if whole else f"{batch.batch_id}.{start}-{end}"
            try:
                found = self._send(operation, rows[start:end], part)
            except BatchRefusedError as error:
                if end - start > 1:
                    middle = (start + end) // 2
                    waiting += [(middle, end), (start, middle)]
                    continue
                found = {rows[start]["profile_id"]: error.reason}
            refused |= found
            taken += end - start - len(found)
            if not taken and len(rows) > _LOST_CAUSE and len(refused) >= _LOST_CAUSE:
                raise DestinationError(
                    f"{self._api.where}: none of {len(refused)} customers is taken "
                    f"({next(iter(refused.values()))}); check the declaration"
                )
        return refused


def said(text: object, row: Row) -> str:
    """What a service says of a row, unless that quotes the row."""
    words = " ".join(str(text).split())[:200]
    values = [str(each) for name, each in row.items() if name != "profile_id" and each is not None]
    quoted = any(each.lower() in words.lower() for each in values if len(each) > 2)
    return "refused" if quoted or not words or "@" in words else words
