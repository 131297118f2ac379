"""Help is quick, and commands that only read load no more than they need."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from profile_pipelines.cli.main import app, main

pytestmark = pytest.mark.xdist_group("cli")
_HELP = "import sys; from profile_pipelines.cli.main import main; sys.exit(main(['--help']))"


def test_help_costs_less_than_a_third_of_a_second() -> None:
    """`--help` stays below 0.3 s of CPU, measured on the whole process."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    costs: list[float] = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-c", _HELP], capture_output=True, text=True, env=environment
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        assert done.returncode == 0
        assert "Usage: profile-pipelines" in done.stdout
    assert min(costs) < 0.3, costs


def test_a_sync_of_a_database_loads_nothing_of_http() -> None:
    """What only HTTP APIs need isn't loaded by a sync that reads no such API."""
    program = (
        "import sys, profile_pipelines.landing.attempt\n"
        "assert not {'requests', 'urllib3'} & sys.modules.keys(), 'too much was imported'"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_reading_loads_no_dagster(home: Path) -> None:
    """Commands that only read import neither Dagster nor what extraction needs."""
    commands = [
        "profile show C-000123",
        "audience preview win_back",
        "audience list",
        "audience members win_back",
        "freshness",
        "quarantine",
        "check",
    ]
    program = (
        "import sys; from profile_pipelines.cli.main import main\n"
        f"assert not any(main(words.split()) for words in {commands!r})\n"
        "assert not {'dagster', 'dlt', 'pandera'} & sys.modules.keys(), 'too much was imported'"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=home.parent
    )
    assert done.returncode == 0, done.stderr


def test_showing_a_profile_loads_no_frames(home: Path) -> None:
    """Who waits for one profile doesn't wait for what tables are made of."""
    program = (
        "import sys; from profile_pipelines.cli.main import main\n"
        "assert not main(['profile', 'show', 'C-000123', '--history'])\n"
        "needless = {'pyarrow', 'numpy', 'pandas', 'polars'} & sys.modules.keys()\n"
        "assert not needless, needless"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=home.parent
    )
    assert done.returncode == 0, done.stderr


def _commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, each in getattr(command, "commands", {}).items():
        yield from _commands(each, f"{path} {name}".strip())


def test_every_help_is_a_sentence() -> None:
    """Each command, option and argument says what it does, and ends with a period."""
    commands = dict(_commands(typer.main.get_command(app)))
    assert len(commands) > 40
    for path, each in commands.items():
        for name, text in {
            "": each.help,
            **{str(option.name): getattr(option, "help", None) for option in each.params},
        }.items():
            told = (text or "").strip()
            assert told.endswith("."), (path, name, text)
            assert told[0].isupper() or told[0] in "`", (path, name, text)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` tells that of the installed package, without a command."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"profile-pipelines {version('profile-pipelines')}\n"


def test_make_help_names_every_target() -> None:
    """`make help` tells each target of the Makefile by its own comment."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        ["make", "--no-print-directory", "help"],
        capture_output=True,
        text=True,
        cwd=root,
        check=True,
    )
    targets = re.search(r"^\.PHONY: (.*)$", (root / "Makefile").read_text(), re.MULTILINE)
    assert targets is not None
    told = dict(line.split(maxsplit=2)[1:] for line in done.stdout.splitlines())
    assert set(targets[1].split()) == told.keys()


def test_installed_command_says_its_exit_code(tmp_path: Path) -> None:
    """The shell gets the exit code, and errors go to stderr without a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "profile_pipelines.cli", "--catalog", "nowhere", "check"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "nowhere" in done.stderr
    assert "init nowhere" in done.stderr
    assert "Traceback" not in done.stderr
