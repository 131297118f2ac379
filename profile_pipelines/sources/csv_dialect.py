"""What stands between and around the cells of a CSV file, and which columns it has.

A file with a header is read by the delimiter that makes the mapped columns of it; commas come
first. Without a header every row must have as many cells as there are names, by one delimiter
alone. What isn't sure is refused: no counting of characters decides.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from profile_pipelines.catalog.csv_options import CsvOptions
from profile_pipelines.errors import SourceError
from profile_pipelines.sources.reading import alike

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}
"""Those that are tried, in this order."""
_SEPARATOR = re.compile(r'"?sep=([^\r\n])"?[\r\n]*', re.IGNORECASE)
"""The first line by which spreadsheet programs tell each other the delimiter."""
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_SAMPLE_ROWS = 1000
_WRITE = "write the delimiter under csv:, for example csv: {delimiter: ';'}"


@dataclass(frozen=True)
class Dialect:
    """How a file is written. Before its first record stand so many `lines`, and the first `start`
    characters."""

    delimiter: str
    quote: str | None
    columns: tuple[str, ...]
    lines: int
    start: int

    @property
    def in_words(self) -> str:
        """What is between and around the cells, for people."""
        words = _DELIMITERS.get(self.delimiter, f"delimiter {self.delimiter!r}")
        if self.quote is None:
            return f"{words}, no quotes"
        return words if self.quote == '"' else f"{words}, quotes {self.quote}"


@dataclass(frozen=True)
class _Row:
    cells: tuple[str, ...]
    lines: int
    """Of the file up to its end."""
    end: int
    """Of the text, in characters."""


class _Rows(Iterator[_Row]):
    """Rows up to the first with a wrong quote."""

    def __init__(self, rows: Iterator[_Row]) -> None:
        self._rows = rows
        self.is_broken = False

    def __next__(self) -> _Row:
        try:
            return next(self._rows)
        except csv.Error:
            self.is_broken = True
            raise StopIteration from None


class DialectSearch:
    """Finds the dialect of the file whose text begins with `head`, or is it, if `is_whole`.

    What the options declare isn't searched. Errors name the sync (`where`) and the file's `path`,
    and quote no cell.
    """

    def __init__(
        self, where: str, path: str, head: str, options: CsvOptions, *, is_whole: bool
    ) -> None:
        self._where = where
        self._path = path
        self._head = head
        self._options = options
        self._is_whole = is_whole
        self._start, self._lines, told = self._preamble()
        delimiter = options.delimiter or told
        self._delimiters = list(_DELIMITERS) if delimiter is None else [delimiter]
        self._quotes = ['"', "'"] if options.quote is None else [options.quote or None]

    def found(self, fields: Sequence[str]) -> Dialect:
        """The dialect, by the mapped fields. Raises `SourceError` where it isn't sure."""
        found = self._by_header(fields) if self._options.header is True else self._by_width()
        if self._options.quote is None and found.quote == '"':
            self._check_apostrophes(found, fields)
        return found

    def _by_header(self, fields: Sequence[str]) -> Dialect:
        tried = list[tuple[int, Dialect]]()
        for quote in self._quotes:
            for delimiter in self._delimiters:
                first = next(_Rows(self._rows(delimiter, quote)), None)
                if first is not None:
                    score = sum(has_column(field, first.cells) for field in fields)
                    dialect = Dialect(delimiter, quote, first.cells, first.lines, first.end)
                    tried.append((score, dialect))
        if not tried:
            if not self._head:
                raise SourceError(f"{self._where}: {self._path} is empty, without even a header")
            raise SourceError(
                f"{self._where}: {self._path} isn't CSV with a header in its first 4 MB: is there "
                "a quote in it that isn't closed?"
            )
        best = max(score for score, _ in tried)
        fitting = [dialect for score, dialect in tried if score == best]
        if fields and best == 0:
            fitting = [each for each in fitting if _has_alike(fields, each.columns)]
            if not fitting:
                # it may be a customer's record, which isn't told
                raise SourceError(
                    f"{self._where}: the first line of {self._path} has none of the columns that "
                    f"are mapped, nor one like them ({', '.join(fields)}): is it a header? "
                    f"{self._hint}"
                )
            return fitting[0]
        fitting = [each for each in fitting if each.quote == fitting[0].quote]
        if len(fitting) > 1 and fitting[0].delimiter != ",":
            raise SourceError(
                f"{self._where}: {self._path}: several delimiters fit its header; {_WRITE}"
            )
        return fitting[0]

    def _by_width(self) -> Dialect:
        header = self._options.header
        names = tuple(header) if isinstance(header, list) else ()
        fitting = list[tuple[Dialect, list[tuple[str, ...]]]]()
        uneven = list[Dialect]()
        any_broken = False
        for quote in self._quotes:
            if any_broken:
                # the other quote would only hide the mistake
                break
            for delimiter in self._delimiters:
                rows = _Rows(self._rows(delimiter, quote))
                sample = [row.cells for row in islice(rows, _SAMPLE_ROWS)]
                any_broken = any_broken or rows.is_broken
                if names and sample and sample[0] == names:
                    raise SourceError(
                        f"{self._where}: {self._path}: the first row has the very names that "
                        "header gives; take header out from under csv:"
                    )
                width = len(sample[0]) if sample else len(names)
                columns = names or tuple(f"column_{n}" for n in range(1, width + 1))
                dialect = Dialect(delimiter, quote, columns, self._lines, self._start)
                if width != len(columns):
                    continue
                if rows.is_broken or any(len(cells) != width for cells in sample):
                    uneven.append(dialect)
                elif not any(_are_alike(sample, others) for _, others in fitting):
                    fitting.append((dialect, sample))
        # a character that isn't there makes one cell of each row
        several = [each for each, _ in fitting if len(each.columns) > 1]
        found = several or [each for each, _ in fitting]
        if len(found) > 1:
            raise SourceError(
                f"{self._where}: {self._path}: its rows can be read by several delimiters or "
                "quotes; write them under csv:, for example csv: {delimiter: ',', quote: '\"'}"
            )
        if found or uneven:
            # what is uneven, the reading tells
            return (found or uneven)[0]
        raise SourceError(
            f"{self._where}: {self._path}: its first row hasn't the {len(names)} cells that header "
            f"names. {self._hint}"
        )

    def _preamble(self) -> tuple[int, int, str | None]:
        """Where the header, or first record, begins: characters, lines; and what `sep=` says."""
        first = _LINE.match(self._head)
        told = _SEPARATOR.fullmatch(first[0]) if first else None
        lines = max(self._options.skip, 1 if told else 0)
        start = 0
        for _ in range(lines):
            match = _LINE.match(self._head, start)
            start = match.end() if match else start
        if start == len(self._head) and not self._is_whole:
            raise SourceError(
                f"{self._where}: {self._path}: the first {lines} lines, which skip leaves out, are "
                "longer than 4 MB"
            )
        return start, lines, told[1] if told else None

    def _rows(self, delimiter: str, quote: str | None) -> Iterator[_Row]:
        """The rows that are whole. Raises `csv.Error` for one with a wrong quote."""
        position, lines = self._start, self._lines

        def counted() -> Iterator[str]:
            nonlocal position, lines
            while (match := _LINE.match(self._head, position)) and match[0]:
                position, lines = match.end(), lines + 1
                yield match[0]

        quoting = csv.QUOTE_NONE if quote is None else csv.QUOTE_MINIMAL
        rows = csv.reader(
            counted(),
            delimiter=delimiter,
            quotechar=quote,
            quoting=quoting,
            escapechar=self._options.escape,
            strict=True,
        )
        for row in rows:
            if position == len(self._head) and not self._is_whole:
                return
            if row:
                yield _Row(tuple(row), lines, position)

    def _check_apostrophes(self, found: Dialect, fields: Sequence[str]) -> None:
        """Raises `SourceError` where all cells of a column may be quoted, by another quote."""
        rows = _Rows(self._rows(found.delimiter, found.quote))
        if self._options.header is True:
            next(rows, None)
        sample = [row.cells for row in islice(rows, _SAMPLE_ROWS)]
        for at, column in enumerate(found.columns):
            cells = [row[at] for row in sample if at < len(row) and row[at]]
            quoted = cells and all(len(c) > 1 and c[0] == c[-1] == "'" for c in cells)
            if quoted and any(has_column(field, [column]) for field in fields):
                raise SourceError(
                    f"{self._where}: {self._path}: every cell of a mapped column stands in "
                    'apostrophes; write under csv: quote: "\'" if they are no part of the values, '
                    "or quote: '\"' if they are"
                )

    @property
    def _hint(self) -> str:
        if len(self._delimiters) > 1:
            tried = ", ".join(_DELIMITERS.values())
            return f"Tried: {tried}; for another, {_WRITE}"
        return f"The delimiter is {self._delimiters[0]!r}, as is declared or its line sep= says"


def _are_alike(one: Sequence[tuple[str, ...]], other: Sequence[tuple[str, ...]]) -> bool:
    """Whether both readings give the same cells, as far as both go."""
    return all(a == b for a, b in zip(one, other, strict=False))


def has_column(field: str, columns: Sequence[str]) -> bool:
    """Whether one of the columns is the field, or the one into which its path leads."""
    return any(
        field == column or bool(column and field.startswith((f"{column}.", f"{column}[")))
        for column in columns
    )


def _has_alike(fields: Sequence[str], columns: Sequence[str]) -> bool:
    names = {name for field in fields for name in (field, re.split(r"[.\[]", field)[0])}
    return any(alike(name, columns) for name in names)
