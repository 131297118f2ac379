"""Where lake and ledger lie, and that no command takes those of another catalogue."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from profile_pipelines.workspace import DEMO_CATALOGUE, Places
from profile_pipelines_tests.cli.conftest import Command
from profile_pipelines_tests.company import Company, catalogue, stamp

NOW = ("--now", "2026-03-02T14:00:00Z")
_FIRST = ("status", "tier")


def _company(folder: Path, attributes: tuple[str, ...] = _FIRST, **settings: Any) -> Company:
    """A company in a folder of its own, with one customer."""
    folder.mkdir()
    company = Company(folder, {**catalogue(("crm",), attributes), "settings": settings})
    company.put("crm", "1", no="1", changed=stamp(-1), status="active")
    return company


def _at(company: Company, other: Company | None = None) -> list[object]:
    """The options for a company's catalogue, with the lake and ledger of this or another one."""
    places = (other or company).workspace.places
    named = company.workspace.places.catalogue
    return ["--catalog", named, "--lake", places.lake, "--ledger", places.ledger]


def _files(folder: Path) -> dict[str, bytes]:
    lake = (each for each in folder.rglob("*") if each.is_file() and "catalog" not in each.parts)
    return {str(each): each.read_bytes() for each in lake}


def test_a_named_catalogue_has_lake_and_ledger_beside_it(
    command: Command, tmp_path: Path, home: Path
) -> None:
    """Whatever the working directory holds: the demo's are the demo's."""
    before = _files(home)
    company = _company(tmp_path / "own")
    done = command("run", "--all", "--catalog", company.workspace.places.catalogue, *NOW)
    assert done.code == 0, done.err
    assert (tmp_path / "own" / "lake" / "profiles").is_dir()
    assert (tmp_path / "own" / "ledger.db").is_file()
    assert _files(home) == before
    assert Places.from_environment(catalogue=DEMO_CATALOGUE).lake == tmp_path / ".demo" / "lake"


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--all", *NOW],
        ["sync", "crm", *NOW],
        ["erase", "C-1", "--yes"],
        ["outbox", "send"],
        ["approve"],
        ["freshness"],
        ["profile", "show", "C-1"],
        ["export", "C-1"],
        ["check"],
        ["check", "--live"],
    ],
)
@pytest.mark.parametrize("of_demo", [False, True])
def test_another_catalogues_lake_is_refused(
    command: Command, tmp_path: Path, arguments: list[str], of_demo: bool
) -> None:
    """By every command, before it writes anything; it says whose it is, and the way out."""
    first, other = _company(tmp_path / "a"), _company(tmp_path / "b", ("points", "since"))
    assert command("run", "--all", *_at(first), *NOW).code == 0
    before = _files(tmp_path / "a")
    at = _at(first)[2:] if of_demo else _at(other, first)
    done = command(*arguments, *at)
    assert done.code == 5
    assert f"the lake {first.workspace.places.lake} belongs to another catalogue" in done.err
    assert "with crm" in done.err
    assert "profile-pipelines adopt" in done.err
    assert _files(tmp_path / "a") == before


def test_lake_and_ledger_of_two_catalogues_are_refused(command: Command, tmp_path: Path) -> None:
    """The lake is right, the ledger isn't."""
    first, other = _company(tmp_path / "a"), _company(tmp_path / "b", ("points", "since"))
    for each in (first, other):
        assert command("run", "--all", *_at(each), *NOW).code == 0
    mixed = [*_at(first)[:4], "--ledger", other.workspace.places.ledger]
    for arguments in (["run", "--all", *NOW], ["check"], ["check", "--live"]):
        done = command(*arguments, *mixed)
        assert done.code == 5
        assert "the ledger sqlite:///" in done.err
        assert "belongs to another catalogue" in done.err


def test_check_makes_no_lake_and_no_ledger(command: Command, tmp_path: Path) -> None:
    """It only looks at what is there."""
    company = _company(tmp_path / "a")
    before = _files(tmp_path / "a")
    assert command("check", *_at(company)).code == 0
    assert _files(tmp_path / "a") == before


def test_adopting_is_the_way_out(command: Command, tmp_path: Path) -> None:
    """What was refused is this catalogue's then, and the former one is refused."""
    first, other = _company(tmp_path / "a"), _company(tmp_path / "b", ("points", "since"))
    assert command("run", "--all", *_at(first), *NOW).code == 0
    assert command("adopt", *_at(other, first)).code == 0
    assert command("freshness", *_at(other, first)).code == 0
    assert command("freshness", *_at(first)).code == 5


def test_a_catalogue_stays_itself(command: Command, tmp_path: Path) -> None:
    """Checked out elsewhere, with other attributes, with a system renamed, and all of that."""
    first = _company(tmp_path / "a")
    assert command("run", "--all", *_at(first), *NOW).code == 0
    places = ["--lake", first.workspace.places.lake, "--ledger", first.workspace.places.ledger]
    elsewhere = tmp_path / "checked_out" / "customers"
    shutil.copytree(first.workspace.places.catalogue, elsewhere)
    assert command("freshness", "--catalog", elsewhere, *places).code == 0

    source = yaml.safe_load((elsewhere / "sources" / "crm.yaml").read_text())
    (elsewhere / "sources" / "crm.yaml").unlink()
    (elsewhere / "sources" / "sales.yaml").write_text(yaml.safe_dump({**source, "system": "sales"}))
    attributes = (elsewhere / "attributes.yaml").read_text()
    (elsewhere / "attributes.yaml").write_text(attributes.replace("- crm", "- sales"))
    assert command("freshness", "--catalog", elsewhere, *places).code == 0

    first.declare({**catalogue(("crm",), ("points", "since", "ends")), "settings": {}})
    assert command("freshness", *_at(first)).code == 0, "in the same folder"


def test_check_tells_a_type_that_the_lake_has_otherwise(command: Command, tmp_path: Path) -> None:
    """Where a lake is there, and with the attribute's line; the run says the same."""
    company = _company(tmp_path / "a")
    assert command("check", *_at(company)).code == 0
    assert command("run", "--all", *_at(company), *NOW).code == 0
    company.declared["attributes"]["tier"]["type"] = "integer"
    company.declare(company.declared)
    done = command("check", *_at(company))
    assert done.code == 2
    assert "attributes.yaml:" in done.err
    assert "tier.type: is stored as string, but now declared as long" in done.err
    assert "give the attribute a new name, or start a new lake" in done.err
    assert command("run", "--all", *_at(company), *NOW).code == 5
    assert (
        command("check", "--catalog", company.workspace.places.catalogue, "--lake", "x").code == 0
    )


def test_an_id_decides(command: Command, tmp_path: Path) -> None:
    """Catalogues that look alike are told apart by it, and one that has changed stays itself."""
    first, other = (_company(tmp_path / name, id=name) for name in ("a", "b"))
    assert command("run", "--all", *_at(first), *NOW).code == 0
    refused = command("freshness", *_at(other, first))
    assert refused.code == 5
    assert "belongs to another catalogue (a, in" in refused.err
    renamed = _company(tmp_path / "c", ("points", "since"), id="a")
    assert command("freshness", *_at(renamed, first)).code == 0
    assert command("demo", "--folder", tmp_path / "demo", "--customers", 10).code == 0
    assert json.loads((tmp_path / "demo" / "lake" / "catalogue.json").read_text())["id"] == "demo"


def test_what_bears_no_mark_is_taken_over_by_a_run(command: Command, tmp_path: Path) -> None:
    """A lake and a ledger from before there were marks; a command that only reads marks nothing."""
    company = _company(tmp_path / "a")
    assert command("run", "--all", *_at(company), *NOW).code == 0
    mark = tmp_path / "a" / "lake" / "catalogue.json"
    mark.unlink()
    company.workspace.ledger.mark_catalogue({})
    assert command("freshness", *_at(company)).code == 0
    assert not mark.exists()
    assert command("run", "--all", *_at(company), *NOW).code == 0
    assert "status" in mark.read_text()
    other = _company(tmp_path / "b", ("points", "since"))
    assert command("freshness", *_at(other, company)).code == 5


def test_init_gives_every_catalogue_an_id_of_its_own(command: Command, tmp_path: Path) -> None:
    """Two starters are two catalogues; what to set for all three places is said."""
    told = command("init", "one/catalog").out
    assert "export PROFILE_PIPELINES_LAKE=one/lake" in told
    assert "export PROFILE_PIPELINES_LEDGER=sqlite:///one/ledger.db" in told
    command("init", "two/catalog")
    ids = {
        yaml.safe_load((tmp_path / name / "catalog" / "catalogue.yaml").read_text())["id"]
        for name in ("one", "two")
    }
    assert len(ids) == 2
