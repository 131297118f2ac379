"""Records with several values of an identifier: a list of addresses, say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines.errors import CatalogueError, NotFound
from profile_pipelines.identity.former import former_profiles, pairs_of
from profile_pipelines.privacy.erasure_request import requested
from profile_pipelines.privacy_steps import erase_people
from profile_pipelines_tests.company import HOUR, Company, catalogue


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """A CRM with lists of addresses, and a billing system that knows customers by one alone."""
    declared: dict[str, Any] = catalogue(attributes=("status", "tier"))
    declared["systems"]["crm"]["syncs"]["people"]["identifiers"]["email"] = {
        "field": "email",
        "many": True,
    }
    found = Company(tmp_path, declared)
    _contact(found, "1", "A@x.example", "b@x.example", "nonsense", "a@x.example")
    _contact(found, "2", "c@x.example")
    found.put("billing", "9", email="b@x.example", tier="pro", changed="2026-03-01")
    found.put("billing", "8", email="c@x.example", tier="mini", changed="2026-03-01")
    found.run()
    return found


def _contact(company: Company, number: str, *addresses: str, changed: str = "2026-03-01") -> None:
    company.put(
        "crm", number, no=number, email=json.dumps(addresses), status="active", changed=changed
    )


def _id(company: Company, identifier: str) -> int:
    return company.customers.profile(identifier, now=company.now).profile_id


def test_each_value_of_a_list_is_the_customers(company: Company) -> None:
    """By each the customer is found and joined with what other systems say of it."""
    assert company.profile("1") == {"status": "active", "tier": "pro"}
    assert company.profile("2") == {"status": "active", "tier": "mini"}
    view = company.customers.profile("b@x.example", now=company.now)
    assert view.identifiers == {"customer_no": ("1",), "email": ("a@x.example", "b@x.example")}
    assert _id(company, "a@x.example") == view.profile_id == 1
    identities, _, _ = company.settle()
    assert (identities.records, identities.profiles, identities.changed) == (4, 2, 0)


def test_lists_are_followed(company: Company) -> None:
    """A value that goes joins no more, one that comes joins; the customers stay who they were."""
    _contact(company, "1", "a@x.example", changed="2026-03-02")
    _contact(company, "2", "c@x.example", "b@x.example", changed="2026-03-02")
    company.run()
    assert company.profile("1") == {"status": "active"}
    assert (_id(company, "1"), _id(company, "2"), _id(company, "b@x.example")) == (1, 2, 2)
    identities = company.workspace.lake.identities(company.workspace.catalogue).pin()
    former = former_profiles(company.workspace.catalogue, company.workspace.lake, identities)
    assert pairs_of(former) == [(1, 2)]  # by the record of billing, which has moved


def test_a_value_that_is_given_up_is_nobodys(company: Company) -> None:
    """Who has it next is somebody else."""
    _contact(company, "1", "a@x.example", "b@x.example", "d@x.example", changed="2026-03-02")
    company.run()
    assert _id(company, "d@x.example") == 1
    _contact(company, "1", "a@x.example", "b@x.example", changed="2026-03-03")
    company.now += 24 * HOUR
    company.run()
    with pytest.raises(NotFound):
        _id(company, "d@x.example")
    _contact(company, "3", "d@x.example", changed="2026-03-03")
    company.run()
    assert _id(company, "d@x.example") == 3
    identities = company.workspace.lake.identities(company.workspace.catalogue).pin()
    former = former_profiles(company.workspace.catalogue, company.workspace.lake, identities)
    assert (1, 3) not in pairs_of(former)


def test_who_is_erased_is_kept_out_by_each_value(company: Company) -> None:
    """Also a record that has one of them among others."""
    space = company.workspace
    wanted = requested(
        space.catalogue, space.lake, space.ledger, [("people.txt:1: ", "b@x.example")]
    )
    erase_people(space, wanted.profiles, reference="DSR-1", by="officer", now=company.now)
    company.remove("crm", "1")
    _contact(company, "5", "new@x.example", "a@x.example", changed="2026-03-02")
    company.run(full=True)
    for gone in ("1", "5", "a@x.example", "b@x.example", "new@x.example"):
        with pytest.raises(NotFound):
            _id(company, gone)
    assert _id(company, "c@x.example") == 2


@pytest.mark.parametrize(
    ("identifiers", "told"),
    [
        ({"no": {"field": "no", "many": True}}, "key: is missing; without it"),
        (
            {"no": "no", "email": {"join": ["email", "tags"], "many": True}},
            "many goes with one field that has a list",
        ),
        (
            {"no": "no", "email": {"field": "email", "convert": ["first"], "many": True}},
            "many needs a list",
        ),
    ],
)
def test_many_needs_a_list_and_a_key(
    tmp_path: Path, identifiers: dict[str, Any], told: str
) -> None:
    """What can't be is told before anything is read."""
    declared: dict[str, Any] = catalogue()
    sync = declared["systems"]["crm"]["syncs"]["people"]
    del sync["key"]
    sync["identifiers"] = {
        {"no": "customer_no"}.get(name, name): field for name, field in identifiers.items()
    }
    with pytest.raises(CatalogueError, match=told):
        Company(tmp_path, declared)
