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
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import sqlalchemy as sa

import profile_pipelines
from profile_pipelines.demo.crm import contacts
from profile_pipelines.demo.systems import DemoSystems
from profile_pipelines.orchestration.run import run_in_process
from profile_pipelines.pipeline import due_syncs
from profile_pipelines.workspace import DEMO_CATALOGUE, Places, Workspace

_REPOSITORY = Path(__file__).parents[2]
_LOCAL = Path(profile_pipelines.__file__).parent / "orchestration" / "local.yaml"
_DEADLINE_SECONDS = 240


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("daemon")
def test_a_change_in_a_sample_system_reaches_the_audiences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Consents that are given in the CRM bring new members into an audience all by themselves."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    places = Places(DEMO_CATALOGUE, tmp_path / "lake", f"sqlite:///{tmp_path / 'ledger.db'}")
    with DemoSystems(tmp_path / "systems", customers=200) as systems:
        for name, value in systems.environment.items():
            monkeypatch.setenv(name, value)
        workspace = Workspace(places)
        now = datetime.now(UTC)
        report = run_in_process(workspace, due_syncs(workspace, now), now=now)
        assert report.ok, report.errors
        before = members(workspace)
        assert before > 0
        with dagster_dev(places, tmp_path) as server:
            give_consent(systems.environment["CRM_URL"])
            wait(server, lambda: members(workspace) > before)


def members(workspace: Workspace) -> int:
    return workspace.lake.audience("email_reachable").pin().state["counts"]["members"]


def give_consent(crm_url: str) -> None:
    """Everyone in the CRM who hasn't yet consents to e-mail, whatever their channels."""
    engine = sa.create_engine(crm_url)
    with engine.begin() as connection:
        connection.execute(
            sa.update(contacts)
            .where(contacts.c.email_opt_in.is_(False))
            .values(email_opt_in=True, channel_preferences=None, modified_at=datetime.now(UTC))
        )
    engine.dispose()


@contextmanager
def dagster_dev(places: Places, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Webserver and daemon, ended with all that they started."""
    home = folder / "dagster"
    home.mkdir()
    shutil.copy(_LOCAL, home / "dagster.yaml")
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "PROFILE_PIPELINES_CATALOG": str(places.catalogue),
        "PROFILE_PIPELINES_LAKE": str(places.lake),
        "PROFILE_PIPELINES_LEDGER": places.ledger,
        "PROFILE_PIPELINES_SENSOR_SECONDS": "1",
    }
    command = [sys.executable, "-m", "dagster", "dev", "--workspace", "workspace.yaml"]
    with (folder / "dagster.log").open("wb") as log:
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
            yield server
        finally:
            server.send_signal(signal.SIGINT)
            # a test run in the background ignores SIGINT, and so do its children
            with suppress(subprocess.TimeoutExpired):
                server.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()


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
