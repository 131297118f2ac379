"""CSV files, one after the other, each by its own dialect and encoding, as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from profile_pipelines.catalog.csv_options import CsvOptions
from profile_pipelines.errors import MissingField, SourceError
from profile_pipelines.sources.csv_decimals import COMMAS, marks_of, with_points
from profile_pipelines.sources.csv_dialect import Dialect, DialectSearch
from profile_pipelines.sources.csv_text import BLOCK_BYTES, CsvText
from profile_pipelines.sources.file_tree import FileTree, FoundFile
from profile_pipelines.sources.reading import BATCH_ROWS, ReadRequest, near, problem_of
from profile_pipelines.sources.text_files import opened

_TOO_LONG = "straddling object straddles two block boundaries"
_EMPTY = "Empty CSV file"
_MOST_UNEVEN, _SHARE_UNEVEN = 100, 0.05
"""So many rows of a file, and so many of all, may have other cells than its header: beyond that
it isn't read as it is meant."""


@dataclass
class CsvFiles:
    """The CSV files of a sync; `mapped` are the fields by which a header is known.

    `dialects` tells how the files are written that were read so far, for people.
    """

    where: str
    tree: FileTree
    options: CsvOptions
    mapped: Sequence[str]
    dialects: dict[str, str] = field(default_factory=dict[str, str])
    _marks: dict[str, str] = field(default_factory=dict[str, str])

    def header(self) -> list[str]:
        """The columns of the first file. Raises `SourceError` when none is like a mapped one."""
        file = self.tree.files()[0]
        with opened(self.where, self.tree, file) as stream:
            _, dialect = self._begun(file, stream, ())
            return list(dialect.columns)

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        """The fields of every row as text; empty cells without quotes are null.

        Decimal commas become points in the fields of `numbers`: where they are found, in those
        that are true, and where they are declared, in all. What isn't such a number then has a
        problem. A row with more or fewer cells than the header comes with a problem in all fields,
        where it is one of few and others follow it.

        Raises `SourceError` for other such rows, a quote without a place, bytes of another
        encoding, and a file that lacks a field or a header.
        """
        fields, numbers = request.fields, request.numbers
        schema = pa.schema([pa.field(name, pa.string()) for name in fields])
        for file in self.tree.files():
            commas: list[str] | None = None
            uneven: list[arrow_csv.InvalidRow] = []
            for batch in self._rows(file, fields, uneven):
                columns = [_null(column, self.options.null) for column in batch.columns]
                arranged = pa.RecordBatch.from_arrays(columns, schema=schema)
                if commas is None:
                    commas, self._marks[file.path] = self._with_commas(arranged, numbers)
                arranged = _spelt_with_points(arranged, commas)
                for start in range(0, arranged.num_rows, BATCH_ROWS):
                    yield arranged.slice(start, BATCH_ROWS)
            if uneven:
                told = self._told(file, request, uneven)
                request.unplaced.extend(f"{self.where}: {file.path}: a row {each}" for each in told)
                yield _unread(fields, [row.text for row in uneven], told)

    def _with_commas(
        self, first: pa.RecordBatch, numbers: Mapping[str, bool]
    ) -> tuple[list[str], str]:
        """The fields with decimal commas, as declared, or as a file's first batch tells; and how
        decimals are marked in it, for people."""
        fields = [name for name in first.schema.names if name in numbers]
        if self.options.decimal is not None:
            return (fields, COMMAS) if fields and self.options.decimal == "," else ([], "")
        fields = [name for name in fields if numbers[name]]
        found = marks_of(map(first.column, fields))
        return (fields if found == COMMAS else []), found

    def _begun(
        self, file: FoundFile, stream: io.BufferedReader, fields: Sequence[str]
    ) -> tuple[CsvText, Dialect]:
        text = CsvText(f"{self.where}: {file.path}", stream, self.options.encoding)
        head = text.head.decode()
        search = DialectSearch(self.where, file.path, head, self.options, is_whole=text.is_whole)
        dialect = search.found(tuple(dict.fromkeys((*self.mapped, *fields))))
        start = len(head[: dialect.start].encode())
        return text, replace(dialect, start=start)

    def _rows(
        self, file: FoundFile, fields: Sequence[str], uneven: list[arrow_csv.InvalidRow]
    ) -> Iterator[pa.RecordBatch]:
        """The even rows; the others are added to `uneven` where they may be left out."""

        def refuse(row: arrow_csv.InvalidRow) -> str:
            uneven.append(row)
            return "skip" if len(uneven) <= _MOST_UNEVEN else "error"

        rows = 0

        with opened(self.where, self.tree, file) as stream:
            text, dialect = self._begun(file, stream, fields)
            places = [str(self._place_of(name, dialect, file)) for name in fields]
            read = arrow_csv.ReadOptions(
                # without threads the rows are numbered
                use_threads=False,
                block_size=BLOCK_BYTES,
                column_names=[str(place) for place in range(len(dialect.columns))],
            )
            parse = arrow_csv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char=dialect.quote or False,
                escape_char=self.options.escape or False,
                newlines_in_values=bool(dialect.quote or self.options.escape),
                invalid_row_handler=refuse,
            )
            convert = arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(places, pa.string()),
                include_columns=places,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                check_utf8=False,
            )
            rest = text.rest(dialect.start, dialect.delimiter, dialect.quote, self.options.escape)
            try:
                with arrow_csv.open_csv(_Stream(rest), read, parse, convert) as reader:
                    for batch in reader:
                        rows += batch.num_rows
                        yield batch
            except pa.ArrowInvalid as error:
                if _EMPTY in str(error):
                    return
                # Arrow's own text quotes the row
                if _TOO_LONG in str(error):
                    raise SourceError(
                        f"{self.where}: {file.path} has a row longer than {BLOCK_BYTES >> 20} MB"
                    ) from None
                if not uneven:
                    raise SourceError(f"{self.where}: {file.path} isn't whole CSV") from None
                raise self._uneven(file, dialect, uneven[0]) from None
            else:
                # the last one may be where the file was cut
                is_cut = bool(uneven) and uneven[-1].number >= rows + len(uneven)
                if is_cut or len(uneven) > rows * _SHARE_UNEVEN:
                    raise self._uneven(file, dialect, uneven[-1 if is_cut else 0])
            finally:
                words = [dialect.in_words, text.shown_encoding, self._marks.get(file.path, "")]
                self.dialects[file.path] = ", ".join(filter(None, words))

    def _place_of(self, name: str, dialect: Dialect, file: FoundFile) -> int:
        found = [at for at, column in enumerate(dialect.columns) if column == name]
        if not found:
            hint = near(name, dialect.columns)
            if len(dialect.columns) == 1 and self.options.delimiter is None:
                hint += "; if that is several columns, write the delimiter under csv:"
            raise MissingField(
                name, f"{self.where}: there is no column {name!r} in {file.path}: {hint}"
            )
        if len(found) > 1:
            raise SourceError(
                f"{self.where}: {file.path} has {len(found)} columns {name!r}; which one is meant "
                "can't be told: rename the others, or name all columns by csv: {skip: 1, "
                "header: […]}"
            )
        return found[0]

    def _uneven(self, file: FoundFile, dialect: Dialect, row: arrow_csv.InvalidRow) -> SourceError:
        header = "the header" if self.options.header is True else "the first row"
        number = dialect.lines + row.number
        line = self._lines_of(file, dialect, [row.number]).get(row.number, number)
        at = "" if line == number else f" (line {line})"
        return SourceError(
            f"{self.where}: {file.path}: row {number}{at} has {row.actual_columns} cells, "
            f"{header} {row.expected_columns}; a cell that holds a delimiter or a line end has to "
            "stand in quotes"
        )

    def _told(
        self, file: FoundFile, request: ReadRequest, rows: Sequence[arrow_csv.InvalidRow]
    ) -> list[str]:
        """Why each of the rows can't be read, with its line."""
        header = "the header" if self.options.header is True else "the first row"
        with opened(self.where, self.tree, file) as stream:
            _, dialect = self._begun(file, stream, request.fields)
        lines = self._lines_of(file, dialect, [row.number for row in rows])
        return [
            f"in line {lines.get(row.number, dialect.lines + row.number)} has "
            f"{row.actual_columns} cells, {header} {row.expected_columns}"
            for row in rows
        ]

    def _lines_of(
        self, file: FoundFile, dialect: Dialect, numbers: Sequence[int]
    ) -> dict[int, int]:
        """The lines on which records begin; without those for which that can't be told."""
        found: dict[int, int] = {}
        with opened(self.where, self.tree, file) as stream:
            text = CsvText(f"{self.where}: {file.path}", stream, self.options.encoding)
            escape = self.options.escape
            rest = text.rest(dialect.start, dialect.delimiter, None, escape)
            data = io.BufferedReader(_Stream(rest))
            quoting = csv.QUOTE_NONE if dialect.quote is None else csv.QUOTE_MINIMAL
            rows = csv.reader(
                io.TextIOWrapper(data, "utf-8", newline=""),
                delimiter=dialect.delimiter,
                quotechar=dialect.quote,
                quoting=quoting,
                escapechar=escape,
            )
            before = number = 0
            with suppress(csv.Error):
                for row in rows:
                    number += bool(row)
                    if row and number in numbers:
                        found[number] = dialect.lines + before + 1
                        if len(found) == len(numbers):
                            break
                    before = rows.line_num
        return found


def _unread(fields: Sequence[str], texts: Sequence[str], reasons: Sequence[str]) -> pa.RecordBatch:
    """Rows of which no cell is known; their text stands in the first field."""
    nothing = pa.nulls(len(texts), pa.string())
    columns = [pa.array(texts, pa.string()), *[nothing] * (len(fields) - 1)][: len(fields)]
    problems = [pa.array(reasons, pa.string())] * len(fields)
    names = [*fields, *map(problem_of, fields)]
    return pa.RecordBatch.from_arrays([*columns, *problems], names=names)


def _null(column: pa.Array, texts: Sequence[str]) -> pa.Array:
    """The column with null instead of the texts that mean a missing value."""
    if not texts:
        return column
    found = pc.call_function("is_in", [column], pc.SetLookupOptions(pa.array(texts, pa.string())))
    return pc.call_function("if_else", [found, pa.scalar(None, pa.string()), column])


def _spelt_with_points(batch: pa.RecordBatch, fields: Sequence[str]) -> pa.RecordBatch:
    """The batch with decimal points in these fields, and problems where that can't be."""
    for name in fields:
        column, reasons = with_points(batch.column(name))
        batch = batch.set_column(batch.schema.names.index(name), name, column)
        if reasons is not None:
            batch = batch.append_column(problem_of(name), reasons)
    return batch


class _Stream(io.RawIOBase):
    """Chunks of bytes as a file that is read in blocks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> Any:
        """As many bytes as are asked for, unless it is the end: rows are bounded by blocks."""
        parts = list[memoryview]()
        while size > 0:
            if not self._left:
                self._left = memoryview(next(self._chunks, b""))
                if not self._left:
                    break
            parts.append(self._left[:size])
            self._left = self._left[size:]
            size -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
