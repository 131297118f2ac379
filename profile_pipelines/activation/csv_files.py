"""CSV that is safe to open in a spreadsheet program.

A text that such a program would take for a formula gets an apostrophe in front, as OWASP's page
on CSV injection advises; numbers, dates and truth values stay as they are.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from profile_pipelines.activation.files import FileTarget
from profile_pipelines.flat_values import in_csv

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class CsvTarget(FileTarget):
    """`NAME.csv`, UTF-8, with a line of headings."""

    suffix = "csv"

    def _write(self, path: Path, rows: pl.DataFrame) -> None:
        with _writing(path) as writer:
            writer.writerow([cell(name) for name in rows.columns])
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
                writer.writerow(names)
                places = [heads.index(name) if name in heads else None for name in names]
                for row in reader:
                    if row[at] not in gone:
                        writer.writerow(["" if i is None else row[i] for i in places])
                if rows is not None:
                    _write_rows(writer, rows)
            os.replace(unfinished, path)
        except OSError as error:
            raise self._unwritable(error) from None


def cell(value: object) -> str:
    """A value as a cell that no spreadsheet program computes."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return in_csv(value)


@contextmanager
def _writing(path: Path) -> Iterator[Any]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as opened:
        yield csv.writer(opened)


def _write_rows(writer: Any, rows: pl.DataFrame) -> None:
    for row in rows.iter_rows():
        writer.writerow(
            [cell(json.dumps(e, ensure_ascii=False) if isinstance(e, list) else e) for e in row]
        )
