"""A Delta Lake table: each batch is a commit, and its versions are the deliveries.

Statistics are kept of `profile_id` only, so that no value stands in the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from profile_pipelines.activation.target import Batch, Refusals
from profile_pipelines.engine.tables import profile_id_table
from profile_pipelines.errors import DestinationError
from profile_pipelines.store_errors import reason_of

_SAME = "held.profile_id = told.profile_id"


class DeltaTarget:
    """Merges by `profile_id`."""

    at_once: int | None = None

    def __init__(self, name: str, folder: Path, keep: timedelta) -> None:
        self._name = name
        self._keep = keep
        self.folder = folder

    def is_empty(self) -> bool:
        with self._telling():
            return not DeltaTable.is_deltatable(str(self.folder))

    def add(self, batch: Batch) -> Refusals:
        rows: pa.Table = batch.rows.drop("key").to_arrow()
        with self._telling():
            if self.is_empty():
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                DeltaTable.create(
                    str(self.folder),
                    rows.schema,
                    mode="ignore",
                    configuration={"delta.dataSkippingStatsColumns": "profile_id"},
                )
            merge = self._merge(rows, merge_schema=True)
            merge.when_matched_update_all().when_not_matched_insert_all().execute()
        return {}

    def remove(self, batch: Batch) -> Refusals:
        if not self.is_empty():
            self._delete(batch.rows.select("profile_id").to_arrow())
        return {}

    def tidy(self, now: datetime) -> None:
        self._vacuum(self._keep)

    def erase(self, profile_ids: set[int]) -> None:
        if not self.is_empty():
            self._delete(profile_id_table(sorted(profile_ids)))
            self._vacuum(timedelta(0))

    def close(self) -> None:
        """Nothing is open."""

    def _merge(self, rows: pa.Table, **options: Any) -> Any:
        table = DeltaTable(str(self.folder))
        return table.merge(rows, _SAME, source_alias="told", target_alias="held", **options)

    def _delete(self, rows: pa.Table) -> None:
        with self._telling():
            self._merge(rows).when_matched_delete().execute()

    def _vacuum(self, keep: timedelta) -> None:
        """Take away the files of versions that are older, and what lost runs left behind."""
        if self.is_empty():
            return
        with self._telling():
            # Delta's library passes over the files that it was about to write when it was killed
            for path in self.folder.rglob("*#[0-9]*"):
                path.unlink(missing_ok=True)
        hours = int(keep.total_seconds() // 3600)
        with self._telling():
            DeltaTable(str(self.folder)).vacuum(
                hours, dry_run=False, enforce_retention_duration=False, full=True
            )

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Whatever keeps the table from being used leaves as DestinationError."""
        try:
            yield
        except (DeltaError, OSError) as error:
            raise DestinationError(
                f"destination {self._name}: the table in {self.folder} can't be used "
                f"({reason_of(error)})"
            ) from None
