"""Business systems from PyPI and npm, each in a folder of its own below `.live`."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

FOLDER = Path(os.environ.get("PROFILE_PIPELINES_LIVE", Path(__file__).parents[2] / ".live"))
_LONG = 900


class NotInstallableError(Exception):
    """The system can't be installed on this machine; the message says why."""


def python_environment(name: str, *requirements: str, at_least: tuple[int, int] = (3, 11)) -> Path:
    """The folder of a virtual environment with these packages, made when it isn't there yet."""
    python = _python(at_least)
    folder = FOLDER / name
    if _made(folder, *requirements):
        return folder
    _run([python, "-m", "venv", folder])
    _run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *requirements])
    _finish(folder, *requirements)
    return folder


def node_environment(name: str, *packages: str) -> Path:
    """The folder of an npm project with these packages, made when it isn't there yet."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise NotInstallableError("node and npm aren't there; apt-get install nodejs npm")
    folder = FOLDER / name
    if _made(folder, *packages):
        return folder
    folder.mkdir(parents=True)
    (folder / "package.json").write_text('{"private": true}\n')
    _run(["npm", "install", "--no-audit", "--no-fund", "--silent", *packages], folder)
    _finish(folder, *packages)
    return folder


def _python(at_least: tuple[int, int]) -> str:
    if sys.version_info >= at_least:
        return sys.executable
    for minor in range(at_least[1], at_least[1] + 5):
        asked = [f"python3.{minor}", "-c", "import sys; print(sys.executable)"]
        # pyenv's own commands run only the version that is chosen
        chosen = {**os.environ, "PYENV_VERSION": f"3.{minor}"}
        with suppress(FileNotFoundError):
            found = subprocess.run(asked, env=chosen, capture_output=True, text=True, check=False)
            if found.returncode == 0:
                return found.stdout.strip()
    raise NotInstallableError(f"it needs Python {at_least[0]}.{at_least[1]} or newer")


def _made(folder: Path, *packages: str) -> bool:
    """Whether the folder has just these packages; what a broken install left is taken away."""
    mark = folder / ".made"
    if mark.exists() and mark.read_text() == _digest(*packages):
        return True
    shutil.rmtree(folder, ignore_errors=True)
    return False


def _finish(folder: Path, *packages: str) -> None:
    (folder / ".made").write_text(_digest(*packages))


def _digest(*packages: str) -> str:
    return hashlib.sha256("\n".join([sys.version, *packages]).encode()).hexdigest()


def _run(command: list[str | Path], cwd: Path | None = None) -> None:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=_LONG, check=False
    )
    if done.returncode != 0:
        told = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise NotInstallableError("\n".join([" ".join(map(str, command)), *told]))
