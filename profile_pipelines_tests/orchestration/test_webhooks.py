"""Events that wait start a run that reads what they named, and reaches the audiences."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.sensor_definition import SensorExecutionData

from profile_pipelines.ledger.inbox import Named
from profile_pipelines.orchestration.run import run_in_process
from profile_pipelines.orchestration.session import NOW_TAG, Session
from profile_pipelines.orchestration.webhooks import BY_TAG
from profile_pipelines_tests.orchestration.conftest import NOW, Business, materialise


@pytest.fixture
def calling(business: Business) -> Business:
    """The business, with a CRM that has a webhook."""
    path = business.folder / "catalog" / "sources" / "crm.yaml"
    declared = yaml.safe_load(path.read_text())
    declared["webhook"] = {
        "signature": "stripe",
        "secret": {"env": "TEST_WEBHOOK_SECRET"},
        "events": [{"types": ["*"], "sync": "contacts", "id": "contact"}],
    }
    path.write_text(yaml.safe_dump(declared, sort_keys=False))
    return business


def happens(business: Business, *keys: str) -> None:
    named = [Named("crm", "contacts", key) for key in keys]
    business.workspace().ledger.inbox.store(named, [], now=NOW)


def tick(business: Business, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    return list(look(business, instance).run_requests or [])


def look(business: Business, instance: dg.DagsterInstance) -> SensorExecutionData:
    sensor = business.definitions().get_repository_def().get_sensor_def("crm_webhooks")
    context = dg.build_sensor_context(
        instance, sensor_name=sensor.name, resources={"session": Session(business.workspace)}
    )
    return sensor.evaluate_tick(context)


def run_of_the_sensor(
    business: Business, instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]
) -> dg.ExecuteInProcessResult:
    job = business.definitions().resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        raise_on_error=False,
        tags={NOW_TAG: NOW.isoformat(), BY_TAG: "crm_webhooks"},
        asset_selection=keys,
    )


def test_an_event_reaches_the_audience_in_one_run(
    calling: Business, instance: dg.DagsterInstance
) -> None:
    """The run that the sensor asks for reads the named record and moves its customer."""
    materialise(calling, instance)
    assert tick(calling, instance) == []
    before = calling.members("gold")
    calling.crm((5, "C5", "gold", "true", "2026-02-20 10:00:00"))
    happens(calling, "5")
    [request] = tick(calling, instance)
    keys = [key.path for key in request.asset_selection or []]
    assert materialise(calling, instance, *keys).success
    assert calling.members("gold") == before + 1
    assert tick(calling, instance) == []


def test_what_fails_after_the_reading_keeps_no_event_waiting(
    calling: Business, instance: dg.DagsterInstance
) -> None:
    """A destination that is down for long, or an audience that can't be evaluated, is no reason to
    read consents a quarter of an hour late; a system that can't be read is one to wait."""
    materialise(calling, instance)
    written = calling.folder / "lake" / "audiences" / "gold" / "changes"
    for file in written.glob("*.parquet"):
        file.write_bytes(b"damaged")
    calling.crm((5, "C5", "gold", "true", "2026-02-20 10:00:00"))
    for _ in range(3):
        happens(calling, "5")
        [request] = tick(calling, instance)
        result = run_of_the_sensor(calling, instance, request.asset_selection or [])
        assert not result.success
        assert calling.workspace().ledger.inbox.syncs_waiting() == {}
    (calling.folder / "crm.db").rename(calling.folder / "gone.db")
    happens(calling, "5")
    [request] = tick(calling, instance)
    assert not run_of_the_sensor(calling, instance, request.asset_selection or []).success
    assert "the last run failed" in (look(calling, instance).skip_message or "")


def test_a_ledger_that_is_down_is_told_as_that(
    calling: Business, instance: dg.DagsterInstance
) -> None:
    """The sensor says why it can't look, and looks again."""
    (calling.folder / "ledger.db").write_bytes(b"no database" * 100)
    assert "the ledger can't be read" in (look(calling, instance).skip_message or "")


def test_a_run_by_hand_reads_what_waits(calling: Business, instance: dg.DagsterInstance) -> None:
    """Also where no schedule is due."""
    materialise(calling, instance)
    calling.crm((5, "C5", "gold", "true", "2026-02-20 10:00:00"))
    happens(calling, "5")
    report = run_in_process(calling.workspace(), [], now=NOW, named=True, instance=instance)
    assert report.ok, report.errors
    assert [(each.events, each.changed) for each in report.named] == [(1, 1)]
    assert calling.workspace().ledger.inbox.syncs_waiting() == {}
