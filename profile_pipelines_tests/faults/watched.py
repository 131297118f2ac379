"""A process in which every write is an event: counted, and one of them made to fail or to be the
last.

Linux itself stops the process before each system call that writes (seccomp's user notification),
whoever makes it: Python, SQLite, DuckDB or delta-rs, in any thread. Nothing has to be installed and
nobody has to be root. `supported` tells whether the machine can do it.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
import platform
import select
import signal
import socket
import struct
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_X86 = {
    "write": 1, "pwrite64": 18, "writev": 20, "pwritev": 296, "pwritev2": 328, "open": 2,
    "openat": 257, "creat": 85, "rename": 82, "renameat": 264, "renameat2": 316, "link": 86,
    "linkat": 265, "mkdir": 83, "mkdirat": 258, "unlink": 87, "unlinkat": 263, "rmdir": 84,
    "ftruncate": 77, "truncate": 76, "fallocate": 285, "fsync": 74, "fdatasync": 75,
    "sendto": 44, "sendfile": 40, "copy_file_range": 326,
}  # fmt: skip
_ARM = {
    "write": 64, "pwrite64": 68, "writev": 66, "pwritev": 70, "pwritev2": 287, "openat": 56,
    "renameat": 38, "renameat2": 276, "linkat": 37, "mkdirat": 34, "unlinkat": 35,
    "ftruncate": 46, "truncate": 45, "fallocate": 47, "fsync": 82, "fdatasync": 83,
    "sendto": 206, "sendfile": 71, "copy_file_range": 285,
}  # fmt: skip
_NUMBERS, _SECCOMP = {"x86_64": (_X86, 317), "aarch64": (_ARM, 277)}.get(
    platform.machine(), ({}, 0)
)
_NAMES = {number: name for name, number in _NUMBERS.items()}
_BY_HANDLE = {"write", "pwrite64", "writev", "pwritev", "pwritev2", "ftruncate", "fallocate",
              "fsync", "fdatasync"}  # fmt: skip
_BY_PATH = {
    "open": 0, "openat": 1, "creat": 0, "rename": 1, "renameat": 3, "renameat2": 3, "link": 1,
    "linkat": 3, "mkdir": 0, "mkdirat": 1, "unlink": 0, "unlinkat": 1, "rmdir": 0, "truncate": 0,
}  # fmt: skip
"""At which argument the path stands that is made, replaced or taken away."""
TAKES_SPACE = {"write", "pwrite64", "writev", "pwritev", "pwritev2", "ftruncate", "fallocate",
               "mkdir", "mkdirat", "sendfile", "copy_file_range", "create"}  # fmt: skip
"""What a full disk refuses."""
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_RECEIVE, _ANSWER = 0xC0502100, 0xC0182101
_GO_ON = 1
_LONGEST_PATH = 4096


@dataclass(frozen=True)
class Event:
    """A write that is about to happen: the system call, and where. `path` is None: a message."""

    number: int
    call: str
    path: Path | None
    size: int = 0


Decide = Callable[[Event], "int | str | None"]
"""What becomes of an event: None, it happens; a number, it fails with this `errno`; "kill", the
process dies before it; "tear", the process dies when half of it is written."""


@dataclass(frozen=True)
class Ending:
    """How a watched process ended: its exit code, None when it was killed; all of its events."""

    code: int | None
    events: list[Event]


def supported() -> bool:
    """Whether this machine can watch: Linux 5.5 or newer, and a sandbox around that lets it."""
    if not _NUMBERS:
        return False
    try:
        return watched(lambda: 0, Path("/nowhere"), lambda event: None).code == 0
    except OSError:
        return False


def watched(step: Callable[[], int], folder: Path, decide: Decide) -> Ending:
    """Run `step` in a forked process; `decide` is asked about each of its writes below `folder`
    and each message that it sends over a socket. What it answers is the exit code."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        status = 99
        try:
            _watch_me(theirs)
            status = step()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    theirs.close()
    try:
        _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
        if not ancillary:
            os.waitpid(child, 0)
            raise OSError(errno.ENOSYS, "the kernel doesn't tell of system calls")
        listener = array.array("i", ancillary[0][2])[0]
    finally:
        ours.close()
    try:
        events = _Supervisor(listener, child, folder, decide).follow()
    finally:
        os.close(listener)
    _, status = os.waitpid(child, 0)
    return Ending(None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status), events)


def _watch_me(to: socket.socket) -> None:
    """Have the kernel tell of this process's writes from now on; the other end gets the handle."""
    numbers = sorted(_NAMES)
    jump, load, answer = 0x15, 0x20, 0x06
    code = struct.pack("HBBI", load, 0, 0, 0)  # the number of the call
    for at, number in enumerate(numbers):
        code += struct.pack("HBBI", jump, len(numbers) - at, 0, number)
    code += struct.pack("HBBI", answer, 0, 0, _ALLOW) + struct.pack("HBBI", answer, 0, 0, _NOTIFY)
    kernel = ctypes.CDLL(None, use_errno=True)
    program = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(program))
    kernel.prctl(38, 1, 0, 0, 0)  # no new privileges
    listener = kernel.syscall(_SECCOMP, 1, 8, ctypes.create_string_buffer(header, len(header)))
    if listener < 0:
        os._exit(98)
    handles = array.array("i", [listener])
    to.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, handles)])
    os.close(listener)
    to.close()


class _Supervisor:
    """Answers the kernel for a process until it has ended."""

    def __init__(self, listener: int, child: int, folder: Path, decide: Decide) -> None:
        self._listener, self._child, self._decide = listener, child, decide
        self._below = f"{folder}/"
        self._events: list[Event] = []

    def follow(self) -> list[Event]:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        while True:
            [(_, happened)] = poll.poll()
            if not happened & select.POLLIN:
                return self._events
            told = bytearray(80)
            try:
                fcntl.ioctl(self._listener, _RECEIVE, told)
            except OSError:  # the thread was killed meanwhile
                continue
            notice, thread, _, number, _, _, *arguments = struct.unpack("QIIiIQ6Q", told)
            wanted = self._wanted(thread, _NAMES[number], arguments)
            error = wanted if isinstance(wanted, int) else 0
            answer = struct.pack("QqiI", notice, 0, -error, 0 if error else _GO_ON)
            if isinstance(wanted, str):
                os.kill(self._child, signal.SIGKILL)
                continue
            try:
                fcntl.ioctl(self._listener, _ANSWER, bytearray(answer))
            except OSError:
                continue

    def _wanted(self, thread: int, call: str, arguments: list[int]) -> int | str | None:
        try:
            event = self._event(thread, call, arguments)
        except OSError:  # it has ended
            return None
        if event is None:
            return None
        self._events.append(event)
        wanted = self._decide(event)
        if wanted == "tear" and call in ("write", "pwrite64"):
            self._half(thread, call, arguments)
        return wanted

    def _event(self, thread: int, call: str, arguments: list[int]) -> Event | None:
        number = len(self._events) + 1
        if call == "sendto":
            return Event(number, "send", None, arguments[2])
        if call in _BY_HANDLE or call in ("sendfile", "copy_file_range"):
            handle = arguments[2] if call == "copy_file_range" else arguments[0]
            path = os.readlink(f"/proc/{thread}/fd/{handle}")
            size = arguments[2] if call in ("write", "pwrite64") else 0
            return Event(number, call, Path(path), size) if self._is_below(path) else None
        at = _BY_PATH[call]
        if call in ("open", "openat"):
            flags = arguments[at + 1]
            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return None
        path = self._path(thread, call, at, arguments)
        if not self._is_below(path):
            return None
        if call in ("open", "openat", "creat"):
            call = "open" if os.path.lexists(path) else "create"
        return Event(number, call, Path(path))

    def _path(self, thread: int, call: str, at: int, arguments: list[int]) -> str:
        path = os.fsdecode(_text(thread, arguments[at]))
        if os.path.isabs(path):
            return path
        handle = arguments[at - 1] if call.endswith(("at", "at2")) else -100
        handle -= (handle >> 31 & 1) << 32 if handle > 0 else 0
        at_home = handle == -100
        place = f"/proc/{thread}/cwd" if at_home else f"/proc/{thread}/fd/{handle}"
        return os.path.join(os.readlink(place), path)

    def _is_below(self, path: str) -> bool:
        return path.startswith(self._below)

    def _half(self, thread: int, call: str, arguments: list[int]) -> None:
        handle, address, size = arguments[:3]
        with open(f"/proc/{thread}/mem", "rb", 0) as memory:
            memory.seek(address)
            data = memory.read(size // 2)
        at = arguments[3]
        if call == "write":
            info = Path(f"/proc/{thread}/fdinfo/{handle}").read_text().split()
            at = int(info[info.index("pos:") + 1])
        target = os.open(f"/proc/{thread}/fd/{handle}", os.O_WRONLY)
        try:
            os.pwrite(target, data, at)
        finally:
            os.close(target)


def _text(thread: int, address: int) -> bytes:
    with open(f"/proc/{thread}/mem", "rb", 0) as memory:
        memory.seek(address)
        page = 4096 - address % 4096  # the next page may not be there
        text = memory.read(page)
        if b"\0" not in text:
            text += memory.read(_LONGEST_PATH)
    return text.partition(b"\0")[0]
