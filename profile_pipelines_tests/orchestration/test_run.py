"""The pipeline in one process, as the command line runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta

import dagster as dg
import pytest

from profile_pipelines.orchestration.run import run_in_process
from profile_pipelines.pipeline import due_syncs
from profile_pipelines.progress import HowFar
from profile_pipelines.report import RunReport
from profile_pipelines_tests.orchestration.conftest import NOW, Business


def run(business: Business, *, minutes: int = 0, **options: object) -> RunReport:
    workspace = business.workspace()
    now = NOW + timedelta(minutes=minutes)
    selection = due_syncs(workspace, now, everything=True)
    return run_in_process(workspace, selection, now=now, **options)  # type: ignore[arg-type]


class Watcher:
    """Keeps what a run tells."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def step_started(self, name: str) -> None:
        self.told.append(f"{name} started")

    def read(self, name: str, so_far: HowFar) -> None:
        self.told.append(f"{name} {so_far.rows} rows")

    def waiting(self, name: str, detail: str) -> None:
        self.told.append(f"{name} {detail}")

    def step_finished(self, name: str, detail: str) -> None:
        self.told.append(f"{name}: {detail}")


def test_a_run_reports_every_step(business: Business) -> None:
    """The report holds the results of all syncs, of identities, profiles and audiences."""
    report = run(business)
    assert report.ok
    assert report.wrote_anything
    assert {(s.system, s.sync, s.rows_read, s.changed) for s in report.syncs} == {
        ("crm", "contacts", 10, 10),
        ("shop", "customers", 10, 10),
    }
    assert report.identities is not None
    assert report.profiles is not None
    assert (report.identities.profiles, report.profiles.created) == (10, 10)
    assert {a.name: a.counts.members for a in report.audiences} == {"gold": 3, "gold_by_email": 2}
    assert [a.name for a in report.audiences] == ["gold", "gold_by_email"]
    assert len(set(report.run_ids)) == 2


def test_a_second_run_with_nothing_changed_writes_nothing(business: Business) -> None:
    """Where no source has moved the report says so, and no table has a new commit."""
    run(business)
    lake = business.folder / "lake"
    before = {path for path in lake.rglob("*") if path.is_file()}
    report = run(business, minutes=10)
    assert report.ok
    assert not report.wrote_anything
    assert {path for path in lake.rglob("*") if path.is_file()} == before


def test_a_run_tells_its_watcher_how_far_it_is(business: Business) -> None:
    """Each step tells when it starts and ends, with counts, and a sync the rows it has read."""
    watcher = Watcher()
    run(business, progress=watcher)
    assert [each for each in watcher.told if each.startswith("crm.contacts")] == [
        "crm.contacts started",
        "crm.contacts 10 rows",
        "crm.contacts: 10 rows read, 10 changed",
    ]
    assert watcher.told[-1] == "audiences.gold_by_email: 2 members, 2 entered, 0 exited"


def test_a_system_that_is_down_leaves_the_others_running(business: Business) -> None:
    """The report has the broken sync's error; profiles hold what the other systems gave."""
    (business.folder / "shop" / "customers.csv").unlink()
    report = run(business)
    assert list(report.errors) == ["shop.customers"]
    assert "Traceback" not in report.errors["shop.customers"]
    assert report.profiles is not None
    assert report.profiles.profiles == 10
    assert business.members("gold") == 3


def test_an_attribute_set_aside_is_reported_and_stops_nothing_else(business: Business) -> None:
    """Too many invalid values of one attribute leave its last good ones, and the rest moves on."""
    run(business)
    business.crm(*((n, f"C{n}", "brass", "false", "2026-02-05 10:00:00") for n in range(1, 6)))
    report = run(business, minutes=10)
    assert report.ok
    assert report.set_aside == [("crm", "tier")]
    assert business.members("gold") == 3
    assert business.members("gold_by_email") == 0


def test_a_run_without_downstream_leaves_profiles_alone(business: Business) -> None:
    """Only the syncs run, in one Dagster run."""
    report = run(business, downstream=False)
    assert len(report.run_ids) == 1
    assert report.profiles is None
    assert business.members("gold") == 0


def test_a_full_run_finds_deletions(business: Business) -> None:
    """With `full` an incremental sync reads everything, and what is gone is deleted."""
    run(business)
    (business.folder / "crm.db").unlink()
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(business.folder / "crm.db")) as store:
        store.execute(
            "CREATE TABLE contacts (id INTEGER PRIMARY KEY, customer_no TEXT, tier TEXT,"
            " opt_in TEXT, modified_at TEXT)"
        )
        store.commit()
    business.crm((1, "C1", "gold", "false", "2026-02-01 10:00:00"))
    report = run(business, minutes=10, full=True)
    assert next(s for s in report.syncs if s.system == "crm").deleted == 9
    assert business.members("gold") == 1


def test_runs_are_recorded_where_dagster_home_says(
    business: Business, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With DAGSTER_HOME the runs, materialisations and checks are seen in Dagster.

    So is the built-in source of consents, which is read with the profiles.
    """
    attributes = business.folder / "catalog" / "attributes.yaml"
    declared = attributes.read_text()
    attributes.write_text(declared.replace("owner: privacy", "consent: email, owner: privacy"))
    home = business.folder / "dagster"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    report = run(business)
    with dg.DagsterInstance.get() as recorded:
        assert {run.run_id for run in recorded.get_runs()} == set(report.run_ids)
        for key in (["audiences", "gold"], ["unsubscribes"]):
            assert recorded.get_latest_materialization_event(dg.AssetKey(key))


def test_a_sync_may_only_link(business: Business) -> None:
    """It brings no attribute; it is read with what is read of its system, and joins records."""
    shop = business.folder / "catalog" / "sources" / "shop.yaml"
    links = """
  links:
    path: "links/*.csv"
    format: csv
    identifiers: {customer_id: customer_no, card: card}
    mode: full
    schedule: "0 4 * * *"
    attributes: {}
"""
    shop.write_text(shop.read_text() + links)
    (business.folder / "catalog" / "identifiers.yaml").write_text(
        "customer_id: {per_profile: unlimited}\ncard: {}\n"
    )
    (business.folder / "shop" / "links").mkdir()
    cards = "customer_no,card\nC1,A\nC2,A\n"
    (business.folder / "shop" / "links" / "cards.csv").write_text(cards)
    report = run(business)
    assert report.ok
    assert [s.rows_read for s in report.syncs if s.sync == "links"] == [2]
    assert report.profiles is not None
    assert report.profiles.profiles == 9


def test_runs_print_nothing(business: Business, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither Dagster's log nor any warning reaches the terminal, also when a system is down."""
    (business.folder / "shop" / "customers.csv").unlink()
    run(business)
    assert capfd.readouterr() == ("", "")


_KILLED = """
import os, signal, sys
from profile_pipelines.workspace import Workspace
from profile_pipelines_tests.orchestration.conftest import NOW, Business
from profile_pipelines_tests.orchestration.test_run import Watcher, run
from pathlib import Path

class Killer(Watcher):
    def step_finished(self, name, detail):
        if name == sys.argv[2]:
            os.kill(os.getpid(), signal.SIGKILL)

run(Business(Path(sys.argv[1])), progress=Killer())
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", ["crm.contacts", "identities", "audiences.gold"])
def test_a_run_that_was_killed_is_made_good_by_the_next(business: Business, step: str) -> None:
    """After kill -9 in the middle of a run the next one leads to the same members and records."""
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, str(business.folder), step],
        env=dict(os.environ),
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    report = run(business, minutes=1)
    assert report.ok
    assert report.profiles is not None
    assert report.profiles.profiles == 10
    assert (business.members("gold"), business.members("gold_by_email")) == (3, 2)
