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
    assert "the lake can't be read at s3://bucket/lake/profiles/snapshot: " in done.err
    assert "no credentials found" in done.err
    assert "\x1b" not in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_run_into_a_lake_that_is_a_file(company: Company, command: Command) -> None:
    """The steps that fail name the lake's place, not a line of the program."""
    company.put("crm", "1", no="1", status="active")
    (company.folder / "lake").write_text("no folder")
    done = command("--lake", company.folder / "lake", "run", "--all")
    assert done.code != 0
    assert "the lake can't be read at" in done.out + done.err
    assert "an error of the program" not in done.out + done.err
