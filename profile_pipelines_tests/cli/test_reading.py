"""Commands that read: profiles, audiences, freshness, quarantine."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from profile_pipelines_tests.cli.conftest import Command
from profile_pipelines_tests.company import Company, catalogue, stamp

pytestmark = pytest.mark.xdist_group("cli")


@pytest.fixture
def number(command: Command, home: Path) -> str:
    """The number of a customer whom several systems know."""
    rows = map(json.loads, command("profiles", "export", "--receipts").out.splitlines())
    return next(
        row["customer_id"][0]
        for row in rows
        if row["customer_id"] and row["email"] and row["email_opt_in__from"] == "crm, ecommerce"
    )


def test_profile_in_any_spelling(command: Command, number: str) -> None:
    """Every spelling of an identifier, and the profile's own id, find the same profile."""
    first = command("profile", "show", number, "--json").json[0]
    spellings = [
        f"C-{int(number):06d}",
        f"  c-{number} ",
        first["identifiers"]["email"][0].upper(),
        f"profile {first['profile_id']}",
    ]
    for spelling in spellings:
        assert (
            command("profile", "show", spelling, "--json").json[0]["profile_id"]
            == (first["profile_id"])
        )


def test_a_moment_to_come_is_no_past_one(command: Command, home: Path, number: str) -> None:
    """Nothing is known of the future, unless runs took a later present and are on record there."""
    for words in (
        ["profile", "show", number],
        ["profiles", "export"],
        ["audience", "members", "win_back"],
    ):
        done = command(*words, "--as-of", "2500-01-01")
        assert done.code == 2, words
        assert "2499-12-31T23:00:00Z lies in the future" in done.err
    ahead = datetime.now(UTC) + timedelta(days=2)
    assert command("sync", "warehouse", "--now", ahead.isoformat()).code == 0
    of_then = ["--as-of", (ahead - timedelta(hours=1)).isoformat()]
    assert command("profile", "show", number, *of_then).code == 0


def test_profile_has_receipts(command: Command, number: str) -> None:
    """Each value names its winners, losers, rule, times and run; people see the same."""
    found = command("profile", "show", number, "--json", "--history").json[0]
    consent = found["attributes"]["email_opt_in"]
    assert consent["rule"].startswith("most restrictive")
    assert [each["system"] for each in consent["winners"]] == ["crm", "ecommerce"]
    assert consent["winners"][0]["changed_at"] < consent["winners"][0]["synced_at"]
    assert not consent["stale"]
    assert found["history"][-1]["created"]

    shown = command("profile", "show", number, "--history").out
    assert f"Profile {found['profile_id']}" in shown
    assert "most restrictive" in shown
    assert consent["winners"][0]["run_id"][-8:] in shown
    assert "created" in shown


def test_profile_when_it_was_and_when_it_ages(command: Command, number: str) -> None:
    """`--as-of` shows a past moment; `--now` lets the clock go on, and values get stale."""
    long_ago = command("profile", "show", number, "--as-of", "2020-01-01")
    assert long_ago.code == 3
    assert "as of 2020-01-01 00:00" in long_ago.err
    later = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    values = command("profile", "show", number, "--now", later, "--json").json[0]["attributes"]
    assert all(each["stale"] for each in values.values())
    assert "stale" in command("profile", "show", number, "--now", later).out


def test_unknown_profile(command: Command, home: Path) -> None:
    """Nobody has the identifier: the message doesn't repeat it, since it may be personal."""
    done = command("profile", "show", "nobody@example.com")
    assert done.code == 3
    assert "no profile has this identifier" in done.err
    assert "nobody" not in done.err


def test_nothing_was_run_yet(command: Command, tmp_path: Path) -> None:
    """An empty lake says what to do first."""
    for arguments in (
        ["profile", "show", "1"],
        ["profiles", "export"],
        ["audience", "members", "x"],
    ):
        done = command(*arguments)
        assert done.code == 3
        assert "profile-pipelines run" in done.err
    assert "never" in command("freshness").out
    assert "empty" in command("quarantine").out


def test_exports_agree(command: Command, home: Path, tmp_path: Path) -> None:
    """JSON lines, CSV and Parquet hold the same profiles and values."""
    lines = [json.loads(line) for line in command("profiles", "export").out.splitlines()]
    rows = list(csv.DictReader(io.StringIO(command("profiles", "export", "--format", "csv").out)))
    target = tmp_path / "profiles.parquet"
    done = command("profiles", "export", "--format", "parquet", "-o", target)
    table = pq.read_table(target).to_pylist()
    assert f"{len(table)} profiles written" in done.err
    assert len(lines) == len(rows) == len(table) > 100
    for line, row, whole in zip(lines, rows, table, strict=True):
        assert line["profile_id"] == int(row["profile_id"]) == whole["profile_id"]
        assert line["email"] == json.loads(row["email"] or "null") == whole["email"]
        assert line["contract_end_date"] == (row["contract_end_date"] or None)
        assert line["churn_risk"] == (float(row["churn_risk"]) if row["churn_risk"] else None)
        assert {"": None, "true": True, "false": False}[row["email_opt_in"]] == (
            whole["email_opt_in"]
        )
    assert [path.name for path in tmp_path.glob("*.unfinished")] == []


def test_no_export_is_computed_by_a_spreadsheet(command: Command, company: Company) -> None:
    """A text that would be a formula has an apostrophe in front; numbers stay numbers."""
    company.put(
        "crm", "ann", no="ann", email="-a@x.de", changed=stamp(0.5), status="active",
        tier='=HYPERLINK("x")',
    )  # fmt: skip
    company.run()
    rows = list(csv.DictReader(io.StringIO(command("profiles", "export", "--format", "csv").out)))
    tiers = {row["email"]: row["tier"] for row in rows}
    assert tiers['["-a@x.de"]'] == '\'=HYPERLINK("x")'
    assert tiers['["bob@x.de"]'] == "gold"


def test_export_mistakes(command: Command, home: Path) -> None:
    """An unknown format and a folder that isn't there are mistakes in the command."""
    assert command("profiles", "export", "--format", "xml").code == 2
    done = command("profiles", "export", "-o", "nowhere/profiles.jsonl")
    assert done.code == 2
    assert "nowhere/profiles.jsonl can't be written" in done.err


def test_audiences(command: Command, home: Path) -> None:
    """`list`, `preview` and `members` agree about who is in."""
    listed = {each["audience"]: each for each in command("audience", "list", "--json").json}
    for name, each in listed.items():
        counts = command("audience", "preview", name, "--json").json["counts"]
        assert counts["members"] == each["members"]
        assert counts["entered"] == counts["exited"] == counts["held"] == 0
        members = command("audience", "members", name, "--json").json
        assert len(members) == each["members"]
        assert all(row["member"] for row in members)
    assert listed["email_reachable"]["members"] > 0
    shown = command("audience", "members", "email_reachable", "--limit", "2")
    assert len(shown.out.splitlines()) == 3
    assert "the first 2 of them" in shown.err
    few = command("audience", "members", "email_reachable", "--limit", "2", "--json").json
    assert [str(row["profile_id"]) for row in few] == [
        line.split()[0] for line in shown.out.splitlines()[1:]
    ]


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    """One with three customers, whose commands the command line's are."""
    declared = catalogue(("crm",), ("status", "tier"))
    declared["audiences"]["active"] = {"where": {"status": {"is": "active"}}}
    declared["attributes"]["tier"]["keep_history"] = "10 days"
    company = Company(tmp_path, declared)
    for name in ("ann", "bob", "eve"):
        values = {"no": name, "email": f"{name}@x.de", "status": "active", "tier": "gold"}
        company.put("crm", name, changed=stamp(-5), **values)
    monkeypatch.setenv("PROFILE_PIPELINES_CATALOG", str(company.workspace.places.catalogue))
    monkeypatch.setenv("PROFILE_PIPELINES_LAKE", str(company.lake))
    monkeypatch.setenv("PROFILE_PIPELINES_LEDGER", company.ledger)
    return company


def test_members_of_a_past_moment_are_told_as_they_were(command: Command, company: Company) -> None:
    """With the identifiers of then, and also who is gone by now."""
    then = company.now.isoformat()
    company.run()
    company.put("crm", "ann", no="ann", email="new@x.de", changed=stamp(0.5), status="churned")
    company.remove("crm", "bob")
    company.run(full=True)
    shown = command("audience", "members", "active", "--as-of", then)
    assert [line.split()[-1] for line in shown.out.splitlines()[1:]] == [
        "ann@x.de", "bob@x.de", "eve@x.de",
    ]  # fmt: skip
    assert "3 members" in shown.err
    found = command("audience", "members", "active", "--as-of", then, "--json").json
    assert [row["email"] for row in found] == [["ann@x.de"], ["bob@x.de"], ["eve@x.de"]]
    assert [row["email"] for row in command("audience", "members", "active", "--json").json] == [
        ["eve@x.de"]
    ]


def test_the_list_counts_nobody_who_was_erased(command: Command, company: Company) -> None:
    """It agrees with the members from that moment, not only after the next run."""
    assert command("audience", "list", "--json").json[0]["members"] is None
    company.run()
    assert command("erase", "bob", "--yes").code == 0
    [listed] = command("audience", "list", "--json").json
    assert (listed["members"], listed["held"]) == (2, 0)
    assert len(command("audience", "members", "active", "--json").json) == 2
    for name in ("ann", "eve"):
        assert command("erase", name, "--yes").code == 0
    assert command("audience", "list", "--json").json[0]["members"] == 0


def test_what_is_no_longer_kept_is_told(command: Command, company: Company) -> None:
    """By every way to ask for a moment before `keep_history`: not as a value that was missing."""
    then = company.now.isoformat()
    company.run()
    [found] = command("profile", "show", "ann", "--as-of", then, "--json").json
    assert found["not_kept"] == ["tier"]
    assert command("profile", "show", "ann", "--json").json[0]["not_kept"] == []
    told = "history no longer kept (keep_history): tier"
    assert told in command("profile", "show", "ann", "--as-of", then).out
    assert told in command("profiles", "export", "--as-of", then).err
    assert command("profiles", "export").err == ""


def test_preview_counts_the_held(command: Command, home: Path) -> None:
    """When values grow stale by the clock, a preview says how many profiles are held by what."""
    later = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    counts = command("audience", "preview", "email_reachable", "--now", later, "--json").json[
        "counts"
    ]
    assert counts["held"] > 0
    assert counts["held_by"]["email_opt_in"] > 0
    shown = command("audience", "preview", "email_reachable", "--now", later).out
    assert "held by it" in shown


def test_preview_of_a_file(command: Command, home: Path, tmp_path: Path) -> None:
    """An audience that isn't in the catalogue yet can be tried; its mistakes have lines."""
    file = tmp_path / "new.yaml"
    file.write_text("audience: new\nwhere:\n  language: {is: de}\n")
    found = command("audience", "preview", file, "--json").json
    assert found["counts"]["members"] == found["counts"]["entered"] > 0
    assert {row["language"] for row in found["sample"]} == {"de"}
    assert "Some members" in command("audience", "preview", file).out

    file.write_text("audience: new\nwhere:\n  all:\n    - langage: {is: de}\n")
    done = command("audience", "preview", file)
    assert done.code == 2
    assert f"{file}:4: where.all[0].langage: unknown attribute langage" in done.err
    assert "did you mean language?" in done.err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["audience", "preview", "win_bakc"], "did you mean win_back?"),
        (["audience", "members", "nobodies"], "win_back"),
        (["audience", "members", "winback"], "did you mean win_back?"),
        (["quarantine", "crn"], "no system crn; did you mean crm?"),
        (["quarantine", "nope"], "there are billing, crm, ecommerce, support and warehouse"),
        (["outbox", "list", "--journey", "nope"], "there is only renewal_reminder"),
        (["outbox", "retry", "--state", "failed", "--channel", "mial"], "did you mean mail?"),
    ],
)
def test_unknown_names(command: Command, home: Path, arguments: list[str], hint: str) -> None:
    """A name that the catalogue doesn't declare is told with what there is."""
    done = command(*arguments)
    assert done.code == 3
    assert hint in done.err


def test_freshness(command: Command, home: Path) -> None:
    """Each attribute has a row for each of its sources; the clock makes them stale."""
    fresh = command("freshness", "--json").json
    assert {(e["attribute"], e["system"]) for e in fresh} >= {
        ("contract_end_date", "billing"),
        ("contract_end_date", "crm"),
    }
    assert not any(each["stale"] for each in fresh)
    assert "Everything is fresh" in command("freshness").out
    later = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    assert all(each["stale"] for each in command("freshness", "--now", later, "--json").json)
    assert command("freshness", "--now", "soon").code == 2


def test_quarantine(command: Command, home: Path) -> None:
    """The summary counts what `--json` lists; `--records` shows each value."""
    found = command("quarantine", "--json").json
    assert found
    assert {"system", "sync", "record_key", "attribute", "reason", "value"} <= set(found[0])
    assert f"{len(found)} values" in command("quarantine").out
    system = found[0]["system"]
    own = [each for each in found if each["system"] == system]
    assert command("quarantine", system, "--json").json == own
    assert str(own[0]["record_key"])[:8] in command("quarantine", system, "--records").out


def test_decimals_keep_all_their_digits(command: Command, tmp_path: Path) -> None:
    """More than the 15 of a float, spelled alike by every command; so are moments."""
    company = Company(tmp_path, catalogue(("crm",), ("balance", "seen", "ends")))
    company.put("crm", "1", no="1", changed=stamp(-1), balance="99999999999999.9999",
                seen="2026-03-02 13:00:00+01:00", ends="9999-12-31")  # fmt: skip
    company.put("crm", "2", no="2", changed=stamp(-1), balance="99.50", seen="9999-12-31T23:59:59Z")
    company.run()
    at = ["--catalog", company.workspace.places.catalogue, "--lake", company.lake,
          "--ledger", company.ledger]  # fmt: skip
    shown = command(*at, "profile", "show", "1", "--json", "--now", company.now.isoformat())
    assert shown.out.count('"value": 99999999999999.9999') == 2
    assert shown.out.count('"value": "2026-03-02T12:00:00Z"') == 2
    lines = command(*at, "profiles", "export").out.splitlines()
    assert '"balance": 99999999999999.9999' in lines[0]
    assert '"balance": 99.5,' in lines[1]
    [first, second] = csv.DictReader(
        io.StringIO(command(*at, "profiles", "export", "--format", "csv").out)
    )
    assert (first["balance"], first["seen"], first["ends"]) == (
        "99999999999999.9999", "2026-03-02T12:00:00Z", "9999-12-31",
    )  # fmt: skip
    assert (second["balance"], second["seen"]) == ("99.5", "9999-12-31T23:59:59Z")
    assert '"balance": 99999999999999.9999' in command(*at, "export", "1").out


def test_who_shares_a_mailbox_is_listed(command: Command, company: Company) -> None:
    """The strongest identifier tells thirty customers of one mailbox apart; `run` says so, and
    `profiles shared` lists the mailbox and the record that fits any of them."""
    for number in range(1, 31):
        company.put("crm", f"a{number}", no=str(number), email="info@x.de", changed=stamp(-3))
    company.put("crm", "news", email="INFO@x.de", changed=stamp(-3))
    now = company.now.isoformat()
    ran = command("run", "--now", now)
    assert "33 profiles from 34 records" in ran.out
    assert "join nobody: email 1" in ran.out
    assert "held apart: 1 record " in ran.out
    assert "info@x.de" not in ran.out + ran.err
    assert command("profiles", "shared", "--json").json == [
        {"identifier": "email", "value": "info@x.de", "profiles": 30, "records": 31}
    ]
    assert command("profiles", "shared", "--records", "--json").json == [
        {
            "system": "crm", "sync": "people", "record_key": "news", "profile_id": None,
            "customer_no": None, "email": "info@x.de",
        }
    ]  # fmt: skip
    shown = command("profiles", "shared")
    assert "info@x.de" in shown.out
    assert "1 value of several customers" in shown.out
    assert "news" in command("profiles", "shared", "--records").out
    erased = command("erase", "7", "--dry-run")
    assert "1 profile with 1 record" in erased.out
    company.remove("crm", "news")
    assert "held apart" not in command("run", "--all", "--full", "--now", now).out
    assert "No record is held apart" in command("profiles", "shared", "--records").out
