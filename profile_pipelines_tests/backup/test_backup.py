"""A backup holds a pair that goes together, is proved by reading it, and gives it back."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from profile_pipelines.backup import take as taking
from profile_pipelines.backup.pins import PinnedPart, pin_lake
from profile_pipelines.backup.place import BackupPlace, Manifest, Moved, Stored
from profile_pipelines.backup.prove import prove
from profile_pipelines.backup.restore import restore
from profile_pipelines.backup.take import Taken, take
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.errors import BackupError, PairError
from profile_pipelines.lake.upkeep import merge_small_files, sweep
from profile_pipelines.workspace import Places, Workspace
from profile_pipelines_tests.privacy.reminders import Reminders, declared

ANY_LEDGER = pytest.mark.parametrize("company", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def company(request: pytest.FixtureRequest, tmp_path: Path) -> Reminders:
    """Two customers who were written to."""
    ledger = None
    if getattr(request, "param", None) == "postgresql":
        ledger = request.getfixturevalue("postgres_url")
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


@ANY_LEDGER
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


@ANY_LEDGER
def test_a_backup_is_a_pair_while_another_process_runs(company: Reminders) -> None:
    """Taken one after the other while a process syncs, merges, sends and compacts, each is sound,
    and what it gives back goes together."""
    program = [sys.executable, "-m", "profile_pipelines_tests.backup.busy"]
    with subprocess.Popen(
        [*program, str(company.folder), company.ledger],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    ) as busy:  # fmt: skip
        assert busy.stdout is not None
        try:
            taken: list[Taken] = []
            for _ in range(3):
                assert busy.stdout.readline()  # a round has ended, and the next one is on
                taken.append(take(Workspace(company.workspace.places), _place(company),
                                  now=company.now))  # fmt: skip
        finally:
            (company.folder / "enough").touch()
        busy.stdout.read()
        assert busy.wait() == 0
    assert len({each.manifest.mark for each in taken}) == 3
    for each in taken:
        assert prove(_place(company), each.manifest).wrong == []
    space = _elsewhere(company)
    restore(space, _place(company), taken[-1].manifest, now=company.now)
    sent = sum(each.count for each in space.ledger.outbox.counts() if each.state == "sent")
    assert sent > 2


def test_what_is_deleted_meanwhile_is_looked_at_anew(
    company: Reminders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was pinned, then compacted and swept away before it was copied."""
    company.customer("3")
    company.remind()
    looks = 0

    def pinned(root: Path, catalogue: Catalogue) -> list[PinnedPart]:
        nonlocal looks
        looks += 1
        found = pin_lake(root, catalogue)
        if looks == 1:
            profiles = company.workspace.lake.profiles(company.workspace.catalogue)
            profiles.pin().compact(company.workspace.lake.engine, force=True)
            assert merge_small_files(profiles, company.workspace.lake.engine, many=1)
            assert sweep(root, before=datetime.now(UTC) + timedelta(days=1))
        return found

    copies = Counter[str]()
    take_data = BackupPlace.take_data

    def counting(place: BackupPlace, source: Path, path: str, rows: int, moved: Moved) -> Stored:
        stored = take_data(place, source, path, rows, moved)
        copies[path] += 1
        return stored

    monkeypatch.setattr(BackupPlace, "take_data", counting)
    monkeypatch.setattr(taking, "pin_lake", pinned)
    taken = _take(company)
    assert looks == 2
    assert len({each.at for each in taken.manifest.files}) <= taken.copied
    assert copies == Counter(dict.fromkeys(copies, 1))
    assert prove(_place(company), taken.manifest).wrong == []
    assert _place(company).present().keys() == {each.at for each in taken.manifest.files}


def test_a_folder_copied_by_hand_while_runs_commit_is_noticed(company: Reminders) -> None:
    """Half of it from before a run, half from after; or with the commits of another past under the
    same numbers. Nothing is read of it."""
    own = company.workspace.places
    copy = company.folder / "copied"
    shutil.copytree(Path(str(own.lake)) / "profiles", copy / "profiles")
    company.customer("3")
    company.remind(full=True)
    shutil.copytree(
        Path(str(own.lake)), copy, dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("profiles"),
    )  # fmt: skip
    with pytest.raises(PairError, match=r"profiles is .* behind"):
        _ = Workspace(Places(own.catalogue, copy, own.ledger)).lake
    log = copy / "profiles" / "changes" / "_delta_log"
    last = max(log.glob("*.json"))
    shutil.copy(last, last.with_name(f"{int(last.stem) + 1:020d}.json"))
    with pytest.raises(PairError, match="profiles is another table"):
        _ = Workspace(Places(own.catalogue, copy, own.ledger)).lake


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


def test_what_a_killed_backup_copied_is_not_copied_again(
    company: Reminders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was killed when all files were there, before its manifest was."""

    def killed(place: BackupPlace, manifest: Manifest) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(BackupPlace, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            _take(company)
    assert _place(company).manifests() == []
    taken = _take(company)
    assert taken.copied == 1  # the ledger
    assert prove(_place(company), taken.manifest).wrong == []


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


def test_damage_is_told_with_the_file(company: Reminders) -> None:
    """Whichever file is missing, cut or changed in one byte; and nothing of it is restored."""
    taken, place = _take(company), _place(company)
    for kind in ("lake", "log", "ledger"):
        at = next(each.at for each in taken.manifest.files if each.at.startswith(f"{kind}/"))
        file = company.folder / "backups" / at
        content = file.read_bytes()
        middle = len(content) // 2
        changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        for damaged in (None, content[:middle], changed):
            if damaged is None:
                file.unlink()
            else:
                file.write_bytes(damaged)
            wrong = prove(place, taken.manifest).wrong
            assert len(wrong) == 1
            assert str(file) in wrong[0]
        with pytest.raises(BackupError, match=at):
            restore(_elsewhere(company), place, taken.manifest, now=company.now)
        assert not (company.folder / "other" / "lake").exists()
        if kind == "ledger":
            file.write_bytes(content)  # each backup has its own
        else:
            file.unlink()
            assert prove(place, _take(company).manifest).wrong == []


def test_a_long_log_that_was_checkpointed_and_cleaned_is_backed_up(company: Reminders) -> None:
    """The table opens from its checkpoint, with the commits after it alone."""
    space = company.workspace
    table, engine = space.lake.profiles(space.catalogue), space.lake.engine
    with space.at_work(now=company.now):
        for number in range(105):
            pinned = table.pin()
            state = {**pinned.state, "number": number}
            pinned.commit(engine, None, now=company.now, run_id="r", state=state)
    log = Path(str(table.changes_path)) / "_delta_log"
    (checkpoint,) = log.glob("*.checkpoint.parquet")
    for each in log.glob("*.json"):
        if int(each.stem) < int(checkpoint.name[:20]):
            each.unlink()
    taken = _take(company)
    assert prove(_place(company), taken.manifest).wrong == []
    space = _elsewhere(company)
    restore(space, _place(company), taken.manifest, now=company.now)
    restored = space.lake.profiles(space.catalogue).pin()
    assert restored.state["number"] == 104
