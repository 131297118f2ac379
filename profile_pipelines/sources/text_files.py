"""CSV and JSON lines, one file after the other, as text.

Lines are bounded, and so is what a compressed file may unpack to: a file that was made to fill
memory or disk ends the read with an error.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import csv

from profile_pipelines.errors import MissingField, SourceError
from profile_pipelines.sources.file_tree import FileTree, FoundFile
from profile_pipelines.sources.json_records import parse
from profile_pipelines.sources.reading import BATCH_ROWS, alike, near

_BLOCK_BYTES = 4 << 20
"""Most bytes of one row of CSV."""
_LINE_BYTES = 16 << 20
"""Most bytes of one line of JSON."""
_UNPACKED_BYTES, _UNPACKED_TIMES = 256 << 20, 200
"""What a compressed file may unpack to: so much, and so many times its own size beyond that."""
_TOO_LONG = "straddling object straddles two block boundaries"
_PARSING = csv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda row: "skip")


def read_csv(where: str, tree: FileTree, fields: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The fields of every row as text; empty cells without quotes are null.

    Raises `SourceError` for a row with more or fewer cells than the header, and for a file
    that lacks a field or a header.
    """
    schema = pa.schema([pa.field(field, pa.string()) for field in fields])
    for file in tree.files():
        header = _header(where, tree, file, fields)
        for field in fields:
            if field not in header:
                raise MissingField(
                    field,
                    f"{where}: there is no column {field!r} in {file.path}: {near(field, header)}",
                )
        for batch in _rows(where, tree, file, fields):
            arranged = pa.RecordBatch.from_arrays(batch.columns, schema=schema)
            for start in range(0, arranged.num_rows, BATCH_ROWS):
                yield arranged.slice(start, BATCH_ROWS)


def csv_header(where: str, tree: FileTree, fields: Sequence[str]) -> list[str]:
    """The columns of the first file. Raises `SourceError` when none is like one of `fields`."""
    return _header(where, tree, tree.files()[0], fields)


def json_lines(where: str, tree: FileTree) -> Iterator[Any]:
    """Every line's value; raises `SourceError` with the line's number if one isn't an object."""
    for file in tree.files():
        with _opened(where, tree, file) as stream:
            for number, line in enumerate(_lines(stream), start=1):
                if len(line) > _LINE_BYTES:
                    raise SourceError(
                        f"{where}: {file.path}:{number}: this line is longer than "
                        f"{_LINE_BYTES >> 20} MB; JSON lines have one record a line"
                    )
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


class _Bounded(io.RawIOBase):
    """A stream that ends with an error when more comes out of it than a file may hold."""

    def __init__(self, where: str, file: FoundFile, stream: pa.NativeFile) -> None:
        super().__init__()
        self._stream = stream
        self._left = _UNPACKED_BYTES + _UNPACKED_TIMES * file.size
        self._error = SourceError(
            f"{where}: {file.path} has {file.size:,} bytes and unpacks to more than "
            f"{self._left:,}; unpack it, if it is right"
        )

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._stream.readinto(buffer)
        self._left -= count
        if self._left < 0:
            raise self._error
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


def _opened(where: str, tree: FileTree, file: FoundFile) -> io.BufferedReader:
    return io.BufferedReader(_Bounded(where, file, tree.open(file)), _BLOCK_BYTES)


def _lines(stream: io.BufferedReader) -> Iterator[bytes]:
    while line := stream.readline(_LINE_BYTES + 1):
        yield line


def _header(where: str, tree: FileTree, file: FoundFile, fields: Sequence[str]) -> list[str]:
    try:
        with _opened(where, tree, file) as stream:
            options = csv.ReadOptions(block_size=_BLOCK_BYTES)
            names: list[str] = csv.open_csv(
                stream, read_options=options, parse_options=_PARSING
            ).schema.names
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        if _TOO_LONG in str(error):
            raise _too_long(where, file) from None
        raise SourceError(
            f"{where}: {file.path} isn't CSV in UTF-8 "
            f"with a header in its first {_BLOCK_BYTES >> 20} MB"
        ) from None
    columns = {name for field in fields for name in (field, re.split(r"[.\[]", field)[0])}
    if fields and not any(alike(name, names) for name in columns):
        # it may be a customer's record, which isn't told
        raise SourceError(
            f"{where}: the first line of {file.path} has none of the columns that are mapped, nor "
            f"one like them ({', '.join(fields)}): is it a header?"
        )
    return names


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
        with _opened(where, tree, file) as stream:
            yield from csv.open_csv(
                stream,
                # without threads the rows are numbered
                read_options=csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
                parse_options=csv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
                convert_options=options,
            )
    except pa.ArrowInvalid as error:
        # Arrow's own text quotes the row
        if _TOO_LONG in str(error):
            raise _too_long(where, file) from None
        if uneven:
            row = uneven[0]
            raise SourceError(
                f"{where}: {file.path}: row {row.number} has {row.actual_columns} cells, "
                f"the header {row.expected_columns}"
            ) from None
        raise SourceError(f"{where}: {file.path} isn't whole CSV in UTF-8") from None


def _too_long(where: str, file: FoundFile) -> SourceError:
    return SourceError(
        f"{where}: {file.path} has a row longer than {_BLOCK_BYTES >> 20} MB; "
        "a quote that isn't closed makes one row of all that follows"
    )
