"""`dagster dev` with the shipped workspace, its daemon running: nobody lends a hand."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import httpx
import pytest
import sqlalchemy as sa
import yaml

import profile_pipelines
from profile_pipelines.demo.crm import contacts
from profile_pipelines.demo.systems import DemoSystems
from profile_pipelines.orchestration.run import run_in_process
from profile_pipelines.pipeline import due_syncs
from profile_pipelines.workspace import DEMO_CATALOGUE, Places, Workspace
from profile_pipelines_tests.webhooks import senders

_REPOSITORY = Path(__file__).parents[2]
_LOCAL = Path(profile_pipelines.__file__).parent / "orchestration" / "local.yaml"
_DEADLINE_SECONDS = 240


_SECRET = "whsec_daemon"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("daemon")
def test_changes_reach_the_audiences(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    """Consents given in the CRM bring new members into an audience all by themselves; those
    withdrawn where no poll would notice take members out, once webhooks tell of them."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    places = Places(
        calling_catalogue(tmp_path), tmp_path / "lake", f"sqlite:///{tmp_path / 'ledger.db'}"
    )
    with DemoSystems(tmp_path / "systems", customers=200) as systems:
        variables = {
            **systems.environment,
            "CRM_WEBHOOK_SECRET": _SECRET,
            "PROFILE_PIPELINES_CATALOG": str(places.catalogue),
            "PROFILE_PIPELINES_LAKE": str(places.lake),
            "PROFILE_PIPELINES_LEDGER": places.ledger,
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        workspace = Workspace(places)
        now = datetime.now(UTC)
        report = run_in_process(workspace, due_syncs(workspace, now), now=now)
        assert report.ok, report.errors
        before = members(workspace)
        assert before > 0
        with dagster_dev(tmp_path) as server, receiver(tmp_path) as url:
            give_consent(systems.environment["CRM_URL"])
            wait(server, lambda: members(workspace) > before)
            consenting = members(workspace)
            withdrawn = withdraw_unnoticed(systems.environment["CRM_URL"])
            started = time.monotonic()
            for contact in withdrawn:
                deliver(url, contact)
            wait(server, lambda: members(workspace) < consenting)
            record_testsuite_property(
                "seconds_from_webhook_to_audience", time.monotonic() - started
            )


def calling_catalogue(folder: Path) -> Path:
    """The demo's catalogue, with a CRM that has a webhook."""
    catalogue = folder / "catalog"
    shutil.copytree(DEMO_CATALOGUE, catalogue)
    path = catalogue / "sources" / "crm.yaml"
    declared = yaml.safe_load(path.read_text())
    declared["webhook"] = {
        "signature": "stripe",
        "secret": {"env": "CRM_WEBHOOK_SECRET"},
        "events": [{"types": ["*"], "sync": "contacts", "id": "data.object.id"}],
    }
    path.write_text(yaml.safe_dump(declared, sort_keys=False))
    return catalogue


def members(workspace: Workspace) -> int:
    return workspace.lake.audience("email_reachable").pin().state["counts"]["members"]


def give_consent(crm_url: str) -> None:
    """Everyone in the CRM who hasn't yet consents to e-mail, whatever their channels."""
    _update(
        crm_url,
        contacts.c.email_opt_in.is_(False),
        email_opt_in=True,
        channel_preferences=None,
        modified_at=datetime.now(UTC),
    )


def withdraw_unnoticed(crm_url: str) -> list[int]:
    """Consents withdrawn, without a new time of change: neither sensor nor cursor sees it."""
    day_ago = datetime.now(UTC) - timedelta(days=1)
    unnoticed = sa.and_(contacts.c.email_opt_in.is_(True), contacts.c.modified_at < day_ago)
    return _update(crm_url, unnoticed, email_opt_in=False)


def _update(crm_url: str, which: sa.ColumnElement[bool], **values: object) -> list[int]:
    engine = sa.create_engine(crm_url)
    statement = sa.update(contacts).where(which).values(**values).returning(contacts.c.contact_id)
    with engine.begin() as connection:
        changed = list(connection.scalars(statement))
    engine.dispose()
    return changed


def deliver(url: str, contact: int) -> None:
    """An event about the contact, as the CRM would post it."""
    post = senders.stripe(str(contact), f"evt_{contact}", at=datetime.now(UTC), secret=_SECRET)
    httpx.post(f"{url}/webhooks/crm", content=post.body, headers=post.headers).raise_for_status()


@contextmanager
def dagster_dev(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Webserver and daemon, ended with all that they started."""
    home = folder / "dagster"
    home.mkdir()
    shutil.copy(_LOCAL, home / "dagster.yaml")
    environment = {"DAGSTER_HOME": str(home), "PROFILE_PIPELINES_SENSOR_SECONDS": "1"}
    command = ["dagster", "dev", "--workspace", "workspace.yaml", "--host", "127.0.0.1"]
    with _running(folder / "dagster.log", command, "/server_info", environment) as (server, _):
        yield server


@contextmanager
def receiver(folder: Path) -> Iterator[str]:
    """The receiver as one starts it; its address."""
    command = ["profile_pipelines.cli", "webhooks", "serve"]
    with _running(folder / "receiver.log", command, "/health") as (_, url):
        yield url


@contextmanager
def _running(
    log_path: Path, command: list[str], health: str, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    with log_path.open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", *command, "--port", str(port)],
            cwd=_REPOSITORY,
            env={**os.environ, **(environment or {})},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait(server, lambda: _answers(f"{url}{health}"))
            yield server, url
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
        assert server.poll() is None, f"{server.args} has ended"
        assert time.monotonic() < deadline, "not reached within the deadline"
        time.sleep(0.5)


def _answers(address: str) -> bool:
    try:
        return urlopen(address, timeout=2).status == 200
    except (URLError, OSError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
