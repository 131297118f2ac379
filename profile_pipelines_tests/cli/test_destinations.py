"""The destination commands, over a small company."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from profile_pipelines_tests.activation.delivering import Delivering
from profile_pipelines_tests.cli.conftest import Command

pytestmark = pytest.mark.xdist_group("cli")


def test_commands(command: Command, tmp_path: Path):
    """A destination's story on the command line: delivered, in trouble, given up."""
    made = Delivering(tmp_path, {"type": "csv"})
    places = ("--catalog", tmp_path / "catalog", "--lake", made.lake, "--ledger", made.ledger)
    now = ("--now", made.now.isoformat())
    assert command("destination", "sync", "out", *places).code == 3
    made.customer("1")
    made.run()
    dry = command("destination", "sync", "out", "--dry-run", "--json", *now, *places)
    assert json.loads(dry.out)["added"] == 1
    done = command("destination", "sync", "out", *now, *places)
    assert done.code == 0
    assert "example.com" not in done.out + done.err
    told = json.loads(command("destination", "status", "out", "--json", *places).out)
    assert (told["held"], told["last_run"]["added"], told["error"]) == (1, 1, None)
    del made.declared["destinations"]
    made.declare(made.declared)
    listed = command("destination", "list", *places)
    assert "out isn't declared any more" in listed.out
    assert command("destination", "empty", "out", *places).code == 3
    assert command("destination", "status", "nobody", *places).code == 3


def test_failing_place(command: Command, tmp_path: Path):
    """A place that can't be written ends the command with 1, and status says why."""
    made = Delivering(tmp_path, {"type": "csv", "folder": str(tmp_path / "file")})
    (tmp_path / "file").write_text("in the way")
    made.customer("1")
    made.run()
    places = ("--catalog", tmp_path / "catalog", "--lake", made.lake, "--ledger", made.ledger)
    done = command("destination", "sync", "out", "--now", made.now.isoformat(), *places)
    assert done.code == 1
    assert "can't be written" in done.err
    assert "can't be written" in command("destination", "list", *places).out
