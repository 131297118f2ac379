"""What people refused, kept beside the lake: a file that is only ever added to.

It is no part of the pair of lake and ledger, so that a restored pair learns from it who was erased,
suppressed or unsubscribed since its backup was taken. In a folder it is one file, of lines of
JSON; in an object store, which can't add to one, each time another.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast, get_args
from uuid import uuid4

from profile_pipelines.lake_place import Place
from profile_pipelines.ledger.refusals import Kind
from profile_pipelines.private_files import make_private_folder
from profile_pipelines.store_errors import using_lake

_FILE = "refusals.jsonl"


class Refusals:
    """The refusals that are kept at a place: a folder, or a prefix in an object store."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def keep(self, kind: Kind, rows: Iterable[Mapping[str, Any]]) -> None:
        """Keep these for good, behind all that was kept before; they outlive a crash from then on.

        Raises LakeError when they can't be written.
        """
        lines = [json.dumps({"kind": kind, **row}, default=_plain) for row in rows]
        if not lines:
            return
        content = "".join(f"{line}\n" for line in lines).encode()
        with using_lake(self.place, "written"):
            if isinstance(self.place, Path):
                _append(self.place / _FILE, content)
            else:
                # in the order of time, as far as that goes: what is told has times of its own
                name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{uuid4().hex[:8]}.jsonl"
                (self.place / name).write_bytes(content)

    def read(self) -> Iterator[tuple[Kind, dict[str, Any]]]:
        """All that was kept, the first one first. A line that a process was killed in is passed
        over: what it told wasn't written to the ledger either.

        Raises LakeError when it can't be read.
        """
        with using_lake(self.place, "read"):
            files = sorted(self.place.glob("*.jsonl"), key=str) if self.place.exists() else []
        for file in files:
            with using_lake(file, "read"):
                lines = file.read_bytes().splitlines()
            for line in lines:
                try:
                    row = json.loads(line)
                    kind = row.pop("kind")
                except (ValueError, AttributeError, KeyError):
                    continue
                if kind in get_args(Kind):
                    yield cast(Kind, kind), row


def _append(file: Path, content: bytes) -> None:
    make_private_folder(file.parent)
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            content = b"\n" + content  # whoever wrote last was killed in a line
        while content:
            content = content[os.write(handle, content) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    raise TypeError(type(value).__name__)
