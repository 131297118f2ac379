"""A demo with few customers that has run once, and the command line in this process."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines.cli.main import main

CUSTOMERS = 150


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed with `--json`."""
        assert self.out, self.err
        return json.loads(self.out)


Command = Callable[..., Outcome]


@contextmanager
def _own_environment() -> Iterator[None]:
    """A command changes the environment for the rest of its process; here that is undone."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No command sees the settings of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("PROFILE_PIPELINES_") or name in ("DAGSTER_HOME", "COLUMNS"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demo that has run once; not to be changed."""
    folder = tmp_path_factory.mktemp("made") / "demo"
    with _own_environment():
        assert main(["demo", "--folder", str(folder), "--customers", str(CUSTOMERS)]) == 0
    return folder


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that demo in an own working directory, where the commands look for it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, tmp_path / ".demo")
    return tmp_path / ".demo"


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Runs a command in `tmp_path`."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        with _own_environment():
            code = main([str(each) for each in arguments])
        found = capsys.readouterr()
        return Outcome(code, found.out, found.err)

    return run
