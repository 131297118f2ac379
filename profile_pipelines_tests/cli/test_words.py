"""How moments are read, values are spelled, and failures are told."""

from __future__ import annotations

import errno
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import dagster as dg
import pytest
import typer
from sqlalchemy.exc import OperationalError

from profile_pipelines.cli.failures import ExitCode, report
from profile_pipelines.cli.main import _global_options_first, main
from profile_pipelines.cli.moments import parse_moment
from profile_pipelines.cli.output import (
    spell,
    spell_ago,
    spell_duration,
    spell_share,
)
from profile_pipelines.cli.progress import spell_progress
from profile_pipelines.errors import (
    CatalogueError,
    Conflict,
    LakeError,
    LibraryError,
    MachineError,
    NotFound,
    ProfilePipelinesError,
    SourceError,
    SourceUnreachable,
    UnknownName,
)
from profile_pipelines.orchestration.session import Session
from profile_pipelines.progress import HowFar

pytestmark = pytest.mark.xdist_group("cli")


@pytest.mark.parametrize(
    ("so_far", "seconds", "told"),
    [
        (HowFar(3), 0.2, "3 rows"),
        (HowFar(1, 1), 0.2, "1 row, 1 page"),
        (HowFar(40_000, 400), 5.0, "40,000 rows, 400 pages, 8,000 rows/s"),
        (HowFar(40_000, 0, 80_000), 5.0, "40,000 rows, 8,000 rows/s, about 5s left"),
        (HowFar(90_000, 0, 80_000), 5.0, "90,000 rows, 18,000 rows/s"),
        (HowFar(0, 0, 80_000), 5.0, "0 rows"),
    ],
)
def test_progress_tells_what_is_known(so_far: HowFar, seconds: float, told: str) -> None:
    """Rows and pages so far, the speed, and the time left where the end can be told."""
    assert spell_progress(so_far, seconds) == told


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-14", datetime(2026, 3, 13, 23, tzinfo=UTC)),
        ("2026-07-14", datetime(2026, 7, 13, 22, tzinfo=UTC)),
        ("2026-03-14T09:30", datetime(2026, 3, 14, 8, 30, tzinfo=UTC)),
        (" 2026-03-14 09:30:15 ", datetime(2026, 3, 14, 8, 30, 15, tzinfo=UTC)),
        ("2026-03-14T09:30:00Z", datetime(2026, 3, 14, 9, 30, tzinfo=UTC)),
        ("2026-03-14T09:30:00-05:00", datetime(2026, 3, 14, 14, 30, tzinfo=UTC)),
    ],
)
def test_moments(text: str, moment: datetime) -> None:
    """A date is the day's first moment; without an offset the catalogue's time zone holds."""
    assert parse_moment(text, "Europe/Berlin") == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2026-02-30", "14.03.2026", "2026-03-14T25:00"])
def test_what_is_no_moment(text: str) -> None:
    """Anything else is a mistake in the command, with examples of what would be right."""
    with pytest.raises(typer.BadParameter, match="2026-03-14T09:30"):
        parse_moment(text, "UTC")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "true"),
        (Decimal("12.5000"), "12.5"),
        (Decimal("100"), "100"),
        (date(2026, 3, 14), "2026-03-14"),
        (datetime(2026, 3, 14, 8, 30, tzinfo=UTC), "2026-03-14 09:30"),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "9999-12-31 23:59"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01 00:53"),
        (["a", "b"], "a, b"),
        ([], "(none)"),
        ("[bold]x", "[bold]x"),
        ("a\x1b[2Jb\n", "a�[2Jb�"),
    ],
)
def test_values(value: object, text: str) -> None:
    """Values are spelled for people; control characters can't reach the terminal."""
    assert spell(value, "Europe/Berlin") == text


def test_the_first_moment_of_all_is_spelled_west_of_greenwich() -> None:
    """Its local time would be of the year 0."""
    assert spell(datetime(1, 1, 1, tzinfo=UTC), "America/New_York") == "0001-01-01 00:00"


def test_durations_and_shares() -> None:
    """The unit fits the size; a share that isn't quite all or nothing doesn't look like it."""
    durations = [timedelta(seconds=s) for s in (-5, 59, 60, 119, 120, 3600, 86400 * 1.5, 200000)]
    assert [spell_duration(d) for d in durations] == [
        "0s", "59s", "1m", "119s", "2m", "1h", "36h", "2d",
    ]  # fmt: skip
    assert [spell_ago(d) for d in (None, timedelta(), timedelta(hours=3))] == [
        "never",
        "just now",
        "3h ago",
    ]
    assert [spell_share(s) for s in (None, 0, 0.0001, 0.256, 0.9999, 1)] == [
        "–", "0%", "0.1%", "26%", "99.9%", "100%",
    ]  # fmt: skip


def test_global_options_may_stand_anywhere() -> None:
    """They're moved before the command, with their values; what follows `--` stays."""
    assert _global_options_first(
        ["run", "--all", "--catalog", "c", "--lake=l", "--debug", "--", "--ledger", "x"]
    ) == ["--catalog", "c", "--lake=l", "--debug", "run", "--all", "--", "--ledger", "x"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CatalogueError(["a.yaml:1: x: y"]), 2),
        (ProfilePipelinesError("other customers"), 2),
        (UnknownName("no"), 3),
        (NotFound("no"), 3),
        (SourceError("no"), 4),
        (SourceUnreachable("no"), 4),
        (LakeError("no"), 5),
        (Conflict("no"), 5),
        (MachineError("no"), 5),
        (LibraryError("no"), 70),
    ],
)
def test_exit_codes(
    error: ProfilePipelinesError, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every kind of error has its code, and its message is all that is shown."""
    assert report(error, debug=False) == code
    assert capsys.readouterr().err == f"Error: {error}\n"


class PanicException(BaseException):
    """As libraries written in Rust raise it."""

    __module__ = "pyo3_runtime"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PanicException("called `unwrap()` on anna@example.com"), "a library broke off"),
        (MemoryError(), "there isn't enough memory"),
        (PermissionError(errno.EACCES, "no", "out.json"), "Permission denied: out.json"),
        (OperationalError("select 1", {}, Exception("database is locked\nmore")),
         "the ledger can't be used: database is locked"),
    ],
)  # fmt: skip
def test_what_is_no_fault_of_the_program_is_told_in_one_line(
    error: BaseException,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What libraries, the machine and the ledger's database refuse: without traceback or data."""

    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr("profile_pipelines.cli.session.places", broken)
    assert main(["check"]) in (5, 70)
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith(f"Error: {told}")
    assert "anna" not in line
    assert "fault" not in line
    session = Session(lambda: pytest.fail("not opened"))
    with pytest.raises(dg.Failure, match=told), session.step("crm.people"):
        raise error
    assert session.report.errors["crm.people"].startswith(told)


def test_all_mistakes_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A catalogue's mistakes stand one a line, however long, so that editors find the places."""
    lines = [f"sources/crm.yaml:{n}: {'long ' * 40}text" for n in (1, 2)]
    assert report(CatalogueError(lines), debug=False) == ExitCode.USAGE
    assert capsys.readouterr().err.splitlines() == ["2 mistakes in the catalogue:", *lines]


def test_faults_show_no_data(capsys: pytest.CaptureFixture[str]) -> None:
    """The message of an unexpected error may quote data: only --debug shows it."""

    def fault() -> ValueError:
        try:
            parse_moment(7, "UTC")  # type: ignore[arg-type]
        except AttributeError as error:
            return ValueError("anna@example.com").with_traceback(error.__traceback__)
        raise AssertionError

    assert report(fault(), debug=False) == ExitCode.UNEXPECTED
    shown = capsys.readouterr().err
    assert "ValueError" in shown
    assert "profile_pipelines/cli/moments.py:" in shown
    assert "--debug" in shown
    assert "anna" not in shown
    assert report(fault(), debug=True) == ExitCode.UNEXPECTED
    assert "anna@example.com" in capsys.readouterr().err
