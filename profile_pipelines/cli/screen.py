"""Tables that fit the screen, and a console that cuts nothing off."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

_GAP = 2
_READABLE = 16
"""Signs below which a column of words isn't made narrower while others can give way."""
_NARROWEST = 10
"""Signs below which words aren't broken."""


class UncutConsole(Console):
    """What doesn't fit goes on in the terminal's next line; Rich would leave it out."""

    def print(self, *objects: Any, crop: bool = False, **how: Any) -> None:
        """Print as Rich does, without cropping."""
        super().print(*objects, crop=crop, **how)

    def on_broken_pipe(self) -> None:
        """Leave it to the caller of the command how to end."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class FittedTable(Table):
    """An open table that shows all of every cell.

    Where it is wider than the screen, first the columns with an index in `giving_way` go over
    several lines, then the others between words, at last words of more than ten signs. What is too
    wide all the same stays so.
    """

    giving_way: Sequence[int] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        gaps = _GAP * (len(self.columns) - 1)
        widths = self._fitted(options.max_width - gaps)
        for column, width in zip(self.columns, widths, strict=True):
            column.width = width
        whole = max(options.max_width, sum(widths) + gaps)
        yield from super().__rich_console__(console, options.update(max_width=whole))

    def _fitted(self, room: int) -> list[int]:
        """The width of each column."""
        texts = [[_plain(column.header), *map(_plain, column.cells)] for column in self.columns]
        widths = [max(map(cell_len, each)) for each in texts]
        bodies = [max(map(cell_len, each[1:]), default=0) for each in texts]
        headings = [_longest_word(each[:1]) for each in texts]
        words = [_longest_word(each) for each in texts]
        unbroken = [max(each) for each in zip(bodies, headings, strict=True)]
        for index in self.giving_way:
            unbroken[index] = max(headings[index], _READABLE)
        for least in (unbroken, words, [_NARROWEST] * len(widths)):
            widths = _narrowed(widths, least, room)
        return widths


def _narrowed(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """The widths made less, always the widest of them, until they fit or are at their least."""
    found = list(widths)
    while sum(found) > room:
        wide = [index for index, width in enumerate(found) if width > least[index]]
        if not wide:
            break
        found[max(wide, key=lambda index: found[index])] -= 1
    return found


def _longest_word(texts: Sequence[str]) -> int:
    return max((cell_len(word) for text in texts for word in text.split()), default=0)


def _plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)
