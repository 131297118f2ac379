"""`approve`: what was set aside, and letting it through."""

from __future__ import annotations

from pathlib import Path

import pytest

from profile_pipelines_tests.cli.conftest import Command
from profile_pipelines_tests.company import HOUR, Company, catalogue, stamp


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    """A CRM of which half of the tiers would be emptied by the next sync."""
    company = Company(tmp_path / "company", catalogue(("crm",), ("tier", "points")))
    for key in range(30):
        company.put("crm", str(key), no=str(key + 1), changed=stamp(-9), tier="gold")
    company.run()
    for key in range(15):
        company.put("crm", str(key), no=str(key + 1), changed=stamp(-1))
    places = company.workspace.places
    for name, place in (
        ("CATALOG", places.catalogue), ("LAKE", places.lake), ("LEDGER", places.ledger)
    ):  # fmt: skip
        monkeypatch.setenv(f"PROFILE_PIPELINES_{name}", str(place))
    return company


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    (tmp_path / "company").mkdir()


def test_from_a_set_aside_sync_to_its_approval(command: Command, company: Company) -> None:
    """The run says why and what to do; the listing shows it; an approval lets it in once."""
    held = command("run", "--all", "--now", company.now.isoformat())
    assert held.code == 1
    assert "set aside: crm.tier: 15 of 30 values would be emptied (limit 20%)" in held.out
    last = held.err.strip().splitlines()[-1]
    assert "1 thing was set aside" in last
    assert "see why with `profile-pipelines approve`" in last
    [waiting] = command("approve", "--json").json
    assert f"profile-pipelines approve {waiting['run_id']}" in held.out
    assert (waiting["attribute"], waiting["approved_at"]) == ("tier", None)

    done = command("approve", waiting["run_id"][-8:], "--by", "anna")
    assert done.code == 0, done.err
    assert "the next sync of crm brings it (now: profile-pipelines sync crm)" in done.out
    assert (
        command("approve", waiting["run_id"], "--by", "bert", "--json").json[0]["approved_by"]
        == "anna"
    )

    later = (company.now + HOUR).isoformat()
    assert command("run", "--all", "--now", later, "--json").json["set_aside"] == []
    assert "Nothing is set aside" in command("approve").out
    assert "by anna" in " ".join(command("approve", "--all").out.split())
    assert command("approve", waiting["run_id"]).code == 3


def test_a_first_run_keeps_no_values_that_never_were(command: Command, company: Company) -> None:
    """What is said of values that stay is true where there are none, too."""
    for key in range(30):
        company.put("crm", str(key), no=str(key + 1), changed=stamp(-1), points="many")
    lake = ["--lake", company.folder / "new", "--ledger", f"sqlite:///{company.folder / 'new.db'}"]
    held = command("run", "--all", "--now", company.now.isoformat(), *lake)
    assert held.code == 1
    assert "last good values" not in held.out + held.err
    assert "what was known before stays" in held.out


def test_the_words_the_list_and_the_count_agree(command: Command, company: Company) -> None:
    """Where all of a sync is set aside that is one thing, as the list has it; and a run that
    brought nothing for that reason doesn't say that nothing has changed."""
    for key in range(20):
        company.remove("crm", str(key))
    command("sync", "crm", "--full", "--allow-set-aside", "--now", company.now.isoformat())
    held = command("run", "--all", "--now", (company.now + HOUR).isoformat())
    assert "1 thing was set aside" in held.err
    assert "Nothing has changed" not in held.out
    listed = {each["attribute"] for each in command("approve", "--json").json}
    assert listed == {""}


def test_a_run_with_something_set_aside_fails_unless_that_is_allowed(
    command: Command, company: Company
) -> None:
    """`run` and `sync` end with 1, with --allow-set-aside with 0; JSON says that it isn't ok."""
    at = ["--now", company.now.isoformat()]
    shown = command("run", "--all", *at, "--json")
    assert (shown.code, shown.json["ok"]) == (1, False)
    assert "set aside" in shown.err.strip().splitlines()[-1]
    assert command("sync", "crm", *at).code == 1
    allowed = command("sync", "crm", "--allow-set-aside", *at)
    assert (allowed.code, "set aside: crm.tier" in allowed.out) == (0, True)
    assert "--allow-set-aside" not in allowed.out + allowed.err


def test_a_lost_field_is_not_offered_for_approval(command: Command, company: Company) -> None:
    """No approval brings it back: the run and the listing say to correct the mapping."""
    company.execute("crm", "alter table people rename column points to pts")
    held = command("run", "--all", "--now", company.now.isoformat(), "--json").json
    [reason] = [each for each in held["syncs"][0]["set_aside"] if each["attribute"] == "points"]
    assert reason["kind"] == "missing"
    assert "correct the mapping in the catalogue, or the source" in command("approve").out

    company.execute("crm", "update people set tier = 'gold'")
    shown = command("run", "--all", "--full", "--now", (company.now + HOUR).isoformat()).out
    assert "set aside: crm.points: the source has no field points; did you mean pts?" in shown
    assert "correct the mapping in the catalogue, or the source" in shown
    assert "profile-pipelines approve" not in shown


def test_keys_that_are_not_unique_are_told(command: Command, company: Company) -> None:
    """A run's remarks and JSON say how many rows were left out for another of the same key."""
    company.declared["systems"]["crm"]["syncs"]["people"]["key"] = "tier"
    company.declare(company.declared)
    at = ["--full", "--now", company.now.isoformat()]
    shown = command("run", "--all", *at)
    assert "key: crm.people: " in shown.out
    assert "rows have the key of another row" in shown.out
    assert command("run", "--all", *at, "--json").json["syncs"][0]["repeated"] == 14


def test_an_empty_run_is_a_mistake(command: Command, company: Company) -> None:
    """An empty id, as of a variable that isn't set, ends no run's id."""
    done = command("approve", "")
    assert done.code == 2
    assert "RUN is empty" in done.err


def test_a_run_in_the_past_is_refused(command: Command, company: Company) -> None:
    """A present before the lake's last commit is a mistake in the command."""
    done = command("run", "--now", "2026-01-01")
    assert done.code == 2
    assert "before the lake" in done.err


def test_a_failed_sync_is_named_once(command: Command, company: Company) -> None:
    """The source's own words begin with the sync's name, too."""
    company.execute("crm", "drop table people")
    failed = command("run", "--all", "--now", company.now.isoformat())
    assert failed.code == 1
    assert "failed: crm.people: there is no table 'people'" in failed.out
