"""What Dagster's screens show of journeys and the outbox."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from profile_pipelines.orchestration.run import run_in_process
from profile_pipelines.pipeline import due_syncs
from profile_pipelines_tests.privacy.reminders import Reminders


def _metadata(instance: dg.DagsterInstance, *key: str) -> dict[str, object]:
    event = instance.get_latest_materialization_event(dg.AssetKey(list(key)))
    assert event is not None
    assert event.asset_materialization is not None
    return {name: each.value for name, each in event.asset_materialization.metadata.items()}


def test_a_run_shows_the_funnel_and_what_was_sent(tmp_path: Path) -> None:
    """The journey's steps as a picture with numbers; the outbox in numbers, also when all is 0."""
    company = Reminders(tmp_path)
    company.customer("1")
    company.customer("2", opt_in="no")
    space, home = company.workspace, tmp_path / "dagster"
    home.mkdir()
    for sent in (1, 0):
        due = due_syncs(space, company.now, everything=True)
        used = dg.DagsterInstance.local_temp(str(home))
        assert run_in_process(space, due, now=company.now, instance=used).ok
        with dg.DagsterInstance.local_temp(str(home)) as instance:
            outbox = _metadata(instance, "outbox")
            journey = _metadata(instance, "journeys", "daily")
        assert (outbox["sent"], outbox["waiting"], outbox["failed in all"]) == (sent, 0, 0)
        assert journey["active"] == 2
        assert "0 send hello by drop" in str(journey["funnel"])
