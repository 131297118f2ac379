"""Lists are sets, unless an attribute says that their order matters."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from profile_pipelines.engine.sql import column
from profile_pipelines.lake.table import Rows
from profile_pipelines_tests.company import HOUR, Company, catalogue, stamp

MANY = 20


def _company(folder: Path, **tags: Any) -> Company:
    declared = catalogue(("crm",), ("tags", "tier"))
    declared["attributes"]["tags"].update(tags)
    del declared["systems"]["crm"]["syncs"]["people"]["updated_at"]
    return Company(folder, declared)


def _put(company: Company, tags: list[str]) -> None:
    for number in range(1, MANY + 1):
        company.put("crm", str(number), no=str(number), tier="gold", tags=json.dumps(tags))


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """Twenty customers with the tags b, a, c, read once."""
    company = _company(tmp_path)
    _put(company, ["b", "a", "c"])
    company.run()
    return company


def test_another_order_is_no_change(company: Company) -> None:
    """A database that gives every list in another order changes nothing, nor is it set aside."""
    _put(company, ["c", "b", "a", "a"])
    result = company.sync("crm")
    assert (result.changed, result.set_aside) == (0, {})
    assert company.settle()[1].changed == 0
    assert company.profile("3")["tags"] == ["a", "b", "c"]


def test_other_entries_are_a_change(company: Company) -> None:
    """A list with another entry is another set, and too many of them are set aside."""
    _put(company, ["c", "b", "d"])
    assert set(company.sync("crm").set_aside) == {"tags"}


def test_ordered_lists_keep_their_order_and_repeated_entries(tmp_path: Path) -> None:
    """With `ordered: true` another order is another value."""
    company = _company(tmp_path, ordered=True, max_changed="100%")
    _put(company, ["b", "a", "b"])
    company.run()
    assert company.profile("3")["tags"] == ["b", "a", "b"]
    _put(company, ["b", "b", "a"])
    assert company.sync("crm").changed == MANY
    company.settle()
    assert company.profile("3")["tags"] == ["b", "b", "a"]


def test_what_becomes_ordered_is_read_again(tmp_path: Path) -> None:
    """An incremental sync reads everything once `ordered` was declared."""
    declared = catalogue(("crm",), ("tags",))
    company = Company(tmp_path, declared)
    company.put("crm", "1", no="1", changed=stamp(-50), tags="b,a")
    company.put("crm", "2", no="2", changed=stamp(-1), tags="d,c")
    company.run()
    assert company.profile("1")["tags"] == ["a", "b"]
    declared["attributes"]["tags"]["ordered"] = True
    company.declare(declared)
    company.run()
    assert company.profile("1")["tags"] == ["b", "a"]


def test_what_is_stored_in_another_order_is_no_change(company: Company) -> None:
    """Lists that an earlier version stored as they came are the same sets: nothing is replaced."""
    _store_reversed(company)
    company.now += HOUR
    result = company.sync("crm")
    assert (result.changed, result.set_aside) == (0, {})
    # where another attribute has changed, the list is no change of the profile either
    company.put("crm", "3", no="3", tier="silver", tags='["a", "b", "c"]')
    assert company.sync("crm").changed == 1
    company.settle()
    newest = company.customers.history("3")[0]
    assert set(newest.values) == {"tier"}


def _store_reversed(company: Company) -> None:
    """Write every record and profile anew with its list the other way round."""
    space = company.workspace
    lake = space.lake
    for table in (
        lake.source(space.catalogue, "crm", "people"),
        lake.profiles(space.catalogue),
    ):
        pinned = table.pin()
        rows = pinned.current(table.columns, "s")
        backwards = exp.func("LIST_REVERSE_SORT", column("tags", "r"))
        select = exp.select(
            *(
                exp.alias_(backwards, name, quoted=True) if name == "tags" else column(name, "r")
                for name in table.columns
            ),
            exp.alias_(exp.false(), "removed", quoted=True),
        ).from_(rows.sql.subquery("r"))
        state = {key: value for key, value in pinned.state.items() if key != "seq"}
        if table.name == "profiles":
            state["inputs"]["crm/people"] += 1
        pinned.commit(
            lake.engine, Rows(select, rows.relations), now=company.now, run_id="old", state=state
        )


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from("abcd"), min_size=1, max_size=5), st.randoms()),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=8, deadline=None)
def test_any_order_of_a_list_is_the_same_list(lists: list[tuple[list[str], Any]]) -> None:
    """However the entries are arranged and repeated at the next read, nothing changes."""
    with tempfile.TemporaryDirectory() as folder:
        company = _company(Path(folder))
        for number, (tags, _) in enumerate(lists, start=1):
            company.put("crm", str(number), no=str(number), tags=json.dumps(tags))
        company.run()
        for number, (tags, random) in enumerate(lists, start=1):
            again = [*tags, *random.sample(tags, random.randint(0, len(tags)))]
            random.shuffle(again)
            company.put("crm", str(number), no=str(number), tags=json.dumps(again))
        result = company.sync("crm")
        assert (result.changed, result.set_aside) == (0, {})
        _, profiles, _ = company.settle()
        assert profiles.changed == 0
        for number, (tags, _) in enumerate(lists, start=1):
            assert company.profile(str(number))["tags"] == sorted(set(tags))
