"""Rows of a table that come late: only the table's own count shows that they were left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from profile_pipelines.live_check import check_live
from profile_pipelines_tests.company import HOUR, Company, catalogue, stamp


def _company(folder: Path, **people: Any) -> Company:
    declared = catalogue(("crm",), ("tier",))
    declared["systems"]["crm"]["syncs"]["people"].update(people)
    company = Company(folder, declared)
    for key in "12":
        company.put("crm", key, no=key, changed=stamp(-1), tier="gold")
    company.run()
    return company


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """Two customers, who were read."""
    return _company(tmp_path)


def test_rows_that_come_late_are_counted_until_everything_is_read(company: Company) -> None:
    """Each read tells how many there are by now, `freshness` and the live check do, too."""
    company.put("crm", "3", no="3", changed=stamp(-500), tier="late")
    company.put("crm", "4", no="4", changed=stamp(0), tier="new")
    first = company.sync("crm")
    assert (first.changed, first.left_out) == (1, 1)
    company.settle()
    company.put("crm", "5", no="5", changed=stamp(-400), tier="late")
    assert company.sync("crm").left_out == 2
    company.settle()
    assert company.sync("crm").left_out == 2
    assert company.customers.left_out() == {"crm.people": 2}
    space = company.workspace
    [live] = check_live(space.catalogue, now=company.now, lake=space.lake).syncs
    assert live.late.startswith("2 records of the source were left out")
    assert company.sync("crm", full=True).left_out == 0
    assert company.customers.left_out() == {}
    company.settle()
    assert company.profile("3") == {"tier": "late"}


def test_what_is_read_is_not_taken_for_late(company: Company) -> None:
    """Rows that are new, changed, gone, or within `lateness`, and those that events named."""
    company.put("crm", "3", no="3", changed=stamp(0), tier="new")
    company.put("crm", "4", no="4", changed=stamp(-1.1), tier="within lateness")
    company.remove("crm", "1")
    assert company.sync("crm").left_out == 0
    company.settle()
    company.put("crm", "2", no="2", changed=stamp(1), tier="silver")
    company.add("crm", "5", changed=stamp(1), tier="unidentified")
    assert company.sync("crm").left_out == 0


def test_a_table_of_versions_has_more_rows_than_records(tmp_path: Path) -> None:
    """Where a key stands in several rows, only rows that were not read at all are counted."""
    company = _company(tmp_path)
    company.add("crm", "1", no="1", changed=stamp(-2), tier="silver")
    company.sync("crm", full=True)
    company.now += HOUR
    company.add("crm", "1", no="1", changed=stamp(0), tier="platinum")
    assert company.sync("crm").left_out == 0
    company.now += HOUR
    for key in "6789":
        company.add("crm", key, no=key, changed=stamp(-500), tier="late")
    assert company.sync("crm").left_out == 3


def test_children_that_come_late_are_counted(tmp_path: Path) -> None:
    """Orders that reach the shop's database late are no customers' yet."""
    declared = catalogue(("crm",), ("points",))
    declared["attributes"]["points"]["merge"] = "priority"
    declared["systems"]["crm"]["syncs"]["people"].update(
        identifiers={"customer_no": "no"}, attributes={"points": {"aggregate": "count"}}
    )
    company = Company(tmp_path, declared)
    company.put("crm", "1", no="1", changed=stamp(-1))
    company.run()
    company.put("crm", "2", no="1", changed=stamp(-500))
    assert company.sync("crm").left_out == 1
    assert company.customers.left_out() == {"crm.people": 1}
