"""What Dagster's screens show of journeys and the outbox."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from profile_pipelines.ledger.outbox import LEASE
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


def test_a_message_in_doubt_fails_the_run(tmp_path: Path) -> None:
    """By the outbox's check, which says how many there are; what the run did stands."""
    company = Reminders(tmp_path)
    company.customer("1")
    space, home = company.workspace, tmp_path / "dagster"
    home.mkdir()
    outbox = space.ledger.outbox
    row = {
        "journey": "daily", "version": 1, "enrolment": 7, "step": "0", "channel": "post",
        "template": "hello", "consent": "email", "profile_id": 1, "decided_at": company.now,
        "next_attempt_at": company.now, "expires_at": None,
    }  # fmt: skip
    with outbox._engine.begin() as connection:  # pyright: ignore[reportPrivateUsage]
        outbox.decide(connection, [row])
    long_ago = company.now - 2 * LEASE
    outbox.begin("lost", [outbox.claim("lost", 1, now=company.now)[0].message_id], now=long_ago)
    due = due_syncs(space, company.now, everything=True)
    report = run_in_process(
        space, due, now=company.now, instance=dg.DagsterInstance.local_temp(str(home))
    )
    assert report.needs_a_word["In doubt"].startswith("1 message is in doubt")
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        run = instance.get_run_by_id(report.run_ids[-1])
        assert run is not None
        assert not run.is_success
        shown = _metadata(instance, "outbox")
    assert (shown["sent"], shown["in doubt"]) == (1, 1)
