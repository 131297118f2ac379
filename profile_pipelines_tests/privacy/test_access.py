"""An access request gets everything that is held about a person, and nothing of anyone else."""

from __future__ import annotations

import copy
import json
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines import destination_steps
from profile_pipelines.catalog.spelling import json_text
from profile_pipelines.cli.main import main
from profile_pipelines.errors import NotFound
from profile_pipelines.ledger.inbox import Named
from profile_pipelines.reading import Customers
from profile_pipelines_tests.company import HOUR
from profile_pipelines_tests.privacy.reminders import Reminders, declared


def _export(company: Reminders, identifier: str) -> Any:
    document = Customers(company.workspace).everything_about(identifier, now=company.now)
    return json.loads(json_text(document))


def _with_orders() -> dict[str, Any]:
    """A third system, whose records are a customer's orders."""
    made = declared()
    made["identifiers"]["phone"] = {"normalise": ["trim"]}
    made["attributes"]["points"] = {
        "type": "integer", "sources": ["shop"], "fresh_within": "400 days", "max_changed": "100%",
    }  # fmt: skip
    made["attributes"]["status"] |= {"valid": {"in": ["active", "churned"]}, "max_invalid": "100%"}
    made["systems"]["shop"] = {
        "system": "shop", "kind": "ecommerce", "connection": {"type": "sql", "url": ""},
        "syncs": {
            "people": {
                "table": "people", "key": "id", "identifiers": {"customer_no": "no"},
                "updated_at": "changed", "fields": {"item": {"type": "string", "field": "tier"}},
                "attributes": {"points": {"aggregate": "count"}},
            }
        },
    }  # fmt: skip
    made["destinations"] = {
        "out": {
            "audience": "active", "consent": "email", "columns": {"tier": "tier"},
            "to": {"type": "csv"},
        }
    }  # fmt: skip
    return made


def _planted(folder: Path, lake: str | None = None) -> Reminders:
    """Two customers with marks of their own in everything that is told of them."""
    company = Reminders(folder, _with_orders(), lake=lake)
    for key in ("1", "2"):
        company.customer(key, tier=f"mark{key}old")
        company.customer(key, "billing", status=f"mark{key}bad")
        company.customer(f"mark{key}order", "shop", no=key, tier=f"mark{key}item")
    delivered = company.now
    company.remind()
    destination_steps.deliver(company.workspace, "out", clock=lambda: delivered)
    for key in ("1", "2"):
        company.customer(key, tier=f"mark{key}new", email=f"mark{key}@example.com")
        company.unsubscribe(f"c{key}@example.com")
    company.remind()
    rows = [
        Named("crm", "people", key, json.dumps({"id": key, "tier": f"mark{key}event"}))
        for key in ("1", "2")
    ]
    rows += [
        Named("crm", "people", f"9{key}", json.dumps({"no": key, "tier": f"mark{key}other"}))
        for key in ("1", "2")
    ]
    company.workspace.ledger.inbox.store(rows, [], now=company.now)
    return company


MARKS = ("old", "bad", "order", "item", "new", "@example.com", "event", "other")


def test_everything_is_there_and_nothing_of_others(tmp_path: Path) -> None:
    """Each mark that was planted anywhere, in any version, with where it was."""
    company = _planted(tmp_path)
    found = _export(company, "mark1@example.com")
    text = json.dumps(found)
    assert [mark for mark in MARKS if f"mark1{mark}" not in text] == []
    assert "mark2" not in text
    assert (found["schema"], found["version"]) == ("profile_pipelines.access", 1)
    (customer,) = found["customers"]
    assert customer["identifiers"] == {
        "customer_no": ["1"], "email": ["c1@example.com", "mark1@example.com"],
    }  # fmt: skip
    records = {(each["system"], each["record_key"]): each for each in customer["records"]}
    crm = records["crm", "1"]["versions"]
    assert [each["values"]["tier"] for each in crm] == ["mark1old", "mark1new"]
    quarantine = records["billing", "1"]["versions"][0]["quarantine"]
    assert [(each["attribute"], each["value"]) for each in quarantine] == [("status", "mark1bad")]
    (child,) = customer["child_records"]
    assert child["versions"][0]["values"] == {"item": "mark1item"}
    assert customer["profile"]["attributes"]["tier"]["winners"][0]["system"] == "crm"
    assert customer["profile"]["attributes"]["opt_in"]["winners"][0]["system"] == "unsubscribes"
    tiers = [each["values"]["tier"] for each in customer["profile_history"] if each["values"]]
    assert tiers[0] == {"value": "mark1old", "from": ["crm"]}
    (message,) = [each for each in customer["messages"] if each["state"] == "sent"]
    assert message["content"]["plain"].strip() == "mark1old"
    assert message["content"]["to"] == "c1@example.com"
    assert customer["enrolments"][0]["journey"] == "daily"
    (delivery,) = customer["deliveries"]
    assert (delivery["destination"], delivery["profile_id"]) == ("out", customer["profile_id"])
    assert [each["audience"] for each in customer["audiences"]] == ["active"]
    assert customer["consent_acts"][0]["purpose"] == "email"
    assert customer["consents"][0]["messages"][0]["message_id"] == message["message_id"]
    assert {each["record_key"] for each in customer["events_waiting"]} == {"1", "91"}


@pytest.mark.slow
def test_a_lake_in_a_bucket_tells_as_much(
    s3_bucket: tuple[str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a server that speaks S3."""
    bucket, options = s3_bucket
    for name, value in options.items():
        monkeypatch.setenv(name.upper(), value)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", options["aws_region"])
    monkeypatch.chdir(tmp_path)
    text = json.dumps(_export(_planted(tmp_path, f"{bucket}/lake"), "mark1@example.com"))
    assert [mark for mark in MARKS if f"mark1{mark}" not in text] == []
    assert "mark2" not in text


def test_what_is_no_longer_declared_is_still_held(tmp_path: Path) -> None:
    """Attributes, systems, audiences and journeys that the catalogue has dropped are told too."""
    company = _planted(tmp_path)
    made = copy.deepcopy(company.declared)
    for system in ("billing", "shop"):
        del made["systems"][system]
    for name in ("tier", "points"):
        made["attributes"].pop(name)
    for attribute in made["attributes"].values():
        attribute["sources"] = ["crm"]
    made["systems"]["crm"]["syncs"]["people"]["attributes"].pop("tier")
    made["audiences"], made["journeys"], made["destinations"] = {}, {}, {}
    made["templates"] = {"hello.txt": "Subject: Hello\n\n{{ status }}\n"}
    company.declare(made)
    company.run()
    found = _export(company, "mark1@example.com")
    text = json.dumps(found)
    assert [mark for mark in MARKS if f"mark1{mark}" not in text] == []
    (customer,) = found["customers"]
    assert {each["system"] for each in customer["records"]} == {"crm", "billing", "shop"}
    assert [each["audience"] for each in customer["audiences"]] == ["active"]
    assert [each["journey"] for each in customer["enrolments"]] == ["daily"]


def test_who_is_gone_at_the_source_is_still_found(tmp_path: Path) -> None:
    """The history is held on: it's told by any identifier that they ever had."""
    company = _planted(tmp_path)
    for system in ("crm", "billing"):
        company.remove(system, "1")
    company.remove("shop", "mark1order")
    company.run(full=True)
    company.now += timedelta(days=1)
    with pytest.raises(NotFound):
        company.customers.profile("mark1@example.com")
    for identifier in ("mark1@example.com", "c1@example.com"):
        (customer,) = _export(company, identifier)["customers"]
        told = json.dumps(customer)
        assert [mark for mark in MARKS if f"mark1{mark}" not in told] == []
        assert "mark2" not in told
    with pytest.raises(NotFound):
        _export(company, "nobody@example.com")


def test_a_record_that_parted_is_the_others(tmp_path: Path) -> None:
    """What was once taken for this customer's and is another's now isn't told."""
    company = Reminders(tmp_path)
    company.customer("1", tier="mark1")
    company.customer("2", tier="mark2", email="c1@example.com")
    company.remind()
    company.customer("2", tier="mark2")
    company.remind()
    (first,) = _export(company, "c1@example.com")["customers"]
    assert [each["record_key"] for each in first["records"]] == ["1"]
    (second,) = _export(company, "c2@example.com")["customers"]
    assert [each["record_key"] for each in second["records"]] == ["2"]


def test_the_command_writes_a_private_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Readable by its owner alone, never over another one unless told, valid UTF-8 JSON."""
    company = Reminders(tmp_path)
    company.customer("1", tier='Zoë \N{SMILING FACE WITH SUNGLASSES} "\\\u2028')
    company.remind()
    places = company.workspace.places
    monkeypatch.setenv("PROFILE_PIPELINES_CATALOG", str(places.catalogue))
    monkeypatch.setenv("PROFILE_PIPELINES_LAKE", str(places.lake))
    monkeypatch.setenv("PROFILE_PIPELINES_LEDGER", places.ledger)
    now = ("--now", (company.now + HOUR).isoformat())
    path = tmp_path / "one.json"
    assert main(["export", "c1@example.com", "--output", str(path), *now]) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = json.loads(path.read_bytes().decode("utf-8"))
    tier = told["customers"][0]["profile"]["attributes"]["tier"]["value"]
    assert tier == 'Zoë \N{SMILING FACE WITH SUNGLASSES} "\\\u2028'
    before = path.read_bytes()
    assert main(["export", "c1@example.com", "-o", str(path)]) == 2
    assert "--force" in capsys.readouterr().err
    assert path.read_bytes() == before
    path.chmod(0o644)
    assert main(["export", "c1@example.com", "-o", str(path), "--force", *now]) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    capsys.readouterr()
    assert main(["export", "c1@example.com", *now]) == 0
    assert json.loads(capsys.readouterr().out) == told
    assert main(["export", "nobody@example.com"]) == 3
    assert main(["export", "c1@example.com", "-o", str(tmp_path / "no" / "x.json")]) == 2
    assert sorted(each.name for each in tmp_path.glob("*.json*")) == ["one.json"]
