"""`keep_history`: what was replaced long ago is forgotten; what is asked of the period is whole."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines.errors import CatalogueError
from profile_pipelines.profiles.view import history_of
from profile_pipelines.upkeep import forget_history
from profile_pipelines_tests.company import HOUR, START, Company, catalogue, stamp
from profile_pipelines_tests.privacy.canaries import found

DAY = timedelta(days=1)


def _declared() -> dict[str, Any]:
    made = catalogue(("crm", "billing"), ("status", "tier"))
    made["attributes"]["tier"]["keep_history"] = "10 days"
    for attribute in made["attributes"].values():
        attribute |= {"max_changed": "100%", "max_emptied": "100%", "max_invalid": "100%"}
    return made


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """A customer whose tier was a canary for a day, 20 days ago, and another who never changed."""
    company = Company(tmp_path, _declared())
    company.put("crm", "1", no="1", changed=stamp(-1), tier="TIERcanary", status="prospect")
    company.put("crm", "2", no="2", changed=stamp(-1), tier="old", status="active")
    company.put("billing", "1", no="1", changed=stamp(-2), tier="canary2", status="canary!")
    company.run()
    company.now = START + DAY
    company.put("crm", "1", no="1", changed=stamp(23), tier="silver", status="active")
    company.put("billing", "1", no="1", changed=stamp(23), tier="bronze", status="active")
    company.run()
    company.now = START + 20 * DAY
    company.put("crm", "1", no="1", changed=stamp(20 * 24 - 1), tier="gold", status="churned")
    company.run()
    return company


def test_what_was_replaced_long_ago_is_forgotten(company: Company) -> None:
    """No byte of the old value is left; the attributes whose history is kept lose nothing."""
    assert len([place for place in found(company.folder) if "sources" in place]) == 2
    assert forget_history(company.workspace, now=company.now) == {
        "profiles": 1, "sources/billing/people": 1, "sources/crm/people": 1,
    }  # fmt: skip
    assert found(company.folder) == [
        place for place in found(company.folder) if "sources/billing" in place
    ]
    then = company.customers.profile("1", as_of=START + HOUR, now=company.now)
    assert then.not_kept == ("tier",)
    assert then.values["tier"].value is None
    assert then.values["status"].value == "prospect"


def test_the_period_is_whole(company: Company) -> None:
    """What stood within it can be asked for, also where it is older; so can what stands now."""
    forget_history(company.workspace, now=company.now)
    assert company.profile("1") == {"tier": "gold", "status": "churned"}
    assert company.profile("2") == {"tier": "old", "status": "active"}
    early = company.customers.profile("1", as_of=company.now - 9 * DAY, now=company.now)
    assert (early.values["tier"].value, early.not_kept) == ("silver", ())
    [receipt] = [early.values["tier"].receipt]
    assert [each.system for each in receipt.winners] == ["crm"]


def test_the_history_tells_no_change_that_is_forgotten(company: Company) -> None:
    """Changes of other attributes are told as before."""
    forget_history(company.workspace, now=company.now)
    space = company.workspace
    changes = history_of(space.catalogue, space.lake, company.customers.profile("1").profile_id)
    told = [{name: value for name, (value, _) in each.values.items()} for each in changes]
    assert told == [
        {"tier": "gold", "status": "churned"},
        {"tier": "silver", "status": "active"},
        {"status": "prospect"},
    ]


def test_what_still_stands_keeps_its_receipt(tmp_path: Path) -> None:
    """A value has stood since it came, whatever else of its record changed since; one that came
    back has stood since it came again."""
    company = Company(tmp_path, _declared())
    receipts: dict[int, Any] = {}
    for day, (first, second) in enumerate(
        [("gold", "TIERcanary"), ("gold", "silver"), ("gold", "TIERcanary"), ("gold", "gold")]
    ):
        company.now = START + 2 * day * DAY
        for key, tier in (("1", first), ("2", second)):
            status = ["active", "churned"][day % 2]
            company.put("crm", key, no=key, changed=stamp(48 * day - 1), tier=tier, status=status)
        company.run()
        receipts[day] = _receipts(company, company.now)
    company.now += 30 * DAY
    before = [_receipts(company, company.now), _receipts(company, company.now - 9 * DAY)]
    space = company.workspace
    told = company.customers.history("1")
    assert forget_history(space, now=company.now) == {"profiles": 3, "sources/crm/people": 3}
    assert [_receipts(company, company.now), _receipts(company, company.now - 9 * DAY)] == before
    assert before[0]["1"] == receipts[0]["1"]
    assert before[0]["2"] == receipts[3]["2"]
    assert company.customers.history("1") == told
    assert forget_history(space, now=company.now + DAY) == {}


def _receipts(company: Company, moment: datetime) -> dict[str, Any]:
    """By customer: what is known of where the tier came from, and since when."""
    found: dict[str, Any] = {}
    for key in "12":
        view = company.customers.profile(key, as_of=moment, now=company.now)
        [winner] = view.values["tier"].receipt.winners
        found[key] = (winner.value, winner.changed_at, winner.synced_at, winner.run_id)
    return found


def test_once_a_day_and_again_changes_nothing(company: Company) -> None:
    """It is done on one day once; done again later, it finds what has become old since."""
    forget_history(company.workspace, now=company.now)
    assert forget_history(company.workspace, now=company.now + HOUR) == {}
    assert forget_history(company.workspace, now=company.now + DAY) == {}
    later = forget_history(company.workspace, now=company.now + 11 * DAY)
    assert later == {"profiles": 1, "sources/crm/people": 1}


def test_runs_go_on_as_before(company: Company) -> None:
    """A sync after it compares with what stands, and finds nothing new."""
    forget_history(company.workspace, now=company.now)
    company.now += HOUR
    results = [company.sync(system, full=True) for system in ("crm", "billing")]
    assert [(each.changed, each.deleted) for each in results] == [(0, 0), (0, 0)]
    _, profiles, _ = company.settle()
    assert not profiles.wrote


def test_conditions_cannot_ask_for_what_is_forgotten(tmp_path: Path) -> None:
    """An audience on older changes is a mistake of the catalogue."""
    made = _declared()
    made["audiences"]["moved"] = {"where": {"tier": {"changed_within": "11 days"}}}
    with pytest.raises(CatalogueError, match="history of this attribute is kept for 10d only"):
        Company(tmp_path, made)
