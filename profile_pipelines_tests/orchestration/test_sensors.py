"""What starts runs besides the clock."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import timedelta

import dagster as dg
import pytest
import yaml
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

from profile_pipelines.errors import CatalogueError
from profile_pipelines.orchestration import sensors
from profile_pipelines.orchestration.sensors import BY_TAG
from profile_pipelines.orchestration.session import Session
from profile_pipelines_tests.orchestration.conftest import Business, materialise

DERIVED = {
    dg.AssetKey("identities"),
    dg.AssetKey("profiles"),
    dg.AssetKey(["audiences", "gold"]),
    dg.AssetKey(["audiences", "gold_by_email"]),
}
ORIGIN = RemoteJobOrigin(
    RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("tests"), "tests"), "tests"
)


class Sensor:
    """A sensor with its cursor, evaluated as the daemon does."""

    def __init__(self, business: Business, name: str, instance: dg.DagsterInstance) -> None:
        self._definition = business.definitions().get_repository_def().get_sensor_def(name)
        self._instance = instance
        self.cursor: str | None = None
        self.skip_message: str | None = None

    def tick(self) -> list[dg.RunRequest]:
        context = dg.build_sensor_context(
            self._instance, self.cursor, definitions=None, sensor_name=self._definition.name
        )
        result = self._definition.evaluate_tick(context)
        self.cursor = result.cursor
        self.skip_message = result.skip_message
        return list(result.run_requests or [])


def keys(request: dg.RunRequest) -> set[str]:
    return {"/".join(key.path) for key in request.asset_selection or []}


def queue(
    business: Business, instance: dg.DagsterInstance, sensor: str, request: dg.RunRequest
) -> dg.DagsterRun:
    """A run that a sensor asked for and that hasn't begun."""
    return instance.create_run_for_job(
        business.definitions().resolve_implicit_global_asset_job_def(),
        tags={BY_TAG: sensor},
        asset_selection=frozenset(request.asset_selection or []),
        status=dg.DagsterRunStatus.QUEUED,
        remote_job_origin=ORIGIN,
    )


@pytest.mark.parametrize("told", ["30s", "0", "-5", "1.5"])
def test_an_interval_that_is_none_is_told(
    business: Business, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    """It names the variable; `run` doesn't start what is no number either."""
    monkeypatch.setenv("PROFILE_PIPELINES_SENSOR_SECONDS", told)
    with pytest.raises(CatalogueError, match=f"PROFILE_PIPELINES_SENSOR_SECONDS: '{told}' must"):
        business.definitions()


def test_a_source_that_moves_starts_a_sync(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """The first look asks for a sync, the next only once the source has changed."""
    sensor = Sensor(business, "crm_changed", instance)
    [first] = sensor.tick()
    assert keys(first) == {"crm/tier", "crm/email_opt_in"}
    assert sensor.tick() == []
    business.crm((1, "C1", "silver", "false", "2026-02-05 10:00:00"))
    [second] = sensor.tick()
    assert second.run_key != first.run_key
    assert sensor.tick() == []


def test_a_source_that_moves_back_starts_a_sync_again(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """Every move has a run key of its own, also one back to a mark that was seen before."""
    sensor = Sensor(business, "crm_changed", instance)
    run_keys: list[str | None] = []
    for modified_at in ("05", "06", "05", "06"):
        business.crm((1, "C1", "gold", "true", f"2026-02-{modified_at} 10:00:00"))
        [request] = sensor.tick()
        run_keys.append(request.run_key)
    assert len(set(run_keys)) == 4


def test_a_tick_that_is_evaluated_again_asks_for_the_same_run(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """A daemon that dies before it keeps the cursor doesn't start the run twice."""
    sensor = Sensor(business, "crm_changed", instance)
    [first] = sensor.tick()
    sensor.cursor = None
    [again] = sensor.tick()
    assert again.run_key == first.run_key


def test_files_that_move_start_a_sync(business: Business, instance: dg.DagsterInstance) -> None:
    """Files have a change mark as databases have."""
    sensor = Sensor(business, "shop_changed", instance)
    sensor.tick()
    assert sensor.tick() == []
    business.shop({"C1": "100"})
    assert [keys(request) for request in sensor.tick()] == [{"shop/orders"}]


def test_a_sync_that_only_links_starts_a_sync_when_it_moves(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """It has no asset of its own: the run covers the system's attributes, with which it's read."""
    path = business.folder / "catalog" / "sources" / "shop.yaml"
    declared = yaml.safe_load(path.read_text())
    customers = declared["syncs"]["customers"]
    declared["syncs"]["cards"] = {**customers, "path": "cards/*.csv", "attributes": {}}
    path.write_text(yaml.safe_dump(declared, sort_keys=False))
    (business.folder / "shop" / "cards").mkdir()
    cards = business.folder / "shop" / "cards" / "cards.csv"
    cards.write_text("customer_no\nC1\n")
    sensor = Sensor(business, "shop_changed", instance)
    sensor.tick()
    cards.write_text("customer_no\nC1\nC2\n")
    assert [keys(request) for request in sensor.tick()] == [{"shop/orders"}]


def test_a_system_without_attributes_has_no_sensor(business: Business) -> None:
    """Nothing of it could be asked for."""
    path = business.folder / "catalog" / "sources" / "shop.yaml"
    path.write_text(path.read_text().replace("{orders: orders}", "{}"))
    attributes = business.folder / "catalog" / "attributes.yaml"
    attributes.write_text(attributes.read_text().partition("orders:")[0])
    names = [each.name for each in business.definitions().get_repository_def().sensor_defs]
    assert sorted(names) == [
        *("bring_up_to_date", "catalogue_changed", "crm_changed", "end_lost_runs")
    ]


def test_a_function_with_a_mark_starts_a_sync(
    business: Business, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source of one's own is asked for its change mark; without one there is nothing to see."""
    (business.folder / "stock_source.py").write_text(
        "from pathlib import Path\n"
        "def read(request): yield {'no': 'C1', 'orders': 1}\n"
        "read.change_mark = lambda: (Path(__file__).parent / 'mark').read_text()\n"
        "def unmarked(request): yield {'no': 'C1', 'orders': 1}\n"
    )
    (business.folder / "mark").write_text("1")
    monkeypatch.syspath_prepend(business.folder)
    declared = business.folder / "catalog" / "sources" / "shop.yaml"
    for function in ("read", "unmarked"):
        declared.write_text(f"""
system: shop
kind: ecommerce
connection: {{type: custom, name: "stock_source:{function}"}}
syncs:
  stock:
    key: "no"
    identifiers: {{customer_id: "no"}}
    mode: full
    attributes: {{orders: orders}}
""")
        sensor = Sensor(business, "shop_changed", instance)
        asked = [len(sensor.tick()), len(sensor.tick())]
        (business.folder / "mark").write_text("2")
        asked.append(len(sensor.tick()))
        assert asked == ([1, 0, 1] if function == "read" else [0, 0, 0])


def test_a_system_that_cannot_be_reached_is_skipped(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """A sensor says why it can't look, and looks again: it starts no run, and loses no change."""
    sensor = Sensor(business, "crm_changed", instance)
    sensor.tick()
    cursor = sensor.cursor
    with closing(sqlite3.connect(business.folder / "crm.db")) as store:
        store.execute("ALTER TABLE contacts RENAME TO hidden")
        store.commit()
    assert sensor.tick() == []
    assert "contacts" in (sensor.skip_message or "")
    assert sensor.cursor in (None, cursor)
    sensor.cursor = cursor
    with closing(sqlite3.connect(business.folder / "crm.db")) as store:
        store.execute("ALTER TABLE hidden RENAME TO contacts")
        store.commit()
    business.crm((1, "C1", "silver", "false", "2026-02-05 10:00:00"))
    assert len(sensor.tick()) == 1


def test_attributes_synced_by_hand_bring_the_rest_up_to_date(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """One run is asked for however many syncs there were, and none after it."""
    sensor = Sensor(business, "bring_up_to_date", instance)
    assert sensor.tick() == []
    materialise(business, instance, ["crm", "tier"], ["crm", "email_opt_in"])
    materialise(business, instance, ["shop", "orders"])
    [request] = sensor.tick()
    assert set(request.asset_selection or []) == DERIVED
    materialise(business, instance, *(key.path for key in request.asset_selection or []))
    assert sensor.tick() == []
    assert business.members("gold_by_email") == 2


def test_a_run_of_everything_needs_no_other(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """A run that brought profiles and audiences up to date itself isn't followed by another."""
    sensor = Sensor(business, "bring_up_to_date", instance)
    assert materialise(business, instance).success
    assert sensor.tick() == []
    assert json.loads(sensor.cursor or "{}")["waiting"] == []


def test_a_run_that_was_blocked_is_followed_by_another(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """An attribute that is set aside keeps the other attributes' news back for a moment only."""
    materialise(business, instance)
    sensor = Sensor(business, "bring_up_to_date", instance)
    sensor.tick()
    business.crm(*((n, f"C{n}", "brass", "true", "2026-02-05 10:00:00") for n in range(1, 6)))
    assert not materialise(business, instance).success
    assert len(sensor.tick()) == 1
    assert sensor.tick() == []


def test_profiles_without_audiences_are_followed_by_audiences(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """Profiles that were brought up to date by hand take the audiences along."""
    materialise(business, instance)
    sensor = Sensor(business, "bring_up_to_date", instance)
    sensor.tick()
    materialise(business, instance, ["identities"], ["profiles"])
    assert len(sensor.tick()) == 1


def test_its_own_run_that_failed_starts_no_other(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """A lasting error in profiles or audiences doesn't start one run after another."""
    materialise(business, instance, ["crm", "tier"])
    sensor = Sensor(business, "bring_up_to_date", instance)
    [request] = sensor.tick()
    (business.folder / "lake" / "profiles").write_text("in the way")
    job = business.definitions().resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=instance,
        raise_on_error=False,
        tags={BY_TAG: "bring_up_to_date"},
        asset_selection=list(request.asset_selection or []),
    )
    assert not result.success
    assert sensor.tick() == []


def test_a_system_that_moves_faster_than_it_is_read_fills_no_queue(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """A run that waits for the system's pool reads all that has moved since it was asked for."""
    sensor = Sensor(business, "crm_changed", instance)
    [request] = sensor.tick()
    queued = queue(business, instance, "crm_changed", request)
    business.crm((1, "C1", "silver", "true", "2026-02-05 10:00:00"))
    assert sensor.tick() == []
    assert "queue" in (sensor.skip_message or "")
    instance.delete_run(queued.run_id)
    assert sensor.tick() == []
    business.crm((1, "C1", "silver", "true", "2026-02-06 10:00:00"))
    assert len(sensor.tick()) == 1


def run_of(
    business: Business, instance: dg.DagsterInstance, sensor: str, request: dg.RunRequest
) -> bool:
    """A run that a sensor asked for, to its end; whether it succeeded."""
    result = (
        business.definitions()
        .resolve_implicit_global_asset_job_def()
        .execute_in_process(
            instance=instance,
            raise_on_error=False,
            tags={BY_TAG: sensor},
            asset_selection=list(request.asset_selection or []),
        )
    )
    return result.success


def test_a_run_that_failed_is_asked_for_again(
    business: Business, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a pause, twice as long after each failure; until it, or another run, has succeeded."""
    sensor = Sensor(business, "crm_changed", instance)
    [first] = sensor.tick()
    (business.folder / "lake").write_text("in the way")
    assert not run_of(business, instance, "crm_changed", first)
    assert sensor.tick() == []
    monkeypatch.setattr(sensors, "_FIRST_WAIT", timedelta())
    [again] = sensor.tick()
    assert keys(again) == keys(first)
    assert again.run_key != first.run_key
    assert not run_of(business, instance, "crm_changed", again)
    monkeypatch.setattr(sensors, "_FIRST_WAIT", timedelta(seconds=30))
    assert sensor.tick() == []
    monkeypatch.setattr(sensors, "_LONGEST_WAIT", timedelta())
    (business.folder / "lake").unlink()
    [third] = sensor.tick()
    queued = queue(business, instance, "crm_changed", third)
    assert sensor.tick() == []
    instance.delete_run(queued.run_id)
    assert run_of(business, instance, "crm_changed", third)
    assert sensor.tick() == []


def test_what_another_run_synced_since_is_not_asked_for_again(
    business: Business, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the schedule came before the pause was over."""
    monkeypatch.setattr(sensors, "_FIRST_WAIT", timedelta())
    sensor = Sensor(business, "crm_changed", instance)
    [first] = sensor.tick()
    (business.folder / "lake").write_text("in the way")
    assert not run_of(business, instance, "crm_changed", first)
    (business.folder / "lake").unlink()
    materialise(business, instance, ["crm", "tier"])
    assert [keys(request) for request in sensor.tick()] == [{"crm/email_opt_in"}]
    materialise(business, instance, ["crm", "email_opt_in"])
    assert sensor.tick() == []


def test_what_was_set_aside_is_not_asked_for_again(
    business: Business, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run failed, but to read the same again would set the same aside."""
    monkeypatch.setattr(sensors, "_FIRST_WAIT", timedelta())
    sensor = Sensor(business, "crm_changed", instance)
    [first] = sensor.tick()
    business.crm(*((n, f"C{n}", "lead", "true", "2026-02-02 10:00:00") for n in range(1, 11)))
    [moved] = sensor.tick()
    assert run_of(business, instance, "crm_changed", moved) is False
    assert sensor.tick() == []
    assert keys(first) == keys(moved)


def test_a_run_in_the_queue_will_see_what_is_new(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """While a run of the sensor's own waits in the queue, no second one is asked for."""
    sensor = Sensor(business, "bring_up_to_date", instance)
    materialise(business, instance, ["crm", "tier"])
    [request] = sensor.tick()
    queued = queue(business, instance, "bring_up_to_date", request)
    materialise(business, instance, ["shop", "orders"])
    assert sensor.tick() == []
    instance.delete_run(queued.run_id)
    materialise(business, instance, ["shop", "orders"])
    assert len(sensor.tick()) == 1


def test_what_is_declared_otherwise_is_synced_at_once(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """A changed identifier asks once for all of the sync's attributes, which stand until then."""

    def tick(cursor: str | None) -> tuple[list[dg.RunRequest], str | None]:
        sensor = business.definitions().get_repository_def().get_sensor_def("catalogue_changed")
        session = Session(business.workspace)
        context = dg.build_sensor_context(
            instance, cursor, sensor_name=sensor.name, resources={"session": session}
        )
        result = sensor.evaluate_tick(context)
        return list(result.run_requests or []), result.cursor

    materialise(business, instance)
    before = business.members("gold")
    asked, cursor = tick(None)
    assert asked == []
    path = business.folder / "catalog" / "sources" / "crm.yaml"
    path.write_text(path.read_text().replace("customer_id: customer_no", "customer_id: id"))
    materialise(business, instance, *(key.path for key in DERIVED))
    assert business.members("gold") == before
    [request], cursor = tick(cursor)
    assert keys(request) == {"crm/tier", "crm/email_opt_in"}
    assert tick(cursor)[0] == []
    assert materialise(business, instance, ["crm", "email_opt_in"]).success
    materialise(business, instance, *(key.path for key in DERIVED))
    assert business.members("gold") == before
    assert tick(None)[0] == []
