"""The pages about kinds of systems: their steps lead to a value, their examples are right."""

from __future__ import annotations

import re
import shlex
import sqlite3
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from profile_pipelines.catalog.load import load_catalogue
from profile_pipelines.catalog.preset_files import shipped
from profile_pipelines.catalog.preset_starter import write_preset_starter
from profile_pipelines_tests.cli.conftest import Command
from profile_pipelines_tests.presets.salesforce_server import Salesforce
from profile_pipelines_tests.sources.api_server import serving

pytestmark = pytest.mark.xdist_group("cli")
_PAGES = Path(__file__).parents[2] / "docs" / "sources"
TYPES = {
    "club_level": "string",
    "orders_completed": "integer",
    "total_spent": "decimal",
    "last_order_at": "timestamp",
    "churn_risk": "decimal",
    "email_opt_in": "boolean",
    "tier": "string",
    "account_segment": "string",
    "package": "string",
    "contract_end_date": "date",
    "crm_language": "string",
    "customer_since": "date",
}


def _blocks(page: str, language: str) -> list[str]:
    text = (_PAGES / page).read_text(encoding="utf-8")
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
    return [dedent(block) for _, block in found]


def _file(block: str) -> str | None:
    named = re.match(r"# ([\w/]+\.yaml)\n", block)
    return named[1] if named else None


def test_readme(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What README says of one's own source, in order: `init` writes its tree, the commands work."""
    page = (_PAGES.parents[1] / "README.md").read_text(encoding="utf-8")
    own = page.partition("## Your own source")[2].partition("\n## ")[0]
    with sqlite3.connect(tmp_path / "crm.db") as crm:
        crm.executescript(
            """
            create table customers
              (id, customer_no, email, status, contract_end, mail_ok, changed_at);
            insert into customers values
              (1, 'C-000123', 'anna@example.com', 'active', date('now', '+9 days'), 1,
               '2026-03-01T10:00:00Z');
            """
        )
    assert command("init", "catalog").code == 0
    tree = re.search(r"```\ncatalog/\n(.*?)```", own, re.DOTALL)
    assert tree is not None
    named = [line.split()[0] for line in tree[1].splitlines()]
    assert {"journeys/…", "channels.yaml", "sources/crm.yaml"} <= set(named)
    for name in named:
        assert list((tmp_path / "catalog").glob(name.replace("…", "*"))), name
    assert command("check", "--catalog", "catalog").code == 0
    for text, block in re.findall(r"\*\*\d\.(.*?)```yaml\n(.*?)```", own, re.DOTALL):
        [path] = re.findall(r"`catalog/([\w/]+\.yaml)`", text)
        (tmp_path / "catalog" / path).write_text(block, encoding="utf-8")
    [commands] = re.findall(r"look\.\*\*\n\n```bash\n(.*?)```", own, re.DOTALL)
    for line in commands.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["export"]:
            for name, _, value in (each.partition("=") for each in words[1:]):
                url = f"sqlite:///{tmp_path / 'crm.db'}"
                monkeypatch.setenv(name, url if name == "CRM_URL" else value)
        elif words[:1] == ["profile-pipelines"]:
            done = command(*words[1:])
            assert done.code == 0, (line, done.out, done.err)
    assert command("audience", "list", "--json").json[0]["members"] == 1


def test_warehouse(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of the page, in order, over a small warehouse: the value is there."""
    url = f"sqlite:///{tmp_path / 'warehouse.db'}"
    with sqlite3.connect(tmp_path / "warehouse.db") as warehouse:
        warehouse.executescript(
            """
            create table customers (customer_no, email, band, churn_score, updated_at);
            insert into customers values
              ('C-1', 'anna@example.com', 'gold', 0.25, '2026-03-01T10:00:00Z'),
              ('C-2', 'bo@example.com', 'golden', 0.5, '2026-03-01T11:00:00Z');
            with recursive numbers (n) as
              (select 3 union all select n + 1 from numbers where n < 40)
              insert into customers
              select 'C-' || n, 'c' || n || '@example.com', 'silver', 0.5, '2026-03-01T11:00:00Z'
              from numbers;
            create table orders (order_id, customer_no, placed_at, total, changed_at);
            insert into orders values
              (1, 'C-1', '2026-02-01T08:00:00Z', 10.5, '2026-02-01T08:00:00Z'),
              (2, 'C-1', '2026-02-03T08:00:00Z', 20, '2026-02-04T08:00:00Z');
            """
        )
    for block in _blocks("warehouse.md", "yaml"):
        path = tmp_path / "my_catalog" / str(_file(block))
        if path.name != "lake.yaml":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block, encoding="utf-8")
    ran: dict[str, str] = {}
    for line in "".join(_blocks("warehouse.md", "bash")).splitlines():
        words = shlex.split(line)
        if words[0] == "export":
            for name, _, value in (each.partition("=") for each in words[1:]):
                monkeypatch.setenv(name, url if name == "WAREHOUSE_URL" else value)
        elif words[0] == "profile-pipelines":
            done = command(*words[1:])
            assert done.code == 0, (line, done.err)
            ran[words[1]] = done.out
    shown = command("profile", "show", "anna@example.com", "--json").json[0]
    values = {name: each["value"] for name, each in shown["attributes"].items()}
    assert values == {
        "value_band": "gold",
        "churn_risk": 0.25,
        "orders_placed": 2,
        "last_order_at": "2026-02-03T08:00:00Z",
        "total_spent": 30.5,
    }
    assert "golden" in ran["quarantine"]


def test_crm(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of the page, in order, over Salesforce's server: the value is there."""
    monkeypatch.setattr(
        "profile_pipelines.sources.rest_client.RestClient.wait", lambda _, seconds: None
    )
    with serving() as api:
        contact = next(iter(Salesforce(api).found["Contact"].values()))
        contact |= {"Email": "anna@example.com"}
        for line in "".join(_blocks("crm.md", "bash")).splitlines():
            words = shlex.split(line)
            if words[0] == "export":
                for name, _, value in (each.partition("=") for each in words[1:]):
                    secret = {
                        "SALESFORCE_CLIENT_ID": "sf_key",
                        "SALESFORCE_CLIENT_SECRET": "sf_secret",
                    }
                    monkeypatch.setenv(name, secret.get(name, value))
                continue
            done = command(*words[1:])
            assert done.code == 0, (line, done.err)
            if words[1] == "init":
                source = tmp_path / "my_catalog" / "sources" / "salesforce.yaml"
                declared = yaml.safe_load(source.read_text(encoding="utf-8"))
                declared["connection"] |= {"instance_url": api.url, "allow_private": True}
                source.write_text(yaml.safe_dump(declared, sort_keys=False), encoding="utf-8")
    shown = command("profile", "show", "anna@example.com", "--json").json[0]
    values = {name: each["value"] for name, each in shown["attributes"].items()}
    assert values["email_opt_in"] is True
    assert values["crm_account"] == 'Smith, "0" & Co'
    assert values["birthdate"] == "1980-02-29"


@pytest.mark.parametrize(
    ("page", "file"),
    [
        ("crm.md", "sources/salesforce.yaml"),
        ("crm.md", "sources/dynamics.yaml"),
        ("crm.md", "sources/erp.yaml"),
        ("crm.md", "sources/tryton.yaml"),
        ("ecommerce.md", "sources/shop.yaml"),
        ("ecommerce.md", "sources/woocommerce.yaml"),
        ("warehouse.md", "sources/lake.yaml"),
    ],
)
def test_examples(tmp_path: Path, page: str, file: str) -> None:
    """An example is a source without mistakes, for a catalogue that declares its attributes."""
    [block] = [block for block in _blocks(page, "yaml") if _file(block) == file]
    declared = yaml.safe_load(block)
    names = [name for sync in declared["syncs"].values() for name in sync["attributes"]]
    attributes = {
        name: {"type": TYPES[name], "sources": [declared["system"]], "fresh_within": "2 days"}
        for name in names
    }
    for path, text in {
        file: block,
        "attributes.yaml": yaml.safe_dump(attributes),
        "identifiers.yaml": "customer_id: {}\nemail: {normalise: [email]}\n",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    assert declared["system"] in load_catalogue(tmp_path).systems


@pytest.mark.parametrize(
    ("page", "preset", "syncs"),
    [
        ("ecommerce.md", "shopify", {"customers", "orders"}),
        ("crm.md", "hubspot", {"contacts", "companies"}),
    ],
)
def test_webhooks(tmp_path: Path, page: str, preset: str, syncs: set[str]) -> None:
    """The webhook of a page fits what `init --source` writes."""
    write_preset_starter(tmp_path, shipped(preset), preset)
    [block] = [block for block in _blocks(page, "yaml") if block.startswith("webhook:")]
    with (tmp_path / "sources" / f"{preset}.yaml").open("a", encoding="utf-8") as file:
        file.write(block)
    webhook = load_catalogue(tmp_path).systems[preset].webhook
    assert webhook is not None
    assert {event.sync for event in webhook.events} == syncs
