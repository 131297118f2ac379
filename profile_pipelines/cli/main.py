"""`profile-pipelines`: the entry point, the global options, and the list of commands."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from profile_pipelines.cli import (
    approve_command,
    audience_commands,
    backup_commands,
    catalogue_commands,
    consent_commands,
    demo_commands,
    destination_commands,
    erase_command,
    export_command,
    journey_commands,
    outbox_commands,
    profile_commands,
    run_commands,
    source_commands,
    state_commands,
    webhook_commands,
)
from profile_pipelines.cli.failures import ExitCode, end_quietly, report

_GLOBAL = ("--catalog", "--lake", "--ledger")
_CODES = (
    "Exit codes: 0 done; 1 a run ended with failures, or set something aside; 2 a mistake in the "
    "command or the catalogue; 3 no such profile or name; 4 a source system can't be read; 5 the "
    "lake or the ledger can't be used; 70 a fault in this program; 130 interrupted; "
    "141 the reader went."
)

app = typer.Typer(
    name="profile-pipelines",
    help="Customer profile attributes from your business systems, merged with receipts.",
    epilog=_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,  # Rich's help costs twice the time
    pretty_exceptions_enable=False,
)


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"profile-pipelines {version('profile-pipelines')}")
        raise typer.Exit


@app.callback()
def settings(
    catalog: Annotated[
        Path | None,
        typer.Option(
            "--catalog",
            metavar="DIR",
            envvar="PROFILE_PIPELINES_CATALOG",
            help="The catalogue's folder; the demo's when none is named.",
        ),
    ] = None,
    lake: Annotated[
        str | None,
        typer.Option(
            "--lake",
            metavar="PLACE",
            envvar="PROFILE_PIPELINES_LAKE",
            help="The lake: a folder or a URL such as s3://bucket/lake; beside the catalogue "
            "when none is named.",
        ),
    ] = None,
    ledger: Annotated[
        str | None,
        typer.Option(
            "--ledger",
            metavar="URL",
            envvar="PROFILE_PIPELINES_LEDGER",
            help="The ledger's SQLAlchemy URL; beside the catalogue when none is named.",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_tell_version, help="Tell the version and end."
        ),
    ] = False,
    debug: Annotated[  # read by main(), before anything can fail
        bool, typer.Option("--debug", help="Show tracebacks, whose messages may quote data.")
    ] = False,
) -> None:
    """Hand the places on to whatever the command starts."""
    named = {"CATALOG": catalog, "LAKE": lake, "LEDGER": ledger}
    for name, value in named.items():
        if value is not None:
            os.environ[f"PROFILE_PIPELINES_{name}"] = str(value)


app.command()(catalogue_commands.init)
app.command()(catalogue_commands.check)
app.command()(catalogue_commands.schema)
app.command()(catalogue_commands.adopt)
app.add_typer(source_commands.sources)
app.command()(run_commands.run)
app.command()(run_commands.sync)
app.command()(approve_command.approve)
app.add_typer(profile_commands.profile)
app.add_typer(profile_commands.profiles)
app.add_typer(audience_commands.audience)
app.add_typer(journey_commands.journey)
app.add_typer(outbox_commands.outbox)
app.add_typer(destination_commands.destination)
app.add_typer(consent_commands.consent)
app.command()(export_command.export)
app.command()(erase_command.erase)
app.command()(backup_commands.backup)
app.command()(backup_commands.restore)
app.command()(state_commands.freshness)
app.command()(state_commands.quarantine)
app.add_typer(webhook_commands.webhooks)
app.add_typer(demo_commands.demo)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code. Errors for people get no traceback."""
    _spare_the_processor()
    given = _global_options_first(sys.argv[1:] if arguments is None else arguments)
    streams = sys.stdout, sys.stderr
    try:
        code = _run(given)
        if sys.stdout is not streams[0]:  # so Typer tells that a pipe was closed
            sys.stdout, sys.stderr = streams
            raise BrokenPipeError
        if sys.stdout:  # None where the shell closed it
            sys.stdout.flush()
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        end_quietly()
        code = ExitCode.PIPE_CLOSED
    except BaseException as error:  # a panic of a library isn't an Exception
        code = report(error, debug="--debug" in given)
    if arguments is None:  # it's the process's own
        _leave_behind(code)
    return code


def _leave_behind(code: int) -> None:
    """End here and now where a source that was given up still hangs: Python would abort."""
    limits = sys.modules.get("profile_pipelines.sources.time_limit")
    if limits is None or not limits.left_behind():
        return
    from profile_pipelines.private_files import leave

    leave()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _run(arguments: list[str]) -> int:
    try:
        app(arguments, prog_name="profile-pipelines")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.OK
    return ExitCode.OK


def _spare_the_processor() -> None:
    """Settings that Python and libraries take before they are at work; a user's own ones stand."""
    # Imports make hundreds of thousands of objects that stay. Looking through them costs a tenth,
    # and once more as much at the very end, for nothing.
    gc.set_threshold(500_000, 50, 100)
    atexit.register(gc.freeze)
    # NumPy's threads for linear algebra, of which there is none here, would wait in a loop.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _global_options_first(arguments: list[str]) -> list[str]:
    """Let the global options stand anywhere, not only before the command."""
    first: list[str] = []
    rest: list[str] = []
    given = iter(arguments)
    for argument in given:
        if argument == "--":
            rest += [argument, *given]
        elif argument in _GLOBAL:
            first += [argument, *([value] if (value := next(given, None)) is not None else [])]
        elif argument == "--debug" or argument.startswith(tuple(f"{name}=" for name in _GLOBAL)):
            first.append(argument)
        else:
            rest.append(argument)
    return first + rest
