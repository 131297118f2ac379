"""Customers with several records in one system: what each rule makes of them."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from profile_pipelines_tests.company import Company, catalogue, stamp
from profile_pipelines_tests.profiles.model import parsed

RULES = {
    "opt_in": {"type": "boolean", "merge": "most_restrictive", "consent": "email"},
    "points": {"type": "integer", "merge": "max"},
    "since": {"type": "date", "merge": "min"},
}


def company_of(folder: Path, systems: tuple[str, ...] = ("crm",)) -> Company:
    """Systems whose records have keys of their own, so that a customer may have several."""
    declared = copy.deepcopy(catalogue(systems, tuple(RULES)))
    for name, rule in RULES.items():
        declared["attributes"][name] |= rule
    for system in systems:
        # what was and what is are to differ by nothing but the merge
        declared["systems"][system]["syncs"]["people"] |= {"max_deleted": "100%"}
    for attribute in declared["attributes"].values():
        attribute |= {"max_changed": "100%", "max_emptied": "100%"}
    return Company(folder, declared)


@pytest.mark.parametrize("newer", ["a", "b"])
def test_an_opt_out_in_any_record_wins(tmp_path: Path, newer: str) -> None:
    """Of two contacts of one customer in one CRM one opted out: no consent, whichever is newer;
    the receipt has both with their times, and consent returns with the last opt-out's end."""
    company = company_of(tmp_path)
    times = {"a": stamp(-9), "b": stamp(-9)} | {newer: stamp(-3)}
    company.put("crm", "a", no="1", opt_in="no", changed=times["a"])
    company.put("crm", "b", no="1", opt_in="yes", changed=times["b"])
    company.run()
    view = company.customers.profile("1", now=company.now)
    receipt = view.values["opt_in"].receipt
    assert receipt.value is False
    given = {each.record: (each.value, each.record_updated_at) for each in receipt.winners}
    assert {key: (value, at and at.isoformat()) for key, (value, at) in given.items()} == {
        "a": (False, times["a"]), "b": (True, times["b"])
    }  # fmt: skip
    assert not receipt.losers
    [history] = company.customers.consent_history("1", now=company.now)[view.profile_id]
    assert (history.missing, [len(each.winners) for each in history.values]) == ("consent", [2])
    company.put("crm", "a", no="1", gone="1", changed=stamp(1))
    company.run()
    assert company.profile("1")["opt_in"] is True


def test_least_and_greatest_are_those_of_all_records(tmp_path: Path) -> None:
    """`min` and `max` ask every record of a system, as they ask every system."""
    company = company_of(tmp_path, ("crm", "billing"))
    company.put("crm", "4", no="1", points="100", since="2001-01-01", changed=stamp(-9))
    company.put("crm", "5", no="1", points="50", since="2002-01-01", changed=stamp(-3))
    company.put("billing", "6", no="1", points="70", since="2003-01-01", changed=stamp(-1))
    company.run()
    view = company.customers.profile("1", now=company.now)
    found = {name: value.value for name, value in view.values.items()}
    assert (found["points"], str(found["since"])) == (100, "2001-01-01")
    said = [(e.system, e.record, e.value) for e in view.values["points"].receipt.winners]
    assert said == [("crm", "5", 50), ("crm", "4", 100), ("billing", "6", 70)]


_VALUES: dict[str, st.SearchStrategy[str | None]] = {
    "opt_in": st.none() | st.sampled_from(["yes", "no", "perhaps"]),
    "points": st.none() | st.sampled_from(["1", "-7", "9007199254740993"]),
    "since": st.none() | st.sampled_from(["2020-02-29", "1999-12-31"]),
    "no": st.sampled_from(["1", "2"]),
    "gone": st.sampled_from([None, None, None, "1"]),
}
_CHANGES = st.dictionaries(
    st.tuples(st.sampled_from(["crm", "billing"]), st.sampled_from("abc")),
    st.fixed_dictionaries(_VALUES), min_size=1, max_size=4,
)  # fmt: skip


@settings(max_examples=5, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.lists(_CHANGES, min_size=1, max_size=3))
def test_what_combines_looks_at_every_living_record(
    steps: list[dict[tuple[str, str], dict[str, str | None]]],
) -> None:
    """Whatever comes, changes, moves and goes: the profiles are a plain model's over all living
    records, step by step as at once, and a receipt lists those that say something."""
    with tempfile.TemporaryDirectory() as folder:
        company = company_of(Path(folder), ("crm", "billing"))
        rows: dict[tuple[str, str], dict[str, str | None]] = {}
        for hour, step in enumerate(steps):
            for (system, key), values in step.items():
                rows[system, key] = values
                company.put(system, key, changed=stamp(hour - 9), **values)
            company.run()
            assert _found(company) == _expected(rows)
        for no in _expected(rows):
            view = company.customers.profile(no, now=company.now)
            for name in RULES:
                receipt = view.values[name].receipt
                assert {(each.system, each.record) for each in receipt.winners} == {
                    place
                    for place, row in rows.items()
                    if not row["gone"] and row["no"] == no and _value(name, row) is not None
                }
                assert all(each.invalid for each in receipt.losers)


def _value(name: str, row: Mapping[str, str | None]) -> Any:
    return None if row[name] == "perhaps" else parsed(RULES[name]["type"], row[name])


def _expected(rows: Mapping[tuple[str, str], dict[str, str | None]]) -> dict[str, Any]:
    combined = {"opt_in": all, "points": max, "since": min}
    living = [row for row in rows.values() if not row["gone"]]
    found: dict[str, Any] = {}
    for no in {str(row["no"]) for row in living}:
        own = [row for row in living if row["no"] == no]
        found[no] = {}
        for name, combine in combined.items():
            said = [v for row in own if (v := _value(name, row)) is not None]
            found[no][name] = combine(said) if said else None
    return found


def _found(company: Company) -> dict[str, Any]:
    rows = company.customers.profiles().to_arrow().to_pylist()
    return {row["customer_no"][0]: {name: row[name] for name in RULES} for row in rows}
