"""Unsubscriptions stand in the profile as a source that outranks all others."""

from __future__ import annotations

import copy
import shutil
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from profile_pipelines import privacy_steps
from profile_pipelines.adoption import adopt
from profile_pipelines.consent.permission import Unsubscribed
from profile_pipelines.engine import DuckDBEngine
from profile_pipelines.errors import CatalogueError, NotFound, PairError, UnknownName
from profile_pipelines.lake import Lake
from profile_pipelines.ledger import Ledger
from profile_pipelines.profiles.unsubscribed import land_unsubscribes
from profile_pipelines_tests.company import HOUR, START, Company, catalogue, stamp


def _declared(merge: str = "most_restrictive", systems: tuple[str, ...] = ("crm",)) -> Any:
    declared = catalogue(systems, ("status", "opt_in"))
    declared["attributes"]["opt_in"] |= {
        "consent": "email", "merge": merge, "fresh_within": "3h",
        "max_changed": "100%", "max_emptied": "100%",
    }  # fmt: skip
    declared["attributes"]["status"] |= {"max_changed": "100%", "max_emptied": "100%"}
    for system in declared["systems"].values():
        system["syncs"]["people"]["max_deleted"] = "100%"
    declared["audiences"] = {"reachable": {"where": {"opt_in": {"is": True}}}}
    return declared


def _put(company: Company, key: str, system: str = "crm", hours: float = -5, **values: Any) -> None:
    row = {
        "no": key, "email": f"c{key}@example.com", "changed": stamp(hours), "status": "active",
        "opt_in": "yes", **values,
    }  # fmt: skip
    company.put(system, key, **row)


def _unsubscribe(company: Company, identifier: str, purpose: str = "email") -> int:
    profile_id = company.customers.profile(identifier).profile_id
    company.workspace.ledger.unsubscribes.add(profile_id, purpose, now=company.now)
    return profile_id


def _restore(company: Company, identifier: str) -> list[int]:
    return privacy_steps.restore_consent(
        company.workspace, identifier, "email", by="ann", because="asked by phone", now=company.now
    )


def _consents(company: Company) -> dict[str, bool | None]:
    frame = company.customers.profiles().to_arrow()
    keys = ["/".join(each or ["?"]) for each in frame["email"].to_pylist()]
    return dict(zip(keys, frame["opt_in"].to_pylist(), strict=True))


@pytest.mark.parametrize("merge", ["priority", "latest", "most_restrictive"])
def test_it_outranks_every_system(tmp_path: Path, merge: str) -> None:
    """By whichever rule: false, with a receipt of when and by which run; never stale."""
    company = Company(tmp_path, _declared(merge, ("crm", "billing")))
    for system in ("crm", "billing"):
        _put(company, "1", system)
        _put(company, "2", system)
    company.run()
    clicked = company.now
    profile_id = _unsubscribe(company, "c1@example.com")
    _put(company, "1", hours=1, opt_in="true")
    company.now += timedelta(minutes=10)
    run_id, merged_at = company.run_id, company.now
    company.settle()
    view = company.customers.profile("c1@example.com", now=company.now + 9 * HOUR)
    value = view.values["opt_in"]
    (winner,) = value.receipt.winners
    assert (value.value, value.stale) == (False, False)
    assert (winner.system, winner.changed_at) == ("unsubscribes", clicked)
    assert (winner.synced_at, winner.run_id) == (merged_at, run_id)
    assert value.receipt.rule.startswith("unsubscribed: outranks every system")
    assert [(each.system, each.value) for each in value.receipt.losers] == [
        ("crm", True), ("billing", True),
    ]  # fmt: skip
    newest = company.customers.history("c1@example.com")[0]
    assert newest.values == {"opt_in": (False, ("unsubscribes",))}
    assert company.profile("c1@example.com", as_of=clicked)["opt_in"] is True
    assert company.profile("c2@example.com")["opt_in"] is True
    changes = company.customers.audience_changes("reachable").to_pandas()
    assert changes[changes["removed"]]["profile_id"].tolist() == [profile_id]


def test_without_any_nothing_is_written(tmp_path: Path) -> None:
    """No table before the first act, and no commit by a run that finds no new one."""
    company = Company(tmp_path, _declared())
    _put(company, "1")
    company.run()
    lake, known = company.workspace.lake, company.workspace.catalogue
    assert not lake.unsubscribes().pin().exists
    _unsubscribe(company, "c1@example.com")
    company.settle()
    seqs = [table.pin().seq for table in (lake.unsubscribes(), lake.profiles(known))]
    company.workspace.ledger.unsubscribes.add(1, "email", now=company.now)
    company.settle()
    assert [table.pin().seq for table in (lake.unsubscribes(), lake.profiles(known))] == seqs


def test_it_concerns_its_purpose_alone(tmp_path: Path) -> None:
    """Another consent stands, and a purpose that isn't declared any more hurts nothing."""
    declared = _declared()
    declared["attributes"]["sms_opt_in"] = {
        **copy.deepcopy(declared["attributes"]["opt_in"]), "consent": "sms",
    }  # fmt: skip
    declared["systems"]["crm"]["syncs"]["people"]["attributes"]["sms_opt_in"] = "tier"
    company = Company(tmp_path, declared)
    _put(company, "1", tier="yes")
    company.run()
    _unsubscribe(company, "c1@example.com", "post")
    _unsubscribe(company, "c1@example.com", "sms")
    company.settle()
    found = company.profile("c1@example.com")
    assert (found["opt_in"], found["sms_opt_in"]) == (True, False)


def test_it_follows_the_customer_where_profiles_join_and_part(tmp_path: Path) -> None:
    """Whichever id stays; and a record that was in the profile takes it along."""
    company = Company(tmp_path, _declared())
    for key in "123":
        _put(company, key)
    company.run()
    _unsubscribe(company, "c2@example.com")
    _put(company, "2", hours=1, email="c1@example.com")
    company.run()
    assert _consents(company) == {"c1@example.com": False, "c3@example.com": True}
    _put(company, "2", hours=2)
    company.run()
    # the first record was never in the profile that the link was made for
    assert _consents(company) == {
        "c1@example.com": True, "c2@example.com": False, "c3@example.com": True,
    }  # fmt: skip


def test_it_outlives_the_records_by_their_identifiers(tmp_path: Path) -> None:
    """A CRM that is replaced in one step brings the same people under new keys."""
    company = Company(tmp_path, _declared())
    _put(company, "1")
    _put(company, "2")
    company.run()
    before = _unsubscribe(company, "c1@example.com")
    company.settle()
    for key in "12":
        company.remove("crm", key)
        _put(company, f"9{key}", hours=1, email=f"c{key}@example.com")
    company.run(full=True)
    assert company.customers.profile("c1@example.com").profile_id == before
    assert _consents(company) == {"c1@example.com": False, "c2@example.com": True}
    receipt = company.customers.profile("c1@example.com").values["opt_in"].receipt
    assert [each.system for each in receipt.winners] == ["unsubscribes"]


def test_a_record_that_goes_leaves_it_to_who_has_its_address(tmp_path: Path) -> None:
    """Two records of one person; the one that was clicked for goes, the other one takes over."""
    company = Company(tmp_path, _declared())
    _put(company, "1")
    _put(company, "2")
    company.run()
    before = _unsubscribe(company, "c1@example.com")
    company.remove("crm", "1")
    _put(company, "2", hours=1, email="c1@example.com")
    company.run(full=True)
    assert company.customers.profile("c1@example.com").profile_id != before
    assert _consents(company) == {"c1@example.com": False}


def test_what_is_held_apart_takes_nothing_over_by_identifiers(tmp_path: Path) -> None:
    """One person's click isn't everyone's at an address that many have."""
    company = Company(tmp_path, _declared() | {"settings": {"max_cluster": 2}})
    for key in "1234":
        _put(company, key, email="info@example.com")
    company.run()
    clicked = _unsubscribe(company, "C-1")
    company.settle()
    company.remove("crm", "1")
    company.run(full=True)
    assert [company.profile(f"C-{key}")["opt_in"] for key in "234"] == [True, True, True]
    space = company.workspace
    unsubscribed = Unsubscribed(space.catalogue, space.lake, space.ledger)
    assert unsubscribed.of("email") == {clicked}


def test_taking_it_back_lets_the_systems_decide_again(tmp_path: Path) -> None:
    """From the next run on, and until the customer unsubscribes once more."""
    company = Company(tmp_path, _declared())
    _put(company, "1")
    _put(company, "2", opt_in="no")
    company.run()
    for key in "12":
        _unsubscribe(company, f"c{key}@example.com")
    company.settle()
    assert len(_restore(company, "c1@example.com")) == 1
    assert _consents(company) == {"c1@example.com": False, "c2@example.com": False}
    _restore(company, "c2@example.com")
    company.settle()
    assert _consents(company) == {"c1@example.com": True, "c2@example.com": False}
    with pytest.raises(NotFound, match="isn't unsubscribed from email"):
        _restore(company, "c1@example.com")
    with pytest.raises(UnknownName, match="there is consent for email"):
        privacy_steps.restore_consent(
            company.workspace, "c1@example.com", "fax", by="a", because="b", now=company.now
        )
    _unsubscribe(company, "c1@example.com")
    company.settle()
    assert _consents(company)["c1@example.com"] is False


def test_a_ledger_put_back_from_a_copy_loses_no_later_unsubscription(tmp_path: Path) -> None:
    """Its numbers begin again below those that the lake has seen."""
    company = Company(tmp_path, _declared())
    for key in "123":
        _put(company, key)
    company.run()
    for key in "12":
        _unsubscribe(company, f"c{key}@example.com")
    company.settle()
    for part in tmp_path.glob("ledger.db*"):
        part.unlink()
    company.declare(company.declared)
    with pytest.raises(PairError):
        company.run()
    adopt(company.workspace, now=company.now)
    company.declare(company.declared)
    company.run()
    _unsubscribe(company, "c3@example.com")
    company.settle()
    assert set(_consents(company).values()) == {False}


def test_an_act_after_a_forgotten_one_counts(tmp_path: Path) -> None:
    """Erasing who acted last doesn't let the next one's act be passed over."""
    company = Company(tmp_path, _declared())
    for key in "123":
        _put(company, key)
    company.run()
    ledger = company.workspace.ledger
    erased = _unsubscribe(company, "c1@example.com")
    company.settle()
    assert ledger.forget([erased], now=company.now)["consent acts"] == 1
    assert ledger.unsubscribes.since(0) == []
    _unsubscribe(company, "c2@example.com")
    company.settle()
    _unsubscribe(company, "c3@example.com")
    company.settle()
    assert ledger.forget([erased], now=company.now)["consent acts"] == 0
    found = _consents(company)
    assert (found["c2@example.com"], found["c3@example.com"]) == (False, False)


def test_acts_of_before_they_had_ids_are_landed_once_more_and_stay(tmp_path: Path) -> None:
    """A ledger and a lake of an older version lose none, and the next run writes nothing."""
    company = Company(tmp_path, _declared())
    for key in "12":
        _put(company, key)
    company.run()
    _unsubscribe(company, "c1@example.com")
    company.settle()
    ledger = company.workspace.ledger
    with ledger._engine.begin() as connection:  # pyright: ignore[reportPrivateUsage]
        connection.execute(sa.text("delete from consent_act_ids"))
    _unsubscribe(company, "c2@example.com")
    company.settle()
    assert set(_consents(company).values()) == {False}
    before = company.workspace.lake.unsubscribes().pin().seq
    company.settle()
    assert company.workspace.lake.unsubscribes().pin().seq == before


def test_the_name_is_taken(tmp_path: Path) -> None:
    """No system of a catalogue can be called so."""
    with pytest.raises(CatalogueError, match="built in; choose another"):
        Company(tmp_path, _declared(systems=("unsubscribes",)))


KEYS = st.sampled_from("123")
STEPS = st.one_of(
    st.tuples(st.just("put"), KEYS, KEYS, st.sampled_from(["yes", "no"])),
    st.tuples(st.just("remove"), KEYS),
    st.tuples(st.just("unsubscribe"), KEYS),
    st.tuples(st.just("restore"), KEYS),
    st.tuples(st.just("run")),
)


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=4, max_size=10))
def test_what_changes_touch_is_all_that_has_to_be_merged(steps: list[tuple[str, ...]]) -> None:
    """After any acts and moves, merging everything anew gives the same."""
    with tempfile.TemporaryDirectory() as folder:
        company = Company(Path(folder), _declared())
        for key in "123":
            _put(company, key)
        company.run()
        for hours, step in enumerate(steps, 1):
            match step:
                case ("put", key, email, opt_in):
                    _put(company, key, hours=hours, email=f"c{email}@example.com", opt_in=opt_in)
                case ("remove", key):
                    company.remove("crm", key)
                case ("unsubscribe", key):
                    company.workspace.ledger.unsubscribes.add(int(key), "email", now=company.now)
                case ("restore", key):
                    company.workspace.ledger.unsubscribes.restore(
                        int(key), "email", by="a", because="b", now=company.now
                    )
                case _:
                    company.run(full=True)
        company.run(full=True)
        kept = company.customers.profiles(provenance=True).to_arrow()
        company.declared["attributes"]["status"]["merge"] = "latest"
        company.declare(company.declared)
        company.settle()
        anew = company.customers.profiles(provenance=True).to_arrow()
        assert anew.to_pylist() == kept.to_pylist()


_Acts = dict[int, tuple[datetime, bool]]
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["unsubscribe", "restore"]), st.integers(1, 3)),
        st.tuples(
            st.sampled_from(["land", "copy", "lake put back", "ledger put back"]), st.just(0)
        ),
    ),
    min_size=4,
    max_size=12,
)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(steps=_STEPS)
@example([("unsubscribe", 1), ("land", 0), ("ledger put back", 0), ("unsubscribe", 2)])
@example(
    [
        ("unsubscribe", 1), ("copy", 0), ("unsubscribe", 2), ("land", 0), ("ledger put back", 0),
        ("unsubscribe", 3), ("restore", 1), ("land", 0), ("lake put back", 0),
    ]
)  # fmt: skip
def test_whatever_is_put_back_what_either_half_knows_counts(steps: list[tuple[str, int]]) -> None:
    """Of a customer's acts the later one that the lake or the ledger knows is in both after the
    next landing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "lake").mkdir()
        ledger: _Acts = {}
        lake: _Acts = {}
        copies: tuple[_Acts, _Acts] = ({}, {})
        kept = _Kept(folder)
        kept.copy()
        for number, (step, key) in enumerate([*steps, ("land", 0)]):
            now = START + number * HOUR
            if step == "unsubscribe":
                kept.ledger.unsubscribes.add(key, "email", now=now)
                if ledger.get(key, (now, False))[1] is False:
                    ledger[key] = (now, True)
            elif step == "restore":
                kept.ledger.unsubscribes.restore(key, "email", by="a", because="b", now=now)
                if ledger.get(key, (now, True))[1] is True:
                    ledger[key] = (now, False)
            elif step == "copy":
                kept.copy()
                copies = (dict(ledger), dict(lake))
            elif step == "lake put back":
                kept.put_back("lake")
                lake = dict(copies[1])
            elif step == "ledger put back":
                kept.put_back("ledger.db")
                ledger = dict(copies[0])
            else:
                everything = [*ledger.items(), *lake.items()]
                both = {
                    key: max(said for k, said in everything if k == key) for key in {*ledger, *lake}
                }
                ledger, lake = dict(both), dict(both)
                kept.land(now)
                assert kept.landed() == both
                silent = {key for key, (_, unsubscribed) in both.items() if unsubscribed}
                assert kept.ledger.unsubscribes.of("email") == silent
        kept.close()


class _Kept:
    """A lake's table of unsubscriptions and a ledger, and a copy of each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = DuckDBEngine()
        self.ledger = Ledger(f"sqlite:///{folder / 'ledger.db'}")
        assert self.ledger.unsubscribes.last() == (0, "")

    def land(self, now: datetime) -> None:
        land_unsubscribes(self._lake(), self.ledger.unsubscribes, now=now, run_id="r")

    def landed(self) -> dict[int, tuple[datetime, bool]]:
        names = ["profile_id", "acted_at", "unsubscribed"]
        rows = self._lake().unsubscribes().pin().current(names, "u")
        return {
            row["profile_id"]: (row["acted_at"], row["unsubscribed"])
            for row in self.engine.rows(rows.sql, rows.relations)
        }

    def copy(self) -> None:
        _copy(self.folder, "lake", "lake.copy")
        _copy(self.folder, "ledger.db", "ledger.db.copy")

    def put_back(self, half: str) -> None:
        self.close()
        _copy(self.folder, f"{half}.copy", half)
        self.ledger = Ledger(f"sqlite:///{self.folder / 'ledger.db'}")

    def close(self) -> None:
        self.ledger._engine.dispose()  # pyright: ignore[reportPrivateUsage]

    def _lake(self) -> Lake:
        return Lake(self.folder / "lake", self.engine)


def _copy(folder: Path, source: str, target: str) -> None:
    if (folder / source).is_dir():
        shutil.rmtree(folder / target, ignore_errors=True)
        shutil.copytree(folder / source, folder / target)
    else:
        shutil.copy(folder / source, folder / target)
