"""`init`, `check`, `check --live` and `schema`."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from profile_pipelines.workspace import DEMO_CATALOGUE
from profile_pipelines_tests.cli.conftest import Command
from profile_pipelines_tests.sources.api_server import answer, serving

pytestmark = pytest.mark.xdist_group("cli")

_SOURCE = """\
system: crm
kind: crm
connection: {type: sql, url: {env: CRM_URL}}
syncs:
  contacts:
    table: contacts
    key: id
    identifiers: {customer_id: customer_no, email: email}
    updated_at: changed_at
    attributes: {tier: tier, contract_end: contract_ends, email_opt_in: opt_in}
"""
_ATTRIBUTES = """\
tier: {type: string, sources: [crm], fresh_within: 24h, valid: {in: [gold, silver]}}
contract_end: {type: date, sources: [crm], fresh_within: 24h}
email_opt_in: {type: boolean, sources: [crm], fresh_within: 24h}
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue on a small database: `contract_ends` is a misspelling of `contract_end`."""
    folder = tmp_path / "own"
    (folder / "sources").mkdir(parents=True)
    (folder / "sources" / "crm.yaml").write_text(_SOURCE)
    (folder / "attributes.yaml").write_text(_ATTRIBUTES)
    (folder / "identifiers.yaml").write_text("customer_id: {}\nemail: {normalise: [trim, lower]}\n")
    with sqlite3.connect(tmp_path / "crm.db") as database:
        database.execute(
            "create table contacts (id integer, customer_no text, email text, tier text,"
            " contract_end text, opt_in boolean, changed_at timestamp)"
        )
        database.executemany(
            "insert into contacts values (?, ?, ?, ?, '2027-01-01', ?, '2026-01-01 00:00:00')",
            [
                (1, "4711", "anna.schmidt@example.com", "gold", True),
                (2, "4712", "Bert@Example.org", "golden", False),
                (3, "", "", None, None),
                (4, "4714", "n/a", "silver", True),
            ],
        )
    monkeypatch.setenv("CRM_URL", f"sqlite:///{tmp_path / 'crm.db'}")
    return folder


def test_init_writes_a_catalogue_without_mistakes(command: Command, tmp_path: Path) -> None:
    """The starter passes its own check, and isn't written over anything."""
    done = command("init", "mine")
    assert done.code == 0
    assert "mine/sources/crm.yaml" in done.out
    assert "export PROFILE_PIPELINES_CATALOG=mine" in done.out
    assert "no mistakes" in command("check", "--catalog", "mine").out
    again = command("init", "mine")
    assert again.code == 2
    assert again.err.startswith("Error: mine: attributes.yaml, ")
    assert "more are there already; nothing was written" in " ".join(again.err.split())


def test_check_shows_all_mistakes(command: Command, own: Path) -> None:
    """Every mistake has its place, all at once."""
    (own / "attributes.yaml").write_text(
        _ATTRIBUTES.replace("string", "text") + "x: {type: date}\n"
    )
    done = command("check", "--catalog", own)
    assert done.code == 2
    assert "mistakes in the catalogue:" in done.err
    assert "attributes.yaml:1: tier.type:" in done.err
    assert "attributes.yaml:4: x" in done.err


def test_live_check_finds_a_missing_field(command: Command, own: Path) -> None:
    """Exists, type, filled share and masked samples for each field; 2 when one is missing."""
    done = command("check", "--live", "--catalog", own, "--json")
    assert done.code == 2
    sync = done.json["syncs"][0]
    fields = {each["name"]: each for each in sync["fields"]}
    assert sync["records"] == 4
    assert fields["contract_end"]["exists"] is False
    assert "contract_end" in fields["contract_end"]["hint"]
    assert fields["tier"]["type"] == "TEXT"
    assert fields["tier"]["filled"] == 0.75
    assert fields["tier"]["invalid"] == 1
    assert fields["tier"]["samples"] == ["gold", "g•••••", "silver"]
    assert fields["email"]["samples"] == ["a•••@•••.com", "B•••@•••.org", "•/•"]
    assert fields["customer_id"]["samples"] == ["4•••", "4•••", "4•••"]

    shown = command("check", "--live", "--catalog", own)
    assert "crm.contacts: attribute contract_end: the source has no field contract_ends" in (
        shown.out
    )
    for personal in ("anna", "schmidt", "4711", "Bert"):
        assert personal not in done.out + shown.out + shown.err


def test_live_check_takes_a_sample(command: Command, own: Path) -> None:
    """With `--sample` no more records are looked at, and the report says so."""
    done = command("check", "--live", "--catalog", own, "--sample", "2", "--json")
    assert done.json["syncs"][0]["records"] == 2
    assert done.json["syncs"][0]["whole"] is False
    assert "raise --sample" in command("check", "--live", "--catalog", own, "--sample", 2).out


def test_live_check_of_systems_that_cannot_be_read(
    command: Command, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing secret and a missing table are told; the command ends with 4."""
    monkeypatch.delenv("CRM_URL")
    unset = command("check", "--live", "--catalog", own)
    assert unset.code == 4
    assert "CRM_URL isn't set" in unset.out
    monkeypatch.setenv("CRM_URL", "sqlite:///empty.db")
    empty = command("check", "--live", "--catalog", own)
    assert empty.code == 4
    assert "crm.contacts" in empty.out
    assert "Identifiers that other systems have too" not in empty.out


_BILLING = """\
system: billing
kind: billing
connection: {type: sql, url: {env: BILLING_URL}}
syncs:
  accounts:
    table: accounts
    identifiers: {customer_id: customer_no}
    attributes: {tier: tier}
"""


def _repaired(own: Path, rows: list[tuple[object, ...]]) -> None:
    """The catalogue without its mistake, on other rows."""
    (own / "sources" / "crm.yaml").write_text(_SOURCE.replace("contract_ends", "contract_end"))
    with sqlite3.connect(own.parent / "crm.db") as database:
        database.execute("delete from contacts")
        database.executemany("insert into contacts values (?, ?, ?, ?, ?, ?, ?)", rows)


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        (3, "golden", "attribute tier: 20 of 20 records have a value that the rules refuse"),
        (4, None, "attribute contract_end: none of the 20 records has a value in contract_end"),
        (1, "n/a", "identifier customer_id: not one of the 20 values in customer_no can be used"),
        (2, None, "identifier email: none of the 20 records has a value in email"),
    ],
)
def test_live_check_ends_with_2_when_a_mapping_cannot_work(
    command: Command, own: Path, column: int, value: object, told: str
) -> None:
    """The field is there, and yet a run would bring nothing of it."""
    rows = [
        (n, f"47{n}", f"c{n}@example.com", "gold", "2027-01-01", True, "2026-01-01 00:00:00")
        for n in range(20)
    ]
    _repaired(own, list(rows))
    assert command("check", "--live", "--catalog", own).code == 0
    _repaired(own, [(*row[:column], value, *row[column + 1 :]) for row in rows])
    done = command("check", "--live", "--catalog", own)
    assert done.code == 2, done.out
    assert f"crm.contacts: {told}" in done.out


@pytest.mark.parametrize(("count", "code"), [(9, 0), (10, 2)])
def test_live_check_ends_with_2_when_an_identifier_fits_nobody(
    command: Command, own: Path, monkeypatch: pytest.MonkeyPatch, count: int, code: int
) -> None:
    """Ten values on both sides and not one the same is no accident; with fewer it may be."""
    url = f"sqlite:///{own.parent / 'billing.db'}"
    monkeypatch.setenv("BILLING_URL", url)
    changed = "2026-01-01 00:00:00"
    _repaired(
        own,
        [(n, f"A{n}", f"c{n}@example.com", "gold", "2027-01-01", 1, changed) for n in range(20)],
    )
    (own / "sources" / "billing.yaml").write_text(_BILLING)
    text = _ATTRIBUTES.replace(
        "tier: {type: string, sources: [crm]", "tier: {type: string, sources: [crm, billing]"
    )
    (own / "attributes.yaml").write_text(text)
    with sqlite3.connect(own.parent / "billing.db") as database:
        database.execute("create table accounts (customer_no text, tier text)")
        database.executemany(
            "insert into accounts values (?, 'gold')", [(f"B{n}",) for n in range(count)]
        )
    done = command("check", "--live", "--catalog", own)
    assert done.code == code, done.out
    told = f"identifier customer_id: not one of its {count} values is among the 20 of crm"
    assert (f"billing: {told}" in done.out) == (code == 2)


def test_live_check_names_all_missing_variables_before_it_connects(
    command: Command, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all systems, at once; and apart from them those that only a run needs."""
    monkeypatch.delenv("CRM_URL")
    (own / "sources" / "api.yaml").write_text(
        "system: api\nkind: crm\n"
        "connection: {type: rest, base_url: 'https://api.example.com', "
        "auth: {type: bearer, token: {env: API_TOKEN}}}\n"
        "syncs:\n  people:\n    path: /people\n    headers: {x-key: {env: API_KEY}}\n"
        "    identifiers: {email: email}\n    attributes: {}\n"
    )
    (own / "channels.yaml").write_text(
        "channels:\n  hook: {type: webhook, url: {env: HOOK_URL}, secret: {env: HOOK_KEY}}\n"
    )
    done = command("check", "--live", "--catalog", own)
    assert done.code == 4, done.err
    problems = done.out.partition("3 problems:")[2]
    assert "CRM_URL isn't set, which crm.connection.url reads" in problems
    assert "API_TOKEN isn't set" in problems
    assert "API_KEY isn't set" in problems
    assert "for a run: the environment variable HOOK_URL isn't set" in done.out
    as_json = command("check", "--live", "--catalog", own, "--json").json
    assert (len(as_json["unset"]), as_json["syncs"]) == (3, [])


def test_live_check_of_an_api_without_records(command: Command, own: Path) -> None:
    """Only records tell of an API's fields: without any, none is said to be missing."""
    with serving() as api:
        api.answers["/people"] = answer([])
        rest = f"{{type: rest, base_url: {api.url}, allow_private: true}}"
        text = _SOURCE.replace("{type: sql, url: {env: CRM_URL}}", rest)
        text = text.replace("table: contacts", "path: /people")
        (own / "sources" / "crm.yaml").write_text(text)
        done = command("check", "--live", "--catalog", own)
        assert done.code == 0, done.out
        assert "crm.contacts: there are no records, so that its fields can't be told" in done.out
        assert "has no field" not in done.out
        assert "Every mapped field is there" not in done.out


def test_live_check_names_a_missing_key_once(command: Command, own: Path) -> None:
    """What has no name but its role isn't named twice."""
    text = _SOURCE.replace("key: id", "key: number")
    (own / "sources" / "crm.yaml").write_text(text)
    done = command("check", "--live", "--catalog", own)
    assert "crm.contacts: key: the source has no field number" in done.out


def test_live_check_of_the_demo(command: Command, home: Path) -> None:
    """Every field of the five systems is there, and identifiers match across them."""
    done = command("check", "--live", "--json")
    assert done.code == 0, done.out
    assert "using the demo's" in done.err
    assert len(done.json["syncs"]) == 7
    rates = {(m["identifier"], m["system"]): m["matched"] for m in done.json["matches"]}
    assert all(rate > 0.9 for rate in rates.values())
    assert ("email", "warehouse") not in rates


def test_schema(command: Command) -> None:
    """The JSON Schema is valid JSON, whole or for one kind of file."""
    assert "anyOf" in command("schema").json
    assert command("schema", "audience").json["title"] == "Audience"
    done = command("schema", "journal")
    assert done.code == 2
    assert "audience" in done.err


def test_ledger_url_is_not_shown(command: Command, tmp_path: Path) -> None:
    """A ledger that can't be opened is told without its password."""
    shutil.copytree(DEMO_CATALOGUE, tmp_path / "copy")
    for url in ("nonsense", "oracle+nothing://me:hunter2@db/x", "postgresql://me:hunter2@[bad/x"):
        done = command("freshness", "--catalog", "copy", "--lake", "lake", "--ledger", url)
        assert done.code == 5, url
        assert "the ledger can't be opened" in done.err
        assert "hunter2" not in done.err


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://host/lake", "can't lie at a ftp:// URL; name a folder or one of s3://"),
        ("gs://bucket/lake", "pip install 'profile-pipelines[gcs]'"),
    ],
)
def test_a_lake_out_of_reach_is_told(command: Command, url: str, told: str) -> None:
    """A lake at a store that can't be reached says what to name or to install."""
    done = command("freshness", "--lake", url)
    assert done.code == 5
    assert told in done.err.replace("\n", " ")
