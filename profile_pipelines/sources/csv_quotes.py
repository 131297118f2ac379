"""Whether each quote in CSV has its place: opens a cell, closes it, or is one of two in it.

Readers of CSV differ in what they make of other quotes, and most melt cells or rows together.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_LF, _CR = 10, 13
_NOT_CLOSED = (
    "has a quote that isn't closed{within}; close it, or write `csv: {{quote: false}}` "
    "where quotes are plain characters"
)
_GOES_ON = (
    "has a quote inside or after a quoted cell; a quote that belongs to the text is written "
    'twice (""){backslash}, or write `csv: {{quote: false}}` where quotes are plain characters'
)
_BLANKS = (
    "has blanks before an opening quote; take them out, or write `csv: {quote: false}` where "
    "quotes are plain characters"
)
_LOOKED_BACK = 64


class QuoteError(Exception):
    """A quote that has no place, and the line of the file where it stands."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


class Lines:
    """Counts the lines of text that comes in pieces, whatever ends them."""

    def __init__(self) -> None:
        self._ended = 0
        self._last = 0

    def pass_by(self, data: bytes) -> None:
        if data:
            self._ended += self._ends(data)
            self._last = data[-1]

    def at(self, data: bytes, position: int) -> int:
        """The line of a position of the piece that comes next, from 1 on."""
        return 1 + self._ended + self._ends(data[:position])

    def _ends(self, data: bytes) -> int:
        if not data:
            return 0
        octets = np.frombuffer(data, np.uint8)
        line_feeds = octets == _LF
        count = int(np.count_nonzero(line_feeds))
        if b"\r" in data:
            returns = octets == _CR
            count += int(np.count_nonzero(returns))
            count -= int(np.count_nonzero(returns[:-1] & line_feeds[1:]))
        if self._last == _CR and data[0] == _LF:
            count -= 1
        return count


class Quotes:
    """Looks at the quotes of text that comes in pieces, none of which ends with a quote.

    A quote in a cell that doesn't begin with one is a plain character.
    """

    def __init__(self, delimiter: str, quote: str, lines: Lines, longest: int) -> None:
        self._quote = ord(quote)
        self._mark = quote.encode()
        self._edges = frozenset((ord(delimiter), _LF, _CR))
        self._fitting = np.zeros(256, np.bool_)
        self._fitting[[*self._edges, self._quote]] = True
        self._lines = lines
        self._longest = longest
        self._before = b"\n"
        self._inside = False
        self._opened_line = 0
        self._opened_bytes = 0

    def check(self, data: bytes) -> None:
        """Raises `QuoteError` for a quote without a place, or a quoted cell that is too long."""
        if self._mark in data:
            octets = np.frombuffer(data, np.uint8)
            places = np.flatnonzero(octets == self._quote)
            opened = self._regular(octets, places)
            if opened is None:
                opened = self._one_by_one(data, [int(place) for place in places])
            if opened >= 0:
                self._opened_line = self._lines.at(data, opened)
                self._opened_bytes = -opened
        self._before = data[-_LOOKED_BACK:]
        if self._inside:
            self._opened_bytes += len(data)
            if self._opened_bytes > self._longest:
                within = f" within {self._longest >> 20} MB, the most that a row may have"
                raise QuoteError(self._opened_line, _NOT_CLOSED.format(within=within))

    def finish(self, quotes: bytes) -> None:
        """The last piece, which is nothing but quotes. Raises `QuoteError` for an open cell."""
        if quotes:
            self.check(quotes + b"\n")
        if self._inside:
            raise QuoteError(self._opened_line, _NOT_CLOSED.format(within=""))

    def _regular(self, octets: npt.NDArray[np.uint8], places: npt.NDArray[np.intp]) -> int | None:
        """Where the cell begins that is open at the end; -1 if none does, None if not all is well.

        The quotes open and close by turns, two within a cell being a close and an open: each that
        opens stands after an edge or a quote, each that closes before one.
        """
        opening, closing = places[int(self._inside) :: 2], places[1 - int(self._inside) :: 2]
        before = octets[opening - 1]
        if len(opening) and opening[0] == 0:
            before[0] = self._before[-1]
        if not (self._fitting[before].all() and self._fitting[octets[closing + 1]].all()):
            return None
        self._inside = bool((len(places) + self._inside) % 2)
        if not self._inside:
            return -1
        last = len(places) - 1
        while last > 0 and places[last - 1] == places[last] - 1:
            last -= 2
        return int(places[last]) if last >= 0 else -1

    def _one_by_one(self, data: bytes, places: list[int]) -> int:
        """Where the cell begins that is open at the end; -1 if it began before, or none is."""
        opened, skipped = -1, -1
        for place in places:
            if place == skipped:
                continue
            if not self._inside:
                before = data[place - 1] if place else self._before[-1]
                if before in self._edges:
                    self._inside, opened = True, place
                elif self._is_after_blanks(data, place):
                    raise QuoteError(self._lines.at(data, place), _BLANKS)
            elif data[place + 1] == self._quote:
                skipped = place + 1
            elif data[place + 1] in self._edges:
                self._inside, opened = False, -1
            else:
                escaped = data[max(0, place - 1) : place] == b"\\"
                backslash = ", or declare `csv: {escape: '\\'}`" if escaped else ""
                problem = _GOES_ON.format(backslash=backslash)
                raise QuoteError(self._lines.at(data, place), problem)
        return opened

    def _is_after_blanks(self, data: bytes, place: int) -> bool:
        """Whether nothing but blanks stands before it in its cell."""
        before = data[max(0, place - _LOOKED_BACK) : place]
        if place < _LOOKED_BACK:
            before = self._before + before
        for byte in reversed(before):
            if byte in self._edges:
                return True
            if byte not in b" \t":
                return False
        return False
