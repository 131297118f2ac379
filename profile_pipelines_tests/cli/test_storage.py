"""A lake or a ledger that can't be used is told with its place and the reason; exit code 5."""

from __future__ import annotations

from pathlib import Path

import pytest

from profile_pipelines_tests.cli.conftest import Command
from profile_pipelines_tests.company import Company, catalogue


@pytest.fixture(autouse=True)
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    """A company that the commands work on."""
    company = Company(tmp_path, catalogue(("crm",), ("status",)))
    monkeypatch.setenv("PROFILE_PIPELINES_CATALOG", str(company.workspace.places.catalogue))
    monkeypatch.setenv("PROFILE_PIPELINES_LEDGER", company.ledger)
    return company


@pytest.mark.parametrize("arguments", [["profile", "show", "123"], ["run", "--now", "2027-01-01"]])
def test_a_lake_that_is_a_file(command: Command, tmp_path: Path, arguments: list[str]) -> None:
    """Nothing says that there are no profiles yet, or that the program is at fault."""
    (tmp_path / "lake").write_text("no folder")
    done = command("--lake", tmp_path / "lake", *arguments)
    assert done.code == 5
    assert f"the lake can't be read at {tmp_path / 'lake'}" in done.err
    assert "Not a directory" in done.err


def test_a_lake_in_a_store_without_credentials(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the store's own library says stands in one line, without colours."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    done = command("--lake", "s3://bucket/lake", "profile", "show", "123")
    assert done.code == 5
    # which of the two libraries comes first depends on what this process has asked S3 before
    assert "the lake can't be read at s3://bucket/lake" in done.err
    assert "credential" in done.err
    assert "\x1b" not in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_run_into_a_lake_that_is_a_file(company: Company, command: Command) -> None:
    """The steps that fail name the lake's place, not a line of the program."""
    company.put("crm", "1", no="1", status="active")
    (company.folder / "lake").write_text("no folder")
    done = command("--lake", company.folder / "lake", "run", "--all")
    assert done.code == 5
    assert "the lake can't be written at" in done.err
    assert "an error of the program" not in done.out + done.err


def test_a_ledger_whose_server_is_down(command: Command) -> None:
    """The URL is right: the place and the driver's reason are told, never the password."""
    done = command("--ledger", "postgresql+psycopg2://u:hunter2@127.0.0.1:1/books", "freshness")
    assert done.code == 5
    assert "the ledger can't be opened at postgresql+psycopg2://127.0.0.1:1/books" in done.err
    assert "Connection refused" in done.err
    assert "hunter2" not in done.err
    assert "SQLAlchemy URL" not in done.err


def test_a_ledger_whose_driver_is_not_installed(command: Command) -> None:
    """The module that is missing is named."""
    done = command("--ledger", "postgresql+pg8000://u:hunter2@127.0.0.1:1/books", "freshness")
    assert done.code == 5
    assert "isn't installed (there is no module pg8000)" in done.err
    assert "hunter2" not in done.err


def test_a_ledger_where_no_file_can_be(command: Command, tmp_path: Path) -> None:
    """A folder that is a file, and a file that is a folder."""
    (tmp_path / "file").write_text("no folder")
    for path in (tmp_path / "file" / "ledger.db", tmp_path):
        done = command("--ledger", f"sqlite:///{path}", "freshness")
        assert done.code == 5
        assert f"the ledger can't be opened at sqlite:///{path}: " in done.err
