"""What the faults showed: files that a killed run was about to write go, and reasons are told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from profile_pipelines import upkeep
from profile_pipelines.cli.main import main
from profile_pipelines_tests.activation.delivering import Delivering
from profile_pipelines_tests.company import START, Company, catalogue


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        ("csv", "out/.out.csv.unfinished"),
        ("csv", "out/changes/.out-20260302T120000Z-0a1b.csv.unfinished"),
        ("parquet", "out/changes/.out-20260302T120000Z-0a1b.parquet.unfinished"),
        ("delta", "out/part-00000-0a1b.snappy.parquet#1"),
    ],
)
def test_the_next_delivery_takes_away_what_a_lost_one_was_writing(
    tmp_path: Path, kind: str, left: str
) -> None:
    """It holds customers' values, and nothing else would ever look at it."""
    company = Delivering(tmp_path, {"type": kind})
    company.customer("1")
    assert company.deliver().added == 1
    [folder] = (each for each in (tmp_path / "exports").rglob("out") if each.is_dir())
    remains = folder.parent / left
    remains.write_text("c2@example.com")
    company.customer("2")
    assert company.deliver().added == 1
    assert not remains.exists()


def test_why_a_database_that_is_a_destination_fails(tmp_path: Path) -> None:
    """In the words of its driver where the store is at fault; they hold no values."""
    (tmp_path / "theirs.db").mkdir()
    company = Delivering(
        tmp_path, {"type": "sql", "url": f"sqlite:///{tmp_path / 'theirs.db'}", "table": "active"}
    )
    company.customer("1")
    error = company.deliver().error
    assert error == (
        "destination out: the database can't be written (unable to open database file)"
    )


def test_a_run_whose_lake_fails_in_one_step_ends_with_5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As any other command does; the rest of the run is done."""
    company = Company(tmp_path, catalogue(("crm",), ("status",)))
    company.put("crm", "1", no="1", status="active")
    company.run()
    for path in (tmp_path / "lake" / "identities").rglob("*.parquet"):
        os.truncate(path, 9)
    company.put("crm", "2", no="2", status="active")
    for name, place in {"CATALOG": tmp_path / "catalog", "LAKE": tmp_path / "lake"}.items():
        monkeypatch.setenv(f"PROFILE_PIPELINES_{name}", str(place))
    monkeypatch.setenv("PROFILE_PIPELINES_LEDGER", company.ledger)
    assert main(["run", "--all", "--now", company.now.isoformat()]) == 5
    assert "identities: the lake can't be read at" in "".join(capsys.readouterr())


def test_commits_and_marks_that_were_never_ended_are_swept(tmp_path: Path) -> None:
    """After a week, like data files."""
    company = Company(tmp_path, catalogue(("crm",), ("status",)))
    company.put("crm", "1", no="1", status="active")
    company.run()
    log = tmp_path / "lake" / "profiles" / "changes" / "_delta_log"
    remains = [tmp_path / "lake" / ".pair.json.0a.unfinished", log / f"{9:020d}.json#1"]
    for path in remains:
        path.write_text("{")
        os.utime(path, (0, 0))
    upkeep.sweep(company.workspace, clock=START)
    assert not any(each.exists() for each in remains)


def test_an_erasure_whose_destination_fails_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It's no mistake in the command; the erasure waits, and says how it is ended."""
    company = Delivering(tmp_path, {"type": "csv"})
    company.customer("1")
    assert company.deliver().added == 1
    [sheet] = (tmp_path / "exports").rglob("out.csv")
    content = sheet.read_bytes()
    sheet.unlink()
    sheet.mkdir()
    for name in ("catalog", "lake"):
        monkeypatch.setenv(f"PROFILE_PIPELINES_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("PROFILE_PIPELINES_LEDGER", company.ledger)
    erase = ["erase", "--yes", "--now", company.now.isoformat()]
    assert main([*erase, "1"]) == 1
    assert "profile-pipelines erase --resume" in capsys.readouterr().err
    sheet.rmdir()
    sheet.write_bytes(content)
    assert main([*erase, "--resume"]) == 0
