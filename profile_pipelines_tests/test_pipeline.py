"""The steps together: what is due, what a second run does, races, changed catalogues, holding."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from profile_pipelines import pipeline, upkeep
from profile_pipelines.audiences.materialise import preview
from profile_pipelines.errors import Conflict, LakeError, SourceError, UnknownName
from profile_pipelines.workspace import Workspace
from profile_pipelines_tests.company import HOUR, START, Company, catalogue, stamp

ATTRIBUTES = ("status", "tier", "points")


def _declared(**audiences: Any) -> dict[str, Any]:
    declared = catalogue(("crm", "billing"), ATTRIBUTES)
    declared["audiences"] = {name: {"where": where} for name, where in audiences.items()}
    return declared


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """Two systems that share three customers, and the audience of those who are active."""
    company = Company(tmp_path, _declared(active={"status": {"is": "active"}}))
    for key in ("1", "2", "3"):
        company.put("crm", key, no=f"C-00{key}", changed=stamp(-5), status="active", tier="gold")
        company.put("billing", key, no=key, changed=stamp(-4), tier="silver", points=key)
    return company


def _written(company: Company) -> dict[str, int]:
    """Everything that is on disk in the lake, with the version of each Delta table."""
    root = company.folder / "lake"
    files = {str(path.relative_to(root)): 0 for path in root.rglob("*")}
    for log in root.rglob("_delta_log"):
        files[str(log.relative_to(root))] = DeltaTable(str(log.parent)).version()
    return files


def _members(company: Company, name: str = "active") -> dict[str, tuple[bool, bool]]:
    """By customer number: member and held."""
    customers = company.customers
    numbers = {
        row["profile_id"]: row["customer_no"][0]
        for row in customers.profiles().to_arrow().to_pylist()
    }
    return {
        numbers[row["profile_id"]]: (row["member"], row["held"])
        for row in customers.members(name).to_arrow().to_pylist()
    }


def test_the_first_run_brings_everything(company: Company) -> None:
    """Systems, identities, profiles and audiences, in one go."""
    results = company.run()
    assert [(r.system, r.rows_read, r.changed) for r in results] == [
        ("crm", 3, 3),
        ("billing", 3, 3),
    ]
    assert company.profile("c-2") == {"status": "active", "tier": "silver", "points": 2}
    assert _members(company) == dict.fromkeys("123", (True, False))


def test_a_second_run_writes_nothing(company: Company) -> None:
    """When no system has changed there is no new Delta version and no new file anywhere."""
    company.run()
    before = _written(company)
    results = company.run()
    identities, profiles, audiences = company.settle()
    assert _written(company) == before
    assert [(r.changed, r.deleted) for r in results] == [(0, 0), (0, 0)]
    assert (identities.records, identities.profiles, identities.changed) == (6, 3, 0)
    assert (profiles.profiles, profiles.wrote) == (3, False)
    assert not audiences["active"].wrote
    assert audiences["active"].counts.members == 3


def test_a_change_touches_only_its_profile(company: Company) -> None:
    """One record that changes leads to one row in the change log of the profiles."""
    company.run()
    company.put("crm", "2", no="2", changed=stamp(-1), status="churned", tier="gold")
    [crm, billing] = company.run()
    assert (crm.changed, billing.changed) == (1, 0)
    profiles = company.workspace.lake.profiles(company.workspace.catalogue).pin()
    rows = profiles.changes(["profile_id", "changed"], "c", since=1)
    [found] = company.workspace.lake.engine.query(rows.sql, rows.relations).to_pylist()
    assert found["changed"] == ["status", "tier"]
    assert _members(company) == {"1": (True, False), "3": (True, False)}


def test_a_deleted_customer_leaves(company: Company) -> None:
    """When the last record goes the profile goes, and its memberships with it."""
    company.run()
    for system in ("crm", "billing"):
        company.remove(system, "2")
        company.sync(system, full=True)
    identities, profiles, audiences = company.settle()
    assert (identities.profiles, profiles.removed, profiles.profiles) == (2, 1, 2)
    assert audiences["active"].counts.exited == 1
    assert _members(company) == {"1": (True, False), "3": (True, False)}


@pytest.mark.parametrize("way", ["marked", "absent"])
def test_a_deletion_at_the_source_falls_back_to_the_next_in_trust(
    company: Company, way: str
) -> None:
    """What the deleted record gave goes, the next system's value shows; both as it returns."""
    company.put("billing", "1", no="1", changed=stamp(-4), status="prospect", points="1")
    company.put("crm", "2", no="2", changed=stamp(-3), status="active", tier="gold")
    company.run()
    assert company.profile("1") == {"status": "active", "tier": "gold", "points": 1}
    whole = {"no": "1", "status": "active", "tier": "gold"}
    if way == "marked":
        company.put("crm", "1", changed=stamp(0.5), gone="yes", **whole)
    else:
        company.remove("crm", "1")
    results = company.run(full=way == "absent")
    assert [result.deleted for result in results] == [1, 0]
    assert company.profile("1") == {"status": "prospect", "points": 1}
    assert set(_members(company)) == {"2", "3"}
    company.put("crm", "1", changed=stamp(1.5), **whole)
    assert company.run()[0].changed == 1
    assert company.profile("1") == {"status": "active", "tier": "gold", "points": 1}
    assert set(_members(company)) == {"1", "2", "3"}


def test_a_failing_system_leaves_everything_as_it_was(company: Company) -> None:
    """An error of one sync commits nothing of it and says where it was."""
    company.run()
    before = _written(company)
    (company.folder / "crm.db").rename(company.folder / "elsewhere.db")
    with pytest.raises(SourceError, match=r"crm\.people"):
        company.sync("crm")
    assert _written(company) == before
    (company.folder / "elsewhere.db").rename(company.folder / "crm.db")
    assert company.sync("crm").changed == 0


# what is due


def _due(company: Company, hours: float) -> dict[str, tuple[str, ...]]:
    found = pipeline.due_syncs(company.workspace, START + timedelta(hours=hours))
    return {due.system: due.attributes for due in found}


def test_what_was_never_synced_is_due(company: Company) -> None:
    """Before the first run everything is due, and whatever `everything` asks for afterwards."""
    assert _due(company, 0) == dict.fromkeys(("crm", "billing"), ATTRIBUTES)
    company.run()
    assert _due(company, 0.1) == {}
    found = pipeline.due_syncs(company.workspace, START, everything=True)
    assert {due.system for due in found} == {"crm", "billing"}


def test_attributes_are_due_by_their_own_schedules(company: Company) -> None:
    """Each attribute's schedule counts, in the catalogue's time zone, from its last success."""
    declared = company.declared
    declared["settings"] = {"timezone": "Europe/Berlin"}
    attributes = declared["systems"]["crm"]["syncs"]["people"]["attributes"]
    attributes["tier"] = {"field": "tier", "schedule": "0 14 * * *"}
    attributes["points"] = {"field": "points", "schedule": "*/15 * * * *"}
    company.declare(declared)
    company.run()
    assert _due(company, 0.2) == {}
    assert _due(company, 0.3) == {"crm": ("points",)}
    assert _due(company, 0.99) == {"crm": ("points",)}
    assert _due(company, 1) == {"crm": ATTRIBUTES, "billing": ATTRIBUTES}
    company.now = START + HOUR
    company.run()
    assert _due(company, 2.5) == {"crm": ("status", "points"), "billing": ATTRIBUTES}
    assert _due(company, 25) == {"crm": ATTRIBUTES, "billing": ATTRIBUTES}


def test_a_tick_at_this_very_moment_is_due_once(company: Company) -> None:
    """A run at the tick covers the tick."""
    company.run()
    assert set(_due(company, 1)) == {"crm", "billing"}
    company.now = START + HOUR
    company.run()
    assert _due(company, 1) == {}
    assert _due(company, 1.5) == {}


def test_what_was_set_aside_stays_due(company: Company) -> None:
    """An attribute whose values were set aside isn't covered: the next run tries it again."""
    for key in ("1", "2", "3"):
        company.put("crm", key, no=key, changed=stamp(-1), status="A", tier="gold")
    company.run()
    assert _due(company, 0.1) == {"crm": ("status",)}


# races


def _race(monkeypatch: pytest.MonkeyPatch, other: Callable[[], object], times: int = 1) -> None:
    """Let another run commit between the reading and the first commits of this one."""
    delta = import_module("profile_pipelines.lake.delta")
    commit = delta.commit
    left = times

    def overtaken(*args: Any, **kwargs: Any) -> None:
        nonlocal left
        if left > 0:
            left -= 1
            mine, left = left, 0
            other()
            left = mine
        commit(*args, **kwargs)

    monkeypatch.setattr(delta, "commit", overtaken)


def _rival(company: Company) -> Workspace:
    return Workspace(company.workspace.places)


def test_two_racing_syncs_give_what_one_after_the_other_gives(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slower sync reads again, and writes each record once."""
    rival = _rival(company)
    due = pipeline.DueSync("crm", "people", ("status", "tier"))

    def other() -> None:
        company.put("crm", "4", no="4", changed=stamp(-1), status="churned")
        pipeline.sync_attributes(rival, due, now=START, run_id="rival")

    _race(monkeypatch, other)
    result = company.sync("crm")
    assert (result.rows_read, result.changed) == (4, 0)
    pinned = company.workspace.lake.source(company.workspace.catalogue, "crm", "people").pin()
    rows = pinned.current(["record_key", "record_id"], "s")
    found = company.workspace.lake.engine.query(rows.sql, rows.relations)
    assert sorted(found["record_key"].to_pylist()) == ["1", "2", "3", "4"]
    assert len(set(found["record_id"].to_pylist())) == 4


@pytest.mark.parametrize("step", ["identities", "profiles", "active"])
def test_every_step_survives_a_race(
    company: Company, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whichever step is overtaken by the same step of another run, the tables are right."""
    steps: dict[str, Callable[[Workspace, str], object]] = {
        "identities": lambda w, r: pipeline.resolve_identities(w, now=company.now, run_id=r),
        "profiles": lambda w, r: pipeline.merge_profiles(w, now=company.now, run_id=r),
        "active": lambda w, r: pipeline.evaluate_audience(w, "active", now=company.now, run_id=r),
    }
    rival = _rival(company)
    company.run()
    company.put("crm", "4", no="4", changed=stamp(-1), status="active")
    company.put("crm", "1", no="1", email="one@x.de", changed=stamp(-1), status="churned")
    company.sync("crm")
    for name, run in steps.items():
        if name == step:
            _race(monkeypatch, lambda run=run: run(rival, "rival"))
        run(company.workspace, "mine")
    assert _members(company) == dict.fromkeys("234", (True, False))
    assert company.profile("one@x.de")["status"] == "churned"
    company.now += HOUR
    before = _written(company)
    company.settle()
    assert _written(company) == before


def test_a_race_without_end_is_given_up(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some attempts the conflict is told, and the lake holds what the others wrote."""
    rival = _rival(company)
    due = pipeline.DueSync("crm", "people", ("status",))

    def other() -> None:
        company.put("crm", "4", no="4", changed=stamp(next(hours)), status="active")
        pipeline.sync_attributes(rival, due, now=START, run_id="rival")

    hours = iter(range(-4, 9))
    _race(monkeypatch, other, times=10)
    with pytest.raises(Conflict, match="another run wrote"):
        company.sync("crm", "tier")


# other catalogues


def test_another_order_of_trust_merges_anew(company: Company) -> None:
    """Turning the sources round changes every profile, without a sync."""
    declared = company.declared
    declared["attributes"]["tier"]["merge"] = "priority"
    company.declare(declared)
    company.run()
    assert company.profile("1")["tier"] == "gold"
    declared["attributes"]["tier"]["sources"] = ["billing", "crm"]
    company.declare(declared)
    _, profiles, _ = company.settle()
    assert profiles.changed == 3
    assert company.profile("1")["tier"] == "silver"
    _, profiles, _ = company.settle()
    assert not profiles.wrote


def test_another_merge_rule_merges_anew(company: Company) -> None:
    """The rule's other kind of provenance comes with it."""
    company.run()
    declared = company.declared
    declared["attributes"]["points"]["merge"] = "priority"
    company.declare(declared)
    _, profiles, _ = company.settle()
    assert profiles.changed == 3
    view = company.customers.profile("1", now=company.now)
    assert [each.system for each in view.values["points"].receipt.winners] == ["billing"]


def test_an_added_attribute_comes_into_old_profiles(company: Company) -> None:
    """Profiles from before read as missing it until its systems are synced."""
    company.declare(_declared_with(company, ("status", "tier")))
    company.run()
    company.declare(_declared_with(company, ATTRIBUTES))
    assert company.profile("1") == {"status": "active", "tier": "silver"}
    company.run()
    assert company.profile("1") == {"status": "active", "tier": "silver", "points": 1}
    before = _written(company)
    company.run()
    assert _written(company) == before


def test_a_removed_attribute_goes(company: Company) -> None:
    """Nothing more is read or shown of it, and the rest stays as it is."""
    company.run()
    company.declare(_declared_with(company, ("status", "tier")))
    company.run()
    assert company.profile("1") == {"status": "active", "tier": "silver"}
    assert "points" not in company.customers.profiles().to_arrow().column_names
    before = _written(company)
    company.run()
    assert _written(company) == before


def test_a_removed_system_takes_its_records_along(company: Company) -> None:
    """Its values and its own customers go; when it is declared again they are back."""
    company.put("billing", "9", no="9", changed=stamp(-4), tier="silver")
    company.run()
    everything = copy.deepcopy(company.declared)
    declared = catalogue(("crm",), ATTRIBUTES)
    company.declare(declared)
    company.run()
    assert company.profile("1") == {"status": "active", "tier": "gold"}
    assert len(company.customers.profiles()) == 3
    company.declare(everything)
    company.run()
    assert company.profile("1") == {"status": "active", "tier": "silver", "points": 1}
    assert company.profile("9") == {"tier": "silver"}


def test_another_type_is_refused_in_words(company: Company) -> None:
    """An attribute that changes its type is named, with what to do."""
    company.run()
    declared = company.declared
    declared["attributes"]["points"] = {
        "type": "string", "sources": ["crm", "billing"], "fresh_within": "24h"
    }  # fmt: skip
    company.declare(declared)
    with pytest.raises(LakeError, match=r"column points is stored as long.*new name"):
        company.sync("billing")
    with pytest.raises(LakeError, match="column points"):
        company.settle()


def _declared_with(company: Company, attributes: tuple[str, ...]) -> dict[str, Any]:
    declared = catalogue(("crm", "billing"), attributes)
    declared["audiences"] = company.declared["audiences"]
    return declared


# stale values hold


def test_a_stale_value_holds_the_profile(company: Company) -> None:
    """Past its age a value decides nothing: members stay, newcomers wait, both are counted."""
    company.put("crm", "3", no="3", changed=stamp(-5), status="churned")
    company.run()
    assert _members(company) == {"1": (True, False), "2": (True, False)}
    company.now = START + 24 * HOUR
    _, _, audiences = company.settle()
    assert audiences["active"].counts.held == 0
    company.now = START + 24 * HOUR + timedelta(seconds=1)
    _, _, audiences = company.settle()
    counts = audiences["active"].counts
    assert (counts.members, counts.held, counts.entered, counts.exited) == (2, 3, 0, 0)
    assert counts.held_by == {"status": 3}
    assert _members(company) == {"1": (True, True), "2": (True, True), "3": (False, True)}


def test_a_sync_without_changes_makes_values_fresh_again(company: Company) -> None:
    """Age is counted from the last success, changed or not; what was held is then decided."""
    company.run()
    company.now = START + 25 * HOUR
    company.settle()
    assert _members(company) == dict.fromkeys("123", (True, True))
    company.put("crm", "1", no="1", changed=stamp(25), status="churned")
    company.sync("crm")
    company.sync("billing")
    _, _, audiences = company.settle()
    assert (audiences["active"].counts.held, audiences["active"].counts.exited) == (0, 1)
    assert _members(company) == {"2": (True, False), "3": (True, False)}


def test_only_the_deciding_source_has_to_be_fresh(company: Company) -> None:
    """The value of a fresh source decides although another source of the attribute is stale."""
    declared = _declared(silver={"tier": {"is": "silver"}}, few={"points": {"at_most": 1}})
    company.declare(declared)
    company.put("crm", "9", no="9", changed=stamp(-3), tier="silver", points="1")
    company.run()
    company.now = START + 25 * HOUR
    company.sync("billing")
    company.settle()
    assert _members(company, "silver") == {
        **dict.fromkeys("123", (True, False)),
        "9": (True, True),
    }


def test_fresh_values_decide_where_they_suffice(company: Company) -> None:
    """An unknown test doesn't hold a profile that the others decide."""
    company.declare(
        _declared(both={"all": [{"status": {"is": "active"}}, {"points": {"at_least": 2}}]})
    )
    company.put("billing", "1", no="1", changed=stamp(-4), points="1")
    declared = company.declared
    declared["attributes"]["points"]["sources"] = ["billing"]
    declared["attributes"]["status"]["sources"] = ["crm"]
    del declared["systems"]["billing"]["syncs"]["people"]["attributes"]["status"]
    del declared["systems"]["crm"]["syncs"]["people"]["attributes"]["points"]
    company.declare(declared)
    company.run()
    company.now = START + 25 * HOUR
    company.sync("billing")
    company.settle()
    assert _members(company, "both") == {"2": (True, True), "3": (True, True)}


def test_a_preview_writes_nothing(company: Company) -> None:
    """A condition can be tried, of a declared audience or not, and nothing is left of it."""
    company.run()
    before = _written(company)
    space = company.workspace
    condition = space.catalogue.audiences["active"].where
    coverage = space.ledger.coverage()
    for name, entered in ((None, 3), ("active", 0)):
        found = preview(
            space.catalogue, space.lake, coverage, condition, now=company.now, name=name
        )
        assert (found.counts.members, found.counts.entered) == (3, entered)
        assert len(found.sample) == 3
    assert _written(company) == before


def test_an_unknown_audience_is_named(company: Company) -> None:
    """Only declared audiences can be evaluated."""
    with pytest.raises(UnknownName, match="no audience others"):
        pipeline.evaluate_audience(company.workspace, "others", now=START, run_id="r")


def test_compaction_changes_nothing_that_is_read(company: Company) -> None:
    """Folded or not, profiles, members and what is written next are the same."""
    company.run()
    for hour in range(1, 7):
        company.put(
            "crm", "1", no="1", changed=stamp(hour - 1.5), status="active", points=str(hour)
        )
        company.run()
    before = company.customers.profiles().to_arrow(), _members(company)
    assert upkeep.compact(company.workspace) > 0
    assert (company.customers.profiles().to_arrow(), _members(company)) == before
    written = _written(company)
    assert upkeep.compact(company.workspace) == 0
    company.run()
    assert _written(company) == written
    company.put("crm", "1", no="1", changed=stamp(7), status="churned")
    company.run()
    assert _members(company) == {"2": (True, False), "3": (True, False)}
