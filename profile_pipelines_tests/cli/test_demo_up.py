"""`demo up`: the systems and Dagster, until it is told to stop."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("cli")


@pytest.mark.slow
def test_stops_what_it_started(home: Path) -> None:
    """A signal ends Dagster and the sample systems, and the command with 0."""
    command = [sys.executable, "-m", "profile_pipelines.cli", "demo", "up", "--port", str(_free())]
    serving = subprocess.Popen(command, cwd=home.parent, stderr=subprocess.PIPE, text=True)
    try:
        assert serving.stderr is not None
        for line in serving.stderr:
            if line.startswith("in another terminal"):
                break
        systems = json.loads((home / "server.json").read_text())["port"]
        assert _listens(systems)
        serving.send_signal(signal.SIGTERM)
        serving.stderr.read()
        assert serving.wait(60) == 0
    finally:
        serving.kill()
        serving.wait()
        if serving.stderr is not None:
            serving.stderr.close()
    assert not _listens(systems)
    assert "enabled: false" in (home / "dagster" / "dagster.yaml").read_text()


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
