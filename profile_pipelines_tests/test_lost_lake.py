"""A lake that isn't the ledger's, mistyped or lost, costs nobody anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from profile_pipelines import destination_steps, journey_steps, pipeline
from profile_pipelines.cli.main import main
from profile_pipelines.errors import LakeError
from profile_pipelines.orchestration.run import run_in_process
from profile_pipelines_tests.company import Company, catalogue
from profile_pipelines_tests.privacy.reminders import Reminders, declared


@pytest.fixture
def company(tmp_path: Path) -> Reminders:
    """Two customers are enrolled in a journey, written to, and delivered to a destination."""
    made = declared()
    out = {"audience": "active", "consent": "email", "columns": ["tier"], "to": {"type": "csv"}}
    made["destinations"] = {"out": out}
    company = Reminders(tmp_path, made)
    company.customer("1")
    company.customer("2")
    assert company.remind(full=True).total("sent") == 2
    assert _delivered(company) == (2, 0)
    return company


def _delivered(company: Company) -> tuple[int, int]:
    done = destination_steps.deliver(company.workspace, "out", clock=lambda: company.now)
    return done.added, done.removed


def _lose(company: Company) -> Path:
    (company.folder / "lake").rename(company.folder / "elsewhere")
    company.declare(company.declared)
    return company.folder / "elsewhere"


def test_nothing_is_done_on_another_lake(company: Reminders) -> None:
    """Neither a sync nor what follows it; with its lake back, all are as they were."""
    [due, *_] = pipeline.due_syncs(company.workspace, company.now, everything=True)
    elsewhere = _lose(company)
    space, now = company.workspace, company.now
    at = {"now": now, "run_id": "r"}
    for step in (
        lambda: pipeline.due_syncs(space, now),
        lambda: pipeline.sync_attributes(space, due, **at),
        lambda: pipeline.resolve_identities(space, **at),
        lambda: pipeline.merge_profiles(space, **at),
        lambda: pipeline.evaluate_audience(space, "active", **at),
        lambda: journey_steps.tick_journey(space, "daily", now=now),
        lambda: journey_steps.dispatch(space, clock=lambda: now),
        lambda: destination_steps.deliver(space, "out", clock=lambda: now),
        lambda: destination_steps.empty_destination(space, "out", clock=lambda: now),
        lambda: run_in_process(space, [], now=now),
    ):
        with pytest.raises(LakeError, match="has no records, but the ledger knows syncs"):
            step()
    assert not (company.folder / "lake").exists()

    elsewhere.rename(company.folder / "lake")
    company.declare(company.declared)
    assert journey_steps.tick_journey(company.workspace, "daily", now=now).active == 2
    assert _delivered(company) == (0, 0)


def test_the_command_line_says_so_once(
    company: Reminders, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the place, what to do, and the exit code of an unusable lake."""
    lake = _lose(company).with_name("laek")
    places = ["--catalog", company.folder / "catalog", "--lake", lake, "--ledger", company.ledger]
    assert main([*map(str, places), "run", "--now", company.now.isoformat()]) == 5
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("it is lost, or not the lake that goes with") == 1
    assert "laek has no records" in said
    assert not lake.exists()


def test_a_first_sync_may_write_nothing(tmp_path: Path) -> None:
    """A ledger that knows only of empty reads goes with any lake that is empty."""
    company = Company(tmp_path, catalogue())
    company.run(full=True)
    if (company.folder / "lake").exists():
        _lose(company)
    company.run(full=True)
    assert company.workspace.ledger.coverage()
