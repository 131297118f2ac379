"""What a failing disk, file, object store or database amounts to: an error for people.

DuckDB, deltalake, pyarrow, fsspec's packages, SQLAlchemy's drivers and plain files tell of the same
few faults in ways of their own. Where the lake, the ledger or temporary data is touched, one of
the functions here turns them into `LakeError` or `MachineError`: with the place, what was being
done, the reason, and what to do. Nothing that a library says is quoted but the reason of a
driver or an object store: messages may hold data.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from profile_pipelines.errors import (
    FULL,
    BackupError,
    LakeError,
    MachineError,
    ProfilePipelinesError,
)

RESTORE = (
    "put lake and ledger back from a backup with `profile-pipelines restore` (docs/operations.md)"
)
"""What to do about a lake or a ledger whose files are lost or damaged."""
_TODO = {
    errno.EFBIG: "raise the limit of a file's size (`ulimit -f`), and run it again",
    errno.EIO: "the disk, or what connects it, is at fault: see the system's log, "
    "and run it again once that is mended",
    errno.EROFS: "mount it for writing, and run it again",
    errno.EACCES: "give the user that runs this the right to, and run it again",
    errno.EPERM: "give the user that runs this the right to, and run it again",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`), and run it again",
    errno.ENFILE: "raise the machine's limit of open files, and run it again",
    errno.ENOMEM: "give it more memory, or run fewer things at once",
    errno.ENOENT: RESTORE,
    errno.ESTALE: "mount it anew, and run it again",
}
_MACHINE = (*FULL, *_TODO)
_WORDS = {os.strerror(number): number for number in _MACHINE}
_DELTA = {"deltalake", "_internal"}
_LIBRARIES = {*_DELTA, "pyarrow", "fsspec", "s3fs", "botocore", "aiobotocore",
              "aiohttp", "gcsfs", "google", "adlfs", "azure", "requests", "urllib3"}  # fmt: skip


@contextmanager
def using_lake(place: object, done: str) -> Iterator[None]:
    """Whatever keeps a place in the lake from being `done` ("read", "written") leaves as LakeError.

    Faults of the program pass.
    """
    try:
        yield
    except ProfilePipelinesError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and _library(error) not in _LIBRARIES:
            raise
        if _library(error) in _DELTA and errno_of(error) is None:
            raise damaged(place, _reason(error)) from None
        raise lake_error(place, done, _reason(error), errno_of(error)) from None


@contextmanager
def using_backup(place: object, done: str) -> Iterator[None]:
    """Whatever keeps a place in a backup from being `done` ("read", "written") leaves as
    BackupError. Faults of the program pass."""
    try:
        yield
    except ProfilePipelinesError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and _library(error) not in _LIBRARIES:
            raise
        shown = re.sub(r"//[^/@]*@", "//", str(place))
        then = "" if errno_of(error) == errno.ENOENT else _then(shown, errno_of(error))
        raise BackupError(
            f"the backup can't be {done} at {shown}: {_reason(error)}{then}"
        ) from None


def lake_error(place: object, done: str, reason: str, number: int | None = None) -> LakeError:
    """The lake's error: where, what was being done, why not, and what to do about it."""
    shown = re.sub(r"//[^/@]*@", "//", str(place))
    return LakeError(f"the lake can't be {done} at {shown}: {reason}{_then(shown, number)}")


def damaged(place: object, how: str) -> LakeError:
    """The lake's error where a file is there no more, or isn't as it was written."""
    shown = re.sub(r"//[^/@]*@", "//", str(place))
    return LakeError(f"the lake can't be read at {shown}: {how}; {RESTORE}")


@contextmanager
def using_temporary(place: object) -> Iterator[None]:
    """Whatever keeps temporary data from being written or read leaves as MachineError."""
    try:
        yield
    except ProfilePipelinesError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and _library(error) not in _LIBRARIES:
            raise
        raise temporary_error(place, _reason(error), errno_of(error)) from None


def temporary_error(place: object, reason: str, number: int | None = None) -> MachineError:
    """The error of temporary data, which may lie elsewhere, too."""
    elsewhere = ", or set TMPDIR to a folder on another disk"
    then = _then(str(place), number) or "; see to it"
    return MachineError(f"temporary data can't be kept at {place}: {reason}{then}{elsewhere}")


def machine_error(error: OSError, place: object, done: str) -> MachineError | None:
    """The error of any other file that the machine refuses; None where it is the name's fault."""
    if error.errno not in _MACHINE or error.errno in (errno.ENOENT, errno.EACCES, errno.EPERM):
        return None
    reason = os.strerror(error.errno)
    return MachineError(f"{place} can't be {done}: {reason}{_then(str(place), error.errno)}")


def errno_of(error: BaseException) -> int | None:
    """The system's number of what went wrong, also where a library only quotes its words."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    said = str(error)
    if found := re.search(r"\(os error (\d+)\)", said):
        return int(found[1])
    return next((number for words, number in _WORDS.items() if words in said), None)


def reason_of(error: BaseException) -> str:
    """Why a file, a table or a database of others can't be used, in words that hold no data: the
    system's, or those of a database that fails; else the kind of the error."""
    original = getattr(error, "orig", None) or error
    if (number := errno_of(original)) is not None:
        return os.strerror(number)
    said, fails = str(original).strip().partition("\n")[0], _fault_of(original)
    return said if fails and said else type(error).__name__


def missing_or_cut(path: Path) -> str | None:
    """What is wrong with a Parquet file at first sight; None where nothing is."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 8, 0))
            tail = file.read(8)
    except FileNotFoundError:
        return "the file is missing"
    except OSError as error:
        return os.strerror(error.errno) if error.errno else "it can't be opened"
    footer = int.from_bytes(tail[:4], "little")
    if head != b"PAR1" or tail[4:] != b"PAR1" or not 0 < footer <= size - 12:
        return "the file isn't whole"
    return None


def ledger_error(place: str, error: BaseException, statement: str | None) -> LakeError | None:
    """The ledger's error for what a driver raised; None where it isn't the database that fails.

    `statement` is what was being done, None: connecting. Constraints that are violated and
    statements that are wrong are no faults of the store.
    """
    kind, said = type(error).__name__, str(error).strip().partition("\n")[0]
    name, code = getattr(error, "sqlite_errorname", None), _code(error)
    found = _fault_of(error)
    if name is None and code is None:
        gone = kind in ("OperationalError", "InterfaceError")
        found = "see that its server runs and can be reached, and run it again" if gone else None
    if found is None:
        return None
    table = re.search(r'\b(?:FROM|INTO|UPDATE|TABLE)\s+"?(\w+)', statement or "", re.IGNORECASE)
    done = "opened"
    if statement:
        reads = statement.lstrip().upper().startswith(("SELECT", "PRAGMA", "WITH"))
        done = "read" if reads else "written"
    where = f"{place} (table {table[1]})" if table else place
    number = errno.ENOSPC if "full" in said.lower() or code == "53100" else None
    free = _room(place.removeprefix("sqlite:///")) if number and name else ""
    then = f"; {found}{free}" if found else ""
    return LakeError(f"the ledger can't be {done} at {where}: {said or kind}{then}")


def lost_tables(place: str, names: list[str]) -> LakeError:
    """The ledger's error where tables that it had aren't there any more."""
    lost = ", ".join(sorted(names))
    return LakeError(
        f"the ledger can't be read at {place}: it has lost {lost}, which would be taken for empty; "
        + RESTORE
    )


_FREE = "free some space where it lies, and run it again"
_POSTGRES = (
    ("53100", _FREE),
    ("53", "give its server more of what it lacks, and run it again"),
    ("25006", "name the ledger's primary server, or let it be written again"),
    ("42P01", RESTORE),
    ("42703", RESTORE),
    ("3F000", RESTORE),
    ("3D000", "create the database, or correct the URL"),
    ("42501", "give its user the right to"),
    ("28", "correct the user or the password in the URL"),
    ("57", "see that its server runs, and run it again"),
    ("58", "its server's disk is at fault: see its log"),
    ("08", "see that its server runs and can be reached, and run it again"),
    ("40", "others were at work on it; run it again"),
    ("55P03", "others are at work on it; run it again"),
    ("XX001", RESTORE),
    ("XX002", RESTORE),
)
"""What to do, by the beginning of PostgreSQL's code."""


def _fault_of(error: BaseException) -> str | None:
    """What to do about what SQLite or PostgreSQL itself says; None where it isn't the store that
    fails."""
    if (name := getattr(error, "sqlite_errorname", None)) is not None:
        return _of_sqlite(str(name), str(error).strip().partition("\n")[0])
    code = _code(error)
    return next((todo for start, todo in _POSTGRES if str(code).startswith(start)), None)


def _code(error: BaseException) -> str | None:
    return getattr(error, "pgcode", None) or getattr(error, "sqlstate", None)


def _of_sqlite(name: str, said: str) -> str | None:
    match name.removeprefix("SQLITE_").partition("_")[0]:
        case "FULL":
            return _FREE
        case "IOERR":
            return f"see the system's log for its disk; where that is sound, {RESTORE}"
        case "CORRUPT" | "NOTADB":
            return RESTORE
        case "READONLY" | "PERM" | "AUTH":
            return "let its file and folder be written by the user that runs this"
        case "CANTOPEN":
            return "see that its folder is there, may be written and has room, and run it again"
        case "BUSY" | "LOCKED":
            return "another program is at work on it; run it again"
        case "NOMEM":
            return "give it more memory"
        case "ERROR" if said.startswith(("no such table", "no such column")):
            return RESTORE
        case _:
            return None


def _then(place: str, number: int | None) -> str:
    if number in FULL:
        return f"; free some space there, and run it again{_room(place)}"
    return f"; {_TODO[number]}" if number in _TODO else ""


def _room(place: str) -> str:
    """How much is free there, and how much what lies there takes, where it is on this machine."""
    if "://" in place:
        return ""
    there = Path(place)
    with suppress(OSError):
        folder = next(path for path in (there, *there.parents) if path.exists())
        free = _bytes(shutil.disk_usage(folder).free)
        files = there.rglob("*") if there.is_dir() else [there]
        taken = sum(each.stat().st_size for each in files if each.is_file())
        needed = f"; what lies there takes {_bytes(taken)}, and may need as much again"
        return f" ({free} are free{needed if taken else ''})"
    return ""


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.0f} TB"


def _library(error: BaseException) -> str:
    return type(error).__module__.partition(".")[0]


def _reason(error: Exception) -> str:
    """Without the colours, and without the queries of URLs, which may be signed."""
    number = errno_of(error)
    if number is not None:
        return os.strerror(number)
    lines = re.sub(r"\x1b\[\d*m|↳", "", str(error)).splitlines()
    said = ": ".join(line.strip() for line in lines if line.strip())
    said = re.sub(r"\?\S+", "", said).removeprefix("Kernel error -> ")
    # the frames of a library that isn't Python
    return re.split(r":\s+\d+: <unknown>", said)[0] or type(error).__name__
