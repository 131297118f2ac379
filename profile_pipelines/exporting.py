"""Writes all profiles as JSON lines, CSV or Parquet, a batch at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from profile_pipelines.catalog.spelling import json_text
from profile_pipelines.csv_writer import CsvWriter
from profile_pipelines.private_files import temporary_folder
from profile_pipelines.reading import Customers
from profile_pipelines.whole_file import whole_file

FORMATS = ("jsonl", "csv", "parquet")
_BATCH = 20_000


def export_profiles(
    customers: Customers,
    target: IO[bytes],
    form: str,
    *,
    as_of: datetime | None = None,
    provenance: bool = False,
) -> int:
    """Write the profiles, by id, to an open file; how many there are.

    In CSV lists are JSON, and a text that a spreadsheet program would compute has an apostrophe in
    front; in JSON and CSV times are ISO 8601 in UTC. With `provenance` there is a
    further column `<attribute>__from` for each attribute.
    """
    rows = customers.profile_rows(as_of=as_of, provenance=provenance)
    with temporary_folder("export") as folder:
        whole = folder / "profiles.parquet"
        customers.workspace.lake.engine.write(rows.sql, rows.relations, str(whole))
        with pq.ParquetFile(whole) as file:
            count = file.metadata.num_rows
            match form:
                case "parquet":
                    with whole.open("rb") as source:
                        shutil.copyfileobj(source, target)
                case "csv":
                    _write_csv(file, target)
                case _:
                    _write_json_lines(file, target)
    return count


def export_to_file(
    customers: Customers,
    path: Path,
    form: str,
    *,
    as_of: datetime | None = None,
    provenance: bool = False,
) -> int:
    """The same into a file, as `whole_file` writes it.

    Raises ProfilePipelinesError when the file can't be written.
    """
    with whole_file(path) as target:
        return export_profiles(customers, target, form, as_of=as_of, provenance=provenance)


def _rows(file: pq.ParquetFile) -> Iterator[dict[str, Any]]:
    batch: pa.RecordBatch
    for batch in file.iter_batches(batch_size=_BATCH):
        yield from batch.to_pylist()


def _write_json_lines(file: pq.ParquetFile, target: IO[bytes]) -> None:
    for row in _rows(file):
        target.write(json_text(row).encode() + b"\n")


def _write_csv(file: pq.ParquetFile, target: IO[bytes]) -> None:
    text = TextIOWrapper(target, encoding="utf-8", newline="")
    writer = CsvWriter(text)
    writer.row(file.schema_arrow.names)
    for row in _rows(file):
        writer.row(row.values())
    text.flush()
    text.detach()
