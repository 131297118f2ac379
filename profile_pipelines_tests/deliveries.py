"""Systems that deliver exactly the rows that a test hands over, in batches, to a fresh lake."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest
from pydantic import TypeAdapter

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.systems import Sync, System
from profile_pipelines.engine import DuckDBEngine
from profile_pipelines.identity import resolve
from profile_pipelines.lake import Lake
from profile_pipelines.landing import SyncResult, attempt, sync
from profile_pipelines.ledger import Ledger
from profile_pipelines.profiles.merge import merge
from profile_pipelines.reading import Customers
from profile_pipelines.sources import ReadRequest
from profile_pipelines.workspace import Workspace

ENGINE = DuckDBEngine(threads=1)
Row = Mapping[str, str | None]


@dataclass
class Delivery:
    """A source that brings its rows as text, a few a batch, and tells nothing of changes.

    Who reads it whole gets what it brought earlier, too.
    """

    rows: Sequence[Row]
    earlier: Sequence[Row] = ()
    batch: int = 3
    asked: list[ReadRequest] = field(default_factory=list[ReadRequest])

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        self.asked.append(request)
        rows = [*(self.earlier if request.since is None else ()), *self.rows]
        for start in range(0, len(rows), self.batch):
            part = rows[start : start + self.batch]
            columns = [
                pa.array([row.get(name) for row in part], pa.string()) for name in request.fields
            ]
            yield pa.RecordBatch.from_arrays(columns, names=list(request.fields))

    def change_mark(self) -> str | None:
        return None

    def has_newer(self, since: datetime) -> bool | None:
        return None

    def inspect(self) -> dict[str, str]:
        return {}


class Receiver:
    """A lake and a ledger that deliveries go into."""

    def __init__(self, folder: Path, declared: Mapping[str, Any]) -> None:
        placed = copy.deepcopy(dict(declared))
        for system in placed["systems"].values():
            # nothing is read there
            system["connection"] = {**system["connection"], "url": "sqlite://"}
        self.catalogue = TypeAdapter(Catalogue).validate_python(placed)
        self.lake = Lake(folder / "lake", ENGINE)
        self.ledger = Ledger("sqlite://")
        self.delivered: dict[str, list[Row]] = {}

    @property
    def customers(self) -> Customers:
        """What people read."""
        return Customers(cast(Workspace, self))

    def deliver(self, system: str, rows: Sequence[Row], *, now: datetime) -> SyncResult:
        """One sync that brings these rows."""
        earlier = self.delivered.setdefault(system, [])
        delivery = Delivery(rows, list(earlier))
        earlier += rows

        def opened(declared: System, each: Sync) -> Delivery:
            return delivery

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(attempt, "open_limited", opened)
            return sync(
                self.catalogue, self.lake, self.ledger, system, "people", now=now, run_id="r"
            )

    def settle(self, *, now: datetime) -> None:
        """Identities and profiles."""
        resolve(self.catalogue, self.lake, now=now, run_id="r")
        merge(self.catalogue, self.lake, now=now, run_id="r")
