"""Systems as assets: what their runs record, and what their checks hold back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta

import dagster as dg
import pytest
import yaml
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from profile_pipelines.orchestration.run import run_in_process
from profile_pipelines.orchestration.systems import CHECK, owners
from profile_pipelines.pipeline import DueSync
from profile_pipelines_tests.orchestration.conftest import NOW, Business, materialise


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {e.asset_key.path[-1]: e for e in result.get_asset_check_evaluations()}


def materialised(result: dg.ExecuteInProcessResult) -> set[str]:
    return {
        "/".join(event.materialization.asset_key.path)
        for event in (
            event.step_materialization_data for event in result.get_asset_materialization_events()
        )
    }


def spoil_tiers(business: Business) -> None:
    """Half of the tiers are no tier."""
    business.crm(*((n, f"C{n}", "brass", "true", "2026-02-02 10:00:00") for n in range(1, 6)))


def test_a_run_of_everything_materialises_every_asset(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """One run of everything reads both systems and fills profiles and audiences."""
    result = materialise(business, instance)
    assert result.success
    assert materialised(result) == {
        "crm/tier",
        "crm/email_opt_in",
        "shop/orders",
        "identities",
        "profiles",
        "audiences/gold",
        "audiences/gold_by_email",
    }
    assert (business.members("gold"), business.members("gold_by_email")) == (3, 2)


def test_an_attribute_records_counts_of_its_sync(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """A materialised attribute shows rows read and values, invalid or not, as numbers."""
    result = materialise(business, instance, ["crm", "tier"])
    [event] = result.asset_materializations_for_node("sync_crm")
    shown = {name: value.value for name, value in event.metadata.items()}
    assert shown["rows_read"] == shown["records_changed"] == shown["values_read"] == 10
    assert shown["invalid_values"] == 0


def test_a_subset_syncs_no_other_attribute(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """Selecting one attribute of a system covers that attribute alone."""
    assert materialise(business, instance, ["crm", "tier"]).success
    assert set(business.workspace().ledger.coverage()) == {("crm", "tier")}


def test_few_invalid_values_warn(business: Business, instance: dg.DagsterInstance) -> None:
    """Invalid values within the tolerance make the check warn, and hold nothing back."""
    business.crm(
        *((n, f"C{n}", "silver", "true", "2026-02-01 10:00:00") for n in range(11, 41)),
        (41, "C41", "brass", "true", "2026-02-01 10:00:00"),
    )
    result = materialise(business, instance)
    assert result.success
    tier = checks(result)["tier"]
    assert not tier.passed
    assert tier.severity is dg.AssetCheckSeverity.WARN
    assert tier.metadata["invalid_values"].value == 1


def test_a_check_warns_until_the_quarantine_is_empty(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """A run that finds nothing new doesn't make up for the values that lie in quarantine."""
    few = ((n, f"C{n}", "silver", "true", "2026-02-01 10:00:00") for n in range(11, 41))
    business.crm(*few, (41, "C41", "brass", "true", "2026-02-01 10:00:00"))
    materialise(business, instance)
    unchanged = checks(materialise(business, instance))["tier"]
    assert not unchanged.passed
    assert unchanged.metadata["in_quarantine"].value == 1
    business.crm((42, "C42", "gold", "true", "2026-02-02 10:00:00"))
    assert not checks(materialise(business, instance))["tier"].passed
    business.crm((41, "C41", "gold", "true", "2026-02-03 10:00:00"))
    assert checks(materialise(business, instance))["tier"].passed


def test_too_many_invalid_values_block_what_depends_on_them(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """An attribute that is set aside fails its own check only, and keeps the run from profiles."""
    materialise(business, instance)
    spoil_tiers(business)
    result = materialise(business, instance)
    assert not result.success
    found = checks(result)
    assert found["tier"].severity is dg.AssetCheckSeverity.ERROR
    assert not found["tier"].passed
    assert found["email_opt_in"].passed
    assert found["orders"].passed
    assert "profiles" not in materialised(result)
    assert business.members("gold") == 3


def test_an_attribute_that_is_set_aside_does_not_look_fresh(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """It isn't materialised, by which Dagster judges freshness; what the sync brought is."""
    materialise(business, instance)
    spoil_tiers(business)
    result = materialise(business, instance, ["crm", "tier"], ["crm", "email_opt_in"])
    assert materialised(result) == {"crm/email_opt_in"}
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["dagster/max_retries"] == "0"
    assert {name: each.passed for name, each in checks(result).items()} == {
        "tier": False,
        "email_opt_in": True,
    }
    business.crm(*((n, f"C{n}", "gold", "true", "2026-02-03 10:00:00") for n in range(1, 6)))
    result = materialise(business, instance, ["crm", "tier"])
    assert result.success
    assert materialised(result) == {"crm/tier"}


def test_a_set_aside_attribute_tells_why_and_is_let_through_by_a_tag(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """The failed check has counts and limit, and the run to approve; a tag with it lets it in."""
    materialise(business, instance)
    business.crm(*((n, f"C{n}", "silver", "true", "2026-02-02 10:00:00") for n in range(4, 31)))
    materialise(business, instance, now=NOW + timedelta(hours=1))
    business.crm(*((n, f"C{n}", None, "true", "2026-02-03 10:00:00") for n in range(1, 13)))  # type: ignore[arg-type]
    held = materialise(business, instance, now=NOW + timedelta(hours=2))
    tier = checks(held)["tier"]
    assert tier.severity is dg.AssetCheckSeverity.ERROR
    assert "12 of 30 values would be emptied (limit 20%)" in (tier.description or "")
    assert held.run_id in (tier.description or "")
    assert tier.metadata["set aside: emptied, of"].value == 30
    assert business.members("gold") == 3
    job = business.definitions().resolve_implicit_global_asset_job_def()
    now = (NOW + timedelta(hours=3)).isoformat()
    tags = {"profile_pipelines/now": now, "profile_pipelines/approve": held.run_id[-8:]}
    approved = job.execute_in_process(instance=instance, tags=tags)
    assert checks(approved)["tier"].passed
    assert business.members("gold") == 0
    assert job.execute_in_process(instance=instance, tags=tags).success  # as a retried run is


def test_a_limit_below_one_percent_is_told_as_it_is(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """Where the check says what it looks at, and where it says what was beyond the limit."""
    path = business.folder / "catalog" / "attributes.yaml"
    path.write_text(path.read_text().replace("24h,", "24h, max_invalid: 0.4%,"))
    spoil_tiers(business)
    tier = checks(materialise(business, instance, ["crm", "tier"]))["tier"]
    assert "5 of 10 values are invalid (limit 0.4%)" in (tier.description or "")
    described = {
        spec.asset_key.path[-1]: spec.description or ""
        for definition in business.definitions().asset_checks or []
        if isinstance(definition, dg.AssetChecksDefinition)
        for spec in definition.check_specs
    }
    assert "more than 0.4%" in described["tier"]


def test_a_lost_field_is_told_with_what_to_do(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """No approval brings it back, so the failed check names none."""
    materialise(business, instance)
    with closing(sqlite3.connect(business.folder / "crm.db")) as store:
        store.execute("alter table contacts rename column tier to grade")
    held = materialise(business, instance, now=NOW + timedelta(hours=1))
    described = checks(held)["tier"].description or ""
    assert "the source has no field tier" in described
    assert "Correct the mapping of the missing field in the catalogue" in described
    assert "approve" not in described


def test_no_value_of_a_customer_reaches_dagster(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """Events, metadata and check results hold counts and reasons, never a value."""
    spoil_tiers(business)
    result = materialise(business, instance)
    told = "".join(str(event) for event in result.all_events)
    assert "brass" not in told
    assert "C10" not in told


def test_a_system_that_cannot_be_read_fails_with_a_message(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """A missing table fails the run with the source's own words, without a traceback of ours."""
    (business.folder / "crm.db").unlink()
    result = materialise(business, instance, ["crm", "tier"])
    [failure] = result.get_step_failure_events()
    error = failure.step_failure_data.error
    assert error is not None
    assert "crm.contacts" in error.message
    assert error.cause is None


def test_an_error_of_the_program_tells_no_values(
    business: Business, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unforeseen exception is reported by its kind and place, since its text may hold values."""
    address = "@".join(["jane", "example.com"])

    def broken(*_: object, **__: object) -> None:
        raise ValueError(f"cannot convert {address}")

    monkeypatch.setattr("profile_pipelines.pipeline.sync", broken)
    result = materialise(business, instance, ["crm", "tier"])
    [failure] = result.get_step_failure_events()
    assert "ValueError in pipeline.py" in str(failure)
    assert "jane@example.com" not in str(failure)


def test_a_sync_that_fails_hides_no_check_of_another(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """What one sync set aside is told by its check, though another of the system's has failed."""
    path = business.folder / "catalog" / "sources" / "crm.yaml"
    declared = yaml.safe_load(path.read_text())
    consent = declared["syncs"]["contacts"]["attributes"].pop("email_opt_in")
    consents = {**declared["syncs"]["contacts"], "attributes": {"email_opt_in": consent}}
    declared["syncs"]["consents"] = consents
    path.write_text(yaml.safe_dump(declared, sort_keys=False))
    assert materialise(business, instance).success
    consents["table"] = "gone"
    path.write_text(yaml.safe_dump(declared, sort_keys=False))
    spoil_tiers(business)
    result = materialise(business, instance, now=NOW + timedelta(hours=1))
    [failure] = result.get_step_failure_events()
    assert "there is no table 'gone'" in str(failure)
    found = checks(result)
    assert set(found) == {"tier", "orders"}
    assert found["tier"].severity is dg.AssetCheckSeverity.ERROR
    assert not found["tier"].passed
    assert found["tier"].blocking
    key = dg.AssetCheckKey(dg.AssetKey(["crm", "tier"]), CHECK)
    [latest] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert latest.run_id == result.run_id
    assert latest.status is AssetCheckExecutionRecordStatus.FAILED


def test_a_check_that_breaks_tells_no_values_and_is_reported(
    business: Business, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> None:
    """Its error is told like that of any step, to Dagster and to who runs the pipeline."""
    address = "@".join(["jane", "example.com"])

    def broken(*_: object, **__: object) -> None:
        raise ValueError(f"cannot convert {address}")

    monkeypatch.setattr("profile_pipelines.ledger.set_asides.SetAsides.newest", broken)
    result = materialise(business, instance, ["shop", "orders"])
    [failure] = result.get_step_failure_events()
    assert "ValueError in" in str(failure)
    assert address not in str(failure)
    workspace = business.workspace()
    due = [DueSync("shop", "customers", ("orders",))]
    report = run_in_process(workspace, due, now=NOW, downstream=False)
    assert list(report.errors) == ["checks.shop"]


def test_a_check_before_any_sync_warns(business: Business, instance: dg.DagsterInstance) -> None:
    """A check that is run by hand before the first sync says that nothing was read."""
    job = dg.define_asset_job(
        "check", dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(["crm", "tier"]), CHECK))
    )
    definitions = dg.Definitions.merge(business.definitions(), dg.Definitions(jobs=[job]))
    result = definitions.resolve_job_def("check").execute_in_process(instance=instance)
    [tier] = result.get_asset_check_evaluations()
    assert not tier.passed
    assert "no sync" in (tier.description or "")


@pytest.mark.parametrize(
    ("declared", "shown"),
    [
        (None, []),
        ("privacy@example.com", ["privacy@example.com"]),
        ("Sales operations", ["team:sales-operations"]),
        ("team:crm", ["team:crm"]),
        ("crm@acme.consulting", ["team:crm-acme-consulting"]),
        ("jörg@example.com", ["team:jörg-example-com"]),
        ("???", []),
        ("team:", []),
    ],
)
def test_owners_are_shown_as_dagster_takes_them(declared: str | None, shown: list[str]) -> None:
    """An owner is an email address, or else becomes a team; Dagster takes few top-level domains."""
    assert owners(declared) == shown
    assert dg.AssetSpec("tier", owners=owners(declared)).owners == shown
