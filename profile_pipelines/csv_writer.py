"""CSV that is safe to open in a spreadsheet program: the one way in which it is written.

A text that such a program would take for a formula gets an apostrophe in front, as OWASP's page
on CSV injection advises; numbers, dates and truth values stay as they are.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import IO

from profile_pipelines.catalog.spelling import value_text

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class CsvWriter:
    """Writes rows to an open text file, which must have been opened with `newline=""`."""

    def __init__(self, file: IO[str]) -> None:
        self._writer = csv.writer(file)

    def row(self, values: Iterable[object]) -> None:
        """Write one row; values have the spelling that they have everywhere."""
        self._writer.writerow([cell(value) for value in values])

    def cells(self, texts: Iterable[str]) -> None:
        """Write one row of cells that were read from such a file."""
        self._writer.writerow(texts)


def cell(value: object) -> str:
    """A value as a cell that no spreadsheet program computes."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return value_text(value)
