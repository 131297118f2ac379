"""Files that people name for a command's output."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from profile_pipelines.errors import ProfilePipelinesError
from profile_pipelines.store_errors import machine_error


@contextmanager
def whole_file(path: Path, *, private: bool = False) -> Iterator[IO[bytes]]:
    """A file to write in place of `path`, which has its content only when it is whole.

    A symlink stays: what it points to is replaced, with the permissions that it had; with `private`
    only its owner can read it. What exists and isn't a regular file, such as a named pipe or
    /dev/stdout, is written to as it is. Raises ProfilePipelinesError when it can't be written,
    MachineError where that is the machine's fault.
    """
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as target:
                yield target
            return
        place = Path(os.path.realpath(path))
        unfinished = place.with_name(f".{place.name}.unfinished")
        try:
            unfinished.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            handle = os.open(unfinished, flags, 0o600 if private else 0o666)
            with os.fdopen(handle, "wb") as target:
                if place.exists() and not private:
                    os.fchmod(handle, stat.S_IMODE(place.stat().st_mode))
                yield target
            unfinished.replace(place)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise (
            machine_error(error, path, "written")
            or ProfilePipelinesError(f"{path} can't be written: {error.strerror}")
        ) from None
