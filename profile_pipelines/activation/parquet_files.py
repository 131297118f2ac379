"""Parquet files of all who are delivered, and of changes."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from profile_pipelines.activation.files import FileTarget


class ParquetTarget(FileTarget):
    """`NAME.parquet`, zstd, with the attributes' types."""

    suffix = "parquet"

    def _write(self, path: Path, rows: pl.DataFrame) -> None:
        path.unlink(missing_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        rows.write_parquet(path, compression="zstd")

    def _without(self, path: Path, ids: pl.Series, rows: pl.DataFrame | None) -> None:
        kept = pl.read_parquet(path).filter(~pl.col("profile_id").is_in(ids.implode()))
        if rows is not None:
            # columns and types as they are declared by now
            kept = kept.select(
                (pl.col(name) if name in kept.columns else pl.lit(None))
                .cast(kind, strict=False)
                .alias(name)
                for name, kind in rows.schema.items()
            )
            kept = pl.concat([kept, rows])
        self._replace(path, kept)
