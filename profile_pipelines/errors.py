"""Every error that people are meant to read.

    ProfilePipelinesError
    ├── CatalogueError          mistakes in the catalogue, all at once
    ├── SourceError             a source system can't be read
    │   ├── MissingField        a field that the catalogue maps, and the source hasn't got
    │   ├── SourceUnreachable   worth another try later
    │   ├── TokenForgotten      the system doesn't go on from where a list ended
    │   └── NoSuchRecord        the system says that it hasn't got it
    ├── ChannelError            nothing can be sent over a channel now
    ├── RenderingError          a template fails with a customer's values
    ├── DestinationError        nothing can be delivered to a destination now
    ├── UnknownName             a name that nothing in the catalogue bears
    ├── NotFound                no profile has this identifier
    ├── LakeError               the lake can't be read or written
    │   ├── TypeChanged         stored in another type than is declared now
    │   ├── PairError           lake and ledger don't go together, or one of them isn't there
    │   ├── BackupError         a backup can't be written, read or put back
    │   └── Conflict            another writer committed first; read again and retry
    │       └── Held            another run is at it; wait until it has ended
    ├── MachineError            disk, memory, or the right to write are missing
    └── LibraryError            a library that isn't Python broke off

The command line prints them without a traceback. None of them carries personal data.
`for_people` finds the one that an error of a library or of the machine amounts to.
"""

from __future__ import annotations

import errno
import os
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says where a disk, or a user's share of it, is full."""
_OF_THE_MACHINE = (*FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.EMFILE, errno.ENFILE,
                   errno.EIO, errno.ENOMEM)  # fmt: skip


class ProfilePipelinesError(Exception):
    """Base of all errors with a message for people."""


class CatalogueError(ProfilePipelinesError):
    """The catalogue has mistakes; `mistakes` holds one `file:line: path: text` line for each."""

    def __init__(self, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        super().__init__("\n".join(mistakes))


class SourceError(ProfilePipelinesError):
    """A source system can't be read as its declaration says."""


class MissingField(SourceError):
    """The source hasn't got a field that was asked for; `field` is its name or path."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


class SourceUnreachable(SourceError):
    """The system didn't answer, or answered with a passing fault, after all retries."""


class TokenForgotten(SourceError):
    """The system doesn't go on any more from where the last read of a list ended."""


class NoSuchRecord(SourceError):
    """The system hasn't got what was asked for by its address."""


class ChannelError(ProfilePipelinesError):
    """Nothing can be sent over a channel now."""


class RenderingError(ProfilePipelinesError):
    """A template fails with a customer's values."""


class DestinationError(ProfilePipelinesError):
    """Nothing can be delivered to a destination now; `after` is how many seconds it asked for."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        self.after = after
        super().__init__(message)


class UnknownName(ProfilePipelinesError):
    """A system, attribute or audience that the catalogue doesn't declare."""


class NotFound(ProfilePipelinesError):
    """No profile has the given identifier."""


class LakeError(ProfilePipelinesError):
    """A lake table can't be read or written."""


class TypeChanged(LakeError):
    """Columns are stored in other types than are declared now; `columns` has how, by name."""

    def __init__(self, table: str, columns: dict[str, str]) -> None:
        self.columns = columns
        said = "; ".join(f"column {name} {how}" for name, how in columns.items())
        todo = "give the attribute a new name, or start a new lake"
        super().__init__(f"{table}: {said}; {todo}")


class PairError(LakeError):
    """Lake and ledger don't go together: one is older than the other knows, another one's, or not
    there."""


class BackupError(LakeError):
    """A backup can't be written, read or put back, or isn't what was written."""


class Conflict(LakeError):
    """Another writer committed to the table first."""


class Held(Conflict):
    """Another run is at a thing that only one may be at. `by` tells which, `since` since when."""

    def __init__(
        self, thing: str, by: str, since: datetime, waited: timedelta = timedelta()
    ) -> None:
        self.thing, self.by, self.since = thing, by, since
        at = f"{since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        self.waiting = f"waiting for {by}, which is at the {thing} since {at}"
        """What to tell people meanwhile."""
        vain = f" (waited {round(waited.total_seconds()):,} s for it)" if waited else ""
        super().__init__(
            f"{by} is at the {thing} since {at}{vain}: run again when it has ended; a process that "
            "hangs must be ended by hand"
        )


class MachineError(ProfilePipelinesError):
    """The machine refuses what a step needs: disk, memory, or the right to write."""


class LibraryError(ProfilePipelinesError):
    """A library that isn't written in Python broke off."""


def said_of(error: BaseException) -> str:
    """What to tell people of any error: its own words where they are meant for people, else the
    line of ours that it passed last, since its words may hold values of customers."""
    if told := for_people(error):
        return str(told)
    return (
        f"{type(error).__name__} in {_last_own_line(error)}: an error of the program; please "
        "report it (Dagster's log of the run has the lines of code)"
    )


def _last_own_line(error: BaseException) -> str:
    package = f"{Path(__file__).parent}{os.sep}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(package)] or frames
    return (
        f"{own[-1].filename.removeprefix(package)}:{own[-1].lineno}" if own else "no line of ours"
    )


def for_people(error: BaseException) -> ProfilePipelinesError | None:
    """The error that people are meant to read, where the program itself isn't at fault; else None.

    Other libraries' messages may quote data: of theirs only what drivers say of a connection is
    passed on.
    """
    kind = f"{type(error).__module__.split('.')[0]}.{type(error).__name__}"
    if isinstance(error, ProfilePipelinesError):
        return error
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        named = f": {error.filename}" if error.filename else ""
        return MachineError(f"{os.strerror(error.errno)}{named}")
    if kind == "_duckdb.IOException" and os.strerror(errno.ENOSPC) in str(error):
        return MachineError(os.strerror(errno.ENOSPC))
    if isinstance(error, MemoryError) or kind == "_duckdb.OutOfMemoryException":
        return MachineError("there isn't enough memory; give it more, or run fewer things at once")
    if kind in ("sqlalchemy.OperationalError", "sqlalchemy.InterfaceError"):
        said = str(getattr(error, "orig", "")).strip().partition("\n")[0]
        return LakeError(f"the ledger can't be used: {said or type(error).__name__}")
    if kind == "pyo3_runtime.PanicException":
        return LibraryError(
            "a library broke off in the middle of its work (a panic); please report it, with the "
            "kind of file or table that was read or written, and the versions of `pip list`"
        )
    return None
