"""A catalogue that changes between two runs ends where a fresh build with it would begin."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from profile_pipelines import pipeline
from profile_pipelines_tests.company import HOUR, Company, catalogue, stamp


def _company(folder: Path) -> Company:
    declared = catalogue(("crm", "billing"), ("status", "tier"))
    declared["audiences"] = {"active": {"where": {"status": {"is": "active"}}}}
    company = Company(folder, declared)
    company.put("crm", "1", no="1", email="a@x.de", changed=stamp(-50), status="active", tier="g")
    company.put("billing", "9", no="9", email="a@x.de", changed=stamp(-50), tier="s")
    return company


def _change(company: Company, change: Callable[[dict[str, Any]], object]) -> None:
    declared = copy.deepcopy(company.declared)
    change(declared["systems"])
    company.declare(declared)


def _profiles(company: Company) -> list[dict[str, Any]]:
    shown = company.customers.profiles().to_polars().sort("profile_id").to_dicts()
    return [{name: value for name, value in each.items() if value is not None} for each in shown]


def _members(company: Company) -> int:
    return int(company.customers.members("active").to_polars()["member"].sum())


def _rename(systems: dict[str, Any]) -> None:
    syncs = systems["crm"]["syncs"]
    syncs["contacts"] = syncs.pop("people")


def test_a_renamed_sync_is_due_at_once(tmp_path: Path) -> None:
    """Its schedule hasn't come round, but nothing of it was read under the new name."""
    company = _company(tmp_path)
    company.run()
    company.now -= HOUR
    assert pipeline.due_syncs(company.workspace, company.now) == []
    before = _profiles(company)
    _change(company, _rename)
    due = pipeline.due_syncs(company.workspace, company.now)
    assert [(each.system, each.sync) for each in due] == [("crm", "contacts")]
    fresh = company.customers.freshness(now=company.now)
    assert {each.stale for each in fresh if each.system == "crm"} == {True}
    [renamed] = due
    at = {"now": company.now, "run_id": "renamed"}
    assert pipeline.sync_attributes(company.workspace, renamed, **at).rows_read == 1
    company.settle()
    assert _profiles(company) == before


def test_what_a_renamed_sync_brought_is_held_until_it_is_read(tmp_path: Path) -> None:
    """Were its source down now, nobody would leave an audience for that."""
    company = _company(tmp_path)
    company.run()
    assert _members(company) == 1
    _change(company, _rename)
    company.settle()
    assert _members(company) == 1


def test_an_identifier_that_a_sync_no_longer_maps_links_nobody(tmp_path: Path) -> None:
    """At the next run, without a whole read."""
    company = _company(tmp_path)
    company.run()
    assert len(_profiles(company)) == 1
    _change(company, lambda s: s["billing"]["syncs"]["people"]["identifiers"].pop("email"))
    company.run()
    assert len(_profiles(company)) == 2


def test_other_words_for_deleted_are_read_anew(tmp_path: Path) -> None:
    """Records that were read long ago are judged by them, too."""
    company = _company(tmp_path)
    company.put("crm", "2", no="2", changed=stamp(-50), status="active", gone="archived")
    _change(company, lambda s: s["crm"]["syncs"]["people"].update(deleted_when=["yes"]))
    company.run()
    assert _members(company) == 2
    words = ["yes", "archived"]
    _change(company, lambda s: s["crm"]["syncs"]["people"].update(deleted_when=words))
    company.run()
    assert _members(company) == 1
