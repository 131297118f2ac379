"""The log of syncs, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from profile_pipelines.errors import LakeError
from profile_pipelines.ledger import Excess, Ledger, SyncEntry
from profile_pipelines.ledger.ledger import AttributeEntry
from profile_pipelines.ledger.storage import create_tables, open_engine

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    """A fresh ledger; SQLite's in a folder that isn't there yet."""
    if request.param == "postgresql":
        return Ledger(request.getfixturevalue("postgres_url"))
    return Ledger(f"sqlite:///{tmp_path / 'new' / 'ledger.db'}")


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_processes_may_create_the_ledger_at_once(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Another one is ahead at every single table, and both go on."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    if database == "postgresql":
        url = request.getfixturevalue("postgres_url")
    metadata = sa.MetaData()
    tables = [sa.Table(name, metadata, sa.Column("at", sa.String)) for name in "abc"]
    ahead = open_engine(url)
    for table in tables:
        sa.event.listen(
            table, "before_create", lambda table, *_, **__: table.create(ahead), once=True
        )
    create_tables(metadata, open_engine(url))
    assert sorted(sa.inspect(ahead).get_table_names()) == ["a", "b", "c"]


def test_a_ledger_that_cannot_be_written_is_told(postgres_url: str) -> None:
    """Creating its tables isn't tried for ever."""
    options = {"options": "-c default_transaction_read_only=on"}
    url = sa.make_url(postgres_url).update_query_dict(options)
    with pytest.raises(LakeError, match="read-only transaction; name the"):
        Ledger(url.render_as_string(hide_password=False))


def _entry(
    run_id: str,
    at: datetime,
    *,
    system: str = "crm",
    full: bool = False,
    rows_read: int = 1,
    **attributes: AttributeEntry,
) -> SyncEntry:
    return SyncEntry(run_id, system, "people", at, full, rows_read, 1, 0, 0, attributes)


def test_ledger_in_memory_is_one_for_all_threads() -> None:
    """What one thread records another one reads."""
    ledger = Ledger("sqlite://")
    ledger.record(_entry("r1", NOON, tier=AttributeEntry()))
    with ThreadPoolExecutor(1) as other:
        assert other.submit(ledger.coverage).result() == {("crm", "tier"): NOON}


def test_coverage_is_the_last_success(ledger: Ledger) -> None:
    """By system and attribute, in UTC; a set-aside attribute isn't covered."""
    east = timezone(timedelta(hours=3))
    assert ledger.coverage() == {}
    ledger.record(_entry("a", NOON, tier=AttributeEntry(), status=AttributeEntry()))
    ledger.record(_entry("b", NOON + HOUR, system="shop", tier=AttributeEntry()))
    ledger.record(
        _entry(
            "c",
            (NOON + 2 * HOUR).astimezone(east),
            tier=AttributeEntry(),
            status=AttributeEntry(9, 9, {"bad": 9}, set_aside=True),
        )
    )
    assert ledger.coverage() == {
        ("crm", "status"): NOON,
        ("crm", "tier"): NOON + 2 * HOUR,
        ("shop", "tier"): NOON + HOUR,
    }
    assert all(moment.tzinfo == UTC for moment in ledger.coverage().values())


def test_coverage_as_of_a_moment(ledger: Ledger) -> None:
    """What was covered later doesn't count yet; the moment itself does."""
    ledger.record(_entry("a", NOON, tier=AttributeEntry()))
    ledger.record(_entry("b", NOON + HOUR, tier=AttributeEntry()))
    assert ledger.coverage(NOON - HOUR) == {}
    assert ledger.coverage(NOON) == {("crm", "tier"): NOON}
    west = NOON.astimezone(timezone(timedelta(hours=-8)))
    assert ledger.coverage(west) == {("crm", "tier"): NOON}
    assert ledger.coverage(NOON + HOUR) == {("crm", "tier"): NOON + HOUR}


def test_a_repeated_run_replaces_its_entry(ledger: Ledger) -> None:
    """The same run of the same sync stands once, as it was recorded last."""
    ledger.record(_entry("a", NOON, rows_read=1, tier=AttributeEntry(), status=AttributeEntry()))
    ledger.record(_entry("a", NOON, rows_read=5, tier=AttributeEntry(5, 2, {"bad": 2})))
    [run] = ledger.runs()
    assert (run["rows_read"], run["covered_at"]) == (5, NOON)
    assert ledger.coverage() == {("crm", "tier"): NOON}
    assert ledger.latest_of("crm")["tier"] == AttributeEntry(5, 2, {"bad": 2})


def test_one_run_may_sync_several_systems(ledger: Ledger) -> None:
    """Entries of other systems and syncs in the same run stay."""
    ledger.record(_entry("a", NOON, tier=AttributeEntry()))
    ledger.record(_entry("a", NOON, system="shop", tier=AttributeEntry()))
    other = SyncEntry("a", "crm", "orders", NOON, False, 1, 1, 0, 0, {"points": AttributeEntry()})
    ledger.record(other)
    assert len(ledger.runs()) == 3
    assert set(ledger.coverage()) == {("crm", "tier"), ("shop", "tier"), ("crm", "points")}


def test_the_last_full_read_is_known(ledger: Ledger) -> None:
    """By system and sync; increments don't count."""
    assert ledger.last_full("crm", "people") is None
    ledger.record(_entry("a", NOON, full=True, tier=AttributeEntry()))
    ledger.record(_entry("b", NOON + HOUR, tier=AttributeEntry()))
    assert ledger.last_full("crm", "people") == NOON
    assert ledger.last_full("shop", "people") is None


def test_the_latest_finding_is_known(ledger: Ledger) -> None:
    """Set aside or not, the newest finding of an attribute counts."""
    bad = AttributeEntry(10, 9, {"not readable as date": 9}, set_aside=True)
    assert ledger.latest_of("crm") == {}
    ledger.record(_entry("b", NOON + HOUR, tier=bad))
    ledger.record(_entry("a", NOON, tier=AttributeEntry(10), status=AttributeEntry(3)))
    assert ledger.latest_of("crm") == {"tier": bad, "status": AttributeEntry(3)}
    assert ledger.latest_of("shop") == {}


def test_syncs_of_one_moment_have_an_order(ledger: Ledger) -> None:
    """That in which they ended, whatever their runs are called; a repeated run is the last."""
    tight = (Excess("changed", 2, 4, 0.2),)
    for number, run in enumerate("zamb", 1):
        found = AttributeEntry(number, set_aside=True)
        ledger.record(replace(_entry(run, NOON, tier=found), set_aside={"tier": tight}))
        assert ledger.latest_of("crm") == {"tier": found}
        assert [each.run_id for each in ledger.set_asides.newest()] == [run]
    assert [run["run_id"] for run in ledger.runs()] == ["b", "m", "a", "z"]
    ledger.record(_entry("a", NOON, tier=AttributeEntry(9)))
    assert ledger.latest_of("crm") == {"tier": AttributeEntry(9)}
    assert [run["run_id"] for run in ledger.runs(3)] == ["a", "b", "m"]


def test_the_newest_runs_come_first(ledger: Ledger) -> None:
    """At most as many as asked for."""
    for number in range(5):
        ledger.record(_entry(str(number), NOON + number * HOUR, tier=AttributeEntry()))
    assert [run["run_id"] for run in ledger.runs(3)] == ["4", "3", "2"]


def test_a_ledger_is_opened_again(tmp_path: Path) -> None:
    """What is recorded outlives the process that recorded it."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    Ledger(url).record(_entry("a", NOON, tier=AttributeEntry()))
    assert Ledger(url).coverage() == {("crm", "tier"): NOON}
