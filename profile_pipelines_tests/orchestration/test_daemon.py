"""`dagster dev` with the shipped workspace, its daemon running: nobody lends a hand."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

import profile_pipelines
from profile_pipelines_tests.orchestration.conftest import Business

_REPOSITORY = Path(__file__).parents[2]
_LOCAL = Path(profile_pipelines.__file__).parent / "orchestration" / "local.yaml"
_DEADLINE_SECONDS = 240


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("daemon")
def test_a_change_in_a_source_reaches_the_audiences(business: Business) -> None:
    """With the daemon running, the first look fills the audiences; then one change in the CRM and
    one new file of the shop's lead to new members and new profiles."""
    with dagster_dev(business) as (server, address):
        wait(server, lambda: business.members("gold_by_email") == 2)
        assert business.members("gold") == 3
        business.crm((4, "C4", "gold", "true", "2026-02-20 10:00:00"))
        wait(server, lambda: business.members("gold_by_email") == 3)
        assert business.members("gold") == 4
        assert urlopen(f"{address}/server_info", timeout=10).status == 200


@contextmanager
def dagster_dev(business: Business) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Webserver and daemon over the business, ended with all that they started."""
    home = business.folder / "dagster"
    home.mkdir()
    shutil.copy(_LOCAL, home / "dagster.yaml")
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    places = business.places
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "PROFILE_PIPELINES_CATALOG": str(places.catalogue),
        "PROFILE_PIPELINES_LAKE": str(places.lake),
        "PROFILE_PIPELINES_LEDGER": places.ledger,
        "PROFILE_PIPELINES_SENSOR_SECONDS": "1",
    }
    command = [sys.executable, "-m", "dagster", "dev", "--workspace", "workspace.yaml"]
    with (business.folder / "dagster.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=_REPOSITORY,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait(server, lambda: _answers(address))
            yield server, address
        finally:
            server.send_signal(signal.SIGINT)
            try:
                server.wait(30)
            finally:
                _end_group(server.pid)


def wait(server: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
    """Look until it is so; fail when the server has ended or the deadline has passed."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not reached():
        assert server.poll() is None, "dagster dev has ended"
        assert time.monotonic() < deadline, "not reached within the deadline"
        time.sleep(0.5)


def _answers(address: str) -> bool:
    try:
        return urlopen(f"{address}/server_info", timeout=2).status == 200
    except (URLError, OSError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _end_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
