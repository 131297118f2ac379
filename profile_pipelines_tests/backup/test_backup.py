"""A backup holds a pair that goes together, is proved by reading it, and gives it back."""

from __future__ import annotations

from pathlib import Path

import pytest

from profile_pipelines.backup.place import BackupPlace
from profile_pipelines.backup.prove import prove
from profile_pipelines.backup.restore import restore
from profile_pipelines.backup.take import Taken, take
from profile_pipelines.workspace import Places, Workspace
from profile_pipelines_tests.privacy.reminders import Reminders, declared


@pytest.fixture(params=["sqlite", "postgresql"])
def company(request: pytest.FixtureRequest, tmp_path: Path) -> Reminders:
    """Two customers who were written to."""
    ledger = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    company = Reminders(tmp_path, declared(), ledger=ledger)
    company.customer("1")
    company.customer("2")
    assert company.remind(full=True).total("sent") == 2
    return company


def _take(company: Reminders) -> Taken:
    return take(company.workspace, _place(company), now=company.now)


def _place(company: Reminders) -> BackupPlace:
    return BackupPlace(str(company.folder / "backups"))


def _elsewhere(company: Reminders) -> Workspace:
    """The same catalogue, with an empty place for lake and ledger."""
    own = company.workspace.places
    other = company.folder / "other"
    return Workspace(Places(own.catalogue, other / "lake", f"sqlite:///{other}/ledger.db"))


def test_a_backup_gives_back_what_was_there(company: Reminders) -> None:
    """In an empty place, whichever database the ledger was in, with all profiles and messages."""
    taken = _take(company)
    proof = prove(_place(company), taken.manifest)
    assert proof.wrong == []
    assert proof.rows > 0
    assert proof.ledger_rows > 0
    space = _elsewhere(company)
    restore(space, _place(company), taken.manifest, now=company.now)
    assert sum(each.count for each in space.ledger.outbox.counts()) == 2
    assert space.ledger.pair.unsettled()[0].because.startswith("restored from the backup")
