"""What fails validation: nulled, listed with its reason, and gone once the source corrects it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from profile_pipelines_tests.company import HOUR, START, Company, catalogue, stamp


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """A CRM alone; a status must be one of three."""
    return Company(tmp_path, catalogue(("crm",), ("status", "tier", "points")))


def _quarantine(company: Company) -> list[dict[str, Any]]:
    return company.customers.quarantine().to_arrow().to_pylist()


def _cells(company: Company) -> set[tuple[str, str, str]]:
    return {(q["record_key"], q["attribute"], q["value"]) for q in _quarantine(company)}


def _fill(company: Company, count: int = 9) -> None:
    for number in range(count):
        company.put("crm", f"good{number}", no=f"9{number}", changed=stamp(-5), status="active")


def test_a_bad_cell_is_nulled_and_listed(company: Company) -> None:
    """The record goes on without the value; its reason, run and source time are kept."""
    _fill(company)
    company.put("crm", "1", no="1", changed=stamp(-3), status="Nonsense", tier="gold")
    [result] = company.run()
    entry = result.attributes["status"]
    assert (entry.values_read, entry.invalid, entry.set_aside) == (10, 1, False)
    assert entry.reasons == {"not one of the allowed values": 1}
    assert result.quarantined == 1
    assert company.profile("1") == {"tier": "gold"}
    [found] = _quarantine(company)
    assert found == {
        "system": "crm",
        "sync": "people",
        "record_key": "1",
        "attribute": "status",
        "reason": "not one of the allowed values",
        "value": "Nonsense",
        "source_updated_at": START - 3 * HOUR,
        "recorded_at": START,
        "run_id": "run-02-12",
    }


@pytest.mark.parametrize("tags", ["", "  ", " , ;"])
def test_a_list_of_which_nothing_is_written_is_a_missing_value(tmp_path: Path, tags: str) -> None:
    """It says nothing: neither valid nor invalid, and `missing` in conditions."""
    declared = catalogue(("crm",), ("tags",))
    declared["audiences"] = {"untagged": {"where": {"tags": {"missing": True}}}}
    company = Company(tmp_path, declared)
    company.put("crm", "1", no="1", changed=stamp(-3), tags=tags)
    [result] = company.run()
    assert result.quarantined == 0
    assert company.profile("1") == {}
    assert len(company.customers.members("untagged").to_arrow()) == 1


@pytest.mark.parametrize("tags", ["[]", " [ ] ", "[null]"])
def test_an_empty_list_is_what_is_required(tmp_path: Path, tags: str) -> None:
    """It is a value, and valid whichever entries are; a missing one isn't."""
    declared = catalogue(("crm",), ("tags",))
    valid = {"required": True, "in": ["a", "b"]}
    declared["attributes"]["tags"] |= {"valid": valid, "max_invalid": "100%"}
    company = Company(tmp_path, declared)
    company.put("crm", "1", no="1", changed=stamp(-3), tags=tags)
    company.put("crm", "2", no="2", changed=stamp(-3), tags="a")
    company.put("crm", "3", no="3", changed=stamp(-3))
    company.run()
    assert company.profile("1") == {"tags": []}
    assert {key for key, _, _ in _cells(company)} == {"3"}
    assert {each["reason"] for each in _quarantine(company)} == {"is required"}


def test_a_bad_cell_does_not_fall_back_to_the_last_good_value(company: Company) -> None:
    """A value that turns bad is missing from then on: the old one may be wrong by now."""
    _fill(company)
    company.put("crm", "1", no="1", changed=stamp(-3), status="active")
    company.run()
    company.put("crm", "1", no="1", changed=stamp(-2), status="Nonsense")
    company.run()
    assert company.profile("1") == {}
    assert _cells(company) == {("1", "status", "Nonsense")}


def test_a_corrected_value_leaves_the_quarantine(company: Company) -> None:
    """Once the source has a valid value, nothing is left of the invalid one."""
    _fill(company)
    company.put("crm", "1", no="1", changed=stamp(-3), status="Nonsense", points="many")
    company.run()
    company.put("crm", "1", no="1", changed=stamp(-2), status="churned", points="many")
    company.run()
    assert _cells(company) == {("1", "points", "many")}
    assert company.profile("1") == {"status": "churned"}
    company.put("crm", "1", no="1", changed=stamp(-1), status="churned")
    company.run()
    assert _cells(company) == set()


def test_a_correction_is_seen_by_its_attributes_own_sync(company: Company) -> None:
    """The sync of one attribute leaves what is quarantined of another."""
    _fill(company)
    company.put("crm", "1", no="1", changed=stamp(-3), status="Nonsense", points="many")
    company.run()
    company.put("crm", "1", no="1", changed=stamp(-2), status="active", points="7")
    company.sync("crm", "points")
    assert _cells(company) == {("1", "status", "Nonsense")}
    company.sync("crm", "status")
    assert _cells(company) == set()


def test_a_deleted_records_values_leave_the_quarantine(company: Company) -> None:
    """Nobody has to correct what is gone."""
    _fill(company)
    for key in ("1", "2"):
        company.put("crm", key, no=key, changed=stamp(-3), status="Nonsense")
    company.run()
    company.put("crm", "1", no="1", changed=stamp(-2), status="Nonsense", gone="yes")
    company.run()
    assert _cells(company) == {("2", "status", "Nonsense")}
    company.remove("crm", "2")
    company.run(full=True)
    assert _cells(company) == set()


def test_a_record_without_an_identifier_is_quarantined_whole(company: Company) -> None:
    """Nothing of it counts; all of it is listed until the source names the customer."""
    _fill(company)
    company.put("crm", "1", no=" N/A ", email="none", changed=stamp(-3), status="active")
    [result] = company.run()
    assert result.bad_records == 1
    [found] = _quarantine(company)
    assert (found["record_key"], found["attribute"]) == ("1", "")
    assert found["reason"] == "no usable identifier"
    assert '"email": "none"' in found["value"]
    assert len(company.customers.profiles()) == 9
    company.put("crm", "1", no="1", changed=stamp(-2), status="active")
    company.run()
    assert _quarantine(company) == []
    assert company.profile("1") == {"status": "active"}


def test_too_many_bad_values_are_set_aside(company: Company) -> None:
    """Above `max_invalid` the last good values stay, and coverage doesn't advance; others go on."""
    for key in ("1", "2", "3", "4"):
        company.put("crm", key, no=key, changed=stamp(-3), status="active", tier="gold")
    company.run()
    for key in ("1", "2", "3"):
        company.put("crm", key, no=key, changed=stamp(-2), status="A", tier="silver")
    [result] = company.run()
    assert result.attributes["status"].set_aside
    assert not result.attributes["tier"].set_aside
    assert company.profile("1") == {"status": "active", "tier": "silver"}
    coverage = company.workspace.ledger.coverage()
    assert coverage["crm", "status"] == START
    assert coverage["crm", "tier"] == START + HOUR
    latest = company.workspace.ledger.latest_of("crm")["status"]
    assert latest is not None
    assert (latest.invalid, latest.set_aside) == (3, True)
    assert _cells(company) == {(key, "status", "A") for key in ("1", "2", "3")}


def test_bad_values_of_deleted_records_count_for_nothing(company: Company) -> None:
    """A system that overwrites what it deletes doesn't hold up the values of the others."""
    for key in ("1", "2", "3", "4"):
        company.put("crm", key, no=key, changed=stamp(-3), status="active", tier="gold")
    company.run()
    for key in ("1", "2", "3"):
        company.put("crm", key, no=key, changed=stamp(-2), status="deleted!", gone="true")
    company.put("crm", "4", no="4", changed=stamp(-2), status="churned", tier="gold")
    [result] = company.run()
    assert (result.attributes["status"].invalid, result.set_aside) == (0, {})
    assert company.profile("4")["status"] == "churned"
    assert _cells(company) == set()


def test_what_was_set_aside_is_read_again(company: Company) -> None:
    """The next sync tries the same values anew, and brings them once they are valid."""
    for key in ("1", "2", "3", "4"):
        company.put("crm", key, no=key, changed=stamp(-3), status="active", tier="gold")
    company.run()
    for key in ("1", "2", "3"):
        company.put("crm", key, no=key, changed=stamp(-2), status="A")
    company.run()
    [result] = company.run()
    assert result.attributes["status"].set_aside
    declared = company.declared
    declared["attributes"]["status"]["valid"] = {"in": ["active", "A"]}
    company.declare(declared)
    [result] = company.run()
    assert not result.attributes["status"].set_aside
    assert company.profile("1")["status"] == "A"
    assert company.profile("4")["status"] == "active"
    assert _cells(company) == set()


def test_the_first_sync_may_set_aside_too(company: Company) -> None:
    """Without good values before, a set-aside attribute is missing and never covered."""
    company.put("crm", "1", no="1", changed=stamp(-3), status="A", tier="gold")
    company.run()
    assert company.profile("1") == {"tier": "gold"}
    assert ("crm", "status") not in company.workspace.ledger.coverage()
    company.put("crm", "2", no="2", changed=stamp(-2), status="active")
    company.put("crm", "1", no="1", changed=stamp(-2), status="churned", tier="gold")
    company.run()
    assert company.profile("1") == {"status": "churned", "tier": "gold"}


@pytest.mark.parametrize(
    ("rules", "bad", "reason"),
    [
        ({"type": "integer"}, "12a", "not readable as integer"),
        ({"type": "integer"}, "1.5", "not readable as integer"),
        ({"type": "integer", "valid": {"min": 0}}, "-1", "below the minimum 0"),
        ({"type": "decimal", "valid": {"max": "9.5"}}, "9.5001", "above the maximum 9.5"),
        ({"type": "decimal"}, "1e99", "not readable as decimal"),
        ({"type": "boolean"}, "maybe", "not readable as boolean"),
        ({"type": "date"}, "2026-02-30", "not readable as date"),
        ({"type": "date", "valid": {"min": "2000-01-01"}}, "1999-12-31", "below the minimum"),
        ({"type": "timestamp"}, "yesterday", "not readable as timestamp"),
        ({"type": "list", "valid": {"in": ["a", "b"]}}, "a,x", "not one of the allowed values"),
        ({"type": "string", "valid": {"matches": "[A-Z]{2}"}}, "ABC", "not of the required form"),
        ({"type": "string", "valid": {"required": True}}, None, "is required"),
        ({"type": "string", "valid": {"required": True}}, "  ", "is required"),
    ],
)
def test_every_rule_names_its_reason(
    company: Company, rules: dict[str, Any], bad: str | None, reason: str
) -> None:
    """One bad value among many is counted and listed under the rule that it breaks."""
    good = {
        "integer": "1", "decimal": "1.5", "boolean": "yes", "date": "2026-01-01",
        "timestamp": "2026-01-01T10:00:00Z", "list": "a,b", "string": "AB",
    }  # fmt: skip
    declared = catalogue(("crm",), ("tier",))
    declared["attributes"]["tier"] = {"sources": ["crm"], "fresh_within": "1d", **rules}
    declared["attributes"]["tier"]["max_invalid"] = "20%"
    company.declare(declared)
    for number in range(9):
        company.put(
            "crm", f"g{number}", no=f"9{number}", changed=stamp(-3), tier=good[rules["type"]]
        )
    company.put("crm", "1", no="1", changed=stamp(-3), tier=bad)
    [result] = company.run()
    entry = result.attributes["tier"]
    [(found, count)] = entry.reasons.items()
    assert found.startswith(reason)
    assert (count, entry.set_aside) == (1, False)
    assert company.profile("1") == {}
    assert len(_quarantine(company)) == 1


def test_values_must_be_unique_over_the_records(company: Company) -> None:
    """A value that two records share is no value of either; versions of one record don't clash."""
    declared = catalogue(("crm",), ("tier",))
    declared["attributes"]["tier"]["valid"] = {"unique": True}
    company.declare(declared)
    for key, tier in {"1": "a", "2": "a", "3": "b", "4": "c", "5": "d", "6": "e"}.items():
        company.put("crm", key, no=key, changed=stamp(-3), tier=tier)
    company.add("crm", "3", no="3", changed=stamp(-2), tier="b")
    company.run()
    assert {cell[0] for cell in _cells(company)} == {"1", "2"}
    assert company.profile("3") == {"tier": "b"}
