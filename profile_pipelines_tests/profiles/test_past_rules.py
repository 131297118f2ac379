"""Receipts of a past moment follow the rules that held then, whatever is declared today."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines_tests.company import HOUR, START, Company, catalogue, stamp

LATER = START + 30 * timedelta(minutes=1)


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """A customer of whom two systems say something else, merged once."""
    declared = catalogue(("crm", "billing"), ("status", "tier", "points", "opt_in"))
    declared["attributes"]["points"]["merge"] = "priority"
    declared["attributes"]["opt_in"]["consent"] = "email"
    company = Company(tmp_path, declared)
    company.put("crm", "a", no="1", changed=stamp(-5), status="active", tier="gold", points="5",
                opt_in="yes")  # fmt: skip
    company.put("billing", "b", no="1", changed=stamp(-4), status="churned", tier="silver",
                points="9", opt_in="yes")  # fmt: skip
    company.run()
    return company


def _told(company: Company, attribute: str, moment: datetime | None = None) -> tuple[Any, ...]:
    """The value, its rule, who decided, who lost, and whether it was stale."""
    view = company.customers.profile("1", as_of=moment, now=company.now)
    value = view.values[attribute]
    receipt = value.receipt
    return (
        value.value,
        receipt.rule.partition(":")[0],
        [(each.system, each.value) for each in receipt.winners],
        [(each.system, each.value) for each in receipt.losers],
        value.stale,
    )


def _change(company: Company, **changes: dict[str, Any]) -> None:
    """Declare attributes otherwise, and run."""
    declared = copy.deepcopy(company.declared)
    for name, change in changes.items():
        declared["attributes"][name] |= change
        for system, each in declared["systems"].items():
            mapped = each["syncs"]["people"]["attributes"]
            mapped.pop(name, None)
            if system in declared["attributes"][name]["sources"]:
                mapped[name] = name
    company.declare(declared)
    company.run(full=True)


@pytest.mark.parametrize(
    ("change", "value", "winners"),
    [
        ({"merge": "max"}, 9, {"crm", "billing"}),
        ({"merge": "min"}, 5, {"crm", "billing"}),
        ({"merge": "latest"}, 9, {"billing"}),
        ({"sources": ["billing", "crm"]}, 9, {"billing"}),
        ({"sources": ["billing"]}, 9, {"billing"}),
    ],
)
def test_a_rule_that_changed(
    company: Company, change: dict[str, Any], value: int, winners: set[str]
) -> None:
    """Before it, the old one is told with its winners and losers; after it, the new one."""
    before = _told(company, "points")
    assert before == (5, "priority", [("crm", 5)], [("billing", 9)], False)
    _change(company, points=change)
    after = _told(company, "points")
    assert (after[0], {system for system, _ in after[2]}) == (value, winners)
    assert after[1] != "priority" or "sources" in change
    assert _told(company, "points", LATER) == before
    assert _told(company, "points", company.now) == after
    _change(company, points={"merge": "priority", "sources": ["crm", "billing"]})
    assert _told(company, "points") == before
    assert _told(company, "points", START + HOUR) == after
    assert _told(company, "points", LATER) == before


def test_a_combining_rule_that_was_given_up(company: Company) -> None:
    """Its winners are told as the merge of then recorded them; so does the history."""
    [first] = company.customers.history("1")
    before = _told(company, "opt_in")
    assert before[2] == [("crm", True), ("billing", True)]
    _change(company, opt_in={"merge": "priority", "consent": None})
    assert _told(company, "opt_in")[2] == [("crm", True)]
    assert _told(company, "opt_in", LATER) == before
    assert set(first.values["opt_in"][1]) == {"crm", "billing"}
    assert company.customers.history("1")[-1] == first


def test_freshness_is_that_of_then(company: Company) -> None:
    """What counted as fresh then did, whatever counts as fresh today."""
    company.now = START + 5 * HOUR
    assert not _told(company, "tier", START + 3 * HOUR)[-1]
    _change(company, tier={"fresh_within": "1h"})
    assert not _told(company, "tier", START + 3 * HOUR)[-1]
    company.now += 5 * HOUR
    assert _told(company, "tier", START + 8 * HOUR)[-1]
    _change(company, tier={"fresh_within": "48h"})
    assert not _told(company, "tier")[-1]
    assert _told(company, "tier", START + 8 * HOUR)[-1]
    assert not _told(company, "tier", START + 3 * HOUR)[-1]


def test_a_system_that_is_gone_has_its_receipt(company: Company) -> None:
    """A replaced system decided then, though it isn't declared any more."""
    before = {name: _told(company, name) for name in ("status", "tier", "points", "opt_in")}
    declared = copy.deepcopy(company.declared)
    del declared["systems"]["crm"]
    for attribute in declared["attributes"].values():
        attribute["sources"] = ["billing"]
    company.declare(declared)
    company.run(full=True)
    assert _told(company, "status")[2:4] == ([("billing", "churned")], [])
    assert {name: _told(company, name, LATER) for name in before} == before


def test_exports_of_the_past_name_the_winners_of_then(company: Company) -> None:
    """By the rule of the moment, also where it was of another kind."""
    _change(company, points={"merge": "max"})
    for moment, told in ((LATER, ("crm", 5)), (company.now, ("billing, crm", 9))):
        [row] = company.customers.profiles(as_of=moment, provenance=True).to_arrow().to_pylist()
        assert (", ".join(sorted(row["points__from"].split(", "))), row["points"]) == told


def test_receipts_between_a_sync_and_the_merge(company: Company) -> None:
    """They tell what the profile was merged of, until it is merged of what was synced since."""
    before = _told(company, "status")
    company.put("crm", "a", no="1", changed=stamp(0.5), status="prospect", tier="gold", points="5")
    company.sync("crm")
    assert _told(company, "status") == before
    company.settle()
    assert _told(company, "status")[2:4] == ([("crm", "prospect")], [("billing", "churned")])


def test_rules_that_stay_are_kept_once(company: Company) -> None:
    """Runs after which nothing is declared otherwise add nothing."""
    space = company.workspace
    state = space.lake.profiles(space.catalogue).pin().state
    company.run()
    company.put("crm", "a", no="1", changed=stamp(0.5), status="prospect")
    company.run()
    assert space.lake.profiles(space.catalogue).pin().state["rules"] == state["rules"]
    assert {len(each) for each in state["rules"].values()} == {1}
