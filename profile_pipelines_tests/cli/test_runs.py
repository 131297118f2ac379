"""`run` and `sync` on the demo's systems."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from profile_pipelines.workspace import DEMO_CATALOGUE
from profile_pipelines_tests.cli.conftest import Command

pytestmark = pytest.mark.xdist_group("cli")


def test_run_takes_what_is_due(command: Command, home: Path) -> None:
    """After a day everything is due; right after that, nothing is, and nothing is written."""
    day = datetime.now(UTC) + timedelta(days=1, minutes=1)
    first = command("run", "--now", day.isoformat(), "--json")
    assert first.code == 0, first.err
    assert "using the demo's" in first.err
    assert len(first.json["syncs"]) == 7
    assert first.json["ok"]

    again = command("run", "--now", day.isoformat())
    assert again.code == 0
    assert "no sync is due" in again.err
    assert "Nothing has changed: nothing was written." in again.out
    assert "--now lies in the future" in again.err

    later = command("run")
    assert f"syncs are on record until {day:%Y-%m-%dT%H:%M:%SZ}, which is yet to come" in later.err


def test_sync_one_system(command: Command, home: Path) -> None:
    """Only the system that is asked for is read, and with --only nothing follows."""
    done = command("sync", "crm", "--attribute", "email_opt_in", "--only", "--full", "--json").json
    assert [(each["system"], each["sync"], each["full"]) for each in done["syncs"]] == [
        ("crm", "contacts", True)
    ]
    assert list(done["syncs"][0]["attributes"]) == ["email_opt_in"]
    assert done["profiles"] is None
    assert done["audiences"] == []

    followed = command("sync", "warehouse", "--json").json
    assert {each["sync"] for each in followed["syncs"]} == {"customer_value", "loyalty"}
    assert len(followed["audiences"]) == 6


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["sync", "crn"], "did you mean crm?"),
        (["sync", "crm", "--attribute", "packages"], "maps no field to packages"),
    ],
)
def test_unknown_names(command: Command, home: Path, arguments: list[str], hint: str) -> None:
    """What the catalogue doesn't declare is told before any system is started."""
    done = command(*arguments)
    assert done.code == 3
    assert hint in done.err


def test_failing_system(command: Command, home: Path, tmp_path: Path) -> None:
    """One system is down: the others are done all the same, and the command ends with 1."""
    catalogue = tmp_path / "catalog"
    shutil.copytree(DEMO_CATALOGUE, catalogue)
    for system in ("billing", "ecommerce", "support"):
        (catalogue / "sources" / f"{system}.yaml").unlink()
    text = (catalogue / "sources" / "warehouse.yaml").read_text()
    for folder in ("audiences", "destinations", "journeys", "templates"):
        shutil.rmtree(catalogue / folder)
    (catalogue / "channels.yaml").unlink()
    attributes = catalogue / "attributes.yaml"
    attributes.write_text(
        "home_market: {type: string, sources: [crm], fresh_within: 24h}\n"
        "value_band: {type: string, sources: [warehouse], fresh_within: 36h}\n"
    )
    head, _, _ = text.partition("      lifetime_value")
    (catalogue / "sources" / "warehouse.yaml").write_text(head)
    (catalogue / "sources" / "crm.yaml").write_text(
        "system: crm\nkind: crm\nconnection: {type: sql, url: {env: CRM_URL}}\nsyncs:\n"
        "  contacts:\n    table: contacts\n    identifiers: {customer_id: customer_no}\n"
        "    attributes: {home_market: home_market}\n"
    )
    places = ("--catalog", catalogue, "--lake", tmp_path / "lake", "--ledger", "sqlite:///own.db")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CRM_URL", f"sqlite:///{home / 'crm.db'}")
        environment.setenv("WAREHOUSE_ROOT", str(tmp_path / "gone"))
        done = command("run", *places)
        assert done.code == 1
        assert "failed: warehouse.customer_value:" in done.out
        [told] = [line for line in done.err.splitlines() if "customer_value: " in line]
        assert told.count("warehouse.customer_value") == 1
        assert "profiles" in done.out
        assert "no catalogue is named" not in done.err
        listed = command("profiles", "export", *places).out.splitlines()
    assert len(listed) > 100
