"""What is done to a lake between its runs."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from profile_pipelines import upkeep
from profile_pipelines.lake.table import LakeTable, Pinned
from profile_pipelines_tests.company import Company, catalogue, stamp

DAY = timedelta(days=1)


def _company(folder: Path) -> Company:
    company = Company(folder, catalogue(("crm",), ("tier",)))
    company.put("crm", "1", no="1", changed=stamp(-1), tier="s0")
    company.run()
    return company


def _leftover(company: Company, age: timedelta) -> Path:
    """A file that a killed run has left."""
    table = company.workspace.lake.profiles(company.workspace.catalogue)
    path = Path(str(table.changes_path)) / f"part-{age.total_seconds():.0f}.parquet"
    path.write_bytes(b"")
    written = datetime.now(UTC) - age
    os.utime(path, (written.timestamp(), written.timestamp()))
    return path


def test_leftovers_go_after_a_week_once_a_day(tmp_path: Path) -> None:
    """What is younger than a week stays; after a sweep the next one waits for a day."""
    company = _company(tmp_path)
    old, young = _leftover(company, 8 * DAY), _leftover(company, 5 * DAY)
    clock = datetime.now(UTC)
    assert upkeep.sweep(company.workspace, clock=clock) == 1
    assert (old.exists(), young.exists()) == (False, True)
    other = _leftover(company, 9 * DAY)
    assert upkeep.sweep(company.workspace, clock=clock + DAY / 2) == 0
    assert upkeep.sweep(company.workspace, clock=clock + DAY) == 1
    assert (other.exists(), young.exists()) == (False, True)
    assert company.profile("1") == {"tier": "s0"}


def test_a_table_that_is_being_written_to_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compaction passes over a table where another run is faster, and does the others."""
    company = _company(tmp_path)
    space, pin = company.workspace, LakeTable.pin

    def changes(first: int) -> None:
        for hour in range(first, first + 6):
            company.put("crm", "1", no="1", changed=stamp(hour - 1.5), tier=f"s{hour}")
            company.run()

    changes(1)
    folded = upkeep.compact(space)
    changes(7)
    crowded = [space.lake.profiles(space.catalogue).name]

    def overtaken(table: LakeTable) -> Pinned:
        found = pin(table)
        if table.name in crowded:
            crowded.remove(table.name)
            assert pin(table).compact(space.lake.engine, force=True)
        return found

    monkeypatch.setattr(LakeTable, "pin", overtaken)
    assert upkeep.compact(space) == folded - 1
    assert crowded == []
    assert company.profile("1") == {"tier": "s12"}
