"""A demo with few customers that has run once, and the command line in this process."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
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
        return json.loads(self.out)


Command = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """No command sees the environment of another, nor of whoever runs the tests."""
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith("PROFILE_PIPELINES_") or name in ("DAGSTER_HOME", "COLUMNS"):
            del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demo that has run once; not to be changed."""
    folder = tmp_path_factory.mktemp("made") / "demo"
    before = dict(os.environ)
    try:
        assert main(["demo", "--folder", str(folder), "--customers", str(CUSTOMERS)]) == 0
    finally:
        os.environ.clear()
        os.environ.update(before)
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
        code = main([str(each) for each in arguments])
        found = capsys.readouterr()
        return Outcome(code, found.out, found.err)

    return run
