"""One sync: what is read, what changes, what is kept, what moves on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from profile_pipelines.errors import SourceError
from profile_pipelines.lake.table import Pinned
from profile_pipelines.live_check import check_live
from profile_pipelines.progress import HowFar
from profile_pipelines_tests.company import HOUR, START, Company, catalogue, stamp
from profile_pipelines_tests.deliveries import Receiver


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """A CRM alone, with status, tier and points."""
    return Company(tmp_path, catalogue(("crm",), ("status", "tier", "points")))


def _pinned(company: Company, system: str = "crm") -> Pinned:
    return company.workspace.lake.source(company.workspace.catalogue, system, "people").pin()


def _records(company: Company, system: str = "crm") -> dict[str, dict[str, Any]]:
    pinned = _pinned(company, system)
    rows = pinned.current(pinned.table.columns, "s")
    found = company.workspace.lake.engine.query(rows.sql, rows.relations).to_pylist()
    return {row["record_key"]: row for row in found}


def _files(company: Company) -> list[Path]:
    return sorted((company.folder / "lake").rglob("*"))


def test_new_changed_and_same_records_are_told_apart(company: Company) -> None:
    """Only what differs is counted and written; cursors leave out what is older."""
    company.put("crm", "1", no="1", changed=stamp(-3), tier="gold")
    company.put("crm", "2", no="2", changed=stamp(-2), tier="gold")
    first = company.sync("crm")
    assert (first.full, first.rows_read, first.changed) == (True, 2, 2)
    company.put("crm", "2", no="2", changed=stamp(-1), tier="silver")
    company.now += HOUR
    second = company.sync("crm")
    assert (second.full, second.rows_read, second.changed) == (False, 1, 1)
    assert _records(company)["2"]["tier"] == "silver"
    assert _pinned(company).seq == 2


def test_an_unchanged_source_is_not_even_read(company: Company) -> None:
    """The second sync writes nothing, but covers the attributes anew."""
    company.put("crm", "1", no="1", changed=stamp(-3), tier="gold")
    company.sync("crm")
    before = _files(company)
    company.now += HOUR
    result = company.sync("crm")
    assert (result.rows_read, result.changed, result.deleted) == (0, 0, 0)
    assert _files(company) == before
    assert company.workspace.ledger.coverage()["crm", "tier"] == START + HOUR


def test_a_record_with_the_cursors_own_time_is_not_missed(company: Company) -> None:
    """What comes later with exactly the newest time known is read all the same."""
    company.put("crm", "1", no="1", changed=stamp(-3), tier="gold")
    company.sync("crm")
    company.put("crm", "2", no="2", changed=stamp(-3), tier="silver")
    assert company.sync("crm").changed == 1
    assert set(_records(company)) == {"1", "2"}


def test_each_attributes_cursor_sees_ties_of_its_own(company: Company) -> None:
    """That another attribute's sync has seen the newest records says nothing about this one's."""
    company.put("crm", "1", no="1", changed=stamp(-3), tier="gold", points="1")
    company.sync("crm", "tier")
    company.sync("crm", "points")
    company.put("crm", "2", no="2", changed=stamp(-3), tier="silver", points="2")
    company.sync("crm", "tier")
    company.sync("crm", "points")
    assert _records(company)["2"]["points"] == 2


def test_an_older_version_changes_nothing(company: Company) -> None:
    """Of two versions the newer one stands, in whichever order they come."""
    company.put("crm", "1", no="1", changed=stamp(-2), tier="new")
    company.sync("crm")
    company.put("crm", "2", no="2", changed=stamp(-1))
    company.add("crm", "1", no="1", changed=stamp(-2), tier="new")
    company.add("crm", "1", no="1", changed=stamp(-2.5), tier="old")
    company.now += HOUR
    company.sync("crm")
    assert _records(company)["1"]["tier"] == "new"


def test_of_duplicates_in_one_sync_the_newest_wins(company: Company) -> None:
    """Several versions of one record in one read leave one record."""
    company.add("crm", "1", no="1", changed=stamp(-2), tier="old")
    company.add("crm", "1", no="1", changed=stamp(-1), tier="new")
    company.add("crm", "1", no="1", changed=stamp(-3), tier="older")
    result = company.sync("crm")
    assert (result.rows_read, result.changed) == (3, 1)
    assert _records(company)["1"]["tier"] == "new"


def test_a_future_time_counts_as_now(company: Company) -> None:
    """What bears a time in the future yields to what really comes later."""
    company.put("crm", "1", no="1", changed=stamp(10_000), tier="future")
    company.sync("crm")
    assert _records(company)["1"]["updated_at"] == START
    company.now += 2 * HOUR
    company.put("crm", "1", no="1", changed=stamp(1), tier="real")
    company.sync("crm")
    assert _records(company)["1"]["tier"] == "real"


def test_an_unchanged_future_time_writes_nothing(company: Company) -> None:
    """A record that stays in the future isn't new at every sync."""
    company.put("crm", "1", no="1", changed=stamp(10_000), tier="gold")
    company.sync("crm")
    version = _pinned(company).seq
    company.now += HOUR
    assert company.sync("crm").changed == 0
    company.now += HOUR
    assert company.sync("crm").changed == 0
    assert _pinned(company).seq == version


def test_a_future_time_does_not_hide_what_comes_after(company: Company) -> None:
    """The cursor stays at the times that have been: a source's clock may lag behind ours."""
    company.put("crm", "1", no="1", changed=stamp(-2))
    company.put("crm", "2", no="2", changed=stamp(10_000))
    company.sync("crm")
    company.put("crm", "3", no="3", changed=stamp(-1), tier="late")
    company.now += HOUR
    company.sync("crm")
    assert _records(company)["3"]["tier"] == "late"


def test_a_full_read_corrects_a_future_time(company: Company) -> None:
    """When a source takes its future time back, a full read follows it."""
    company.put("crm", "1", no="1", changed=stamp(10_000), tier="future")
    company.sync("crm")
    company.put("crm", "1", no="1", changed=stamp(-9), tier="real")
    company.sync("crm", full=True)
    assert _records(company)["1"]["tier"] == "real"


def test_a_soft_deleted_record_loses_its_values(company: Company) -> None:
    """A deletion mark empties the record and is counted; the mark alone is written once."""
    company.put("crm", "1", no="1", changed=stamp(-3), tier="gold", status="nonsense")
    company.put("crm", "2", no="2", changed=stamp(-3), status="active")
    company.sync("crm")
    company.put("crm", "1", no="1", changed=stamp(-1), tier="gold", status="nonsense", gone="yes")
    result = company.sync("crm")
    assert (result.changed, result.deleted) == (0, 1)
    record = _records(company)["1"]
    assert (record["deleted"], record["tier"], record["quarantine"]) == (True, None, None)
    version = _pinned(company).seq
    assert company.sync("crm", full=True).deleted == 0
    assert _pinned(company).seq == version


def test_a_deletion_time_deletes(company: Company) -> None:
    """The mark may be a flag or the time of the deletion; a false flag is none."""
    for key, gone in {"1": "2026-01-01T00:00:00Z", "2": "false", "3": "", "4": "1"}.items():
        company.put("crm", key, no=key, changed=stamp(-3), tier="gold", gone=gone)
    company.sync("crm")
    assert {key for key, record in _records(company).items() if record["deleted"]} == {"1", "4"}


def test_a_deletion_that_comes_first_stands(tmp_path: Path) -> None:
    """An older version that is delivered after the deletion doesn't bring the record back."""
    receiver = Receiver(tmp_path, catalogue(("crm",), ("tier",)))
    other = {"id": "2", "no": "2", "changed": stamp(-3)}
    deletion = {"id": "1", "no": "1", "changed": stamp(-1), "gone": "yes"}
    older = {"id": "1", "no": "1", "changed": stamp(-2), "tier": "gold"}
    receiver.deliver("crm", [other], now=START)
    receiver.deliver("crm", [deletion], now=START + HOUR)
    receiver.deliver("crm", [older], now=START + 2 * HOUR)
    receiver.settle(now=START + 2 * HOUR)
    assert receiver.customers.profiles().to_arrow()["customer_no"].to_pylist() == [["2"]]


def test_only_a_full_read_notices_absence(company: Company) -> None:
    """A record that is no longer there is deleted by the next full read, not by an increment."""
    company.put("crm", "1", no="1", changed=stamp(-3), tier="gold")
    company.put("crm", "2", no="2", changed=stamp(-3), tier="gold")
    company.sync("crm")
    company.remove("crm", "1")
    assert company.sync("crm").deleted == 0
    assert not _records(company)["1"]["deleted"]
    result = company.sync("crm", full=True)
    assert (result.full, result.deleted, result.changed) == (True, 1, 0)
    assert _records(company)["1"]["deleted"]
    assert company.sync("crm", full=True).deleted == 0


def test_full_reads_come_round(company: Company) -> None:
    """With `full_every`, everything is read once the time has passed since the last time."""
    declared = catalogue(("crm",), ("tier",))
    declared["systems"]["crm"]["syncs"]["people"]["full_every"] = "1d"
    company.declare(declared)
    company.put("crm", "1", no="1", changed=stamp(-3))
    company.put("crm", "2", no="2", changed=stamp(-3))
    assert company.sync("crm").full
    company.now += 23 * HOUR
    assert not company.sync("crm").full
    company.now += HOUR
    company.remove("crm", "1")
    assert company.sync("crm").deleted == 1


def test_a_returning_record_keeps_its_number(company: Company) -> None:
    """What was absent and comes back is the same record, with all of its values."""
    company.put("crm", "1", no="1", changed=stamp(-3), tier="gold", points="7")
    company.put("crm", "2", no="2", changed=stamp(-3))
    company.sync("crm")
    number = _records(company)["1"]["record_id"]
    company.remove("crm", "1")
    company.sync("crm", full=True)
    company.put("crm", "1", no="1", changed=stamp(-1), tier="gold", points="7")
    assert company.sync("crm").changed == 1
    record = _records(company)["1"]
    assert (record["record_id"], record["deleted"]) == (number, False)
    assert (record["tier"], record["points"]) == ("gold", 7)


def test_a_record_that_returns_in_a_partial_read_is_whole(company: Company) -> None:
    """Absence and return that only one attribute's sync has seen cost no other attribute."""
    company.put("crm", "1", no="1", changed=stamp(-3), tier="gold", points="7")
    company.sync("crm")
    company.remove("crm", "1")
    company.sync("crm", "tier", full=True)
    company.put("crm", "1", no="1", changed=stamp(-3), tier="gold", points="7")
    company.sync("crm", "tier", full=True)
    company.sync("crm", "points")
    assert _records(company)["1"]["points"] == 7


def test_attributes_are_synced_apart(company: Company) -> None:
    """Each attribute has its own cursor; those that aren't synced keep what is known."""
    company.put("crm", "1", no="1", changed=stamp(-3), tier="gold", points="1")
    company.sync("crm", "tier")
    assert _records(company)["1"]["points"] is None
    company.sync("crm", "points")
    company.put("crm", "1", no="1", changed=stamp(-2), tier="silver", points="2")
    company.sync("crm", "tier")
    record = _records(company)["1"]
    assert (record["tier"], record["points"]) == ("silver", 1)
    company.sync("crm", "points")
    assert _records(company)["1"]["points"] == 2


def test_a_record_leaves_the_quarantine_where_attributes_are_synced_apart(
    company: Company,
) -> None:
    """It lies there whole, as each of them read it, until it has an identifier."""
    company.put("crm", "1", changed=stamp(-3), status="active", tier="gold", points="-")
    for attribute in ("status", "tier", "points", "points"):
        company.sync("crm", attribute)
    quarantined = _records(company)["1"]["quarantine"]
    assert {each["attribute"] for each in quarantined} == {""}
    assert "active" in str(quarantined)
    assert "gold" in str(quarantined)
    company.now += HOUR
    company.put("crm", "1", no="1", changed=stamp(0.5), status="active", tier="gold", points="-")
    for attribute in ("status", "tier", "points"):
        company.sync("crm", attribute)
    left = _records(company)["1"]["quarantine"]
    assert [each["attribute"] for each in left] == ["points"]


def test_an_attribute_that_is_added_is_read_for_old_records(company: Company) -> None:
    """A new attribute is read whole, once; the others go on from their cursors."""
    company.declare(catalogue(("crm",), ("tier",)))
    company.put("crm", "1", no="1", changed=stamp(-3), tier="gold", points="1")
    company.put("crm", "2", no="2", changed=stamp(-2), tier="gold", points="2")
    company.sync("crm")
    company.declare(catalogue(("crm",), ("tier", "points")))
    assert _records(company)["1"]["points"] is None
    result = company.sync("crm")
    assert (result.full, result.changed) == (True, 2)
    assert {key: each["points"] for key, each in _records(company).items()} == {"1": 1, "2": 2}
    assert not company.sync("crm").full


def test_an_attribute_that_comes_back_is_read_anew(company: Company) -> None:
    """Nothing of the time before its removal from the catalogue is taken for granted."""
    company.put("crm", "0", no="10", changed=stamp(-9), tier="gold", points="0")
    company.put("crm", "1", no="1", changed=stamp(-3), tier="gold", points="1")
    company.sync("crm")
    company.declare(catalogue(("crm",), ("tier",)))
    company.put("crm", "2", no="2", changed=stamp(-2), tier="gold", points="2")
    company.sync("crm")
    _pinned(company).compact(company.workspace.lake.engine, force=True)
    company.declare(catalogue(("crm",), ("tier", "points")))
    company.sync("crm")
    points = {key: each["points"] for key, each in _records(company).items()}
    assert points == {"0": 0, "1": 1, "2": 2}


def test_a_changed_mapping_is_read_anew(company: Company) -> None:
    """Another source field, type-preserving rules or identifier rules make the cursor void."""
    company.put("crm", "1", no="1", changed=stamp(-3), tier="gold", status="active")
    company.sync("crm")
    declared = catalogue(("crm",), ("status", "tier", "points"))
    declared["systems"]["crm"]["syncs"]["people"]["attributes"]["tier"] = "status"
    company.declare(declared)
    assert company.sync("crm").full
    assert _records(company)["1"]["tier"] == "active"
    declared["attributes"]["tier"]["valid"] = {"in": ["gold"]}
    declared["attributes"]["tier"]["max_invalid"] = 1
    company.declare(declared)
    assert company.sync("crm").full
    assert _records(company)["1"]["tier"] is None
    assert not company.sync("crm").full
    declared["identifiers"]["customer_no"]["deny"] = ["1"]
    company.declare(declared)
    assert company.sync("crm").full
    assert _records(company)["1"]["id_customer_no"] is None


def test_a_system_without_times_writes_only_changes(company: Company) -> None:
    """Where records bear no time, everything is read and what differs is written."""
    declared = catalogue(("crm",), ("tier",))
    del declared["systems"]["crm"]["syncs"]["people"]["updated_at"]
    company.declare(declared)
    company.put("crm", "1", no="1", tier="gold")
    company.put("crm", "2", no="2", tier="gold")
    assert company.sync("crm").changed == 2
    company.now += HOUR
    company.put("crm", "2", no="2", tier="silver")
    result = company.sync("crm")
    assert (result.full, result.rows_read, result.changed) == (True, 2, 1)
    version = _pinned(company).seq
    company.now += HOUR
    assert company.sync("crm").changed == 0
    assert _pinned(company).seq == version


def test_a_failing_read_commits_nothing(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a system breaks off midway, lake and ledger are as they were."""
    declared = company.declared
    people = declared["systems"]["crm"]["syncs"]["people"]
    people["table"] = None
    people["query"] = (
        "select *, case tier when 'bomb' then abs(-9223372036854775807 - 1) else points end as fuse"
        " from people"
    )
    people["attributes"]["points"] = "fuse"
    company.declare(declared)
    monkeypatch.setattr("profile_pipelines.sources.sql._CELLS_AT_ONCE", 1)
    company.put("crm", "1", no="1", changed=stamp(-3), tier="gold")
    company.sync("crm")
    before = _files(company), company.workspace.ledger.coverage()
    for number in range(2, 6):
        company.put("crm", str(number), no=str(number), changed=stamp(-1), tier="silver")
    company.put("crm", "6", no="6", changed=stamp(-1), tier="bomb")
    company.now += HOUR
    read: list[HowFar] = []
    with pytest.raises(SourceError):
        company.sync("crm", progress=read.append)
    assert len(read) > 1
    assert (_files(company), company.workspace.ledger.coverage()) == before
    company.put("crm", "6", no="6", changed=stamp(-1), tier="gold")
    assert company.sync("crm").changed == 5


def test_a_full_read_tells_how_much_is_to_come(company: Company) -> None:
    """As many records as are known; of a first read, or of one of changes, nothing is known."""
    told: list[HowFar] = []
    for key in "123":
        company.put("crm", key, no=key, changed=stamp(-3), tier="gold")
    company.sync("crm", progress=told.append)
    company.put("crm", "4", no="4", changed=stamp(-1), tier="gold")
    for full in (False, True):
        company.now += HOUR
        company.sync("crm", full=full, progress=told.append)
    assert [(each.rows, each.expected) for each in told] == [(3, None), (4, None), (4, 4)]


def test_keys_may_be_left_out(company: Company) -> None:
    """Without a key the strongest identifier tells the records apart."""
    declared = catalogue(("crm",), ("tier",))
    del declared["systems"]["crm"]["syncs"]["people"]["key"]
    company.declare(declared)
    company.put("crm", "x", no=" c-007 ", changed=stamp(-3), tier="gold")
    company.put("crm", "y", email="A@x.de", changed=stamp(-3), tier="gold")
    company.put("crm", "z", no="7", changed=stamp(-2), tier="silver")
    company.sync("crm")
    found = {key: record["tier"] for key, record in _records(company).items()}
    assert found == {"customer_no:7": "silver", "email:a@x.de": "gold"}


def test_many_records_go_by_way_of_the_disk(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is larger than the spool's memory is spilled, and nothing is lost or doubled."""
    from profile_pipelines.landing import spool

    monkeypatch.setattr(spool.Spool.__init__, "__defaults__", (1,))
    monkeypatch.setattr("profile_pipelines.sources.sql._CELLS_AT_ONCE", 20)
    for number in range(20):
        company.put("crm", str(number), no=str(number + 1), changed=stamp(-3), points=str(number))
    result = company.sync("crm")
    assert (result.rows_read, result.changed) == (20, 20)
    assert sorted(each["points"] for each in _records(company).values()) == list(range(20))


def test_a_deletion_field_that_is_declared_later_holds_for_old_records(company: Company) -> None:
    """Another way to tell deleted records, or another table, is read from the beginning."""
    declared = catalogue(("crm",), ("tier",))
    del declared["systems"]["crm"]["syncs"]["people"]["deleted"]
    company.declare(declared)
    company.put("crm", "1", no="1", changed=stamp(-3), tier="gold", gone="yes")
    company.put("crm", "2", no="2", changed=stamp(-2), tier="gold")
    company.sync("crm")
    company.declare(catalogue(("crm",), ("tier",)))
    assert company.sync("crm").deleted == 1
    assert {key for key, record in _records(company).items() if record["deleted"]} == {"1"}


def test_keys_that_are_not_unique_are_told(company: Company) -> None:
    """A whole read says how many rows repeat a key, a live check does so of its sample."""
    company.declared["systems"]["crm"]["syncs"]["people"]["key"] = "status"
    company.declare(company.declared)
    for number in range(200):
        status = ("active", "churned", "prospect")[number % 3]
        company.put("crm", str(number), no=str(number + 1), changed=stamp(-3), status=status)
    workspace = company.workspace
    [live] = check_live(workspace.catalogue, now=company.now, sample=100).syncs
    assert live.repeated in (97, 98)
    assert "rows have the key of another row" in live.keys
    result = company.sync("crm")
    assert (result.rows_read, result.changed, result.repeated) == (200, 3, 197)


def test_keys_that_repeat_now_and_then_are_no_news(company: Company) -> None:
    """Sources repeat rows: one in a hundred is no reason to doubt the key."""
    for number in range(99):
        company.put("crm", str(number), no=str(number + 1), changed=stamp(-3), status="active")
    company.add("crm", "1", no="2", changed=stamp(-2), status="churned")
    workspace = company.workspace
    [live] = check_live(workspace.catalogue, now=company.now).syncs
    assert (live.repeated, live.keys) == (1, "")
    assert company.sync("crm").repeated == 1


def test_a_file_without_any_mapped_column_fails(tmp_path: Path) -> None:
    """Its records can't be told apart: the sync fails, as where only the identifiers lack."""
    declared = catalogue(("crm",), ("status",))
    crm = declared["systems"]["crm"]
    crm["connection"] = {"type": "files", "root": str(tmp_path)}
    crm["syncs"]["people"] = {
        "path": "people.csv",
        "identifiers": {"customer_no": "no", "email": "mail"},
        "attributes": {"status": "status"},
    }
    company = Company(tmp_path, declared)
    (tmp_path / "people.csv").write_text("a;b\n1;2\n")
    with pytest.raises(SourceError, match=r"crm.people: .* \(no, mail, status\): is it a header"):
        company.sync("crm")
    assert company.workspace.ledger.set_asides.all() == []
