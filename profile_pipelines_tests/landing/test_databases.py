"""Syncs of databases whose values are odd: what customers have in the end."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines_tests.company import Company, catalogue, stamp
from profile_pipelines_tests.sources.test_postgres import run


def declared(url: str, *attributes: str, **sync: Any) -> dict[str, Any]:
    """A CRM at this URL, in which `no` is the customer's number and the record's key."""
    made = catalogue(("crm",), attributes)
    crm = made["systems"]["crm"]
    crm["connection"]["url"] = url
    crm["syncs"]["people"] = {
        "table": "people",
        "key": "no",
        "identifiers": {"customer_no": "no"},
        "attributes": {name: name for name in attributes},
        **sync,
    }
    return made


def tiers(company: Company) -> dict[str, Any]:
    """The customers' tiers by their numbers."""
    found = company.customers.profiles().to_arrow().to_pylist()
    return {row["customer_no"][0]: row["tier"] for row in found}


def test_padding_hides_neither_words_nor_deletions(tmp_path: Path, postgres_url: str) -> None:
    """`char(n)` fits `valid.in`, `map` and `deleted_when`."""
    run(
        postgres_url,
        "create table people (no char(8), tier char(10), state char(8))",
        "insert into people values ('1', 'gold', 'ok'), ('2', 'basic', 'ok')",
        "insert into people values ('3', 'gold', 'gone')",
    )
    mapped = {"field": "tier", "convert": [{"map": {"gold": "G", "basic": "B"}}]}
    sync = {"attributes": {"tier": "tier", "status": mapped}, "deleted": "state"}
    made = declared(postgres_url, "tier", "status", **sync, deleted_when=["gone"])
    made["attributes"]["tier"]["valid"] = {"in": ["gold", "basic"]}
    made["attributes"]["status"]["valid"] = {"in": ["G", "B"]}
    company = Company(tmp_path, made)
    company.run()
    assert company.profile("1") == {"tier": "gold", "status": "G"}
    assert company.profile("2") == {"tier": "basic", "status": "B"}
    assert set(tiers(company)) == {"1", "2"}


def test_a_record_that_never_bore_a_time_is_read_with_every_change(
    tmp_path: Path, postgres_url: str
) -> None:
    """`-infinity` says no more than a missing time; an old one says that nothing changed."""
    run(
        postgres_url,
        "create table people (no text, tier text, changed timestamp)",
        "insert into people values ('1', 'basic', '-infinity'), ('2', 'basic', '2025-11-01'),"
        " ('3', 'basic', null), ('4', 'basic', '2026-01-01'), ('5', 'basic', '0001-01-01')",
    )
    company = Company(tmp_path, declared(postgres_url, "tier", updated_at="changed"))
    company.run()
    run(postgres_url, "update people set tier = 'gold' where no <> '4'")
    company.run()
    assert tiers(company) == {"1": "gold", "2": "basic", "3": "gold", "4": "basic", "5": "gold"}


@pytest.mark.parametrize(
    "written", ["0001-01-01", "1900-01-01 00:00:00", "0000-00-00 00:00:00", "-", None, "-infinity"]
)
def test_times_that_stand_for_none_move_no_cursor(tmp_path: Path, written: str | None) -> None:
    """A table in which nothing bears a time is read whole each time."""
    company = Company(tmp_path, catalogue(("crm",), ("tier",)))
    company.put("crm", "1", no="1", changed=written, tier="basic")
    company.run()
    company.put("crm", "1", no="1", changed=written, tier="gold")
    (result,) = company.run()
    assert (result.full, tiers(company)) == (True, {"1": "gold"})


@pytest.mark.parametrize("is_in_postgres", [False, True])
def test_what_is_written_after_clocks_went_back_is_found(
    tmp_path: Path, postgres_url: str, is_in_postgres: bool
) -> None:
    """The second 02:05 comes after 02:58, and its value stands."""
    url = postgres_url if is_in_postgres else ""
    kind = "timestamp" if is_in_postgres else "text"
    made = declared(url, "tier", updated_at="changed", zone="Europe/Berlin")
    company = Company(tmp_path, made)
    company.now = datetime(2026, 10, 25, 1, tzinfo=UTC)

    def write(*statements: str) -> None:
        if is_in_postgres:
            run(postgres_url, *statements)
        else:
            for statement in statements:
                company.execute("crm", statement)

    write(
        "drop table if exists people",
        f"create table people (no text, tier text, changed {kind})",
        "insert into people values ('1', 'basic', '2026-10-25 02:58:00')",
        "insert into people values ('2', 'basic', '2026-10-24 12:00:00')",
        "insert into people values ('3', 'basic', '2026-10-25 02:30:00')",
    )
    company.run()
    write("update people set tier = 'gold', changed = '2026-10-25 02:05:00' where no <> '1'")
    company.run()
    assert tiers(company) == {"1": "basic", "2": "gold", "3": "gold"}


def test_text_that_is_none_costs_its_value_alone(tmp_path: Path) -> None:
    """An old program's text in SQLite is quarantined; the record's other values stand."""
    company = Company(tmp_path, catalogue(("crm",), ("status", "tier")))
    company.put("crm", "1", no="1", changed=stamp(-3), status="active", tier="gold")
    company.put("crm", "2", no="2", changed=stamp(-3), status="active")
    company.execute("crm", "update people set tier = cast(x'4dfc' as text) where id = '2'")
    company.run()
    assert company.profile("1") == {"status": "active", "tier": "gold"}
    assert company.profile("2") == {"status": "active"}
    (entry,) = company.customers.quarantine().to_arrow().to_pylist()
    assert (entry["attribute"], entry["reason"]) == ("tier", "isn't text in UTF-8")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo"])
def test_a_day_in_a_time_without_a_zone_stays_that_day(
    tmp_path: Path, postgres_url: str, zone: str
) -> None:
    """Midnight and the last second of a day, whatever zone the catalogue and the sync are in."""
    run(
        postgres_url,
        "create table people (no text, ends timestamp)",
        "insert into people values ('1', '2026-12-31'), ('2', '2026-12-31 23:59:59')",
    )
    made = declared(postgres_url, "ends", zone="Pacific/Apia")
    made["settings"] = {"timezone": zone}
    company = Company(tmp_path, made)
    company.run()
    for number in "12":
        assert company.profile(number) == {"ends": date(2026, 12, 31)}
