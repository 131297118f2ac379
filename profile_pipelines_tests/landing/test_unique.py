"""`unique`: a value that several living records of a sync have is no value of any of them."""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profile_pipelines import pipeline
from profile_pipelines.ledger.inbox import Named
from profile_pipelines.progress import HowFar
from profile_pipelines_tests.company import HOUR, START, Company, catalogue, stamp

Kept = dict[str, str | None]
"""The value that each record has, by key."""


def opened(folder: Path, attribute: str = "tier", **more: object) -> Company:
    """A CRM alone, in which the attribute is unique."""
    declared = catalogue(("crm",), ("status", attribute))
    declared["attributes"][attribute] |= {"valid": {"unique": True}, "max_invalid": "100%", **more}
    return Company(folder, declared)


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """Three records with a tier each, synced once."""
    company = opened(tmp_path)
    for key in "123":
        changed = stamp(int(key) - 9)
        company.put("crm", key, no=key, changed=changed, tier=f"t{key}", status="active")
    company.run()
    return company


def tiers(company: Company) -> Kept:
    """The tiers of the living records, as the lake has them."""
    workspace = company.workspace
    pinned = workspace.lake.source(workspace.catalogue, "crm", "people").pin()
    if not pinned.exists:
        return {}
    rows = pinned.current(["record_key", "deleted", "tier"], "r")
    found = workspace.lake.engine.query(rows.sql, rows.relations).to_pylist()
    return {row["record_key"]: row["tier"] for row in found if not row["deleted"]}


def quarantine(company: Company) -> list[tuple[str, str, str, str]]:
    """Key, attribute, reason and value of each entry."""
    found = company.customers.quarantine().to_arrow().to_pylist()
    return [(q["record_key"], q["attribute"], q["reason"], q["value"]) for q in found]


def change(company: Company, key: str, **values: str | None) -> None:
    """The record's values change at the source, now."""
    at = (company.now - HOUR / 2).isoformat()
    company.put("crm", key, no=key, changed=at, **{"status": "active", **values})


def test_a_value_of_an_earlier_sync_counts(company: Company) -> None:
    """What comes with a known record's value, and that record's own, are no one's."""
    change(company, "4", tier="t1")
    result = company.sync("crm")
    assert not result.full
    assert result.attributes["tier"].reasons == {"not unique": 1}
    assert tiers(company) == {"1": None, "2": "t2", "3": "t3", "4": None}
    assert quarantine(company) == [
        ("1", "tier", "not unique", "t1"),
        ("4", "tier", "not unique", "t1"),
    ]


def test_a_corrected_value_frees_the_other(company: Company) -> None:
    """The record that wasn't read gets its value back, and no other entry of it is lost."""
    change(company, "1", tier="t1", status="odd")
    change(company, "4", tier="t1")
    company.run()
    change(company, "4", tier="t4")
    company.run()
    assert tiers(company) == {"1": "t1", "2": "t2", "3": "t3", "4": "t4"}
    assert [entry[:2] for entry in quarantine(company)] == [("1", "status")]
    assert company.profile("1") == {"tier": "t1"}


def test_attributes_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Two that are unique, synced together and apart, beside another's entry in quarantine."""
    declared = catalogue(("crm",), ("status", "tier", "points"))
    for name in ("tier", "points"):
        declared["attributes"][name] |= {"valid": {"unique": True}, "max_invalid": "100%"}
    company = Company(tmp_path, declared)
    company.put("crm", "1", no="1", changed=stamp(-9), tier="a", points="1", status="odd")
    company.put("crm", "2", no="2", changed=stamp(-1), tier="b", points="2", status="active")
    company.run()
    change(company, "3", tier="a", points="1")
    company.sync("crm", "tier")
    status, tier = ("1", "status"), ("1", "tier")
    assert [entry[:2] for entry in quarantine(company)] == [status, tier, ("3", "tier")]
    company.now += HOUR
    company.sync("crm", "points", "status")
    points = [("1", "points"), status, tier, ("3", "points"), ("3", "tier")]
    assert [entry[:2] for entry in quarantine(company)] == points
    company.settle()
    assert company.profile("1") == {}
    change(company, "3", tier="c", points="3")
    company.run()
    assert company.profile("1") == {"tier": "a", "points": 1}
    assert [entry[:2] for entry in quarantine(company)] == [status]


def test_a_value_may_move_to_another_record(company: Company) -> None:
    """In one sync one record gives it up and another takes it; two may also swap."""
    change(company, "1", tier=None)
    change(company, "4", tier="t1")
    change(company, "2", tier="t3")
    change(company, "3", tier="t2")
    company.run()
    assert tiers(company) == {"1": None, "2": "t3", "3": "t2", "4": "t1"}
    assert quarantine(company) == []


def test_a_deleted_record_has_no_value(company: Company) -> None:
    """What it had is free for another at once."""
    change(company, "1", tier="t1", gone="2026-01-01T00:00:00Z")
    change(company, "4", tier="t1")
    company.run()
    assert tiers(company) == {"2": "t2", "3": "t3", "4": "t1"}


def test_a_version_that_came_late_claims_nothing(company: Company) -> None:
    """A record's older version changes nothing, so its value is no other's rival."""
    change(company, "1", tier="new")
    company.run()
    company.put("crm", "1", no="1", changed=stamp(-8), tier="t2", status="active")
    company.workspace.ledger.inbox.store([Named("crm", "people", "1")], [], now=company.now)
    pipeline.sync_named_records(
        company.workspace, "crm", "people", now=company.now, run_id=company.run_id
    )
    assert tiers(company) == {"1": "new", "2": "t2", "3": "t3"}


def test_records_that_events_named_are_compared_too(company: Company) -> None:
    """One that takes a known value, and one that goes and frees its own."""
    change(company, "3", tier="t1")
    company.remove("crm", "2")
    change(company, "4", tier="t2")
    named = [Named("crm", "people", key) for key in "234"]
    company.workspace.ledger.inbox.store(named, [], now=company.now)
    result = pipeline.sync_named_records(
        company.workspace, "crm", "people", now=company.now, run_id=company.run_id
    )
    assert (result.invalid, result.deleted) == (1, 1)
    assert tiers(company) == {"1": None, "3": None, "4": "t2"}


def test_batches_are_compared_with_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first and the last record of a sync that was validated in several batches."""
    monkeypatch.setattr("profile_pipelines.landing.extraction._VALIDATED_AT_ONCE", 1)
    monkeypatch.setattr("profile_pipelines.sources.sql.BATCH_ROWS", 1)
    company = opened(tmp_path)
    for key, tier in {"1": "a", "2": "b", "3": "c", "4": "a"}.items():
        company.put("crm", key, no=key, changed=stamp(-5), tier=tier)
    batches: list[HowFar] = []
    result = company.sync("crm", progress=batches.append)
    assert len(batches) == 4
    assert result.attributes["tier"].reasons == {"not unique": 2}
    assert tiers(company) == {"1": None, "2": "b", "3": "c", "4": None}


def test_a_set_aside_attribute_is_left_as_it_is(tmp_path: Path) -> None:
    """Too many shared values set the attribute aside; no known value is touched by that."""
    company = opened(tmp_path, max_invalid="10%")
    for key in "123":
        company.put("crm", key, no=key, changed=stamp(int(key) - 9), tier=f"t{key}")
    company.run()
    change(company, "2", tier="t1")
    [result] = company.run()
    assert result.attributes["tier"].set_aside
    assert tiers(company) == {"1": "t1", "2": "t2", "3": "t3"}
    change(company, "2", tier="t9")
    [result] = company.run()
    assert tiers(company) == {"1": "t1", "2": "t9", "3": "t3"}
    assert quarantine(company) == []


@pytest.mark.parametrize(
    ("attribute", "text"),
    [
        ("points", "12"),
        ("balance", "12.5"),
        ("since", "2026-01-31"),
        ("seen", "2026-01-31T10:00:00.123+02:00"),
        ("tags", "a b,'c',[d]"),
        ("tier", ' it\'s [x], "y" '),
    ],
)
def test_values_of_every_type_come_back(tmp_path: Path, attribute: str, text: str) -> None:
    """A value that was in quarantine is afterwards the very same."""
    company = opened(tmp_path, attribute)
    company.put("crm", "1", no="1", changed=stamp(-5), **{attribute: text})
    company.put("crm", "3", no="3", changed=stamp(-1))
    company.run()
    before = company.profile("1")
    assert attribute in before
    change(company, "2", **{attribute: text})
    company.run()
    assert attribute not in company.profile("1")
    change(company, "2", **{attribute: None})
    company.run()
    assert company.profile("1") | {"status": None} == before | {"status": None}


_value = st.none() | st.sampled_from(["a", "b", "c"])
_step = st.tuples(
    st.dictionaries(st.sampled_from("1234"), _value | st.just("gone"), min_size=1, max_size=3),
    st.sampled_from(["incremental", "full", "named", "only tier"]),
)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(st.lists(_step, min_size=2, max_size=4))
def test_the_order_of_syncs_makes_no_difference(
    steps: list[tuple[Kept, str]],
) -> None:
    """Whichever way records come, the lake has exactly the source's values that one record has."""
    with tempfile.TemporaryDirectory() as folder:
        company = opened(Path(folder))
        for values, way in [({"1": "a", "2": "b", "3": "a"}, "incremental"), *steps]:
            for key, value in values.items():
                gone = START.isoformat() if value == "gone" else None
                change(company, key, tier=None if gone else value, gone=gone)
            if way == "named":
                named = [Named("crm", "people", key) for key in values]
                company.workspace.ledger.inbox.store(named, [], now=company.now)
                pipeline.sync_named_records(
                    company.workspace, "crm", "people", now=company.now, run_id=company.run_id
                )
            else:
                chosen = ("tier",) if way == "only tier" else ()
                company.sync("crm", *chosen, full=way == "full")
            company.now += HOUR
            at_source = _at_source(company)
            count = Counter(at_source.values())
            assert tiers(company) == {
                key: value if count[value] == 1 else None for key, value in at_source.items()
            }
            assert quarantine(company) == [
                (key, "tier", "not unique", value)
                for key, value in sorted(at_source.items())
                if value is not None and count[value] > 1
            ]


def _at_source(company: Company) -> Kept:
    with closing(sqlite3.connect(company.folder / "crm.db")) as connection:
        return dict(connection.execute("select id, tier from people where gone is null"))
