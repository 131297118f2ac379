"""A Delta Lake table: each batch is a commit, and its versions are the deliveries.

Statistics are kept of `profile_id` only, so that no value stands in the log.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from profile_pipelines.activation.target import Batch, Refusals
from profile_pipelines.engine.tables import profile_id_table
from profile_pipelines.errors import DestinationError

_SAME = "held.profile_id = told.profile_id"


class DeltaTarget:
    """Merges by `profile_id`."""

    at_once: int | None = None

    def __init__(self, name: str, folder: Path, keep: timedelta) -> None:
        self._name = name
        self._keep = keep
        self.folder = folder

    def is_empty(self) -> bool:
        return not DeltaTable.is_deltatable(str(self.folder))

    def add(self, batch: Batch) -> Refusals:
        rows: pa.Table = batch.rows.drop("key").to_arrow()
        try:
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
        except (DeltaError, OSError) as error:
            raise self._failed(error) from None
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
        try:
            self._merge(rows).when_matched_delete().execute()
        except (DeltaError, OSError) as error:
            raise self._failed(error) from None

    def _vacuum(self, keep: timedelta) -> None:
        """Take away the files of versions that are older, and what lost runs left behind."""
        if self.is_empty():
            return
        hours = int(keep.total_seconds() // 3600)
        DeltaTable(str(self.folder)).vacuum(
            hours, dry_run=False, enforce_retention_duration=False, full=True
        )

    def _failed(self, error: Exception) -> DestinationError:
        return DestinationError(
            f"destination {self._name}: the table in {self.folder} can't be written "
            f"({type(error).__name__})"
        )
