"""The text of a CSV file: its encoding, found or declared, and its quotes, which must match.

All comes out in UTF-8, as bytes, and nothing unread passes: a byte that isn't of the encoding and a
quote that has no place end the read with the line where they stand.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from profile_pipelines.errors import SourceError
from profile_pipelines.sources.csv_quotes import Lines, QuoteError, Quotes

BLOCK_BYTES = 4 << 20
"""Most bytes of one row."""
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    # before UTF-16, whose mark they begin with
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_OF_UTF8 = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
"""Characters of UTF-8; in text of another encoding such bytes hardly ever meet."""
_SHOWN = {"utf-8": "UTF-8", "cp1252": "Windows-1252"}


class _NotTextError(Exception):
    """Bytes that can't be read, after those that can, in UTF-8."""

    def __init__(self, before: bytes, problem: str) -> None:
        super().__init__(problem)
        self.before = before
        self.problem = problem


class CsvText:
    """A file's text, chunk by chunk: `head` is the first chunk, `rest` gives what follows.

    The `encoding` of a file without a mark is UTF-8 until a byte says that it is Windows-1252,
    before which all was ASCII. A file that has characters of UTF-8 and such bytes is refused.
    `place` names the file in errors.
    """

    def __init__(self, place: str, stream: io.BufferedReader, declared: str | None) -> None:
        self._place = place
        self._lines = Lines()
        self.encoding = "utf-8"
        raw = stream.read(BLOCK_BYTES)
        self._chunks = self._decoded(raw, stream, declared)
        self.head = self._next()
        self.is_whole = len(raw) < BLOCK_BYTES

    @property
    def shown_encoding(self) -> str:
        """The encoding as people know it."""
        return _SHOWN.get(self.encoding, self.encoding.upper())

    def rest(
        self, start: int, delimiter: str, quote: str | None, escape: str | None = None
    ) -> Iterator[bytes]:
        """The text from byte `start` of the head on; a wrong quote raises `SourceError`.

        What an `escape` stands before for no reason (`\\N`) keeps it: it is written twice then.
        """
        quotes = None if quote is None else Quotes(delimiter, quote, self._lines, BLOCK_BYTES)
        escapes = None if escape is None else Escapes(escape, delimiter, quote)
        mark = f"{quote or ''}{escape or ''}".encode()
        self._lines.pass_by(self.head[:start])
        data, held = self.head[start:], b""
        try:
            while data:
                data = held + data
                # what follows a quote tells what it is
                end = len(data.rstrip(mark))
                whole, held = data[:end], data[end:]
                if whole:
                    if escapes is not None:
                        whole = escapes.kept(whole)
                    if quotes is not None:
                        quotes.check(whole if escapes is None else escapes.hidden(whole))
                    yield whole
                    self._lines.pass_by(whole)
                data = self._next() if len(held) <= BLOCK_BYTES else b""
            if escapes is not None:
                held = escapes.kept(held)
            if quotes is not None:
                quotes.finish(held if escapes is None else escapes.hidden(held))
        except QuoteError as error:
            raise SourceError(f"{self._place}:{error.line}: {error}") from None
        if held:
            yield held

    def _next(self) -> bytes:
        try:
            return next(self._chunks, b"")
        except _NotTextError as error:
            line = self._lines.at(error.before, len(error.before))
            raise SourceError(f"{self._place}:{line}: {error.problem}") from None

    def _decoded(
        self, raw: bytes, stream: io.BufferedReader, declared: str | None
    ) -> Iterator[bytes]:
        mark, encoding = next(((m, e) for m, e in _BOMS if raw.startswith(m)), (b"", None))
        if declared is not None:
            name = codecs.lookup(declared).name.removesuffix("-sig")
            if encoding is not None and not encoding.startswith(name):
                raise _NotTextError(
                    b"",
                    f"begins with the mark of {encoding.upper()}, and isn't in {declared}, which "
                    "encoding says",
                )
            if encoding is None:
                encoding = _wide(raw) if name == "utf-16" else name
            if encoding in (None, "utf-32"):
                raise _NotTextError(
                    b"", f"doesn't tell the order of its bytes; write encoding: {name}-le (or -be)"
                )
        known = encoding or _wide(raw)
        self.encoding = known or "utf-8"
        if known is None:
            yield from self._told_by_its_bytes(raw, stream)
        elif known == "utf-8":
            for chunk in _characters(raw[len(mark) :], stream):
                _check_utf8(chunk)
                yield chunk
        else:
            yield from _transcoded(raw[len(mark) :], stream, known)

    def _told_by_its_bytes(self, raw: bytes, stream: io.BufferedReader) -> Iterator[bytes]:
        is_utf8, last = False, b""
        for chunk in _characters(raw, stream):
            if self.encoding == "utf-8":
                if chunk.isascii() or _is_utf8(chunk):
                    is_utf8 = is_utf8 or not chunk.isascii()
                    yield chunk
                    continue
                ascii_only = not is_utf8 and not _OF_UTF8.search(chunk)
                if not ascii_only:
                    _check_utf8(chunk, is_declared=False)
                self.encoding = "cp1252"
            found = _OF_UTF8.search(last + chunk)
            if found is not None:
                before = chunk[: max(0, found.start() - len(last))]
                raise _NotTextError(before.decode("cp1252", "replace").encode(), _MIXED)
            last = chunk[-3:]
            try:
                yield chunk.decode("cp1252").encode()
            except UnicodeDecodeError as error:
                raise _NotTextError(
                    chunk[: error.start].decode("cp1252").encode(),
                    "has bytes that are neither UTF-8 nor Windows-1252; write the files' encoding "
                    "under csv:, for example encoding: iso-8859-2",
                ) from None


class Escapes:
    """The characters that an escape makes plain text: quotes, delimiters, line ends, itself."""

    def __init__(self, escape: str, delimiter: str, quote: str | None) -> None:
        self._escape = escape.encode()
        # programs write it before quotes that none surrounds, too
        self._plain = f"{escape}{delimiter}{quote or ''}\"'".encode()
        self._pair = re.compile(re.escape(self._escape) + b"(.)", re.DOTALL)

    def kept(self, data: bytes) -> bytes:
        """The data in which no escape goes that stands before anything else."""
        return self._pair.sub(self._doubled, data)

    def hidden(self, data: bytes) -> bytes:
        """Other characters in place of those that are escaped, for who looks for quotes."""
        return self._pair.sub(lambda pair: b"xx" if pair[1] in self._plain else pair[0], data)

    def _doubled(self, pair: re.Match[bytes]) -> bytes:
        return pair[0] if pair[1] in self._plain + b"\r\n" else self._escape + pair[0]


_MIXED = (
    "has bytes that aren't UTF-8 in a file that otherwise is; correct them, or write the files' "
    "encoding under csv:, for example encoding: windows-1252"
)


def _characters(raw: bytes, stream: io.BufferedReader) -> Iterator[bytes]:
    """The bytes in chunks that don't end within a character of UTF-8, if they're in UTF-8."""
    while raw:
        following = stream.read(BLOCK_BYTES)
        cut = len(raw) - _unfinished(raw) if following else len(raw)
        yield raw[:cut]
        raw = raw[cut:] + following


def _unfinished(raw: bytes) -> int:
    """How many of the last bytes begin a character whose other bytes follow."""
    for back in range(1, min(3, len(raw)) + 1):
        byte = raw[-back]
        if byte < 0x80:
            return 0
        if byte >= 0xC0:
            return back if back < 2 + (byte >= 0xE0) + (byte >= 0xF0) else 0
    return 0


def _is_utf8(chunk: bytes) -> bool:
    """Arrow looks ten times as fast as Python, which would make a text of it."""
    ends = pa.py_buffer(np.array([0, len(chunk)], np.int32))
    column = pa.Array.from_buffers(pa.binary(), 1, [None, ends, pa.py_buffer(chunk)])
    try:
        column.cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True


def _check_utf8(chunk: bytes, *, is_declared: bool = True) -> None:
    if chunk.isascii() or _is_utf8(chunk):
        return
    try:
        chunk.decode()
    except UnicodeDecodeError as error:
        problem = (
            "has bytes that aren't UTF-8; correct them, or write the files' encoding"
            if (is_declared)
            else _MIXED
        )
        raise _NotTextError(chunk[: error.start], problem) from None


def _transcoded(raw: bytes, stream: io.BufferedReader, encoding: str) -> Iterator[bytes]:
    decoder: Any = codecs.getincrementaldecoder(encoding)()
    parts, size = list[bytes](), 0
    while True:
        try:
            parts.append(decoder.decode(raw, final=not raw).encode())
        except UnicodeError as error:
            before = b""
            if isinstance(error, UnicodeDecodeError):
                before = error.object[: error.start].decode(encoding, "replace").encode()
            raise _NotTextError(
                b"".join(parts) + before,
                f"has bytes that aren't {encoding.upper()}; correct them, or write another "
                "encoding under csv:",
            ) from None
        size += len(parts[-1])
        # whole blocks, since a row may span two of them, not three
        if size >= BLOCK_BYTES or not raw:
            yield b"".join(parts)
            parts, size = [], 0
        if not raw:
            return
        raw = stream.read(BLOCK_BYTES)


def _wide(raw: bytes) -> str | None:
    """UTF-16 without a mark, told by its line ends; text of other encodings has no zero bytes."""
    if b"\0" not in raw:
        return None
    found = dict[str, int]()
    for encoding in ("utf-16-le", "utf-16-be"):
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(raw)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            found[encoding] = text.count("\n") + text.count("\r")
    best = max(found, key=lambda encoding: found[encoding], default="")
    line_ends = raw.count(b"\n") + raw.count(b"\r")
    return best if best and 0 < line_ends <= 2 * found[best] else None
