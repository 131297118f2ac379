"""CSV files as destinations."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from profile_pipelines.activation.files import FileTarget
from profile_pipelines.csv_writer import CsvWriter, cell


class CsvTarget(FileTarget):
    """`NAME.csv`, UTF-8, with a line of headings."""

    suffix = "csv"

    def _write(self, path: Path, rows: pl.DataFrame) -> None:
        with _writing(path) as writer:
            writer.row(rows.columns)
            _write_rows(writer, rows)

    def _without(self, path: Path, ids: pl.Series, rows: pl.DataFrame | None) -> None:
        gone = {str(each) for each in ids}
        unfinished = path.with_name(f".{path.name}.unfinished")
        try:
            with path.open(encoding="utf-8", newline="") as opened, _writing(unfinished) as writer:
                reader = csv.reader(opened)
                heads = next(reader)
                at = heads.index("profile_id")
                names = heads if rows is None else [cell(name) for name in rows.columns]
                writer.cells(names)
                places = [heads.index(name) if name in heads else None for name in names]
                for row in reader:
                    if row[at] not in gone:
                        writer.cells(["" if i is None else row[i] for i in places])
                if rows is not None:
                    _write_rows(writer, rows)
            os.replace(unfinished, path)
        except OSError as error:
            raise self._unwritable(error) from None


@contextmanager
def _writing(path: Path) -> Iterator[CsvWriter]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as opened:
        yield CsvWriter(opened)


def _write_rows(writer: CsvWriter, rows: pl.DataFrame) -> None:
    for row in rows.iter_rows():
        writer.row(row)
