"""Runs whose process has died whole are ended, and what waits behind them goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

import profile_pipelines
from profile_pipelines.orchestration.lost_runs import lost_runs_sensor, signs_of_life
from profile_pipelines.orchestration.session import NOW_TAG
from profile_pipelines_tests.orchestration.conftest import NOW, Business

_REPOSITORY = Path(__file__).parents[2]
_LOCAL = Path(profile_pipelines.__file__).parent / "orchestration" / "local.yaml"
_DEPLOY = _REPOSITORY / "deploy" / "dagster.yaml"
_HERE, _ELSEWHERE = (RegisteredCodeLocationOrigin(name) for name in ("here", "elsewhere"))
_DEADLINE_SECONDS = 240
_WITHIN_SECONDS = 60
_SHOP = """
from pathlib import Path

def orders(request, gate):
    if Path(gate).exists():
        open(gate).read()  # a pipe that nobody writes into: for ever
    yield {"customer_no": "C1", "orders": 1}

orders.change_mark = lambda gate: Path(gate).exists()
"""


class Watch:
    """The sensor as the daemon evaluates it, with a clock of the test's."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.now = 1000.0
        self._sensor = lost_runs_sensor(lambda: self.now)
        self._cursor: str | None = None
        self._signs = 0

    def looks(self, *, after: float, sign_of: str | None = None) -> None:
        """One evaluation; before it comes, if told so, a sign of life of a run."""
        self.now += after
        if sign_of is not None:
            with signs_of_life(self.instance, sign_of):
                pass
        context = dg.SensorEvaluationContext(
            instance_ref=None,
            cursor=self._cursor,
            instance=self.instance,
            code_location_origin=_HERE,
        )
        self._cursor = self._sensor.evaluate_tick(context).cursor

    def looks_often(self, seconds: float, *, sign_of: str | None = None) -> None:
        """As the daemon does, every ten seconds."""
        for _ in range(int(seconds // 10)):
            self.looks(after=10, sign_of=sign_of)

    def begins(
        self, status: dg.DagsterRunStatus, at: RegisteredCodeLocationOrigin | None, **tags: str
    ) -> Callable[[], dg.DagsterRunStatus]:
        """A run that is under way; its status from then on."""
        origin = None if at is None else RemoteJobOrigin(RemoteRepositoryOrigin(at, "r"), "job")
        run = dg.DagsterRun("job", status=status, remote_job_origin=origin, tags=tags)
        self.instance.add_run(run)

        def now() -> dg.DagsterRunStatus:
            found = self.instance.get_run_by_id(run.run_id)
            assert found is not None
            return found.status

        now.run_id = run.run_id  # pyright: ignore
        return now


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    (tmp_path / "dagster.yaml").write_text(_LOCAL.read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield Watch(instance)


def test_a_silent_run_is_ended_and_a_living_one_goes_on(watch: Watch) -> None:
    """A run whose process gives no sign for half a minute has failed; one that gives them hasn't,
    however long it takes."""
    living = watch.begins(dg.DagsterRunStatus.STARTED, _HERE)
    silent = watch.begins(dg.DagsterRunStatus.STARTED, _HERE)
    watch.looks_often(20, sign_of=living.run_id)
    assert silent() == dg.DagsterRunStatus.STARTED
    watch.looks_often(3600, sign_of=living.run_id)
    assert (living(), silent()) == (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE)
    watch.looks_often(60)
    assert living() == dg.DagsterRunStatus.FAILURE


def test_a_run_of_the_command_line_is_ended_too(watch: Watch) -> None:
    """`profile-pipelines run` with DAGSTER_HOME that was killed; other programs' runs are left
    alone, as are those of other code locations."""
    ours = watch.begins(dg.DagsterRunStatus.STARTED, None, **{NOW_TAG: NOW.isoformat()})
    others = [
        watch.begins(dg.DagsterRunStatus.STARTED, None),
        watch.begins(dg.DagsterRunStatus.STARTED, _ELSEWHERE),
    ]
    watch.looks_often(120)
    assert ours() == dg.DagsterRunStatus.FAILURE
    assert [each() for each in others] == [dg.DagsterRunStatus.STARTED] * 2


def test_a_run_that_was_being_cancelled_is_cancelled(watch: Watch) -> None:
    """What somebody had asked to end, and whose process died, is cancelled, not failed."""
    run = watch.begins(dg.DagsterRunStatus.CANCELING, _HERE)
    watch.looks_often(60)
    assert run() == dg.DagsterRunStatus.CANCELED


def test_time_in_which_nobody_looked_ends_no_run(watch: Watch) -> None:
    """A machine that slept for a night, a daemon that was down, a clock that jumps: a run that
    gives a sign soon after goes on."""
    run = watch.begins(dg.DagsterRunStatus.STARTED, _HERE)
    watch.looks(after=10, sign_of=run.run_id)
    for jump in (8 * 3600, -8 * 3600, 30 * 86400):
        watch.looks(after=jump)
        watch.looks(after=10, sign_of=run.run_id)
        assert run() == dg.DagsterRunStatus.STARTED


def test_a_run_in_this_process_gives_signs(
    business: Business, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `run` does under DAGSTER_HOME can be seen to be worked on."""
    from profile_pipelines.orchestration.run import run_in_process
    from profile_pipelines.pipeline import DueSync

    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(_LOCAL.read_text())
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    due = [DueSync("crm", "contacts", ("tier",))]
    report = run_in_process(business.workspace(), due, now=NOW, downstream=False)
    assert report.ok, report.errors
    with dg.DagsterInstance.get() as instance:
        places = {f"profile_pipelines/signs_of_life/{n}" for n in range(4096)}
        assert len(instance.daemon_cursor_storage.get_cursor_values(places)) == 1


@pytest.mark.parametrize("path", [_LOCAL, _DEPLOY], ids=["demo", "production"])
def test_the_shipped_settings_end_what_never_began_within_a_minute(path: Path) -> None:
    """What the sensor can't see, since no process had begun: Dagster's own run monitoring."""
    monitoring = yaml.safe_load(path.read_text())["run_monitoring"]
    assert monitoring["enabled"]
    looks = monitoring["poll_interval_seconds"]
    assert monitoring["start_timeout_seconds"] + looks < _WITHIN_SECONDS
    assert monitoring["cancel_timeout_seconds"] + looks < _WITHIN_SECONDS


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("daemon")
def test_after_a_crash_what_nobody_works_on_is_ended_within_a_minute(
    business: Business, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Daemon, code server and a run that reads the shop are killed all at once; with the daemon
    back, the run is ended within a minute, and the one that waits for its place succeeds."""
    home = business.folder / "dagster"
    home.mkdir()
    shutil.copy(_LOCAL, home / "dagster.yaml")
    for name, value in {
        "DAGSTER_HOME": str(home),
        "PROFILE_PIPELINES_CATALOG": str(business.places.catalogue),
        "PROFILE_PIPELINES_LAKE": str(business.places.lake),
        "PROFILE_PIPELINES_LEDGER": business.places.ledger,
        "PROFILE_PIPELINES_SENSOR_SECONDS": "1",
        "PYTHONPATH": os.pathsep.join([str(business.folder), os.environ.get("PYTHONPATH", "")]),
    }.items():
        monkeypatch.setenv(name, value)
    gate = business.folder / "gate"
    os.mkfifo(gate)
    (business.folder / "crashing_shop.py").write_text(_SHOP)
    declared = business.folder / "catalog" / "sources" / "shop.yaml"
    shop = yaml.safe_load(declared.read_text())
    options = {"gate": str(gate)}
    shop["connection"] = {"type": "custom", "name": "crashing_shop:orders", "options": options}
    del shop["syncs"]["customers"]["path"], shop["syncs"]["customers"]["format"]
    declared.write_text(yaml.safe_dump(shop))
    with dg.DagsterInstance.get() as instance:

        def of_shop(*statuses: dg.DagsterRunStatus) -> list[str]:
            runs = instance.get_runs(dg.RunsFilter(statuses=list(statuses)))
            shop = dg.AssetKey(["shop", "orders"])
            return [run.run_id for run in runs if shop in (run.asset_selection or ())]

        with daemon(business.folder) as first:
            wait(first, lambda: bool(of_shop(dg.DagsterRunStatus.STARTED)))
            [killed] = of_shop(dg.DagsterRunStatus.STARTED)
        assert of_shop(dg.DagsterRunStatus.STARTED) == [killed]
        gate.unlink()
        began = time.monotonic()
        with daemon(business.folder) as second:
            wait(second, lambda: killed in of_shop(dg.DagsterRunStatus.FAILURE))
            assert time.monotonic() - began < _WITHIN_SECONDS
            wait(second, lambda: bool(of_shop(dg.DagsterRunStatus.SUCCESS)))


@contextmanager
def daemon(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon with its code server; killed at the end with all that they started."""
    command = [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"]
    with (folder / "daemon.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=_REPOSITORY, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait(process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
    """Look until it is so; fail when the process has ended or the deadline has passed."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while not reached():
        assert process.poll() is None, f"{process.args} has ended"
        assert time.monotonic() < deadline, "not reached within the deadline"
        time.sleep(0.5)
