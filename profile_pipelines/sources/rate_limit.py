"""Rate limits that all processes of one user on this machine obey together.

The last `count` requests' times lie in a small file, as a ring: a request may be made as soon
as the one `count` before it is a period old. Under the file's lock it enters its own time, then
waits for it, so that those who wait queue up.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

from profile_pipelines.catalog.connections import RateLimit

_HEAD = struct.Struct("<qd")
_TIME = struct.Struct("<d")
_AHEAD = 100
"""Periods that a time may lie ahead; beyond, the clock was set back and it counts as past."""


class RateLimiter:
    """The limit of the thing named `key`, in a file in `folder`."""

    def __init__(
        self,
        limit: RateLimit,
        key: str,
        *,
        folder: Path | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._count = limit.count
        self._period = limit.period.total_seconds()
        name = f"{key}\n{limit.count}\n{self._period}"
        digest = hashlib.sha256(name.encode()).hexdigest()[:24]
        self._path = (folder or _shared_folder()) / f"{digest}.rate"
        self._clock = clock
        self._sleep = sleep

    def wait(self) -> None:
        """Return when the next request may be made."""
        with self._opened() as file:
            now = self._clock()
            made, paused = self._head(file)
            at = _HEAD.size + made % self._count * _TIME.size
            before = os.pread(file, _TIME.size, at)
            earliest = paused
            if len(before) == _TIME.size and made >= self._count:
                earliest = max(earliest, _TIME.unpack(before)[0] + self._period)
            if earliest > now + _AHEAD * self._period:
                earliest = now
            moment = max(now, earliest)
            os.pwrite(file, _TIME.pack(moment), at)
            os.pwrite(file, _HEAD.pack(made + 1, paused), 0)
        if moment > now:
            self._sleep(moment - now)

    def pause(self, seconds: float) -> None:
        """No request by anyone for so long: the API asked for it."""
        if seconds <= 0:
            return
        with self._opened() as file:
            made, paused = self._head(file)
            os.pwrite(file, _HEAD.pack(made, max(paused, self._clock() + seconds)), 0)

    def _head(self, file: int) -> tuple[int, float]:
        head = os.pread(file, _HEAD.size, 0)
        return _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0.0)

    def _opened(self) -> _Locked:
        return _Locked(self._path)


class _Locked:
    """The file's descriptor, under its lock, which the system frees with the process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> int:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return self._file

    def __exit__(self, *exception: object) -> None:
        os.close(self._file)


def _shared_folder() -> Path:
    """A folder of this user's own, for all of their processes on this machine."""
    folder = Path(gettempdir()) / f"profile-pipelines-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else; remove it")
    return folder
