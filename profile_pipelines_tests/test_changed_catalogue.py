"""A catalogue that changes between two runs ends where a fresh build with it would begin."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines import pipeline
from profile_pipelines.errors import SourceError
from profile_pipelines_tests.company import HOUR, Company, catalogue, joining, stamp


def _company(folder: Path) -> Company:
    declared = joining(catalogue(("crm", "billing"), ("status", "tier")))
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


def _many(folder: Path, **people: Any) -> Company:
    """Thirty active customers of a CRM alone, whose second number and address are columns, too."""
    declared = catalogue(("crm",), ("status", "tier"))
    declared["identifiers"]["account"] = {}
    declared["attributes"]["tier"]["fresh_within"] = "400 days"
    declared["audiences"] = {"active": {"where": {"status": {"is": "active"}}}}
    people = {"identifiers": {"customer_no": "no"}, **people}
    declared["systems"]["crm"]["syncs"]["people"].update(people)
    declared["systems"]["crm"]["syncs"]["people"]["attributes"]["tier"] = {
        "field": "tier", "schedule": "0 0 1 1 *"}  # fmt: skip
    company = Company(folder, declared)
    for each in range(1, _CUSTOMERS + 1):
        company.put(
            "crm", f"k{each}", no=str(each), email=f"c{each}@x.de", seen=f"A{each}",
            changed=stamp(-50), status="active", tier="gold",
        )  # fmt: skip
    company.run()
    company.now -= HOUR
    assert (_members(company), pipeline.due_syncs(company.workspace, company.now)) == (30, [])
    return company


def _values(company: Company, names: tuple[str, ...] = ("profile_id", "status", "tier")) -> Any:
    return [{name: each[name] for name in names} for each in _profiles(company)]


_CUSTOMERS = 30
_CHANGES: dict[str, dict[str, Any]] = {
    "other identifiers": {"identifiers": {"account": "seen"}},
    "one identifier more": {"identifiers": {"customer_no": "no", "account": "seen"}},
    "another field": {"identifiers": {"customer_no": "points"}},
    "another key": {"key": "email"},
    "a key": {"key": "seen"},
    "a zone": {"zone": "Europe/Berlin"},
    "steps of the key": {"key": {"field": "id", "convert": ["upper"]}},
}


def _approved(company: Company, before: list[dict[str, Any]]) -> None:
    """All that is known would be of somebody else: it is set aside, told and let through."""
    held = company.sync("crm", "status")
    [excess] = held.set_aside[""]
    assert "new customers with new profile ids" in str(excess)
    company.settle()
    assert (_profiles(company), _members(company)) == (before, _CUSTOMERS)
    _approve(company)


def _approve(company: Company) -> None:
    set_asides = company.workspace.ledger.set_asides
    set_asides.approve(set_asides.open()[-1].run_id, by="anna", now=company.now)


@pytest.mark.parametrize("change", _CHANGES.values(), ids=_CHANGES)
@pytest.mark.parametrize("by_key", [True, False], ids=["with a key", "without a key"])
def test_another_way_to_identify_records_is_read_whole_at_once(
    tmp_path: Path, change: dict[str, Any], by_key: bool
) -> None:
    """Nobody leaves an audience, before that read or after it, and all keep their profiles."""
    company = _many(tmp_path, **({} if by_key else {"key": None}))
    company.execute("crm", "update people set points = '1' || no")
    before = _profiles(company)
    _change(company, lambda systems: systems["crm"]["syncs"]["people"].update(change))
    company.settle()
    assert (_profiles(company), _members(company)) == (before, _CUSTOMERS)
    [due] = pipeline.due_syncs(company.workspace, company.now)
    assert set(due.attributes) == {"status", "tier"}
    # whose record has neither its key nor an identifier any more is somebody else
    is_known = by_key or "no" in (change.get("identifiers") or {"customer_no": "no"}).values()
    if not is_known:
        _approved(company, before)
    result = company.sync("crm", "status")
    assert (result.full, result.set_aside, result.rows_read) == (True, {}, _CUSTOMERS)
    company.settle()
    assert _members(company) == _CUSTOMERS
    kept = ("profile_id", "status", "tier") if is_known else ("status", "tier")
    assert _values(company, kept) == [{name: each[name] for name in kept} for each in before]
    company.now -= HOUR
    assert pipeline.due_syncs(company.workspace, company.now) == []


@pytest.mark.parametrize(
    ("steps", "are_others"), [(["trim"], False), ([{"strip_prefix": "A"}], True)]
)
def test_another_normaliser_makes_nobody_new_unasked(
    tmp_path: Path, steps: list[Any], are_others: bool
) -> None:
    """Without a key nothing else tells the records apart: if it gives them other identifiers, all
    of the sync waits for an approval."""
    company = _many(tmp_path, key=None, identifiers={"account": "seen"})
    before = _values(company)
    declared = copy.deepcopy(company.declared)
    declared["identifiers"]["account"]["normalise"] = steps
    company.declare(declared)
    assert bool(company.sync("crm").set_aside) == are_others
    company.settle()
    assert (_values(company), _members(company)) == (before, _CUSTOMERS)


def test_who_is_known_by_another_system_is_nobody_new(tmp_path: Path) -> None:
    """Records without a key may change their identifier for one that another system's records of
    the same customers have."""
    declared = catalogue(("crm", "billing"), ("status", "tier"))
    billing = declared["systems"]["billing"]["syncs"]["people"]
    billing.update(key=None, identifiers={"customer_no": "no"})
    declared["systems"]["crm"]["syncs"]["people"]["attributes"] = {"status": "status"}
    declared["attributes"]["tier"]["sources"] = ["billing"]
    company = Company(tmp_path, declared)
    for each in range(1, 31):
        person = {"no": str(each), "email": f"c{each}@x.de", "changed": stamp(-50)}
        company.put("crm", f"k{each}", status="active", **person)
        company.put("billing", f"k{each}", tier="gold", **person)
    company.run()
    before = _values(company)
    assert len(before) == 30
    billing["identifiers"] = {"email": "email"}
    company.declare(declared)
    company.run()
    assert company.workspace.ledger.set_asides.open() == []
    assert _values(company) == before


@pytest.mark.parametrize("by_key", [True, False], ids=["with a key", "without a key"])
def test_the_last_good_values_stand_while_the_source_is_down(tmp_path: Path, by_key: bool) -> None:
    """Records keep the identifiers with which they were read, also those of which none is left."""
    company = _many(tmp_path, **({} if by_key else {"key": None}))
    before = _values(company)

    def change(systems: dict[str, Any]) -> None:
        systems["crm"]["syncs"]["people"]["identifiers"] = {"account": "seen"}

    _change(company, change)
    declared = copy.deepcopy(company.declared)
    del declared["identifiers"]["customer_no"]
    company.declare(declared)
    company.execute("crm", "alter table people rename to away")
    with pytest.raises(SourceError):
        company.sync("crm")
    company.settle()
    assert (_values(company), _members(company)) == (before, _CUSTOMERS)


def test_an_identifier_that_fits_nobody_is_set_aside(tmp_path: Path) -> None:
    """A mistake in the mapping costs no customer: the records stand as they were read before."""
    company = _many(tmp_path)
    before = _profiles(company)
    _change(company, lambda s: s["crm"]["syncs"]["people"].update(identifiers={"account": "ends"}))
    assert company.sync("crm").set_aside.keys() >= {""}
    company.settle()
    assert (_profiles(company), _members(company)) == (before, _CUSTOMERS)


def test_a_key_that_tells_few_records_apart_is_set_aside(tmp_path: Path) -> None:
    """With it, all customers but one would be gone."""
    company = _many(tmp_path)
    before = _profiles(company)
    _change(company, lambda s: s["crm"]["syncs"]["people"].update(key="status"))
    assert "" in company.sync("crm").set_aside
    company.settle()
    assert (_profiles(company), _members(company)) == (before, _CUSTOMERS)


def test_other_keys_bring_nothing_while_anything_is_set_aside(tmp_path: Path) -> None:
    """No known record stays with other keys, so no last good value could."""
    company = _many(tmp_path)
    company.execute("crm", "update people set status = 'unheard of', tier = 'silver'")
    before = _profiles(company)
    _change(company, lambda s: s["crm"]["syncs"]["people"].update(key="email"))
    assert company.sync("crm").set_aside.keys() == {"", "status"}
    company.settle()
    assert _profiles(company) == before


def test_customers_by_another_identifier_are_computed_at_once(tmp_path: Path) -> None:
    """Aggregates stand until then, and nobody is left who was a customer by the former one."""
    declared = catalogue(("crm",), ("points",))
    declared["attributes"]["points"].update(merge="priority", max_changed="100%")
    declared["systems"]["crm"]["syncs"]["people"].update(
        identifiers={"customer_no": "no"}, attributes={"points": {"aggregate": "count"}}
    )
    declared["audiences"] = {"active": {"where": {"points": {"at_least": 2}}}}
    company = Company(tmp_path, declared)
    for each in range(1, 41):
        company.put("crm", str(each), no=str(each % 20 + 1), email=f"c{each % 20}@x.de",
                    changed=stamp(-50))  # fmt: skip
    company.run()
    company.now -= HOUR
    assert _members(company) == 20
    _change(company, lambda s: s["crm"]["syncs"]["people"].update(identifiers={"email": "email"}))
    company.settle()
    assert _members(company) == 20
    [due] = pipeline.due_syncs(company.workspace, company.now)
    assert company.sync("crm", *due.attributes).set_aside.keys() == {""}
    company.settle()
    assert _members(company) == 20
    _approve(company)
    assert company.sync("crm", *due.attributes).set_aside == {}
    company.settle()
    assert (_members(company), len(_profiles(company))) == (20, 20)


def test_another_child_field_is_read_at_once(tmp_path: Path) -> None:
    """What is aggregated of it is computed with it, though its schedule hasn't come round."""
    declared = catalogue(("crm",), ("points",))
    declared["attributes"]["points"]["merge"] = "priority"
    people = declared["systems"]["crm"]["syncs"]["people"]
    people.update(
        identifiers={"customer_no": "no"},
        fields={"worth": {"type": "integer", "field": "balance"}},
        attributes={"points": {"aggregate": {"sum": "worth"}}},
    )
    company = Company(tmp_path, declared)
    company.put("crm", "1", no="1", changed=stamp(-50), balance="1", tier="2")
    company.run()
    company.now -= HOUR
    assert pipeline.due_syncs(company.workspace, company.now) == []
    people["fields"]["worth"]["field"] = "tier"
    company.declare(declared)
    [due] = pipeline.due_syncs(company.workspace, company.now)
    company.sync("crm", *due.attributes)
    company.settle()
    assert company.profile("1") == {"points": 2}
