"""What `-o` names keeps its kind: symlinks are followed, pipes are written to."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from profile_pipelines_tests.cli.conftest import Command

pytestmark = pytest.mark.xdist_group("cli")

_EXPORTS = [
    ("profiles", "export"),
    ("export", "profile 1", "--now", "2030-01-01"),
]


@pytest.mark.parametrize("export", _EXPORTS, ids=" ".join)
@pytest.mark.parametrize("there", [True, False], ids=["a file", "nothing yet"])
def test_symlinks_are_followed(
    command: Command, home: Path, tmp_path: Path, export: tuple[str, ...], there: bool
) -> None:
    """The file that a symlink points to is replaced whole, and the symlink stays."""
    target, link = tmp_path / "elsewhere" / "target", tmp_path / "link"
    target.parent.mkdir()
    link.symlink_to(target)
    if there:
        target.write_text("old")
    force = ["--force"] if there and export[0] == "export" else []
    assert command(*export, "-o", link, *force).code == 0
    assert link.is_symlink()
    assert target.read_text() == command(*export).out
    assert [each.name for each in target.parent.iterdir()] == ["target"]


@pytest.mark.parametrize("export", _EXPORTS, ids=" ".join)
def test_pipes_are_written_to(
    command: Command, home: Path, tmp_path: Path, export: tuple[str, ...]
) -> None:
    """A named pipe stays one, and whoever reads it gets all."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as beside:
        # opened for reading and writing, so that neither end waits for the other
        handle = os.open(pipe, os.O_RDWR)
        reader = beside.submit(_read_to_zero, handle)
        done = command(*export, "-o", pipe)
        os.write(handle, b"\0")
        read = reader.result(20)
        os.close(handle)
    assert done.code == 0, done.err
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert read.decode() == command(*export).out
    assert not list(tmp_path.glob(".pipe*"))


def _read_to_zero(handle: int) -> bytes:
    """What comes before a zero byte."""
    read = b""
    while not read.endswith(b"\0"):
        read += os.read(handle, 65536)
    return read[:-1]


def test_permissions_of_a_replaced_file_stay(command: Command, home: Path, tmp_path: Path) -> None:
    """Customers' data that only some could read isn't opened to others by the next export."""
    file = tmp_path / "profiles.jsonl"
    file.write_text("old")
    file.chmod(0o640)
    assert command("profiles", "export", "-o", file).code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_folder_is_no_file(command: Command, home: Path, tmp_path: Path) -> None:
    """A folder is told, and nothing is left in it."""
    for export in _EXPORTS:
        done = command(*export, "-o", tmp_path)
        assert done.code == 2
        assert "can't be written: Is a directory" in done.err
