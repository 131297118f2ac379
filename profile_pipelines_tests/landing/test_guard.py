"""Syncs that would take away too much are set aside, shown, approved, and let through once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from profile_pipelines.errors import NotFound
from profile_pipelines.ledger import SetAside
from profile_pipelines.live_check import check_live
from profile_pipelines_tests.company import HOUR, START, Company, catalogue, stamp
from profile_pipelines_tests.sources.api_server import answer, serving

KEYS = [str(number) for number in range(1, 41)]


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """Forty customers in a CRM, synced once."""
    company = Company(tmp_path, catalogue(("crm",), ("status", "tier", "points")))
    for key in KEYS:
        company.put("crm", key, no=key, changed=stamp(-9), status="active", tier="gold", points="1")
    company.run()
    return company


def _rewrite(company: Company, count: int, hours: float = -1, **values: str | None) -> None:
    whole = {"status": "active", "tier": "gold", "points": "1", **values}
    for key in KEYS[:count]:
        company.put("crm", key, no=key, changed=stamp(hours), **whole)


def _waiting(company: Company) -> list[SetAside]:
    return company.workspace.ledger.set_asides.newest()


def _approve(company: Company, run: str | None = None) -> list[SetAside]:
    waiting = run or _waiting(company)[-1].run_id
    return company.workspace.ledger.set_asides.approve(waiting, by="anna", now=company.now)


def test_a_sync_that_would_empty_too_much_is_set_aside(company: Company) -> None:
    """The attribute's last good values stay and age; the others of the same sync go on."""
    _rewrite(company, 20, tier=None, points="2")
    [result] = company.run()
    assert result.attributes["tier"].set_aside
    assert [str(each) for each in result.set_aside["tier"]] == [
        "20 of 40 values would be emptied (limit 20%)"
    ]
    assert company.profile("1") == {"status": "active", "tier": "gold", "points": 2}
    assert company.workspace.ledger.coverage()["crm", "tier"] == START
    [waiting] = _waiting(company)
    assert (waiting.place, waiting.run_id, waiting.approved_at) == ("crm.tier", "run-02-13", None)


def test_values_that_change_have_a_limit_of_their_own(company: Company) -> None:
    """Half may change by default; a catalogue may allow all of it."""
    _rewrite(company, 20, points="2")
    assert not company.sync("crm").set_aside
    _rewrite(company, 21, -0.5, points="3")
    company.now += HOUR
    assert list(company.sync("crm").set_aside) == ["points"]
    declared = company.declared
    declared["attributes"]["points"]["max_changed"] = "100%"
    company.declare(declared)
    company.now += HOUR
    assert not company.sync("crm").set_aside
    assert _waiting(company) == []


def test_few_values_never_trip_the_guard(company: Company) -> None:
    """Ten lost values are a day's work, whatever share of a small table they are."""
    _rewrite(company, 10, tier=None)
    assert not company.sync("crm").set_aside


def test_deletions_set_aside_all_of_a_sync(company: Company) -> None:
    """Too many absent records: nothing of that read counts, and the next one reads whole again."""
    for key in KEYS[:11]:
        company.remove("crm", key)
    company.put("crm", "40", no="40", changed=stamp(-1), tier="silver")
    result = company.sync("crm", full=True)
    [excess] = result.set_aside[""]
    assert str(excess) == "11 of 40 records would be deleted (limit 20%)"
    assert (result.changed, result.deleted) == (0, 0)
    company.settle()
    assert company.profile("1")["tier"] == "gold"
    assert company.profile("40")["tier"] == "gold"
    assert company.sync("crm").full
    _approve(company)
    company.now += HOUR
    result = company.sync("crm")
    assert (result.full, result.deleted, result.set_aside) == (True, 11, {})


def test_an_empty_answer_is_always_set_aside(tmp_path: Path) -> None:
    """Also of a small table: a system that suddenly has nothing is rather broken than empty."""
    company = Company(tmp_path, catalogue(("crm",), ("tier",)))
    company.put("crm", "1", no="1", changed=stamp(-9), tier="gold")
    company.put("crm", "2", no="2", changed=stamp(-9), tier="gold")
    company.run()
    for key in ("1", "2"):
        company.remove("crm", key)
    [result] = company.run(full=True)
    assert str(result.set_aside[""][0]).startswith("the source came back empty: 2 of 2")
    assert company.profile("1") == {"tier": "gold"}
    _approve(company)
    assert company.run()[0].deleted == 2


def test_an_approval_lets_the_next_sync_through_once(company: Company) -> None:
    """What was seen may pass; another such sync is set aside again."""
    _rewrite(company, 20, tier=None)
    company.run()
    assert [each.approved_by for each in _approve(company)] == ["anna"]
    first = _approve(company)[0].approved_at
    company.now += HOUR
    assert _approve(company)[0].approved_at == first
    [result] = company.run()
    assert result.set_aside == {}
    assert "tier" not in company.profile("1")
    [used] = company.workspace.ledger.set_asides.all()
    assert used.closed_by is not None
    with pytest.raises(NotFound, match="is waiting"):
        _approve(company, used.run_id)
    company.now = START + 9 * HOUR
    _rewrite(company, 40, 5, tier=None)
    assert list(company.sync("crm").set_aside) == ["tier"]


def test_an_approval_covers_what_was_seen(company: Company) -> None:
    """A sync that would lose far more than was approved is set aside all the same."""
    _rewrite(company, 14, tier=None)
    company.run()
    _approve(company)
    _rewrite(company, 40, 0.5, tier=None)
    company.now += HOUR
    [result] = company.run()
    assert result.set_aside["tier"][0].count == 40
    assert company.profile("1")["tier"] == "gold"


def test_invalid_values_can_be_approved(company: Company) -> None:
    """Past `max_invalid` the good values come in after an approval, the bad ones in quarantine."""
    _rewrite(company, 30, status="Nonsense")
    assert company.run()[0].set_aside["status"][0].kind == "invalid"
    _approve(company)
    assert company.run()[0].set_aside["status"][0].kind == "emptied"
    _approve(company)
    assert company.run()[0].set_aside == {}
    assert "status" not in company.profile("1")


def test_a_source_that_corrects_itself_needs_no_approval(company: Company) -> None:
    """When the next sync is as it should be, nothing waits any longer."""
    _rewrite(company, 20, tier=None)
    company.run()
    _rewrite(company, 20, 0, tier="silver")
    [result] = company.run()
    assert result.set_aside == {}
    assert company.profile("1")["tier"] == "silver"
    assert _waiting(company) == []


def test_a_restored_backup_is_noticed(company: Company) -> None:
    """A source whose records are older than before is held, until someone says that it is right."""
    _rewrite(company, 5, -1, tier="silver")
    company.run()
    _rewrite(company, 5, -9, tier="gold")
    [result] = company.run()
    [excess] = result.set_aside[""]
    assert (excess.kind, excess.count) == ("backwards", 5)
    assert "2026-03-02 11:00:00 UTC was read before" in str(excess)
    assert company.profile("1")["tier"] == "silver"
    _approve(company)
    assert company.run()[0].set_aside == {}
    assert company.profile("1")["tier"] == "gold"
    assert not company.sync("crm").full


def test_a_full_read_that_is_asked_for_follows_the_source_back(company: Company) -> None:
    """Who asks for everything takes the source as it is."""
    _rewrite(company, 5, -1, tier="silver")
    company.run()
    _rewrite(company, 5, -9, tier="gold")
    [result] = company.run(full=True)
    assert result.set_aside == {}
    assert company.profile("1")["tier"] == "gold"


def test_a_newest_record_that_is_gone_is_a_deletion(company: Company) -> None:
    """That the newest time is missing leads to a whole read once, which finds the record gone."""
    company.put("crm", "99", no="99", changed=stamp(-1), tier="gold")
    company.run()
    company.remove("crm", "99")
    [result] = company.run()
    assert (result.full, result.deleted, result.set_aside) == (True, 1, {})
    company.put("crm", "98", no="98", changed=stamp(0), tier="gold")
    [result] = company.run()
    assert (result.full, result.changed) == (False, 1)


def test_a_record_that_comes_late_is_read(company: Company) -> None:
    """A record that was committed late, with a time shortly before the newest known, is seen."""
    company.put("crm", "50", no="50", changed=stamp(-0.1), tier="gold")
    company.run()
    company.put("crm", "1", no="1", changed=stamp(-0.3), tier="bronze")
    company.put("crm", "51", no="51", changed=stamp(0.5), tier="gold")
    company.run()
    assert company.profile("1")["tier"] == "bronze"


def test_times_ahead_of_the_clock_are_told(company: Company) -> None:
    """A source whose clock or zone is wrong is reported by the number of such records."""
    _rewrite(company, 3, 5)
    assert company.sync("crm").ahead == 3


def test_a_lost_field_stops_its_attribute_alone(company: Company) -> None:
    """The last good values stay, the others sync; when the field is back nothing was missed."""
    _rewrite(company, 5, -1, tier="silver", points="2")
    company.execute("crm", "alter table people rename column tier to tier_name")
    [result] = company.run()
    assert "the field tier is gone; it may be called tier_name now" in result.drift
    [excess] = result.set_aside["tier"]
    assert "the source has no field tier; did you mean tier_name" in str(excess)
    assert company.profile("1") == {"status": "active", "tier": "gold", "points": 2}
    assert ("crm", "tier") in company.workspace.ledger.coverage()
    with pytest.raises(NotFound, match="mapping in the catalogue"):
        _approve(company)
    [result] = company.run()
    assert result.drift == ()
    company.execute("crm", "alter table people rename column tier_name to tier")
    [result] = company.run()
    assert result.set_aside == {}
    assert company.profile("1")["tier"] == "silver"


def test_new_fields_are_told_once(company: Company) -> None:
    """A column that nobody maps changes nothing; a live check and the next sync name it."""
    company.execute("crm", "alter table people add column nickname")
    workspace = company.workspace
    [live] = check_live(workspace.catalogue, now=company.now, lake=workspace.lake).syncs
    assert live.drift == ("the field nickname is new",)
    assert company.run()[0].drift == live.drift
    assert company.run()[0].drift == ()


def test_new_and_retyped_fields_of_an_api_are_told_once(tmp_path: Path) -> None:
    """Its records tell them, mapped or not; one that some records lack isn't gone."""
    with serving() as api:
        declared = catalogue(("crm",), ("status",))
        crm = declared["systems"]["crm"]
        crm["connection"] = {
            "type": "rest", "base_url": api.url, "retries": 0, "allow_private": True
        }  # fmt: skip
        sync = crm["syncs"]["people"]
        del sync["table"]
        sync["path"] = "/people"
        company = Company(tmp_path, declared)

        def answers(**more: Any) -> None:
            record = {"id": "1", "no": "1", "changed": stamp(-9), "status": "active", "points": 7}
            api.answers["/people"] = answer([{**record, **more}])

        answers(nickname="Ada")
        assert company.run()[0].drift == ()
        answers(points="7", plan={"name": "plus", "x@example.com": 1})
        assert company.run()[0].drift == (
            "the field plan is new",
            "the field points has the type text now, not number",
        )
        answers(points=8, plan={"name": "plus", "price": 1})
        assert company.run()[0].drift == ("the field plan.price is new",)
        answers()
        assert company.run()[0].drift == ()


def test_a_path_that_no_record_has_any_more_stops_its_attribute(tmp_path: Path) -> None:
    """An API tells its fields by its records alone: many must have lost one, a few may."""
    with serving() as api:
        declared = catalogue(("crm",), ("status", "tier"))
        crm = declared["systems"]["crm"]
        crm["connection"] = {
            "type": "rest", "base_url": api.url, "retries": 0, "allow_private": True
        }  # fmt: skip
        sync = crm["syncs"]["people"]
        del sync["table"]
        sync["path"] = "/people"
        sync["attributes"]["tier"] = "plan.tier"
        company = Company(tmp_path, declared)
        first = {"changed": stamp(-9), "status": "active"}
        people = [{"id": key, "no": key, **first, "plan": {"tier": "gold"}} for key in KEYS]
        api.answers["/people"] = answer(people)
        assert company.run()[0].set_aside == {}

        lost = [
            {"id": key, "no": key, "changed": stamp(-1), "status": "churned"}
            if int(key) <= 15
            else {"id": key, "no": key, **first}
            for key in KEYS
        ]
        api.answers["/people"] = answer([*people[:-5], *lost[-5:]])
        assert company.run(full=True)[0].set_aside == {}
        assert company.profile("40") == {"status": "active"}
        api.answers["/people"] = answer(lost)
        [result] = company.run()
        assert [str(each) for each in result.set_aside["tier"]] == [
            "no record has the field plan.tier"
        ]
        assert company.profile("1") == {"status": "churned", "tier": "gold"}
        api.answers["/people"] = answer(people)
        [result] = company.run(full=True)
        assert result.set_aside == {}
        assert _waiting(company) == []
