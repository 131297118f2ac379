"""Aggregates of customers with several accounts are those of all their children together."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from profile_pipelines_tests.company import HOUR, Company, stamp
from profile_pipelines_tests.landing.test_aggregates import (
    AGGREGATES,
    CHILD,
    EPOCH,
    MORE_AGGREGATES,
    model,
    put,
    shop,
)

ALL = {**AGGREGATES, **MORE_AGGREGATES}


def company_of(folder: Path, aggregates: dict[str, Any], **valid: Any) -> Company:
    """A shop whose orders bear a login, and a CRM that says whose login it is."""
    declared = shop(identifiers={"login": "no"}, attributes=aggregates)
    declared["identifiers"] = {
        "customer_no": {},
        "login": declared["identifiers"]["customer_no"],
    }
    declared["attributes"]["tier"] = {"type": "string", "sources": ["crm"], "fresh_within": "24h"}
    for name, rules in valid.items():
        declared["attributes"][name]["valid"] = rules
    declared["systems"]["crm"] = {
        "system": "crm",
        "kind": "crm",
        "connection": {"type": "sql", "url": ""},
        "syncs": {
            "people": {
                "table": "people",
                "key": "id",
                "identifiers": {"customer_no": "email", "login": "no"},
                "attributes": {"tier": "tier"},
            }
        },
    }
    return Company(folder, declared)


def whose(company: Company, login: str, customer: str | None) -> None:
    """The CRM knows the login as that of the customer, or not at all."""
    company.remove("crm", login)
    if customer is not None:
        company.add("crm", login, no=login, email=customer, tier="gold")


def profiles(company: Company) -> dict[str, dict[str, Any]]:
    """By login the profile that it belongs to."""
    rows = company.customers.profiles().to_arrow().to_pylist()
    return {login: row for row in rows for login in row["login"] or []}


LINKS = st.dictionaries(st.sampled_from("123"), st.none() | st.sampled_from("AB"), max_size=3)


@pytest.mark.slow
@settings(max_examples=10, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.lists(st.tuples(st.lists(CHILD, max_size=4), LINKS), min_size=1, max_size=5))
def test_all_children_of_a_customer_count(rounds: list[tuple[list[Any], dict[str, Any]]]) -> None:
    """Whatever happens to children, and however logins join and part, a profile has what its
    children make together; and the receipt, in plain Python, says the same. Without children there
    is no profile of it, unless another system knows the customer."""
    with tempfile.TemporaryDirectory() as folder:
        company = company_of(Path(folder), ALL)
        children: dict[str, dict[str, Any]] = {}
        links: dict[str, str | None] = {}
        ever: set[str] = set()
        for tick, (batch, linked) in enumerate(rounds, start=10):
            for child in batch:
                children[child["id"]] = {**child, "changed": tick}
                put(company, children[child["id"]])
            for login, customer in linked.items():
                whose(company, login, customer)
            links |= linked
            company.sync("crm")
            company.sync("shop", full=any(child["late"] for child in batch))
            company.settle()
            ever |= {children[child["id"]]["no"] for child in batch}
            owner = {login: links.get(login) or login for login in "123"}
            theirs = {key: {**each, "no": owner[each["no"]]} for key, each in children.items()}
            expected = model(theirs, {owner[login] for login in ever})
            living = {child["no"] for child in children.values() if not child["gone"]}
            # who is known by nothing but orders that are gone is nobody any more
            there = {login for login in ever if links.get(login) or login in living}
            found = profiles(company)
            assert {
                login: {name: row[name] for name in ALL}
                for login, row in found.items() if login in ever
            } == {login: expected[owner[login]] for login in there}  # fmt: skip
        for number in {row["profile_id"] for row in found.values()}:
            view = company.customers.profile(f"profile {number}", now=company.now)
            for name in ALL:
                receipt = view.values[name].receipt
                assert [each.value for each in receipt.winners] == (
                    [] if receipt.value is None else [receipt.value]
                )


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """A customer with two logins, of which the first has two orders and the second has one."""
    made = company_of(tmp_path, ALL, orders={"max": 4}, spent={"min": 0})
    for key, login, points in (("a", "1", "5"), ("b", "1", "6"), ("c", "2", "7")):
        made.put("shop", key, no=login, changed=EPOCH.isoformat(), status="PAID", points=points)
    for login in "12":
        whose(made, login, "A")
    made.run()
    return made


def test_a_receipt_says_of_how_many_records(company: Company) -> None:
    """An aggregate that is combined from two records says so, in the present and of the past."""
    before = company.now
    company.put("shop", "d", no="2", changed=stamp(-1), status="NEW", points="1")
    company.run()

    def receipt(**at: Any) -> tuple[Any, Any, int]:
        view = company.customers.profile("2", now=company.now, **at)
        [winner] = view.values["orders"].receipt.winners
        return view.values["orders"].value, winner.value, winner.records

    assert receipt() == (4, 4, 2)
    assert receipt(as_of=before - timedelta(minutes=30)) == (3, 3, 2)


def test_only_what_changed_is_merged_anew(company: Company) -> None:
    """A child of one login changes its customer's profile, and no other."""
    company.put("shop", "z", no="3", changed=stamp(-3), status="PAID", points="1")
    company.run()
    company.put("shop", "d", no="2", changed=stamp(-1), status="PAID", points="1")
    company.sync("shop")
    _, merged, _ = company.settle()
    assert (merged.created, merged.changed, merged.removed) == (0, 1, 0)
    assert profiles(company)["1"]["spent"] == 19


def test_a_refused_part_refuses_the_whole(company: Company) -> None:
    """What can't be right for one login isn't left out of the sum as if it weren't there."""
    company.put("shop", "c", no="2", changed=stamp(-1), status="PAID", points="-7")
    company.run()
    assert profiles(company)["1"]["spent"] is None
    [loser] = company.customers.profile("1", now=company.now).values["spent"].receipt.losers
    assert (loser.value, loser.invalid) == (None, "below the minimum 0")


def test_a_sum_that_is_not_valid_is_missing(company: Company) -> None:
    """Each login's count is right for itself; the customer's isn't, and the receipt says so."""
    for key in "xyz":
        company.put("shop", key, no="2", changed=stamp(-1), status="NEW")
    company.run()
    assert profiles(company)["1"]["orders"] is None
    [loser] = company.customers.profile("1", now=company.now).values["orders"].receipt.losers
    assert loser.invalid == "not valid, once its records are combined"


def test_a_sum_beyond_the_lakes_numbers_fails_nobody(tmp_path: Path) -> None:
    """It is missing, and all others are merged."""
    company = company_of(tmp_path, {"spent": {"aggregate": {"sum": "total"}}})
    most = str(2**63 - 1)
    for key, login, points in (("a", "1", most), ("b", "2", "1"), ("c", "3", "7")):
        company.put("shop", key, no=login, changed=EPOCH.isoformat(), points=points)
    for login in "12":
        whose(company, login, "A")
    company.run()
    assert [profiles(company)[login]["spent"] for login in "123"] == [None, None, 7]


def test_what_is_set_aside_keeps_its_order(tmp_path: Path) -> None:
    """The last value that stays was the last by the time that stays with it."""
    by = {"aggregate": {"last": "total", "by": "placed_at"}}
    company = company_of(tmp_path, {"spent": by})
    for number in range(1, 15):
        at = (EPOCH + timedelta(hours=number)).isoformat()
        company.put("shop", str(number), no=str(number), changed=stamp(-9), since=at, points="1")
    company.put("shop", "15", no="15", changed=stamp(-9), since=EPOCH.isoformat(), points="2")
    for login in ("14", "15"):
        whose(company, login, "A")
    company.run()
    later = (EPOCH + HOUR * 99).isoformat()
    for number in [*range(1, 13), 15]:
        key = str(number)
        company.put("shop", key, no=key, changed=stamp(-1), since=later, points="3")
    [result] = [each for each in company.run() if each.system == "shop"]
    assert list(result.set_aside) == ["spent"]
    assert profiles(company)["15"]["spent"] == 1


def test_who_is_gone_everywhere_goes(tmp_path: Path) -> None:
    """A count of 0 keeps nobody; who comes back is who they were, and has the 0 again."""
    company = company_of(tmp_path, {"orders": {"aggregate": "count"}})
    company.put("shop", "a", no="1", changed=stamp(-9))
    for login, customer in (("1", "A"), ("9", "B")):
        whose(company, login, customer)
    company.run()
    number = profiles(company)["1"]["profile_id"]
    company.put("shop", "a", no="1", changed=stamp(-8), gone="1")
    company.run()
    assert (profiles(company)["1"]["orders"], profiles(company)["1"]["tier"]) == (0, "gold")
    whose(company, "1", None)
    company.run(full=True)
    assert profiles(company).keys() == {"9"}
    whose(company, "1", "A")
    company.run()
    row = profiles(company)["1"]
    assert (row["profile_id"], row["orders"], row["tier"]) == (number, 0, "gold")
    whose(company, "1", None)
    company.run(full=True)
    company.put("shop", "b", no="1", changed=stamp(-7))
    company.run()
    row = profiles(company)["1"]
    assert (row["profile_id"], row["orders"], row["tier"]) == (number, 1, None)


def test_customers_follow_a_changed_normaliser(tmp_path: Path) -> None:
    """Children are counted for the customer whose spelling is theirs now, and for no one else;
    those that were deleted before are as before."""
    company = company_of(tmp_path, {"orders": {"aggregate": "count"}})
    declared = company.declared
    declared["identifiers"]["login"] = {"normalise": ["trim"]}
    company.declare(declared)
    for key, login, gone in (("a", "x", None), ("b", "X", None), ("c", "y", "1"), ("d", "y", None)):
        company.put("shop", key, no=login, changed=stamp(-9), gone=gone)
    whose(company, "X", "A")
    company.run()
    orders = {login: row["orders"] for login, row in profiles(company).items()}
    assert orders == {"x": 1, "X": 1, "y": 1}
    declared["identifiers"]["login"] = {"normalise": ["trim", "upper"]}
    company.declare(declared)
    company.run()
    orders = {login: row["orders"] for login, row in profiles(company).items()}
    assert orders == {"X": 2, "Y": 1}
    company.put("shop", "e", no="x", changed=stamp(-8))
    company.run()
    assert profiles(company)["X"]["orders"] == 3
