"""When schedules tick, and what their ticks ask for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profile_pipelines.orchestration.schedules import in_words
from profile_pipelines_tests.orchestration.conftest import Business
from profile_pipelines_tests.orchestration.test_sensors import ORIGIN

_FIELD = st.sampled_from(["*", "0", "7", "00", "*/5", "1,3", "1-3", "5"])
_CRONS = st.tuples(_FIELD, _FIELD, _FIELD, _FIELD, _FIELD).map(" ".join)


@pytest.fixture
def recorded() -> Iterator[dg.DagsterInstance]:
    """An instance that a schedule's tick can open again, as the daemon's code server does."""
    with dg.instance_for_test() as made:
        yield made


def schedule(business: Business, name: str) -> dg.ScheduleDefinition:
    found = business.definitions().get_repository_def().get_schedule_def(name)
    assert isinstance(found, dg.ScheduleDefinition)
    return found


def test_attributes_are_grouped_by_system_and_cadence(business: Business) -> None:
    """Each system has one schedule for each cadence, in the catalogue's time zone, running."""
    found = {
        name: schedule(business, name)
        for name in ("crm_every_15_minutes", "crm_every_5_minutes", "shop_daily_at_04_00")
    }
    assert [each.cron_schedule for each in found.values()] == [
        "*/15 * * * *",
        "*/5 * * * *",
        "0 4 * * *",
    ]
    assert {each.execution_timezone for each in found.values()} == {"Europe/Berlin"}
    assert {each.default_status for each in found.values()} == {dg.DefaultScheduleStatus.RUNNING}


def test_a_tick_syncs_the_attributes_of_its_cadence(
    business: Business, instance: dg.DagsterInstance, recorded: dg.DagsterInstance
) -> None:
    """The run that a tick starts covers the cadence's attributes, with their checks, only."""
    definitions = business.definitions()
    tick = dg.build_schedule_context(recorded, datetime(2026, 3, 1, 12, 5, tzinfo=UTC))
    request = schedule(business, "crm_every_5_minutes").evaluate_tick(tick)
    [asked] = request.run_requests or []
    job = definitions.resolve_job_def(schedule(business, "crm_every_5_minutes").job_name)
    result = job.execute_in_process(instance=instance, asset_selection=asked.asset_selection)
    assert result.success
    assert {e.asset_key for e in result.get_asset_materialization_events()} == {
        dg.AssetKey(["crm", "email_opt_in"])
    }
    assert len(result.get_asset_check_evaluations()) == 1


def test_a_schedule_that_comes_faster_than_its_runs_fills_no_queue(
    business: Business, recorded: dg.DagsterInstance
) -> None:
    """While a run of its own hasn't begun, a tick asks for none: it would find nothing to do."""
    recorded.create_run_for_job(
        business.definitions().resolve_implicit_global_asset_job_def(),
        tags={"dagster/schedule_name": "crm_every_5_minutes"},
        status=dg.DagsterRunStatus.QUEUED,
        remote_job_origin=ORIGIN,
    )
    at = datetime(2026, 3, 1, 12, 15, tzinfo=UTC)
    asked = {
        name: schedule(business, name)
        .evaluate_tick(dg.build_schedule_context(recorded, at))
        .run_requests
        for name in ("crm_every_5_minutes", "crm_every_15_minutes")
    }
    assert not asked["crm_every_5_minutes"]
    assert asked["crm_every_15_minutes"]


@pytest.mark.parametrize("other", ["00 04 * * *", "0  4 * * *", "0 4 ? * *"])
def test_spellings_of_one_cadence_are_one_schedule(business: Business, other: str) -> None:
    """Two attributes of a system whose schedules differ in zeros, blanks or `?` tick together."""
    path = business.folder / "catalog" / "sources" / "crm.yaml"
    path.write_text(
        path.read_text().replace("*/15 * * * *", "0 4 * * *").replace("*/5 * * * *", other)
    )
    attributes = business.folder / "catalog" / "attributes.yaml"
    attributes.write_text(attributes.read_text().replace("fresh_within: 1h", "fresh_within: 48h"))
    found = business.definitions().get_repository_def().schedule_defs
    assert [each.name for each in found if each.name.startswith("crm")] == ["crm_daily_at_04_00"]
    daily = schedule(business, "crm_daily_at_04_00")
    assert daily.description == "Syncs tier, email_opt_in of crm."


def test_the_clock_alone_brings_audiences_up_to_date(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """A schedule evaluates all audiences even where no source has changed."""
    definitions = business.definitions()
    name = schedule(business, "time_passes").job_name
    result = definitions.resolve_job_def(name).execute_in_process(instance=instance)
    assert result.success
    keys = {event.asset_key for event in result.get_asset_materialization_events()}
    assert dg.AssetKey(["audiences", "gold_by_email"]) in keys
    assert not any(key and key.path[0] in ("crm", "shop") for key in keys)


def test_the_lake_is_compacted_on_schedule(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """Upkeep is a job of its own, which tells what it did, and succeeds on an empty lake too."""
    job = business.definitions().resolve_job_def("compact_lake")
    result = job.execute_in_process(instance=instance)
    assert result.success
    (output,) = (
        event.step_output_data for event in result.all_events if event.is_successful_output
    )
    assert {name: told.value for name, told in output.metadata.items()} == {
        "tables_compacted": 0,
        "files_deleted": 0,
        "rows_forgotten": 0,
    }


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("*/5 * * * *", "every_5_minutes"),
        ("0 * * * *", "hourly_at_00"),
        ("30 4 * * *", "daily_at_04_30"),
        ("0 6 * * mon-fri", "cron_0__6__any__any__mon_to_fri"),
        ("0 6 ? * MON-FRI", "cron_0__6__any__any__mon_to_fri"),
    ],
)
def test_common_schedules_have_plain_names(cron: str, words: str) -> None:
    """A schedule's name says when it ticks."""
    assert in_words(cron) == words


@given(st.lists(_CRONS, unique=True, min_size=2, max_size=2))
def test_no_two_schedules_share_a_name(crons: list[str]) -> None:
    """Different schedules have different names, each of which Dagster takes."""
    first, second = map(in_words, crons)
    assert first != second or _same(*crons)
    assert first.replace("_", "a").isalnum()


def _same(first: str, second: str) -> bool:
    """The same but for leading zeros."""
    return first.replace("00", "0") == second.replace("00", "0")
