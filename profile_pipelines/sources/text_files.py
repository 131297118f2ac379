"""CSV and JSON lines, one file after the other, as text."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import csv

from profile_pipelines.errors import SourceError
from profile_pipelines.sources.file_tree import FileTree, FoundFile
from profile_pipelines.sources.json_records import parse
from profile_pipelines.sources.reading import BATCH_ROWS, near

_BLOCK_BYTES = 4 << 20
_PARSING = csv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda row: "skip")


def read_csv(where: str, tree: FileTree, fields: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The fields of every row as text; empty cells without quotes are null.

    Raises `SourceError` for a row with more or fewer cells than the header, and for a file
    that lacks a field.
    """
    schema = pa.schema([pa.field(field, pa.string()) for field in fields])
    for file in tree.files():
        header = _header(where, tree, file)
        for field in fields:
            if field not in header:
                raise SourceError(
                    f"{where}: there is no column {field!r} in {file.path}: {near(field, header)}"
                )
        for batch in _rows(where, tree, file, fields):
            arranged = pa.RecordBatch.from_arrays(batch.columns, schema=schema)
            for start in range(0, arranged.num_rows, BATCH_ROWS):
                yield arranged.slice(start, BATCH_ROWS)


def csv_header(where: str, tree: FileTree) -> list[str]:
    """The columns of the first file."""
    return _header(where, tree, tree.files()[0])


def json_lines(where: str, tree: FileTree) -> Iterator[Any]:
    """Every line's value; raises `SourceError` with the line's number if one isn't an object."""
    for file in tree.files():
        with tree.open(file) as stream:
            for number, line in enumerate(io.BufferedReader(stream), start=1):
                if line.isspace():
                    continue
                try:
                    record = parse(line)
                except ValueError:
                    record = None
                if not isinstance(record, dict):
                    raise SourceError(
                        f"{where}: {file.path}:{number}: this line isn't a whole JSON object"
                    )
                yield record


def _header(where: str, tree: FileTree, file: FoundFile) -> list[str]:
    try:
        with tree.open(file) as stream:
            return csv.open_csv(stream, parse_options=_PARSING).schema.names
    except pa.ArrowInvalid:
        raise SourceError(f"{where}: {file.path} isn't CSV with a header in UTF-8") from None


def _rows(
    where: str, tree: FileTree, file: FoundFile, fields: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    uneven: list[csv.InvalidRow] = []

    def refuse(row: csv.InvalidRow) -> str:
        uneven.append(row)
        return "error"

    options = csv.ConvertOptions(
        column_types=dict.fromkeys(fields, pa.string()),
        include_columns=list(fields),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    try:
        with tree.open(file) as stream:
            yield from csv.open_csv(
                stream,
                # without threads the rows are numbered
                read_options=csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
                parse_options=csv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
                convert_options=options,
            )
    except pa.ArrowInvalid:
        # Arrow's own text quotes the row
        if uneven:
            row = uneven[0]
            raise SourceError(
                f"{where}: {file.path}: row {row.number} has {row.actual_columns} cells, "
                f"the header {row.expected_columns}"
            ) from None
        raise SourceError(f"{where}: {file.path} isn't whole CSV in UTF-8") from None
