import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from profile_pipelines.demo import DemoSystems
from profile_pipelines.errors import ProfilePipelinesError
from profile_pipelines_tests.demo.test_data import TABLES, table

Make = Callable[..., DemoSystems]


def health(environment: dict[str, str]) -> str:
    return httpx.get(environment["BILLING_URL"].replace("/billing", "/health")).text


def test_creating_again_changes_nothing(make: Make, tmp_path: Path):
    """Systems that are there stay as they are, with their credentials."""
    make().create()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    make(now=None).create()
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert [path for path in before if after.get(path) != before[path]] == []


def test_other_customers_are_refused(make: Make):
    """A folder with 350 customers doesn't pass for one with 400, and the error says what to do."""
    make().create()
    with pytest.raises(ProfilePipelinesError, match=r"350 customers .* another folder"):
        make(customers=400).create()


def test_creation_that_was_cut_off_starts_anew(make: Make, tmp_path: Path):
    """What an interrupted creation left behind doesn't get into the next one."""
    make("whole").create()

    def cut(what: str, done: int, total: int) -> None:
        if what == "crm":
            raise InterruptedError

    with pytest.raises(InterruptedError):
        make("cut").create(cut)
    make("cut").create()
    for name in TABLES:
        assert table(tmp_path / "cut", name).equals(table(tmp_path / "whole", name))


def test_progress_is_told(make: Make):
    """Creation names each system as it comes, and reaches the end."""
    steps: list[tuple[str, int, int]] = []
    make().create(lambda *step: steps.append(step))
    assert [what for what, _, _ in steps][:2] == ["billing", "ecommerce"]
    assert steps[-1][1:] == (5, 5)


def test_a_running_server_is_used_again(make: Make):
    """A second start finds the server of the first one and leaves it running when it stops."""
    first, second = make(), make()
    first.create()
    environment = first.start()
    assert second.start() == environment
    second.stop()
    assert health(environment)


def test_a_stopped_server_comes_back_at_the_same_address(make: Make):
    """After a restart the variables that other programs hold are still right."""
    systems = make()
    systems.create()
    environment = systems.start()
    systems.stop()
    with pytest.raises(httpx.ConnectError):
        health(environment)
    assert systems.start() == environment


def test_a_foreign_server_on_the_recorded_port_is_not_taken_for_ours(make: Make, tmp_path: Path):
    """The server of another folder on the recorded port is told apart by its mark."""
    one, two = make("one"), make("two")
    one.create()
    two.create()
    taken = one.start()
    (tmp_path / "two" / "server.json").write_text((tmp_path / "one" / "server.json").read_text())
    assert two.start()["BILLING_URL"] != taken["BILLING_URL"]


def test_the_server_does_not_outlive_its_parent(tmp_path: Path):
    """Killing the process that started the systems ends their server too."""
    code = (
        "import sys, json, signal; from pathlib import Path;"
        "from profile_pipelines.demo import DemoSystems;"
        "s = DemoSystems(Path(sys.argv[1]), customers=20); s.create();"
        "print(json.dumps(s.start()), flush=True); signal.pause()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    environment = json.loads(parent.stdout.readline())
    children = psutil.Process(parent.pid).children(recursive=True)
    assert health(environment)
    assert children
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


def test_credentials_stand_in_no_command_line(make: Make):
    """Nobody reads a credential from the list of processes."""
    systems = make()
    systems.create()
    environment = systems.start()
    lines = [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]
    assert any("profile_pipelines.demo.server" in line for line in lines)
    for name in ("BILLING_API_KEY", "ECOMMERCE_SECRET", "SUPPORT_TOKEN"):
        assert not any(environment[name] in line for line in lines)
