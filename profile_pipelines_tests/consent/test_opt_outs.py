"""An opt-out outlives a change of identity: a customer's `false` isn't lost with an address."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines import privacy_steps
from profile_pipelines_tests.company import Company, catalogue


class Consents(Company):
    """A CRM that knows customer numbers, and a newsletter tool that knows addresses."""

    def __init__(self, folder: Path, merge: str = "most_restrictive") -> None:
        declared = catalogue(("crm", "news"), ("status", "opt_in"))
        declared["attributes"]["opt_in"] |= {
            "consent": "email", "fresh_within": "999 days", "merge": merge,
        }  # fmt: skip
        for attribute in declared["attributes"].values():
            attribute |= {"max_changed": "100%", "max_emptied": "100%"}
        for system in declared["systems"].values():
            system["syncs"]["people"] |= {"max_deleted": "100%"}
        super().__init__(folder, declared)

    def say(self, system: str, key: str, address: str, opt_in: str | None, **values: Any) -> None:
        self.put(
            system, key, email=address, opt_in=opt_in, changed=self.now.isoformat(), **values
        )  # fmt: skip

    def missing(self, number: str) -> str | None:
        """Why the customer may get no mail; None: they may."""
        (found,) = self.customers.consent_history(number, now=self.now).values()
        return found[0].missing

    def acts(self, number: str) -> list[tuple[bool, str | None]]:
        (found,) = self.customers.consent_history(number, now=self.now).values()
        return [(act.unsubscribed, act.by) for act in found[0].acts]


@pytest.fixture
def parted(tmp_path: Path) -> Consents:
    """The newsletter tool says no for an address that the CRM has changed since."""
    company = Consents(tmp_path)
    company.say("crm", "1", "a@x.example", "true", no="1")
    company.say("news", "n", "a@x.example", "false")
    company.run()
    assert company.missing("1") == "consent"
    company.say("crm", "1", "new@x.example", "true", no="1")
    company.run()
    return company


def test_an_opt_out_outlives_a_change_of_address(parted: Consents) -> None:
    """The customer keeps it, by the system that said it; nobody else gets it with the address."""
    assert parted.missing("1") == "consent"
    assert parted.acts("1") == [(True, "news")]
    parted.say("crm", "9", "b@x.example", "true", no="9")
    parted.say("crm", "1", "other@x.example", "true", no="1")
    parted.run()
    assert (parted.missing("1"), parted.missing("9")) == ("consent", None)
    assert parted.profile("1")["opt_in"] is False


def test_it_ends_when_somebody_says_so(parted: Consents) -> None:
    """And the identities' later changes don't bring it back."""
    privacy_steps.restore_consent(
        parted.workspace, "1", "email", by="ann", because="asked by phone", now=parted.now
    )
    parted.run()
    parted.say("crm", "1", "other@x.example", "true", no="1")
    parted.run()
    assert parted.missing("1") is None
    assert parted.acts("1") == [(False, "ann"), (True, "news")]


def test_it_ends_when_a_system_says_yes_after_a_no(parted: Consents) -> None:
    """A yes that was there before, or is only written again, doesn't."""
    parted.say("crm", "1", "new@x.example", "true", no="1", status="active")
    parted.run()
    assert parted.missing("1") == "consent"
    parted.say("crm", "1", "new@x.example", "false", no="1")
    parted.run()
    parted.say("crm", "1", "new@x.example", "true", no="1")
    parted.run()
    assert parted.missing("1") is None
    assert parted.acts("1") == [(False, "crm"), (True, "news")]


def test_it_outlives_a_change_of_address_on_the_other_side(tmp_path: Path) -> None:
    """The tool has another address now, or its record is gone altogether."""
    company = Consents(tmp_path)
    for no in "12":
        company.say("crm", no, f"{no}@x.example", "true", no=no)
        company.say("news", no, f"{no}@x.example", "false")
    company.run()
    company.say("news", "1", "other@x.example", "false")
    company.remove("news", "2")
    company.run(full=True)
    assert (company.missing("1"), company.missing("2")) == ("consent", "consent")


def test_who_changed_their_mind_before_is_free(tmp_path: Path) -> None:
    """The record said yes when it left; and one with a number takes its own no along."""
    company = Consents(tmp_path)
    company.say("crm", "1", "a@x.example", "true", no="1")
    company.say("news", "n", "a@x.example", "false")
    company.run()
    company.say("crm", "1", "new@x.example", "true", no="1")
    company.say("news", "n", "a@x.example", "true")
    company.run()
    assert company.missing("1") is None
    company.say("news", "m", "new@x.example", "false", no="1")
    company.run()
    assert company.missing("1") == "consent"
    company.say("news", "m", "new@x.example", "false", no="2")
    company.run()
    assert (company.missing("1"), company.missing("2")) == (None, "consent")


def test_a_no_that_decided_nothing_leaves_nothing(tmp_path: Path) -> None:
    """Where the CRM is trusted first, the tool's no was never the customer's."""
    company = Consents(tmp_path, merge="priority")
    company.say("crm", "1", "a@x.example", "true", no="1")
    company.say("news", "n", "a@x.example", "false")
    company.run()
    company.say("crm", "1", "new@x.example", "true", no="1")
    company.run()
    assert company.missing("1") is None


def test_a_record_of_nobodys_silences_all_who_have_its_address(tmp_path: Path) -> None:
    """While it says no: a mailbox of two customers joins it to neither."""
    company = Consents(tmp_path)
    for no in "12":
        company.say("crm", no, "home@x.example", "true", no=no)
    company.say("crm", "3", "c@x.example", "true", no="3")
    company.say("news", "n", "home@x.example", "false")
    company.run()
    assert [company.missing(no) for no in "123"] == ["consent", "consent", None]
    company.now += timedelta(hours=1)
    company.say("news", "n", "home@x.example", "true")
    company.run()
    assert [company.missing(no) for no in "123"] == [None, None, None]
