"""How a command ends when its output can't be written."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from profile_pipelines.cli.main import main
from profile_pipelines_tests.cli.conftest import Command

pytestmark = pytest.mark.xdist_group("cli")


@pytest.mark.parametrize(
    ("arguments", "reader"),
    [("schema", "head -1"), ("schema", "true"), ("sources", "true"), ("--help", "true")],
)
def test_a_reader_that_wants_no_more(tmp_path: Path, arguments: str, reader: str) -> None:
    """The command ends as other programs do, without a word."""
    command = f"{sys.executable} -m profile_pipelines.cli {arguments}"
    script = f"(sleep 0.2; exec {command}) | {reader}; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "141"
    assert done.stderr == ""


class _FullDisk(io.TextIOBase):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("arguments", [["schema"], ["sources"]])
def test_a_full_disk(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    """What can't be written is told with its reason; it's no fault of the program."""
    monkeypatch.setattr(sys, "stdout", _FullDisk())
    assert main(arguments) == 1
    assert capsys.readouterr().err == "Error: No space left on device\n"


def test_a_folder_that_cannot_be_made(command: Command, tmp_path: Path) -> None:
    """A demo in a file, or below one, is a mistake in the command."""
    (tmp_path / "README.md").write_text("a file")
    for folder in ("README.md", "README.md/x"):
        done = command("demo", "--folder", folder, "--customers", 10)
        assert done.code == 2
        assert f"{tmp_path / folder} can't be made" in done.err
    assert (tmp_path / "README.md").read_text() == "a file"
