"""An empty list is a value: who owns nothing owns nothing, whatever a fallback says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from profile_pipelines.catalog.spelling import value_text
from profile_pipelines.cli.output import spell
from profile_pipelines_tests.company import HOUR, Company, catalogue, stamp

AUDIENCES = {
    "owns_nothing": {"tags": {"empty": True}},
    "owns_something": {"tags": {"empty": False}},
    "not_known": {"tags": {"missing": True}},
    "known": {"tags": {"present": True}},
    "owns_a": {"tags": {"has_any": ["a"]}},
}


def _company(folder: Path, **tags: Any) -> Company:
    declared = catalogue(("crm", "billing"), ("tags",))
    declared["attributes"]["tags"].update(tags)
    declared["audiences"] = {name: {"where": where} for name, where in AUDIENCES.items()}
    return Company(folder, declared)


def _members(company: Company, audience: str) -> set[str]:
    shown = company.customers.profiles().to_polars().to_dicts()
    numbers = {each["profile_id"]: each["customer_no"][0] for each in shown}
    members = company.customers.members(audience).to_polars().to_dicts()
    return {numbers[each["profile_id"]] for each in members if each["member"]}


@pytest.mark.parametrize("merge", ["priority", "latest"])
def test_an_empty_list_wins_over_a_fallback(tmp_path: Path, merge: str) -> None:
    """A missing one doesn't; receipts tell who said what, and conditions tell them apart."""
    company = _company(tmp_path, merge=merge)
    for number, tags in enumerate(("[]", None, '["b"]'), start=1):
        company.put("crm", str(number), no=str(number), changed=stamp(-1), tags=tags)
        company.put("billing", str(number), no=str(number), changed=stamp(-2), tags="a")
    company.put("crm", "4", no="4", changed=stamp(-1))
    company.run()
    assert [company.profile(str(number)) for number in range(1, 5)] == [
        {"tags": []}, {"tags": ["a"]}, {"tags": ["b"]}, {}
    ]  # fmt: skip
    receipt = company.customers.profile("1", now=company.now).values["tags"].receipt
    assert [(each.system, each.value) for each in receipt.winners] == [("crm", [])]
    assert [(each.system, each.value) for each in receipt.losers] == [("billing", ["a"])]
    assert {name: _members(company, name) for name in AUDIENCES} == {
        "owns_nothing": {"1"},
        "owns_something": {"2", "3"},
        "not_known": {"4"},
        "known": {"1", "2", "3"},
        "owns_a": {"2"},
    }


def test_what_was_missing_and_becomes_empty_moves_its_customer(tmp_path: Path) -> None:
    """A change like any other, which `changed_within` and the history know."""
    company = _company(tmp_path)
    company.put("crm", "1", no="1", changed=stamp(-1), tags="a")
    company.run()
    company.put("crm", "1", no="1", changed=stamp(0), tags="[]")
    company.run()
    assert _members(company, "owns_nothing") == {"1"}
    assert company.customers.history("1")[0].values["tags"] == ([], ("crm",))
    assert company.profile("1", as_of=company.now - 2 * HOUR) == {"tags": ["a"]}


def test_a_source_that_empties_everyones_list_is_set_aside(tmp_path: Path) -> None:
    """As emptied: the last good lists stay."""
    company = _company(tmp_path)
    for number in range(1, 21):
        company.put("crm", str(number), no=str(number), changed=stamp(-1), tags="a")
    company.run()
    company.execute("crm", "update people set tags = '[]', changed = ?", stamp(0))
    held = company.sync("crm").set_aside
    assert [each.kind for each in held["tags"]] == ["emptied"]
    company.settle()
    assert company.profile("3") == {"tags": ["a"]}


def test_who_owns_nothing_shares_nothing(tmp_path: Path) -> None:
    """Several empty lists are unique; two equal ones with entries aren't."""
    company = _company(tmp_path, valid={"unique": True}, max_invalid="100%")
    for number, tags in enumerate(("[]", "[]", "a", "a"), start=1):
        company.put("crm", str(number), no=str(number), changed=stamp(-1), tags=tags)
    company.run()
    assert [company.profile(str(number)) for number in range(1, 5)] == [
        {"tags": []}, {"tags": []}, {}, {}
    ]  # fmt: skip


def test_an_empty_list_is_written_apart_from_a_missing_one() -> None:
    """In files, in JSON and on the screen."""
    assert (value_text([]), value_text(None)) == ("[]", "")
    assert spell([]) != spell(None)


RECORDS: list[dict[str, Any]] = [
    {"id": "1", "tags": [], "items": []},
    {"id": "2", "tags": None, "items": None},
    {"id": "3", "tags": ["a", None], "items": [{"sku": "a"}, {"sku": None}]},
    {"id": "4", "tags": [None], "items": [{"sku": None}]},
]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("field", "expected"),
    [("tags", [[], None, ["a"], []]), ("items[*].sku", [[], None, ["a"], None])],
)
def test_files_say_what_is_empty(
    tmp_path: Path, form: str, field: str, expected: list[list[str] | None]
) -> None:
    """A list without entries, and a path into one; entries that lack what is asked for say
    nothing."""
    root = tmp_path / "files"
    root.mkdir()
    if form == "jsonl":
        lines = [json.dumps(record) for record in RECORDS]
        (root / "people.jsonl").write_text("\n".join(lines))
    else:
        pq.write_table(pa.Table.from_pylist(RECORDS), root / "people.parquet")
    declared = catalogue(("crm",), ("tags",))
    declared["identifiers"] = {"customer_no": {}}
    declared["systems"]["crm"]["connection"] = {"type": "files", "root": str(root)}
    declared["systems"]["crm"]["syncs"]["people"] = {
        "path": f"people.{form}",
        "identifiers": {"customer_no": "id"},
        "attributes": {"tags": field},
    }
    company = Company(tmp_path, declared)
    company.run()
    assert [company.profile(each["id"]).get("tags") for each in RECORDS] == expected
