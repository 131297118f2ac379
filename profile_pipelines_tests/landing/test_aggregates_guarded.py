"""The guard watches an aggregating sync twice: its children, and the customers' values."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from profile_pipelines.ledger import SetAside
from profile_pipelines_tests.company import HOUR, Company, stamp
from profile_pipelines_tests.landing.test_aggregates import customers, shop

KEYS = [str(number) for number in range(1, 41)]


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """Forty customers with a paid order each, synced once."""
    company = Company(tmp_path, shop())
    _rewrite(company, 40, hours=-9)
    company.sync("shop")
    company.now += HOUR
    return company


def _rewrite(company: Company, count: int, hours: float = -1, **values: str | None) -> None:
    whole = {"status": "PAID", "points": "5", "since": stamp(-99), **values}
    for key in KEYS[:count]:
        company.put("shop", key, no=key, changed=stamp(hours), **whole)


def _waiting(company: Company) -> list[SetAside]:
    return company.workspace.ledger.set_asides.newest("shop")


def _approve(company: Company) -> None:
    run = _waiting(company)[-1].run_id
    company.workspace.ledger.set_asides.approve(run, by="anna", now=company.now)
    company.now += HOUR


def test_children_that_would_be_deleted_stop_both_landings(company: Company) -> None:
    """Nothing of that read counts, and each step of the loss is let through by an approval."""
    for key in KEYS[:15]:
        company.remove("shop", key)
    company.put("shop", "40", no="40", changed=stamp(-1), status="PAID", points="7")
    result = company.sync("shop", full=True)
    assert {place: [str(e) for e in found] for place, found in result.set_aside.items()} == {
        "": ["15 of 40 records would be deleted (limit 20%)"]
    }
    assert all(entry.set_aside for entry in result.attributes.values())
    assert (customers(company)["1"]["spent"], customers(company)["40"]["spent"]) == (5, 5)
    _approve(company)
    result = company.sync("shop")
    assert result.full
    assert [str(each) for each in result.set_aside["spent"]] == [
        "15 of 40 values would be emptied (limit 20%)"
    ]
    # 15 of 40 counts may change
    assert customers(company)["1"]["orders"] == 0
    assert customers(company)["1"]["spent"] == 5
    _approve(company)
    result = company.sync("shop")
    assert (result.full, result.rows_read > 25, result.set_aside) == (False, False, {})
    assert customers(company)["1"]["spent"] is None
    assert _waiting(company) == []


def test_an_empty_answer_is_set_aside(company: Company) -> None:
    """A shop that comes back without any order leaves every customer as it was."""
    before = customers(company)
    for key in KEYS:
        company.remove("shop", key)
    result = company.sync("shop", full=True)
    assert str(result.set_aside[""][0]).startswith("the source came back empty: 40 of 40")
    assert customers(company) == before


def test_values_that_would_be_emptied_wait_alone(company: Company) -> None:
    """The others go on; what waits is computed when it is approved, though no child moved since."""
    _rewrite(company, 20, points=None, status="SENT")
    result = company.sync("shop")
    assert list(result.set_aside) == ["spent"]
    assert (customers(company)["1"]["spent"], customers(company)["1"]["states"]) == (5, ["sent"])
    company.now += HOUR
    assert list(company.sync("shop").set_aside) == ["spent"]
    _approve(company)
    assert company.sync("shop").set_aside == {}
    assert customers(company)["1"]["spent"] is None
    assert _waiting(company) == []


def test_what_is_as_it_should_be_again_ends_by_itself(company: Company) -> None:
    """Without an approval, as soon as the children have their values again."""
    _rewrite(company, 20, points=None)
    assert list(company.sync("shop").set_aside) == ["spent"]
    _rewrite(company, 20, hours=-0.5)
    company.now += HOUR
    assert company.sync("shop").set_aside == {}
    assert _waiting(company) == []


def test_invalid_children_are_approved_by_their_attribute(company: Company) -> None:
    """The attribute says which field's values can't be read, and an approval lets them be."""
    _rewrite(company, 4, points="many")
    result = company.sync("shop")
    assert [str(each) for each in result.set_aside["spent"]] == [
        "4 of 40 values of total are invalid (limit 5%)"
    ]
    assert customers(company)["1"]["spent"] == 5
    _approve(company)
    assert company.sync("shop").set_aside == {}
    assert customers(company)["1"]["spent"] is None
    assert customers(company)["5"]["spent"] == 5
    company.now += HOUR
    assert company.sync("shop").attributes["spent"].in_quarantine == 4


def test_a_lost_field_sets_aside_what_uses_it(company: Company) -> None:
    """The others are computed."""
    company.execute("shop", "alter table people rename column points to total_points")
    company.put("shop", "1", no="1", changed=stamp(-1), status="NEW")
    result = company.sync("shop")
    assert list(result.set_aside) == ["spent"]
    assert "the source has no field points" in str(result.set_aside["spent"][0])
    assert (customers(company)["1"]["paid"], customers(company)["1"]["spent"]) == (0, 5)


def test_by_another_identifier_one_field_sets_aside_all_of_a_sync(company: Company) -> None:
    """Nobody known is a customer any more then, so that no aggregate could stay; what is listed
    says so, and one approval lets all of it through."""
    _rewrite(company, 4, points="many")
    for each in KEYS:
        company.execute("shop", f"update people set email = 'C-{each}' where id = '{each}'")
    declared = copy.deepcopy(company.declared)
    sync = declared["systems"]["shop"]["syncs"]["people"]
    sync["identifiers"]["customer_no"] = "email"
    company.declare(declared)
    before = customers(company)
    result = company.sync("shop")
    assert list(result.set_aside) == ["", "spent"]
    assert all(entry.set_aside for entry in result.attributes.values())
    assert {each.place for each in _waiting(company)} == {"shop.people", "shop.spent"}
    assert customers(company) == before
    _approve(company)
    assert company.sync("shop").set_aside == {}
    assert _waiting(company) == []
    assert customers(company)["1"] == {**before["1"], "spent": None}
