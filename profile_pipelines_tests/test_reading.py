"""What people read: profiles by any spelling, receipts, history, the past, members, quarantine."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import profile_pipelines
from profile_pipelines.errors import NotFound, UnknownName
from profile_pipelines.reading import Customers
from profile_pipelines_tests.company import HOUR, START, Company, catalogue, joining, stamp

RULES = ("status", "tier", "opt_in", "points", "since")


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """A customer in two systems, and one in the CRM alone."""
    declared = catalogue(("crm", "billing"), RULES)
    declared["audiences"]["active"] = {"where": {"status": {"is": "active"}}}
    company = Company(tmp_path, declared)
    company.put(
        "crm", "a", no="C-001", email="Ann@X.de", changed=stamp(-5), status="active",
        tier="gold", opt_in="yes", points="5", since="2020-02-29",
    )  # fmt: skip
    company.put(
        "billing", "77", no="1", email="ann@work.de", changed=stamp(-4), status="churned",
        tier="silver", opt_in="no", points="9", since="2021-01-01",
    )  # fmt: skip
    company.put("crm", "b", no="C-002", email="bob@x.de", changed=stamp(-5), status="churned")
    return company


def _winners(company: Company, attribute: str, **at: datetime) -> dict[str, object]:
    view = company.customers.profile("1", **{"now": company.now, **at})
    return {each.system: each.value for each in view.values[attribute].receipt.winners}


def _losers(company: Company, attribute: str) -> dict[str, object]:
    view = company.customers.profile("1", now=company.now)
    return {each.system: each.value for each in view.values[attribute].receipt.losers}


@pytest.mark.parametrize(
    "spelling", ["C-001", " c-1 ", "0001", "1", "ann@x.de", " ANN@x.DE", "ann@work.de", "profile 1"]
)
def test_a_profile_is_found_by_any_spelling(company: Company, spelling: str) -> None:
    """Every identifier of any system finds it, however it is typed, and so does its own id."""
    company.run()
    view = company.customers.profile(spelling, now=company.now)
    assert view.profile_id == 1
    assert view.identifiers == {"customer_no": ("1",), "email": ("ann@work.de", "ann@x.de")}
    assert view.audiences == ("active",)
    assert view.held_in == ()


@pytest.mark.parametrize("text", ["C-003", "N/A", "", "profile 99", "nobody@x.de", "'; drop --"])
def test_an_unknown_identifier_is_not_found(company: Company, text: str) -> None:
    """The error doesn't repeat what was looked for: it may be a customer's."""
    company.run()
    with pytest.raises(NotFound, match="no profile") as caught:
        company.customers.profile(text)
    assert text == "" or text not in str(caught.value) or text == "profile 99"


def test_nothing_is_found_before_the_first_run(company: Company) -> None:
    """An empty lake reads as no customers at all."""
    with pytest.raises(NotFound):
        company.customers.profile("1")
    assert len(company.customers.profiles()) == 0
    assert len(company.customers.members("active")) == 0
    assert len(company.customers.quarantine()) == 0
    assert set(company.customers.filled().values()) == {0}


def test_receipts_name_winners_and_losers(company: Company) -> None:
    """By each rule the systems that decided stand apart from those that lost, with their values."""
    company.run()
    assert _winners(company, "status") == {"crm": "active"}
    assert _losers(company, "status") == {"billing": "churned"}
    assert _winners(company, "tier") == {"billing": "silver"}
    assert _losers(company, "tier") == {"crm": "gold"}
    assert _winners(company, "opt_in") == {"crm": True, "billing": False}
    assert _winners(company, "points") == {"crm": 5, "billing": 9}
    assert company.profile("1") == {
        "status": "active", "tier": "silver", "opt_in": False, "points": 9,
        "since": date(2020, 2, 29),
    }  # fmt: skip
    view = company.customers.profile("1", now=company.now)
    assert view.values["status"].receipt.rule == "priority: crm, then billing"


def test_a_receipt_tells_when_and_in_which_run(company: Company) -> None:
    """The source's own time of the change, the time of the sync, and the run; by value."""
    company.run()
    company.put(
        "crm", "a", no="C-001", email="ann@x.de", changed=stamp(0.5), status="active", tier="new"
    )
    company.run()
    view = company.customers.profile("1", now=company.now)
    [status] = view.values["status"].receipt.winners
    assert (status.changed_at, status.record_updated_at) == (START - 5 * HOUR, START + HOUR / 2)
    assert (status.synced_at, status.run_id) == (START, "run-02-12")
    [tier] = view.values["tier"].receipt.winners
    assert (tier.system, tier.sync, tier.value) == ("crm", "people", "new")
    assert (tier.changed_at, tier.synced_at) == (START + HOUR / 2, START + HOUR)
    assert tier.run_id == "run-02-13"


def test_a_quarantined_value_stands_among_the_losers(company: Company) -> None:
    """The source of truth that gave nonsense is named with the reason, without the value."""
    for number in range(3):
        company.put("crm", f"x{number}", no=f"9{number}", changed=stamp(-5), status="active")
    company.put("crm", "a", no="C-001", changed=stamp(-3), status="Nonsense")
    company.run()
    receipt = company.customers.profile("1", now=company.now).values["status"].receipt
    assert (receipt.value, receipt.winners[0].system) == ("churned", "billing")
    [loser] = receipt.losers
    assert (loser.system, loser.value) == ("crm", None)
    assert loser.invalid == "not one of the allowed values"


def test_values_tell_their_age(company: Company) -> None:
    """Age counts from the deciding source's last success; beyond its limit a value is stale."""
    company.run()
    company.now = START + 24 * HOUR
    company.sync("billing")
    view = company.customers.profile("1", now=START + 25 * HOUR)
    assert (view.values["status"].age, view.values["status"].stale) == (25 * HOUR, True)
    assert (view.values["tier"].age, view.values["tier"].stale) == (HOUR, False)
    assert (view.values["points"].age, view.values["points"].stale) == (25 * HOUR, True)
    by_source = {
        (each.attribute, each.system): (each.age, each.stale)
        for each in company.customers.freshness(now=START + 25 * HOUR)
    }
    assert by_source["points", "billing"] == (HOUR, False)
    assert by_source["points", "crm"] == (25 * HOUR, True)


def test_the_past_reads_as_it_was(company: Company) -> None:
    """Profiles, receipts, members and identifiers as of any moment are those of then."""
    company.run()
    company.put("crm", "a", no="C-001", email="new@x.de", changed=stamp(0.5), status="churned")
    company.put("crm", "c", no="C-003", changed=stamp(0.5), status="active")
    company.run()
    company.remove("crm", "b")
    company.run(full=True)
    customers = company.customers
    then = START + 30 * timedelta(minutes=1)
    assert company.profile("1")["status"] == "churned"
    assert company.profile("1", as_of=then)["status"] == "active"
    assert _winners(company, "status", as_of=then) == {"crm": "active"}
    assert customers.profile("ann@x.de", as_of=then).audiences == ("active",)
    assert customers.profile("1", now=company.now).audiences == ()
    with pytest.raises(NotFound):
        customers.profile("ann@x.de")
    with pytest.raises(NotFound, match="as of 2026-03-02 12:30"):
        customers.profile("new@x.de", as_of=then)
    with pytest.raises(NotFound):
        customers.profile("1", as_of=START - HOUR)
    for hours, count in {-1: 0, 0: 2, 1: 3, 2: 2, 9: 2}.items():
        assert len(customers.profiles(as_of=START + hours * HOUR)) == count
    members = {
        hours: customers.members("active", as_of=START + hours * HOUR).to_polars()["member"].sum()
        for hours in (-1, 0, 1, 2)
    }
    assert members == {-1: 0, 0: 1, 1: 1, 2: 1}


def test_moments_without_an_offset_are_of_the_catalogues_clock(company: Company) -> None:
    """As on the command line, in every call; a date is its first moment."""
    company.declare({**company.declared, "settings": {"timezone": "Asia/Tokyo"}})
    company.run()
    customers, before, then = company.customers, datetime(2026, 3, 2, 20, 59), datetime(2026, 3, 3)
    assert customers.profile("1", as_of=datetime(2026, 3, 2, 21)).profile_id == 1
    assert customers.profile("1", now=then).values["status"].age == 3 * HOUR
    assert {each.age for each in customers.freshness(now=then.date())} == {3 * HOUR}
    with pytest.raises(NotFound, match="as of 2026-03-02 20:59"):
        customers.profile("1", as_of=before)
    for as_of, count in {before: 0, then: 2, then.date(): 2, date(2026, 3, 2): 0}.items():
        assert len(customers.profiles(as_of=as_of)) == count
        assert len(customers.members("active", as_of=as_of)) == count / 2


def test_every_past_state_is_kept_exactly(company: Company) -> None:
    """What was read at a moment is what is read as of it ever after, compacted or not."""
    seen: dict[datetime, list[dict[str, object]]] = {}
    for hour in range(4):
        company.put("crm", "a", no="C-001", changed=stamp(hour - 2), points=str(hour))
        company.put("billing", f"n{hour}", no=f"C-1{hour}", changed=stamp(hour - 2), tier="gold")
        if hour == 2:
            company.remove("billing", "n0")
        moment = company.now
        company.run(full=hour == 2)
        seen[moment] = company.customers.profiles(provenance=True).to_arrow().to_pylist()
    lake, declared = company.workspace.lake, company.workspace.catalogue
    for table in (lake.profiles(declared), lake.identities(declared)):
        table.pin().compact(lake.engine, force=True)
    for moment, rows in seen.items():
        as_of = company.customers.profiles(as_of=moment + timedelta(minutes=1), provenance=True)
        assert as_of.to_arrow().to_pylist() == rows


def test_the_history_lists_every_change(company: Company) -> None:
    """Newest first: the attributes that changed, with their values and sources."""
    company.run()
    company.put("crm", "b", no="C-002", changed=stamp(0.5), status="active", points="3")
    company.run()
    [second, first] = company.customers.history("C-002")
    assert first.created
    assert (first.recorded_at, first.run_id) == (START, "run-02-12")
    assert first.values == {"status": ("churned", ("crm",))}
    assert not second.created
    assert not second.removed
    assert second.recorded_at == START + HOUR
    assert second.values == {"status": ("active", ("crm",)), "points": (3, ("crm",))}


def test_two_customers_that_become_one_are_one(company: Company) -> None:
    """When a system links them, the older profile stays with the values of both."""
    company.declare(joining(company.declared))
    company.run()
    company.put("billing", "78", no="2", email="ann@x.de", changed=stamp(0.5), points="50")
    company.run()
    view = company.customers.profile("C-2", now=company.now)
    assert view.profile_id == company.customers.profile("C-1", now=company.now).profile_id
    assert view.values["points"].value == 50
    assert view.identifiers["customer_no"] == ("2", "1")  # the newest first
    company.remove("billing", "78")
    company.run(full=True)
    assert len(company.customers.profiles()) == 2
    assert company.profile("C-1")["points"] == 9


def test_an_identifier_of_several_profiles_gives_all_of_them(company: Company) -> None:
    """Customers that were held apart share an identifier; the least id comes first."""
    declared = company.declared
    declared["settings"] = {"max_cluster": 2}
    company.declare(declared)
    for number in (11, 12, 13):
        company.put("crm", str(number), no=str(number), email="info@x.de", changed=stamp(-3))
    company.run()
    views = company.customers.profiles_with("info@x.de", now=company.now)
    assert len(views) == 3
    assert company.customers.profile("info@x.de", now=company.now) == views[0]


def test_frames_come_in_three_kinds(company: Company) -> None:
    """Profiles as Arrow, pandas and Polars hold the same, with identifiers and sources."""
    company.run()
    frame = company.customers.profiles(provenance=True)
    assert len(frame) == 2
    arrow, pandas, polars = frame.to_arrow(), frame.to_pandas(), frame.to_polars()
    assert isinstance(arrow, pa.Table)
    assert isinstance(pandas, pd.DataFrame)
    assert isinstance(polars, pl.DataFrame)
    first = arrow.to_pylist()[0]
    assert first["customer_no"] == ["1"]
    assert first["email"] == ["ann@work.de", "ann@x.de"]
    assert (first["points"], first["points__from"]) == (9, "billing, crm")
    assert (first["status"], first["status__from"]) == ("active", "crm")
    assert arrow.to_pylist()[1]["opt_in__from"] is None
    assert pandas["points"].tolist()[0] == 9
    assert polars["since"].to_list() == [date(2020, 2, 29), None]
    assert polars.columns == arrow.column_names == list(pandas.columns)


def test_pandas_keeps_numbers_beside_missing_ones(company: Company) -> None:
    """A float would hold 15 digits of them, and a truth value would be an object."""
    company.put("crm", "a", no="C-001", changed=stamp(-3), points="9007199254740993", opt_in="1")
    company.run()
    pandas = company.customers.profiles().to_pandas()
    assert pandas["points"].isna().tolist() == [False, True]
    assert int(pandas["points"].iloc[0]) == 9007199254740993
    assert (str(pandas["points"].dtype), str(pandas["opt_in"].dtype)) == ("Int64", "boolean")


def test_types_survive_the_whole_way(tmp_path: Path) -> None:
    """Decimals, dates, times and lists come out as they went in."""
    company = Company(tmp_path, catalogue(("crm",)))
    company.put(
        "crm", "1", no="1", changed=stamp(-1), balance="99999999999999.9999", ends="2026-12-31",
        seen="2026-03-02T09:30:00.123456+01:00", tags="b, a", points="-9223372036854775808",
    )  # fmt: skip
    company.run()
    values = company.profile("1")
    assert values["balance"] == Decimal("99999999999999.9999")
    assert values["ends"] == date(2026, 12, 31)
    assert values["seen"] == datetime.fromisoformat("2026-03-02T08:30:00.123456+00:00")
    assert values["tags"] == ["a", "b"]
    assert values["points"] == -(2**63)
    row = company.customers.profiles().to_arrow().to_pylist()[0]
    assert {name: row[name] for name in values} == values


def test_the_share_filled_is_told(company: Company) -> None:
    """By attribute, of all profiles."""
    company.run()
    filled = company.customers.filled()
    assert filled["status"] == 1
    assert filled["tier"] == 0.5


def test_members_and_their_changes_are_read(company: Company) -> None:
    """The rows of an audience now, and everything that was recorded of it."""
    company.run()
    company.put("crm", "b", no="C-002", changed=stamp(0.5), status="active")
    company.run()
    assert company.customers.members("active").to_arrow().to_pylist() == [
        {"profile_id": 1, "member": True, "held": False},
        {"profile_id": 2, "member": True, "held": False},
    ]
    log = company.customers.audience_changes("active").to_arrow().to_pylist()
    assert [(row["profile_id"], row["recorded_at"]) for row in log] == [
        (1, START),
        (2, START + HOUR),
    ]
    for read in (company.customers.members, company.customers.audience_changes):
        with pytest.raises(UnknownName, match="no audience others; there is only active"):
            read("others")


def test_the_quarantine_is_read_by_system(company: Company) -> None:
    """One system's, or all; an unknown system is named."""
    company.put("billing", "x", no="9", changed=stamp(-1), points="many")
    company.run()
    assert len(company.customers.quarantine()) == 1
    assert len(company.customers.quarantine("crm")) == 0
    assert company.customers.quarantine("billing").to_polars()["value"].to_list() == ["many"]
    with pytest.raises(UnknownName, match="no system shop"):
        company.customers.quarantine("shop")


def test_the_public_interface_opens_a_catalogue(company: Company) -> None:
    """`profile_pipelines.open` needs the folder, the lake and the ledger, and only reads."""
    company.run()
    places = company.workspace.places
    customers = profile_pipelines.open(places.catalogue, places.lake, places.ledger)
    assert isinstance(customers, Customers)
    assert customers.profile("c-1", now=company.now).values["points"].value == 9


def test_the_environment_names_what_is_not_given(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without arguments the three variables decide."""
    company.run()
    places = company.workspace.places
    monkeypatch.setenv("PROFILE_PIPELINES_CATALOG", str(places.catalogue))
    monkeypatch.setenv("PROFILE_PIPELINES_LAKE", str(places.lake))
    monkeypatch.setenv("PROFILE_PIPELINES_LEDGER", places.ledger)
    assert len(profile_pipelines.open().profiles()) == 2
