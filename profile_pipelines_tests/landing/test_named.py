"""Records that events named: read by their keys, committed, and only then forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines import pipeline
from profile_pipelines.errors import SourceError
from profile_pipelines.landing.named import NamedResult
from profile_pipelines.ledger.inbox import Inbox, Named
from profile_pipelines_tests.company import HOUR, START, Company, catalogue, stamp
from profile_pipelines_tests.sources.api_server import Answer, Api, answer, serving


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """A CRM with three records that were synced."""
    declared = catalogue(("crm",), ("status", "tier"))
    declared["audiences"]["active"] = {"where": {"status": {"is": "active"}}}
    made = Company(tmp_path, declared)
    for key in "123":
        made.put("crm", key, no=key, changed=stamp(-5), status="active", tier="gold")
    made.run()
    return made


def name(company: Company, *keys: str, **what: Any) -> None:
    """Events that name records."""
    named = [Named("crm", "people", key, **what) for key in keys]
    company.workspace.ledger.inbox.store(named, [], now=company.now)


def read(company: Company) -> NamedResult:
    return pipeline.sync_named_records(
        company.workspace, "crm", "people", now=company.now, run_id=company.run_id
    )


def waiting(company: Company) -> int:
    return sum(company.workspace.ledger.inbox.syncs_waiting().values())


def test_only_the_named_records_are_read(company: Company) -> None:
    """A named record shows its change; another that changed too waits for its own event."""
    for key in "12":
        company.put("crm", key, no=key, changed=stamp(-1), status="churned", tier="gold")
    name(company, "1", "1")
    result = read(company)
    assert (result.events, result.rows_read, result.changed) == (2, 1, 1)
    assert waiting(company) == 0
    company.settle()
    assert company.profile("1")["status"] == "churned"
    assert company.profile("2")["status"] == "active"


def test_cursor_and_coverage_stay(company: Company) -> None:
    """The next sync still finds what changed before the named record, and nothing is fresher."""
    before = company.workspace.ledger.coverage()
    company.put("crm", "2", no="2", changed=stamp(-2), status="churned", tier="gold")
    company.put("crm", "1", no="1", changed=stamp(-1), status="churned", tier="gold")
    name(company, "1")
    read(company)
    assert company.workspace.ledger.coverage() == before
    assert company.sync("crm").changed == 1
    company.settle()
    assert company.profile("2")["status"] == "churned"


def test_a_named_record_that_is_gone_is_deleted(company: Company) -> None:
    """Its values go; a key that was never known adds nothing."""
    company.remove("crm", "1")
    name(company, "1", "nobody")
    result = read(company)
    assert (result.changed, result.deleted) == (0, 1)
    company.settle()
    assert company.profile("2")["status"] == "active"
    members = company.workspace.lake.audience("active").pin().state["counts"]["members"]
    assert members == 2


def test_the_guard_knows_what_events_took_away(tmp_path: Path) -> None:
    """A loss counts against the values that are left, not against those before the events."""
    company = Company(tmp_path, catalogue(("crm",), ("tier",)))
    keys = [str(number) for number in range(1, 101)]
    for key in keys:
        company.put("crm", key, no=key, changed=stamp(-5), tier="gold")
    company.run()
    for key in keys[:37]:
        company.put("crm", key, no=key, changed=stamp(0), tier=None)
    name(company, *keys[:20])
    read(company)
    assert "tier" in company.sync("crm").set_aside


def test_events_that_take_away_too_much_wait_for_an_approval(tmp_path: Path) -> None:
    """Nothing of them is committed; approved, they go through, and the approval is used up."""
    company = Company(tmp_path, catalogue(("crm",), ("tier",)))
    keys = [str(number) for number in range(1, 41)]
    for key in keys:
        company.put("crm", key, no=key, changed=stamp(-5), tier="gold")
    company.run()
    for key in keys[:20]:
        company.put("crm", key, no=key, changed=stamp(0), tier=None)
    name(company, *keys[:20])
    with pytest.raises(SourceError, match=r"tier: 20 of 40 values would be emptied.*approve"):
        read(company)
    assert waiting(company) == 20
    company.settle()
    assert company.profile("1") == {"tier": "gold"}
    set_asides = company.workspace.ledger.set_asides
    [held] = set_asides.open()
    set_asides.approve(held.run_id, by="anna", now=company.now)
    company.now += HOUR
    assert read(company).changed == 20
    assert (waiting(company), set_asides.open()) == (0, [])


def test_events_may_change_as_much_as_they_like(tmp_path: Path) -> None:
    """Consents that all customers withdraw at once hold for all of them at once."""
    company = Company(tmp_path, catalogue(("crm",), ("opt_in",)))
    keys = [str(number) for number in range(1, 41)]
    for key in keys:
        company.put("crm", key, no=key, changed=stamp(-5), opt_in="true")
    company.run()
    for key in keys:
        company.put("crm", key, no=key, changed=stamp(0), opt_in="false")
    name(company, *keys)
    assert read(company).changed == 40


def test_events_that_delete_too_much_wait(tmp_path: Path) -> None:
    """Deletions are counted against the living records, as those of a sync are."""
    company = Company(tmp_path, catalogue(("crm",), ("tier",)))
    keys = [str(number) for number in range(1, 41)]
    for key in keys:
        company.put("crm", key, no=key, changed=stamp(-5), tier="gold")
    company.run()
    name(company, *keys[:11], gone=True)
    with pytest.raises(SourceError, match="11 of 40 records would be deleted"):
        read(company)
    assert waiting(company) == 11


def test_an_old_update_after_a_deletion_brings_nothing_back(company: Company) -> None:
    """Whether a deleted record is there again is asked of the system, not of a late event."""
    record = {"id": "1", "no": "1", "changed": stamp(-1), "status": "active", "tier": "gold"}
    company.remove("crm", "1")
    name(company, "1", gone=True)
    name(company, "1", record=json.dumps(record))
    assert read(company).deleted == 1
    name(company, "1", record=json.dumps(record))
    assert (read(company).changed, waiting(company)) == (0, 0)
    company.put("crm", "1", no="1", changed=stamp(0), status="prospect", tier="gold")
    name(company, "1", record=json.dumps(record))
    assert read(company).changed == 1
    company.settle()
    assert company.profile("1")["status"] == "prospect"


def test_an_event_that_says_gone_needs_no_look(company: Company) -> None:
    """The system isn't asked for a record that its event calls deleted."""
    name(company, "1", gone=True)
    assert (read(company).rows_read, waiting(company)) == (0, 0)


def test_a_carried_record_is_taken_as_it_is(company: Company) -> None:
    """A record that stands in the event is landed without asking; an older one changes nothing."""

    def carry(status: str, hours: float) -> None:
        record = {"id": "1", "no": "1", "changed": stamp(hours), "status": status, "tier": "gold"}
        name(company, "1", record=json.dumps(record))

    carry("churned", -1)
    carry("prospect", -2)
    assert read(company).changed == 1
    company.settle()
    assert company.profile("1")["status"] == "churned"
    carry("prospect", -2)
    assert read(company).changed == 0


def test_killed_after_the_commit_it_is_done_again(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of the inbox outlive a crash between commit and removal; the second time is a no-op."""

    def crash(self: Inbox, numbers: list[int]) -> None:
        raise KeyboardInterrupt

    company.put("crm", "1", no="1", changed=stamp(-1), status="churned", tier="gold")
    name(company, "1")
    with monkeypatch.context() as patch:
        patch.setattr(Inbox, "remove", crash)
        with pytest.raises(KeyboardInterrupt):
            read(company)
    assert waiting(company) == 1
    assert (read(company).changed, waiting(company)) == (0, 0)
    company.settle()
    assert company.profile("1")["status"] == "churned"


@pytest.fixture
def api() -> Iterator[Api]:
    with serving() as made:
        yield made


@pytest.fixture
def over_http(api: Api, tmp_path: Path) -> Company:
    """The same CRM behind an API that gives one record at a time."""
    declared = catalogue(("crm",), ("status",))
    declared["systems"]["crm"]["connection"] = {
        "type": "rest",
        "base_url": api.url,
        "retries": 0,
        "allow_private": True,
    }
    sync = declared["systems"]["crm"]["syncs"]["people"]
    del sync["table"]
    sync |= {"path": "/people", "one": {"path": "/people/{id}", "record": "person"}}
    made = Company(tmp_path, declared)
    api.answers["/people"] = answer([person("a/1"), person("2")])
    made.run()
    return made


def person(key: str, **values: str) -> dict[str, str]:
    return {"id": key, "no": key, "changed": stamp(-3), "status": "active", **values}


def test_an_api_is_asked_for_each_record(over_http: Company, api: Api) -> None:
    """By its key in the path, escaped; one that is 404 or 410 is gone."""
    changed = person("a/1", status="churned", changed=stamp(-1))
    api.answers["/people/a/1"] = answer({"person": changed})
    api.answers["/people/2"] = answer({}, 404)
    name(over_http, "a/1", "2")
    result = read(over_http)
    assert (result.rows_read, result.changed, result.deleted) == (1, 1, 1)
    assert b"/people/a%2F1" in {request.scope["raw_path"] for request in api.requests}


def test_when_nothing_is_there_the_path_is_doubted(over_http: Company, api: Api) -> None:
    """Eleven records of which the API has none: nothing is deleted, and the events stay."""
    keys = ["a/1", "2", *map(str, range(3, 12))]
    for key in keys:
        api.answers[f"/people/{key}"] = answer({}, 404)
    name(over_http, *keys)
    with pytest.raises(SourceError, match="check the path of `one`"):
        read(over_http)
    assert waiting(over_http) == 11


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (answer("", 204, content_type=""), "which doesn't say that it's gone"),
        (answer({"person": {"error": "busy"}}), "isn't the record: it has nothing at its key, id"),
        (answer({"person": None, "error": "busy"}), "`error`, an error"),
        (answer({"message": "busy"}), "nothing at `record: person`"),
        (answer("<html>busy</html>"), "a web page or XML"),
    ],
)
def test_what_is_no_record_is_not_gone(
    over_http: Company, api: Api, said: Answer, problem: str
) -> None:
    """Nothing is deleted, the events stay, and the endpoint is named without anybody's key."""
    api.answers["/people/a/1"] = said
    name(over_http, "a/1")
    with pytest.raises(SourceError, match=problem) as raised:
        read(over_http)
    assert str(raised.value).startswith("crm.people: /people/{id}: ")
    assert waiting(over_http) == 1


def test_an_api_that_is_down_keeps_the_events(over_http: Company, api: Api) -> None:
    """A fault on the way loses nothing."""
    api.answers["/people/2"] = answer({}, 503)
    name(over_http, "2")
    with pytest.raises(SourceError):
        read(over_http)
    assert waiting(over_http) == 1


def test_a_late_event_removes_nothing_that_came_back(company: Company) -> None:
    """A record that was changed after the event is asked of the system; any other is gone."""
    company.put("crm", "1", no="1", changed=stamp(0), status="prospect", tier="gold")
    company.run()
    name(company, "1", gone=True, happened_at=START - HOUR)
    name(company, "2", gone=True, happened_at=START - HOUR)
    result = read(company)
    assert (result.rows_read, result.deleted, waiting(company)) == (1, 1, 0)
    company.settle()
    assert company.profile("1")["status"] == "prospect"
    company.remove("crm", "1")
    name(company, "1", gone=True, happened_at=START - HOUR)
    assert read(company).deleted == 1


@pytest.mark.parametrize("known", [True, False], ids=["known", "carried"])
@pytest.mark.parametrize(("at", "stays"), [(-1, True), (1, False)])
def test_a_late_event_of_a_system_that_cannot_be_asked(
    tmp_path: Path, known: bool, at: float, stays: bool
) -> None:
    """The times decide, whichever of the two was delivered first."""
    declared = catalogue(("crm",), ("status",))
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "people.csv").write_text(
        f"id,no,email,changed,gone,status\n9,9,,{stamp(-9)},,active\n"
    )
    declared["systems"]["crm"]["connection"] = {"type": "files", "root": str(folder)}
    declared["systems"]["crm"]["syncs"]["people"]["path"] = "people.csv"
    del declared["systems"]["crm"]["syncs"]["people"]["table"]
    company = Company(tmp_path, declared)
    company.run()
    company.now += HOUR
    record = {"id": "1", "no": "1", "changed": stamp(0), "status": "prospect"}
    name(company, "1", record=json.dumps(record))
    if known:
        read(company)
    name(company, "1", gone=True, happened_at=START + at * HOUR)
    read(company)
    company.settle()
    found = company.customers.profiles().to_polars()
    assert ("1" in {each[0] for each in found["customer_no"].to_list()}) == stays
