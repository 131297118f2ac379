"""Events that wait start a run that reads what they named, and reaches the audiences."""

from __future__ import annotations

import dagster as dg
import pytest
import yaml

from profile_pipelines.ledger.inbox import Named
from profile_pipelines.orchestration.run import run_in_process
from profile_pipelines.orchestration.session import Session
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
    sensor = business.definitions().get_repository_def().get_sensor_def("crm_webhooks")
    context = dg.build_sensor_context(
        instance, sensor_name=sensor.name, resources={"session": Session(business.workspace)}
    )
    return list(sensor.evaluate_tick(context).run_requests or [])


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


def test_a_run_by_hand_reads_what_waits(calling: Business, instance: dg.DagsterInstance) -> None:
    """Also where no schedule is due."""
    materialise(calling, instance)
    calling.crm((5, "C5", "gold", "true", "2026-02-20 10:00:00"))
    happens(calling, "5")
    report = run_in_process(calling.workspace(), [], now=NOW, named=True, instance=instance)
    assert report.ok, report.errors
    assert [(each.events, each.changed) for each in report.named] == [(1, 1)]
    assert calling.workspace().ledger.inbox.syncs_waiting() == {}
