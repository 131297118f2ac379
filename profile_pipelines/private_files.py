"""Files for their owner alone: temporary ones, which go with their process, and those that stay.

Temporary data lies in a folder that one process has to itself: of mode 0700, and locked for as
long as the process lives. Whoever comes next can take the lock only where that process is gone,
however it ended and whoever has its number by now, and removes the folder.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from profile_pipelines.store_errors import using_temporary

_NAMED = "profile_pipelines_process_"
_LANDING, _SPILL = "profile_pipelines_landing_", "profile_pipelines_spill"
"""As earlier versions named what processes that were killed left behind."""
_DAY = 24 * 60 * 60

_own: dict[int, tuple[str, Path]] = {}
"""The folder of this process, by its number and the folder that it lies in."""


def own_folder() -> Path:
    """The folder of this process; with the first look what others left is removed.

    Raises MachineError when there can't be one.
    """
    process, parent = os.getpid(), tempfile.gettempdir()
    made = _own.get(process)
    if made is None or made[0] != parent or not made[1].exists():
        remove_abandoned()
        with using_temporary(parent):
            made = _own[process] = parent, _claimed(parent)
        atexit.register(_leave, process, made[1])
    return made[1]


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """A folder in that of this process, until the end of the block."""
    owned = own_folder()
    with using_temporary(owned):
        folder = Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=owned))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned() -> int:
    """Remove the temporary folders of this user whose processes are gone; how many there were."""
    removed = 0
    with suppress(OSError):
        for entry in os.scandir(tempfile.gettempdir()):
            if entry.name.startswith("profile_pipelines_"):
                with suppress(OSError):
                    removed += _is_mine(entry) and _removed_if_abandoned(entry)
    return removed


def make_private_folder(path: Path, *, like: Path | None = None) -> None:
    """The folder, and those above it that aren't there, for the owner alone, whatever the umask.

    Where `like` is there, its mode counts: whoever opened it to a group meant what comes into it.
    """
    mode = stat.S_IMODE(like.stat().st_mode) if like is not None and like.exists() else 0o700
    absent = [each for each in (path, *path.parents) if not each.exists()]
    for each in reversed(absent):
        with suppress(FileExistsError):
            each.mkdir(mode=0o700)
            each.chmod(mode)


def make_private_file(path: Path) -> None:
    """An empty file for its owner alone, whatever the umask, unless there is one."""
    with suppress(FileExistsError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fchmod(handle, 0o600)
        finally:
            os.close(handle)


def open_to_others(path: Path) -> str | None:
    """The mode of a file or folder that others than its owner may use, as `chmod` takes it; else
    None."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
    return f"{mode:04o}" if mode & 0o077 else None


def _claimed(parent: str) -> Path:
    while True:
        path = Path(tempfile.mkdtemp(prefix=f"{_NAMED}{os.getpid()}_", dir=parent))
        handle = os.open(path, os.O_RDONLY)  # kept open, and so locked, as long as the process
        with suppress(OSError):  # a file system without locks: it is removed by nobody else
            fcntl.flock(handle, fcntl.LOCK_EX)
        if path.exists():  # nobody took it for abandoned before it was locked
            return path
        os.close(handle)


def _is_mine(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) and (
        entry.stat(follow_symlinks=False).st_uid == os.getuid()
    )


def _removed_if_abandoned(entry: os.DirEntry[str]) -> bool:
    if not entry.name.startswith(_NAMED):
        earlier = entry.name.startswith(_LANDING) or entry.name == _SPILL
        newest = max((each.stat().st_mtime for each in Path(entry.path).rglob("*")), default=0.0)
        old = max(newest, entry.stat().st_mtime) < time.time() - _DAY
        if earlier and old:
            shutil.rmtree(entry.path)
        return earlier and old
    handle = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(entry.path)
    finally:
        os.close(handle)
    return True


def leave() -> None:
    """Remove what this process has there, where it won't come to its own end."""
    for process, (_, folder) in list(_own.items()):
        _leave(process, folder)


def _leave(process: int, folder: Path) -> None:
    if os.getpid() == process:  # not in a process that was forked from it
        shutil.rmtree(folder, ignore_errors=True)
