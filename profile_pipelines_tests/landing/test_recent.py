"""The newest records, which every incremental read meets again for a while."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profile_pipelines_tests.company import Company, catalogue, stamp

_MINUTE = timedelta(minutes=1)
_JUST_NOW = -0.1


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """A CRM alone, with one customer that changed just now, and one with an invalid status."""
    company = Company(tmp_path, catalogue(("crm",), ("status", "tier")))
    company.put("crm", "1", no="1", changed=stamp(_JUST_NOW), tier="gold", status="active")
    company.put("crm", "2", no="2", changed=stamp(_JUST_NOW), tier="gold", status="gone fishing")
    company.sync("crm")
    company.now += _MINUTE
    return company


def _records(company: Company) -> dict[str, dict[str, Any]]:
    pinned = company.workspace.lake.source(company.workspace.catalogue, "crm", "people").pin()
    rows = pinned.current(pinned.table.columns, "s")
    found = company.workspace.lake.engine.query(rows.sql, rows.relations).to_pylist()
    return {row["record_key"]: row for row in found}


def test_what_came_before_writes_nothing_and_is_told_alike(company: Company) -> None:
    """Records that are met again change nothing, and their invalid values are still told."""
    before = sorted((company.folder / "lake").rglob("*"))
    result = company.sync("crm")
    assert (result.full, result.rows_read, result.changed) == (False, 2, 0)
    assert sorted((company.folder / "lake").rglob("*")) == before
    status = result.attributes["status"]
    assert (status.invalid, status.in_quarantine) == (1, 1)


def test_another_value_of_the_same_time_is_seen(company: Company) -> None:
    """A system that changes a record without another time, within `lateness`, is believed."""
    company.put("crm", "1", no="1", changed=stamp(_JUST_NOW), tier="silver", status="active")
    assert company.sync("crm").changed == 1
    assert _records(company)["1"]["tier"] == "silver"


def test_a_late_record_is_seen(company: Company) -> None:
    """One that appears later with a time before the newest known, within `lateness`."""
    company.put("crm", "3", no="3", changed=stamp(_JUST_NOW - 0.1), tier="late")
    assert company.sync("crm").changed == 1


def test_an_attribute_that_is_synced_alone_is_read(company: Company) -> None:
    """What was met for one attribute says nothing of another's values."""
    company.sync("crm", "tier")
    company.put("crm", "1", no="1", changed=stamp(_JUST_NOW), tier="gold", status="churned")
    company.sync("crm", "tier")
    assert _records(company)["1"]["status"] == "active"
    company.sync("crm", "status")
    assert _records(company)["1"]["status"] == "churned"


def test_other_rules_judge_the_same_records_anew(company: Company) -> None:
    """A rule that is declared meanwhile quarantines what came before."""
    declared = catalogue(("crm",), ("status", "tier"))
    declared["attributes"]["tier"]["valid"] = {"in": ["silver"]}
    declared["attributes"]["tier"]["max_invalid"] = 1.0
    company.declare(declared)
    company.sync("crm")
    assert _records(company)["1"]["tier"] is None


_CHANGES = st.lists(
    st.tuples(
        st.sampled_from("123"),
        st.sampled_from([-0.1, -0.05, 0.01, 0.05]),
        st.sampled_from(["gold", "silver", None]),
    ),
    max_size=3,
)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    syncs=st.lists(
        st.tuples(_CHANGES, st.sampled_from([("tier",), ("status",), None])),
        min_size=1,
        max_size=5,
    )
)
def test_short_cuts_lose_nothing(
    syncs: list[tuple[list[tuple[str, float, str | None]], tuple[str, ...] | None]],
) -> None:
    """However records change within `lateness`, incremental reads find what a whole one does."""
    with tempfile.TemporaryDirectory() as folder:
        company = Company(Path(folder), catalogue(("crm",), ("status", "tier")))
        times: dict[str, float] = {}
        for changes, chosen in syncs:
            for key, hours, tier in changes:
                if hours >= times.get(key, hours):
                    times[key] = hours
                    company.put("crm", key, no=key, changed=stamp(hours), tier=tier, status=tier)
            company.sync("crm", *(chosen or ()))
            company.now += _MINUTE
        company.sync("crm")
        incremental = _records(company)
        company.sync("crm", full=True)
        whole = _records(company)
    for key, record in incremental.items():
        for name in ("tier", "status"):
            assert record[name] == whole[key][name]
