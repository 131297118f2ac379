"""What a run's tags may say, and what is told of those that can't be understood."""

from __future__ import annotations

import dagster as dg
import pytest

from profile_pipelines.orchestration.session import FULL_TAG, NOW_TAG
from profile_pipelines_tests.orchestration.conftest import Business


def run(
    business: Business, instance: dg.DagsterInstance, key: list[str], tags: dict[str, str]
) -> dg.ExecuteInProcessResult:
    return (
        business.definitions()
        .resolve_implicit_global_asset_job_def()
        .execute_in_process(
            instance=instance, raise_on_error=False, tags=tags, asset_selection=[dg.AssetKey(key)]
        )
    )


def told(result: dg.ExecuteInProcessResult) -> str:
    [failure] = result.get_step_failure_events()
    error = failure.step_failure_data.error
    assert error is not None
    return error.message


@pytest.mark.parametrize(
    "key", [["crm", "tier"], ["identities"], ["profiles"], ["audiences", "gold"]]
)
@pytest.mark.parametrize("moment", ["yesterday", "2026-03-01T12:00:00"])
def test_a_moment_that_is_none_is_told_as_that(
    business: Business, instance: dg.DagsterInstance, key: list[str], moment: str
) -> None:
    """Whatever the run makes: the tag is at fault, and no error of the program."""
    said = told(run(business, instance, key, {NOW_TAG: moment}))
    assert "must be a date and time with offset" in said
    assert "error of the program" not in said


@pytest.mark.parametrize(
    ("full", "reads_whole"), [("true", True), (" True", True), ("false", False)]
)
def test_a_run_reads_in_full_when_its_tag_says_so(
    business: Business, instance: dg.DagsterInstance, full: str, reads_whole: bool
) -> None:
    """In whatever letters it says it."""
    run(business, instance, ["crm", "tier"], {})
    result = run(business, instance, ["crm", "tier"], {FULL_TAG: full})
    [event] = result.asset_materializations_for_node("sync_crm")
    assert event.metadata["full_read"].value is reads_whole


def test_a_full_tag_that_is_mistyped_is_told(
    business: Business, instance: dg.DagsterInstance
) -> None:
    """Else who wants everything read anew would take an incremental read for that."""
    assert "must be true or false" in told(
        run(business, instance, ["crm", "tier"], {FULL_TAG: "yes"})
    )
