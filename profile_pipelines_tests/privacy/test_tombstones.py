"""Who was erased and comes back as a customer: told, lifted with proof, or at the declared end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from profile_pipelines.errors import Conflict, NotFound
from profile_pipelines.ledger.inbox import Named
from profile_pipelines.pipeline import sync_named_records
from profile_pipelines.privacy_steps import erase_people, lift_tombstones
from profile_pipelines_tests.company import HOUR, Company, catalogue, stamp

SOURCE_STOPS = "source stops delivering them"


def _company(folder: Path, ledger: str | None = None, **settings: Any) -> Company:
    declared = catalogue(("crm", "billing"), ("tier", "points"))
    declared["settings"] = settings
    company = Company(folder, declared, ledger=ledger)
    company.put("crm", "1", no="1", email="ann@x.example", changed=stamp(-5), tier="old")
    company.put("crm", "2", no="2", email="bob@x.example", changed=stamp(-4), tier="gold")
    company.put("billing", "b1", no="1", changed=stamp(-5), points="7")
    company.run()
    return company


def _erase(company: Company, *identifiers: str, until: str | None = None) -> None:
    found = [company.customers.profile(each, now=company.now).profile_id for each in identifiers]
    erase_people(
        company.workspace, found, reference=None, by="officer", now=company.now, until=until
    )
    company.now += HOUR


def _lift(company: Company, *identifiers: str) -> list[dict[str, int]]:
    given = [(f"line {number}: ", text) for number, text in enumerate(identifiers, 1)]
    ends = lift_tombstones(
        company.workspace, given, by="officer", because="came back", now=company.now
    )
    return [each.tombstones for each in ends]


def _kept_out(company: Company, *, full: bool = False) -> list[int]:
    return [each.kept_out for each in company.run(full=full)]


def _tiers(company: Company, *identifiers: str) -> list[Any]:
    found: list[Any] = []
    for each in identifiers:
        try:
            found.append(company.profile(each).get("tier"))
        except NotFound:
            found.append("nobody")
    return found


def test_a_run_tells_whom_it_kept_out(tmp_path: Path) -> None:
    """The records of a customer with a new number, the old mailbox and none of the past."""
    company = _company(tmp_path)
    _erase(company, "1")
    company.put("crm", "1", no="1", email="ann@x.example", changed=stamp(5), tier="old")
    company.put("crm", "77", no="77", email="Ann@x.example", changed=stamp(5), tier="new")
    assert _kept_out(company) == [2, 0]
    assert _kept_out(company, full=True) == [2, 1]


@pytest.mark.parametrize("by", ["ann@x.example", "1", "C-001"])
def test_who_is_lifted_comes_in_with_all_records(tmp_path: Path, by: str) -> None:
    """At the next run, by whichever identifier was named: also what came before the cursor, and
    what no system has touched since; the register has proof."""
    company = _company(tmp_path)
    _erase(company, "1")
    company.put("crm", "77", no="77", email="ann@x.example", changed=stamp(3), tier="new")
    company.put("crm", "3", no="3", email="cid@x.example", changed=stamp(4), tier="silver")
    company.run()
    assert _tiers(company, "77", "1", "3") == ["nobody", "nobody", "silver"]
    [counts] = _lift(company, by)
    assert counts == {"customer_no": 1, "email": 1, "crm/people": 1, "billing/people": 1}
    assert _kept_out(company) == [0, 0]
    assert _tiers(company, "77", "2", "3") == ["new", "gold", "silver"]
    assert company.profile("1")["points"] == 7
    assert [each.full for each in company.run()] == [False, False]
    [end] = company.workspace.ledger.erasures.tombstones.ends()
    assert (end.by, end.because, end.erasure) == ("officer", "came back", 1)
    with pytest.raises(NotFound, match="line 2: nobody with this identifier is kept out"):
        _lift(company, by, by)


def test_only_the_one_who_is_named_is_lifted(tmp_path: Path) -> None:
    """Of people who were erased together; with an unknown one among several, nobody is."""
    company = _company(tmp_path)
    _erase(company, "1", "2")
    with pytest.raises(NotFound, match="line 2"):
        _lift(company, "ann@x.example", "stranger@x.example")
    _lift(company, "bob@x.example")
    assert _kept_out(company) == [1, 0]
    assert _kept_out(company, full=True) == [1, 1]
    assert _tiers(company, "1", "2") == ["nobody", "gold"]


def test_each_attribute_of_the_lifted_is_read(tmp_path: Path) -> None:
    """Where a run reads some of a sync's attributes alone, the others wait for theirs."""
    company = _company(tmp_path)
    _erase(company, "1")
    company.put("crm", "1", no="1", changed=stamp(0.5), tier="back", points="5")
    company.run()
    _lift(company, "1")
    assert company.sync("crm", "tier").full
    assert company.sync("crm", "points").full
    assert not company.sync("crm", "tier").full
    company.settle()
    assert company.profile("1") == {"tier": "back", "points": 5}


def test_who_is_erased_again_stays_out(tmp_path: Path) -> None:
    """A lift ends one erasure; the next one begins anew."""
    company = _company(tmp_path)
    _erase(company, "1")
    _lift(company, "1")
    company.run()
    assert _tiers(company, "1") == ["old"]
    _erase(company, "1")
    assert _kept_out(company, full=True) == [1, 1]
    assert [each.erasure for each in company.workspace.ledger.erasures.all()] == [1, 2]


def test_an_erasure_under_way_is_not_lifted(tmp_path: Path) -> None:
    """It has to be ended first, or it would leave half of somebody."""
    company = _company(tmp_path)
    erasures = company.workspace.ledger.erasures
    marks = [("email", "ann@x.example", 1)]
    erasures.begin([1], marks, reference=None, by="officer", now=company.now)
    with pytest.raises(Conflict, match="isn't ended"):
        _lift(company, "ann@x.example")


@pytest.mark.parametrize("own", [False, True])
def test_they_are_kept_out_as_long_as_declared(tmp_path: Path, own: bool) -> None:
    """By the settings, or by what was said of the one erasure."""
    settings = {"erasure": {"until": "9 days" if own else "2 days"}}
    company = _company(tmp_path, **settings)
    _erase(company, "1", until="2d" if own else None)
    company.put("crm", "77", no="77", email="ann@x.example", changed=stamp(3), tier="new")
    company.now += 46 * HOUR
    assert _kept_out(company)[0] == 1
    company.now += HOUR
    assert _kept_out(company) == [0, 0]
    assert _tiers(company, "77") == ["new"]
    [end] = company.workspace.ledger.erasures.tombstones.ends()
    assert (end.because, end.person) == ("2d have passed", None)


def test_they_are_kept_out_until_no_system_delivers_them(tmp_path: Path) -> None:
    """Only a whole read of every system tells that; who is delivered again meanwhile stays out."""
    company = _company(tmp_path, erasure={"until": SOURCE_STOPS})
    ends = company.workspace.ledger.erasures.tombstones.ends
    _erase(company, "1")
    company.remove("crm", "1")
    company.run()
    assert _kept_out(company, full=True) == [0, 1]
    company.remove("billing", "b1")
    company.put("crm", "1", no="1", changed=stamp(5), tier="old")
    assert _kept_out(company, full=True) == [1, 0]
    assert _kept_out(company) == [1, 0]
    assert ends() == []
    company.remove("crm", "1")
    company.run(full=True)
    company.put("crm", "77", no="77", email="ann@x.example", changed=stamp(9), tier="new")
    assert _kept_out(company) == [0, 0]
    assert _tiers(company, "77", "1") == ["new", "nobody"]
    assert [each.because for each in ends()] == [f"until: {SOURCE_STOPS}"]


def test_a_source_that_loses_its_records_ends_nothing(tmp_path: Path) -> None:
    """What is set aside tells nothing of who is still delivered."""
    company = _company(tmp_path, erasure={"until": SOURCE_STOPS})
    _erase(company, "1")
    for system in ("crm", "billing"):
        company.execute(system, "delete from people")
    company.run(full=True)
    company.put("crm", "1", no="1", changed=stamp(5), tier="old")
    company.put("crm", "2", no="2", changed=stamp(5), tier="gold")
    company.run(full=True)
    assert company.workspace.ledger.erasures.tombstones.ends() == []
    assert _tiers(company, "1") == ["nobody"]


def test_events_tell_that_somebody_is_still_delivered(tmp_path: Path) -> None:
    """And count whom they kept out."""
    company = _company(tmp_path, erasure={"until": SOURCE_STOPS})
    _erase(company, "1")
    company.remove("crm", "1")
    company.remove("billing", "b1")
    company.run(full=True)
    company.workspace.ledger.inbox.store(
        [Named("crm", "people", "1", '{"id": "1", "no": "1", "changed": "2026-03-02T18:00:00Z"}')],
        [],
        now=company.now,
    )
    result = sync_named_records(
        company.workspace, "crm", "people", now=company.now, run_id=company.run_id
    )
    assert result.kept_out == 1
    company.run()
    assert company.workspace.ledger.erasures.tombstones.ends() == []


def test_tombstones_of_an_older_version_are_lifted_one_by_one(
    tmp_path: Path, postgres_url: str
) -> None:
    """Their ledger opens; it doesn't tell whose they are, so each identifier has to be named."""
    company = _company(tmp_path, postgres_url)
    _erase(company, "1")
    engine = sa.create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg2:", 1))
    with engine.begin() as connection:
        for table in ("owners", "syncs", "ends"):
            connection.execute(sa.text(f"drop table tombstone_{table}"))
        connection.execute(sa.text("drop table erasure_terms"))
        connection.execute(sa.text("drop table rereads"))
    engine.dispose()
    company.declare(company.declared)
    company.put("crm", "77", no="77", email="ann@x.example", changed=stamp(3), tier="new")
    assert _kept_out(company)[0] == 1
    _lift(company, "ann@x.example")
    company.run()
    assert _tiers(company, "77", "1") == ["new", "nobody"]
    _lift(company, "1")
    company.run()
    assert _tiers(company, "1") == ["old"]
