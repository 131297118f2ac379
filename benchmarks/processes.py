"""Commands measured as processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVIRONMENT = {
    **{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
    # the checkout that the benchmark is of, whichever is installed
    "PYTHONPATH": str(HERE.parent),
}


class SideError(Exception):
    """A side's process ended with an error; the message is the end of what it printed."""


@dataclass(frozen=True)
class Measurement:
    """One process: CPU and wall time in seconds, the greatest resident memory in MiB."""

    cpu: float
    wall: float
    peak: float


def measured(folder: Path, *command: str, **environment: str) -> Measurement:
    """Run a script of this folder from start to end; what it prints is in `folder/log.txt`."""
    folder.mkdir(parents=True, exist_ok=True)
    result, log = folder / "cost.json", folder / "log.txt"
    script, *arguments = command
    running = [sys.executable, str(HERE / script), *arguments]
    measuring = [sys.executable, str(HERE / "measure.py"), str(result), str(log), *running]
    if subprocess.run(measuring, env={**ENVIRONMENT, **environment}, check=False).returncode:
        raise SideError(f"{' '.join(command[:2])} failed: {log.read_text()[-2000:].strip()}")
    return Measurement(**json.loads(result.read_text()))


def compile_bytecode() -> None:
    """Compile every side's imports, which installers and environments may have left out."""
    folders = [sysconfig.get_path("purelib"), str(HERE), str(HERE.parent / "profile_pipelines")]
    command = [sys.executable, "-m", "compileall", "-q", "-j", "2", *folders]
    subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=False)
