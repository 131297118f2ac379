"""Systems are read side by side: the same comes of it, and one that hangs delays no other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines.catalog.models import Settings
from profile_pipelines.cli.progress import watching
from profile_pipelines.orchestration.run import run_in_process
from profile_pipelines.pipeline import due_syncs
from profile_pipelines.progress import HowFar, Unwatched
from profile_pipelines.report import RunReport
from profile_pipelines.sources import ReadRequest
from profile_pipelines.workspace import Workspace
from profile_pipelines_tests.orchestration.conftest import NOW, Business
from profile_pipelines_tests.sources.api_server import Api, answer, hang, serving

SYSTEMS = 6
READ: dict[str, threading.Event] = {}
"""Set once a system of `ordered` has been read; each waits for the one before."""


def ordered(request: ReadRequest, system: str, after: str = "") -> Iterator[dict[str, Any]]:
    """Customers of a system that answers after another one has."""
    if after:
        assert READ[after].wait(20)
    number = int(system.removeprefix("s"))
    for n in range(1, 30):
        yield {"no": f"C{n}", "value": "bad" if n == 3 else str(n * number), "mail": f"{n}@x.org"}
    READ[system].set()


def declare(folder: Path, names: Sequence[str], connection: Any) -> Workspace:
    """A catalogue in which each system has a value of its own and one that all of them have."""
    catalogue = folder / "catalog"
    (catalogue / "sources").mkdir(parents=True)
    listed = ", ".join(names)
    (catalogue / "identifiers.yaml").write_text("customer_id: {}\nemail: {normalise: [email]}\n")
    (catalogue / "attributes.yaml").write_text(
        "".join(
            f"{name}_value: {{type: integer, sources: [{name}], fresh_within: 1h}}\n"
            for name in names
        )
        + f"common: {{type: integer, sources: [{listed}], fresh_within: 1h, merge: max}}\n"
    )
    for name in names:
        (catalogue / "sources" / f"{name}.yaml").write_text(
            f"system: {name}\nkind: crm\nconnection: {connection(name)}\nsyncs:\n  people:\n"
            f"    {'path: people' if 'rest' in connection(name) else 'mode: full'}\n"
            "    identifiers: {customer_id: 'no', email: mail}\n"
            f"    attributes: {{{name}_value: value, common: value}}\n"
        )
    from profile_pipelines.workspace import Places

    return Workspace(Places(catalogue, folder / "lake", f"sqlite:///{folder / 'ledger.db'}"))


def run(workspace: Workspace, **options: Any) -> RunReport:
    due = due_syncs(workspace, NOW, everything=True)
    return run_in_process(workspace, due, now=NOW, **options)


def everything(workspace: Workspace) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables, but for what tells one run from another."""
    lake, catalogue = workspace.lake, workspace.catalogue
    tables = [lake.source(catalogue, s, "people") for s in catalogue.systems]
    tables += [lake.identities(catalogue), lake.profiles(catalogue)]
    found: dict[str, list[dict[str, Any]]] = {}
    for table in tables:
        rows = table.pin().current(table.columns, "t")
        found[table.name] = sorted(workspace.lake.engine.rows(rows.sql, rows.relations), key=str)
    return found


def test_the_same_comes_of_it_in_whichever_order_systems_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at a time, all at once, and all at once with the first one ending last: the tables, the
    report and its order are the same."""
    names = [f"s{n}" for n in range(1, SYSTEMS + 1)]
    found: list[tuple[Any, ...]] = []
    for parallel, backwards in ((1, False), (SYSTEMS, False), (SYSTEMS, True)):
        READ.update({name: threading.Event() for name in names})
        after = dict(zip(names, [*names[1:], ""], strict=True)) if backwards else {}
        folder = tmp_path / f"{parallel}{backwards}"

        def connection(name: str, after: dict[str, str] = after) -> str:
            return (
                f"{{type: custom, name: '{__name__}:ordered', "
                f"options: {{system: {name}, after: '{after.get(name, '')}'}}}}"
            )

        workspace = declare(folder, names, connection)
        report = run(workspace, parallel=parallel)
        assert report.ok
        plain = replace(report, run_ids=[])
        found.append((everything(workspace), [r.system for r in plain.syncs], plain))
    assert found[0][1] == names
    assert found[0] == found[1] == found[2]


class Watcher(Unwatched):
    """Notes which steps have ended, in order."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def step_finished(self, name: str, detail: str) -> None:
        self.ended.append(name)


def test_a_system_that_hangs_delays_no_other(tmp_path: Path) -> None:
    """The others end while it is waited for; its error has system, sync, what was waited for, how
    long and the setting; the run goes on with what the others brought."""
    with serving() as fast, serving() as slow:
        others = Watcher()

        people = [{"no": "C1", "mail": "c1@x.org", "value": 7}]
        fast.answers["/people"] = answer(people)
        slow.answers["/people"] = hang
        workspace = declare(
            tmp_path,
            ["hangs", "second", "third"],
            lambda name: (
                f"{{type: rest, base_url: '{(slow if name == 'hangs' else fast).url}', "
                "allow_private: true, retries: 0, timeout: 60s}"
            ),
        )
        file = tmp_path / "catalog" / "sources" / "hangs.yaml"
        file.write_text(file.read_text() + "at_most: 1s\n")
        workspace = Workspace(workspace.places)
        report = run(workspace, progress=others)
    assert set(others.ended[:2]) == {"second.people", "third.people"}
    assert others.ended[2] == "hangs.people"
    assert report.errors == {
        "hangs.people": (
            f"hangs.people: 127.0.0.1:{slow.port} didn't give its records within 1s, in which all "
            "of a sync must be read (`at_most` of the sync or system); nothing of it was taken: "
            "see what keeps it, read less at once, or allow more"
        )
    }
    assert [each.system for each in report.syncs] == ["second", "third"]
    assert report.profiles is not None
    assert report.profiles.profiles == 1


def test_no_more_systems_are_read_at_once_than_declared(tmp_path: Path) -> None:
    """`parallel` of the catalogue, unless a run says otherwise."""
    names = [f"s{n}" for n in range(1, SYSTEMS + 1)]
    with serving() as api:
        api.answers["/people"] = answer([{"no": "C1", "mail": "c1@x.org", "value": 7}])
        workspace = declare(
            tmp_path,
            names,
            lambda name: f"{{type: rest, base_url: '{api.url}', allow_private: true}}",
        )
        settings = Settings(parallel=2)
        workspace.catalogue = replace(workspace.catalogue, settings=settings)
        for parallel, most in ((None, 2), (3, 3)):
            watcher = Busiest()
            assert run(workspace, progress=watcher, parallel=parallel, downstream=False).ok
            assert watcher.most <= most


class Busiest(Unwatched):
    """How many steps were under way at the same time."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def step_started(self, name: str) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    def step_finished(self, name: str, detail: str) -> None:
        self.now -= 1


def test_progress_of_several_systems_is_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each step that has ended, with its own time, whatever else is under way."""
    with watching(2) as progress:
        progress.step_started("crm.people")
        progress.step_started("shop.orders")
        progress.read("crm.people", HowFar(10))
        progress.step_finished("shop.orders", "3 rows read")
        progress.step_finished("crm.people", "10 rows read")
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(" (")[0] for line in told] == [
        "shop.orders: 3 rows read",
        "crm.people: 10 rows read",
    ]


@pytest.mark.parametrize("hanging", ["source", "destination"])
def test_an_interrupted_run_ends_at_once(business: Business, hanging: str, api: Api) -> None:
    """Ctrl-C while a system hangs, or what comes after the systems: exit 130, a sentence, no
    traceback, no temporary file; what was committed stays, and the next run goes on."""
    api.answers["/people"] = hang
    catalogue = business.folder / "catalog"
    if hanging == "source":
        (catalogue / "sources" / "api.yaml").write_text(f"""
system: api
kind: support
connection: {{type: rest, base_url: '{api.url}', allow_private: true}}
syncs:
  people: {{path: people, identifiers: {{customer_id: "no"}}, attributes: {{tickets: tickets}}}}
""")
        attributes = catalogue / "attributes.yaml"
        attributes.write_text(
            attributes.read_text() + "tickets: {type: integer, sources: [api], fresh_within: 1h}\n"
        )
    else:
        attributes = catalogue / "attributes.yaml"
        attributes.write_text(
            attributes.read_text().replace("owner: privacy", "consent: email, owner: privacy")
        )
        (catalogue / "destinations").mkdir()
        (catalogue / "destinations" / "api.yaml").write_text(f"""
destination: api
audience: gold
consent: email
columns: {{customer_id: customer_id}}
to: {{type: webhook, url: {api.url}/people, allow_private: true, secret: {{env: TEST_SECRET}}}}
""")
    temporary = business.folder / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "profile_pipelines.cli", "run", "--all"],
        env={
            **os.environ,
            "TMPDIR": str(temporary),
            "TEST_SECRET": "whsec_c2VjcmV0",
            "PROFILE_PIPELINES_CATALOG": str(catalogue),
            "PROFILE_PIPELINES_LAKE": str(business.folder / "lake"),
            "PROFILE_PIPELINES_LEDGER": f"sqlite:///{business.folder / 'ledger.db'}",
        },
        stderr=subprocess.PIPE,
        text=True,
        # where tests run in the background it is ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    told: list[str] = []
    for line in process.stderr:
        told.append(line)
        if sum(" rows read" in each for each in told) == 2:
            break
    while not api.requests and process.poll() is None:
        threading.Event().wait(0.02)
    process.send_signal(signal.SIGINT)
    told += process.stderr.readlines()
    process.wait()
    said = "".join(told)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "interrupted: what was committed until now stays" in said
    assert not list(temporary.glob("profile_pipelines_*"))
    assert (
        business.workspace()
        .lake.source(business.workspace().catalogue, "crm", "contacts")
        .pin()
        .exists
    )
    shutil.rmtree(temporary)


@pytest.fixture
def api() -> Iterator[Api]:
    with serving() as made:
        yield made
