"""Text files, which may be compressed; and JSON lines, one file after the other.

Lines are bounded, and so is what a compressed file may unpack to: a file that was made to fill
memory or disk ends the read with an error.
"""

from __future__ import annotations

import io
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from profile_pipelines.errors import SourceError
from profile_pipelines.sources.file_tree import FileTree, FoundFile
from profile_pipelines.sources.json_records import parse

_BUFFER_BYTES = 4 << 20
_LINE_BYTES = 16 << 20
"""Most bytes of one line of JSON."""
_UNPACKED_BYTES, _UNPACKED_TIMES = 256 << 20, 200
"""What a compressed file may unpack to: so much, and so many times its own size beyond that."""


def json_lines(where: str, tree: FileTree) -> Iterator[Any]:
    """Every line's value; raises `SourceError` with the line's number if one isn't an object."""
    for file in tree.files():
        with opened(where, tree, file) as stream:
            for number, line in enumerate(_lines(stream), start=1):
                if len(line) > _LINE_BYTES:
                    raise SourceError(
                        f"{where}: {file.path}:{number}: this line is longer than "
                        f"{_LINE_BYTES >> 20} MB; JSON lines have one record a line"
                    )
                if number == 1:
                    line = line.removeprefix(BOM_UTF8)
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


def opened(where: str, tree: FileTree, file: FoundFile) -> io.BufferedReader:
    """The file's bytes, unpacked; raises `SourceError` when they are too many."""
    return io.BufferedReader(_Bounded(where, file, tree.open(file)), _BUFFER_BYTES)


def _lines(stream: io.BufferedReader) -> Iterator[bytes]:
    while line := stream.readline(_LINE_BYTES + 1):
        yield line
