"""By what name a process works on the ledger, and whether a process of such a name is gone.

A name is `host/system:process.start:number`. `system` tells the boot and the space of process
numbers, so that two containers with one host's name don't take each other for dead.
"""

from __future__ import annotations

import hashlib
import os
import socket
from functools import cache
from pathlib import Path
from uuid import uuid4


def own_name() -> str:
    """A new name for a piece of this process's work."""
    return f"{_machine()}:{os.getpid()}.{_started(os.getpid())}:{uuid4().hex[:8]}"


def is_gone(name: str) -> bool:
    """Whether its process ran on this machine and is no more. Of others nothing is known."""
    machine, process = _parts(name)
    if machine != _machine():
        return False
    number, _, started = process.partition(".")
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    # its number was given to another one, or nobody has asked yet how it ended
    return _started(int(number)) != started


def spell_holder(name: str) -> str:
    """`process 4711 on etl-1`."""
    machine, process = _parts(name)
    return f"process {process.partition('.')[0]} on {machine.partition('/')[0]}"


def _parts(name: str) -> tuple[str, str]:
    parts = name.rsplit(":", 2)
    return (parts[0], parts[1]) if len(parts) == 3 else ("", "")


@cache
def _machine() -> str:
    told = [_read("/proc/sys/kernel/random/boot_id")]
    try:
        told.append(os.readlink("/proc/self/ns/pid"))
    except OSError:  # no Linux
        told.append("")
    digest = hashlib.sha256("\n".join(told).encode()).hexdigest()[:8]
    return f"{socket.gethostname()}/{digest}"


def _started(process: int) -> str:
    """When a process began, in a form that only compares; empty where the system doesn't tell.
    Of one that has ended and wasn't waited for: `ended`."""
    # its second field, the program's name in brackets, may hold blanks
    fields = _read(f"/proc/{process}/stat").rpartition(")")[2].split()
    if len(fields) < 20:
        return ""
    return "ended" if fields[0] in ("Z", "X") else fields[19]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""
