"""A backup holds a pair that goes together, is proved by reading it, and gives it back."""

from __future__ import annotations

from pathlib import Path

import pytest

from profile_pipelines.backup.place import BackupPlace
from profile_pipelines.backup.prove import prove
from profile_pipelines.backup.restore import restore
from profile_pipelines.backup.take import Taken, take
from profile_pipelines.errors import BackupError
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


def test_only_new_files_are_copied(company: Reminders) -> None:
    """What an earlier backup holds isn't copied again, and both are sound."""
    first = _take(company)
    company.customer("3")
    company.remind()
    second = _take(company)
    data = {path for path, each in second.manifest.lake.items() if each.rows is not None}
    new = data - first.manifest.lake.keys()
    assert 0 < len(new) < len(data)
    before = {each.at for each in first.manifest.files}
    assert second.copied == sum(each.at not in before for each in second.manifest.files)
    nothing = _take(company)
    assert nothing.copied == 1  # the ledger
    for each in (first, second, nothing):
        assert prove(_place(company), each.manifest).wrong == []


def test_older_backups_go_with_what_they_alone_need(company: Reminders) -> None:
    """`--keep 1` leaves one backup, which is sound, and no file of the others."""
    first = _take(company)
    company.customer("3")
    company.remind()
    engine = company.workspace.lake.engine
    company.workspace.lake.profiles(company.workspace.catalogue).pin().compact(engine, force=True)
    kept = take(company.workspace, _place(company), now=company.now, keep=1)
    assert kept.removed == [first.manifest.id]
    assert [each.id for each in _place(company).manifests()] == [kept.manifest.id]
    assert _place(company).present().keys() == {each.at for each in kept.manifest.files}
    assert prove(_place(company), kept.manifest).wrong == []


@pytest.mark.parametrize("kind", ["lake", "log", "ledger"])
@pytest.mark.parametrize("how", ["missing", "cut", "changed"])
def test_damage_is_told_with_the_file(company: Reminders, kind: str, how: str) -> None:
    """Whichever file is missing, cut or changed in one byte."""
    taken = _take(company)
    at = next(each.at for each in taken.manifest.files if each.at.startswith(f"{kind}/"))
    file = company.folder / "backups" / at
    content = file.read_bytes()
    if how == "missing":
        file.unlink()
    else:
        middle = len(content) // 2
        changed = bytes([content[middle] ^ 1]) + content[middle + 1 :] if how == "changed" else b""
        file.write_bytes(content[:middle] + changed)
    wrong = prove(_place(company), taken.manifest).wrong
    assert len(wrong) == 1
    assert str(file) in wrong[0]
    with pytest.raises(BackupError, match=at):
        restore(_elsewhere(company), _place(company), taken.manifest, now=company.now)
    assert not (company.folder / "other" / "lake").exists()
    assert prove(_place(company), _take(company).manifest).wrong == [] or how == "changed"
