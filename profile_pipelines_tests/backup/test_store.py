"""Backups in an object store: a server that speaks S3."""

from __future__ import annotations

from pathlib import Path

import pytest
import s3fs

from profile_pipelines.backup.place import BackupPlace
from profile_pipelines.backup.prove import prove
from profile_pipelines.backup.restore import restore
from profile_pipelines.backup.take import take
from profile_pipelines.lake.heads import heads, restoring
from profile_pipelines.lake_place import lake_place
from profile_pipelines.workspace import Places, Workspace, refusals_beside
from profile_pipelines_tests.privacy.reminders import Reminders, declared


@pytest.fixture
def bucket(s3_bucket: tuple[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a fresh bucket, which nothing but the usual variables open."""
    url, options = s3_bucket
    s3fs.S3FileSystem.clear_instance_cache()
    for name, value in options.items():
        monkeypatch.setenv(name.upper(), value)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", options["aws_region"])
    return url


@pytest.mark.slow
def test_from_a_folder_into_a_store_and_back(bucket: str, tmp_path: Path) -> None:
    """A lake in a folder is backed up into a bucket, which is proved there, and restored into a
    bucket over another lake, which is moved aside; damage is told with the object."""
    company = Reminders(tmp_path, declared())
    company.customer("1")
    company.remind(full=True)
    place = BackupPlace(f"{bucket}/backups")
    first = take(company.workspace, place, now=company.now)
    company.customer("2")
    company.remind(full=True)
    taken = take(company.workspace, place, now=company.now, keep=1)
    assert taken.removed == [first.manifest.id]
    assert place.present().keys() == {each.at for each in taken.manifest.files}
    assert prove(place, taken.manifest).wrong == []
    lake = lake_place(f"{bucket}/prefix/lake")
    own = company.workspace.places
    target = Places(own.catalogue, lake, f"sqlite:///{tmp_path}/new.db", refusals_beside(lake))
    restore(Workspace(target), place, taken.manifest, now=company.now)
    Workspace(target).pairing.check()
    before = heads(lake)
    assert before.keys() == heads(own.lake).keys()
    act = Workspace(target).ledger.suppressions
    act.add(act.mark("c1@example.com"), "email", "complained", at=company.now)
    space = Workspace(target)
    done = restore(space, place, taken.manifest, now=company.now, replace=True)
    assert done.refused is not None
    assert done.refused.addresses == 1
    assert heads(lake_place(str(done.lake_aside))) == before
    assert restoring(lake) is None
    Workspace(target).pairing.check()
    damaged = next(each.at for each in taken.manifest.files if each.rows)
    (place.root / damaged).unlink()
    assert [damaged in each for each in prove(place, taken.manifest).wrong] == [True]
