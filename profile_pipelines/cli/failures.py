"""How a command ends: its exit code and, when it fails, the words."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from enum import IntEnum
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


class ExitCode(IntEnum):
    """What the shell is told."""

    OK = 0
    FAILURES = 1
    """A run came to its end, and something in it failed; a destination or a channel can't be used;
    or the disk is full."""
    USAGE = 2
    """A mistake in the command or in the catalogue."""
    NOT_FOUND = 3
    """No such profile, system, attribute or audience."""
    SOURCE = 4
    """A source system can't be read."""
    STORAGE = 5
    """The lake or the ledger can't be read or written."""
    UNEXPECTED = 70
    """A fault in profile_pipelines, or in a library that it uses."""
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    """Who read the output wants no more: what shells say of programs that SIGPIPE has ended."""


def report(error: BaseException, *, debug: bool) -> ExitCode:
    """Write the error for people to stderr, without any value of a profile; say how to end.

    With `debug` the whole traceback, whose messages may quote data.
    """
    from rich.console import Console
    from rich.text import Text

    from profile_pipelines import errors

    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    if debug:
        console.print("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, OSError) and error.errno in errors.FULL:
        end_quietly()
        console.print(Text.assemble(("Error: ", "bold red"), os.strerror(error.errno)))
        return ExitCode.FAILURES
    told = errors.for_people(error)
    if told is None:
        say = f"{type(error).__name__} {_where(error)}"
        hint = "" if debug else "; run the command again with --debug for the details"
        console.print(Text.assemble(("Unexpected error: ", "bold red"), say, hint))
        return ExitCode.UNEXPECTED
    lines = told.mistakes if isinstance(told, errors.CatalogueError) else [str(told)]
    if len(lines) > 1:
        console.print(Text(f"{len(lines)} mistakes in the catalogue:", "bold red"))
        console.print(Text("\n".join(lines)))
    else:
        console.print(Text.assemble(("Error: ", "bold red"), *lines))
    return _code(told)


def _code(error: Exception) -> ExitCode:
    from profile_pipelines import errors

    match error:
        case errors.UnknownName() | errors.NotFound():
            return ExitCode.NOT_FOUND
        case errors.SourceError():
            return ExitCode.SOURCE
        case errors.LakeError() | errors.MachineError():
            return ExitCode.STORAGE
        case errors.DestinationError() | errors.ChannelError():
            return ExitCode.FAILURES
        case errors.LibraryError():
            return ExitCode.UNEXPECTED
        case _:
            return ExitCode.USAGE


def _where(error: BaseException) -> str:
    """The last place in our own code, since messages of other libraries may quote data."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    if not own:
        return ""
    return f"in {Path(own[-1].filename).relative_to(_PACKAGE.parent)}:{own[-1].lineno}"


def end_quietly() -> None:
    """Nobody takes the output: keep the interpreter from writing the rest of it at its end."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
