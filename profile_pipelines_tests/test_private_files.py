"""Temporary data belongs to one process, and goes with it, however that ends."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from profile_pipelines.engine import DuckDBEngine
from profile_pipelines.private_files import (
    make_private_file,
    make_private_folder,
    open_to_others,
    own_folder,
    remove_abandoned,
    temporary_folder,
)

_HOLDS = """
import os, signal, sys
os.umask(0)
from profile_pipelines.private_files import temporary_folder
with temporary_folder("landing") as folder:
    (folder / "0.parquet").write_text("anna@example.com")
    if sys.argv[1:] == ["fork"] and os.fork():
        os._exit(0)
    print(folder.parent, flush=True)
    signal.pause()
"""


@pytest.fixture(autouse=True)
def _own_tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def _holder(tmp_path: Path, *arguments: str) -> tuple[subprocess.Popen[str], Path]:
    """A process with temporary data, and its folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, *arguments],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    """Not while it lives: its folder is private, whatever the umask, and nobody else's."""
    process, folder = _holder(tmp_path)
    [data] = folder.rglob("*.parquet")
    for path in (folder, data.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert remove_abandoned() == 0
    assert data.exists()
    process.kill()
    process.communicate()
    DuckDBEngine(threads=1)
    assert not folder.exists()
    assert [own_folder()] == list(tmp_path.iterdir())


def test_a_forked_process_keeps_what_its_parent_made(tmp_path: Path) -> None:
    """The folder stays until both are gone."""
    process, folder = _holder(tmp_path, "fork")
    assert process.wait() == 0
    assert remove_abandoned() == 0
    assert list(folder.rglob("*.parquet"))
    os.killpg(process.pid, signal.SIGKILL)
    assert process.communicate() == ("", None)  # the child is gone, and its lock with it
    assert remove_abandoned() == 1


def test_a_process_that_ends_leaves_nothing(tmp_path: Path) -> None:
    """Also where it was asked to end in the middle of its work."""
    program = "from profile_pipelines.private_files import own_folder; own_folder(); raise OSError"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=False, stderr=-3)
    assert list(tmp_path.iterdir()) == []


def test_a_block_leaves_nothing(tmp_path: Path) -> None:
    """Its folder goes with it, also by an error."""
    made: list[Path] = []

    def broken() -> None:
        with temporary_folder("landing") as folder:
            made.append(folder)
            (folder / "x").write_text("x")
            (folder / "x").mkdir()

    with pytest.raises(FileExistsError):
        broken()
    assert not made[0].exists()
    assert own_folder().exists()


def test_what_earlier_versions_left_goes_when_it_is_old(tmp_path: Path) -> None:
    """A day after the last write; other programs' folders stay."""
    for name in ("profile_pipelines_landing_x", "profile_pipelines_spill", "profile_pipelines_x"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").write_text("x")
    assert remove_abandoned() == 0
    for path in tmp_path.rglob("*"):
        os.utime(path, (0, 0), follow_symlinks=False)
    (tmp_path / "profile_pipelines_process_1_x").symlink_to(tmp_path / "profile_pipelines_x")
    assert remove_abandoned() == 2
    assert (tmp_path / "profile_pipelines_x" / "old").exists()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_what_is_made_is_for_its_owner_alone(tmp_path: Path, umask: int) -> None:
    """Whatever the umask; what was there keeps its mode, and what comes into it may follow it."""
    before = os.umask(umask)
    try:
        make_private_folder(tmp_path / "a" / "b")
        make_private_file(tmp_path / "a" / "b" / "file")
        (tmp_path / "shared").mkdir()
        (tmp_path / "shared").chmod(0o750)
        make_private_folder(tmp_path / "shared")
        make_private_folder(tmp_path / "shared" / "c", like=tmp_path / "shared")
    finally:
        os.umask(before)
    names = ("a", "a/b", "a/b/file", "shared", "shared/c")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names]
    assert modes == [0o700, 0o700, 0o600, 0o750, 0o750]
    assert open_to_others(tmp_path / "a") is None
    assert open_to_others(tmp_path / "shared") == "0750"
    assert open_to_others(tmp_path / "absent") is None
