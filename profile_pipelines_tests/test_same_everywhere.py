"""One customer with a value of every type, as every channel, destination and export tells it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from deltalake import DeltaTable

from profile_pipelines import destination_steps
from profile_pipelines.catalog.spelling import json_text, value_text
from profile_pipelines.exporting import export_profiles
from profile_pipelines.profiles.document import profile_document
from profile_pipelines_tests.activation.services import Answered, Call, FakeService
from profile_pipelines_tests.company import stamp
from profile_pipelines_tests.privacy.reminders import Reminders, declared

STORED: dict[str, Any] = {
    "tier": 'gold, "R&D"',
    "points": 9007199254740993,
    "balance": Decimal("99999999999999.5"),
    "opt_in": True,
    "since": date(2024, 2, 29),
    "ends": date(9999, 12, 31),
    "seen": datetime(2026, 3, 2, 11, 30, 0, 250000, tzinfo=UTC),
    "tags": ["R&D", "sms"],
    "nick": None,
}
"""By attribute: the value of a type of its own."""
JSON = {
    "tier": r'"gold, \"R&D\""',
    "points": "9007199254740993",
    "balance": "99999999999999.5",
    "opt_in": "true",
    "since": '"2024-02-29"',
    "ends": '"9999-12-31"',
    "seen": '"2026-03-02T11:30:00.250000Z"',
    "tags": '["R&D","sms"]',
    "nick": "null",
}
TEXT = {
    **{name: told.strip('"') for name, told in JSON.items()},
    "tier": 'gold, "R&D"',
    "tags": '["R&D", "sms"]',
    "nick": "",
}
READ = {**TEXT, "tags": "R&D, sms", "seen": "2026-03-02 12:30"}
COLUMNS = {name: name for name in STORED}
KEYS = ("tier", "points", "nick")
"""Services know customers by texts and whole numbers."""


class Listening(FakeService):
    """Takes everything, and keeps it."""

    def answer(self, call: Call) -> Answered:
        return 200, {}

    def told(self, path: str) -> bytes:
        [call] = [each for each in self.calls if each.path == path]
        return call.body


@dataclass
class Told:
    """What each place was told, as text: JSON where it is JSON."""

    folder: Path
    service: Listening
    company: Reminders
    number: int

    def in_json(self, body: bytes) -> dict[str, str]:
        """The JSON text of each value below the last key that has them all."""
        found = json.loads(body, parse_float=Decimal)
        while isinstance(found, list) or not set(STORED) <= set(found):
            found = found[0] if isinstance(found, list) else list(found.values())[-1]
        return {name: _as_json(found[name]) for name in STORED}


def _as_json(value: Any) -> str:
    # the service's own reading, so that 99.5 in quotes or with other digits would be seen
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _to(service: FakeService, **more: Any) -> dict[str, Any]:
    return {"url": service.url, "allow_private": True, **more}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("everywhere")
    secret = {"env": "OUT_SECRET"}
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("OUT_SECRET", "s3cret")
        service = Listening()
        stack.enter_context(service.running())
        made = declared(("crm",))
        made["settings"] = {"timezone": "Europe/Berlin"}
        types = {"points": "integer", "balance": "decimal", "since": "date", "ends": "date",
                 "seen": "timestamp", "tags": "list", "nick": "string"}  # fmt: skip
        for name, kind in types.items():
            made["attributes"][name] = {
                "type": kind, "sources": ["crm"], "fresh_within": "400 days",
            }  # fmt: skip
            made["systems"]["crm"]["syncs"]["people"]["attributes"][name] = (
                "gone" if name == "nick" else name
            )
        del made["systems"]["crm"]["syncs"]["people"]["deleted"]
        made["channels"]["channels"]["hook"] = {
            "type": "webhook", "url": f"{service.url}/channel", "to": "email", "secret": secret,
            "attributes": list(STORED), "allow_private": True,
        }  # fmt: skip
        made["templates"]["hello.txt"] = "Subject: x\n\n" + "".join(
            f"{name}={{{{ {name} }}}}\n" for name in STORED
        )
        sends = [{"send": {"channel": each, "template": "hello"}} for each in ("hook", "drop")]
        made["journeys"]["daily"]["steps"] = sends
        places: dict[str, dict[str, Any]] = {
            "csv": {"type": "csv"},
            "parquet": {"type": "parquet"},
            "delta": {"type": "delta"},
            "sql": {"type": "sql", "url": f"sqlite:///{folder}/theirs.db", "table": "people"},
            "webhook": _to(service, type="webhook", secret=secret, url=f"{service.url}/hook"),
            "braze": _to(
                service, type="braze", api_key=secret, external_id="email", attribute="active"
            ),
        }
        made["destinations"] = {
            name: {"audience": "active", "consent": "email", "columns": COLUMNS, "to": to}
            for name, to in places.items()
        }
        for number, name in enumerate(KEYS, 1):
            made["destinations"][f"key_{name}"] = {
                "audience": "active", "consent": "email", "to": _to(
                    service, type="customer_io", site_id="s", api_key=secret, segment=number,
                    person=name, id_type="id",
                ),
            }  # fmt: skip
        company = Reminders(folder, made)
        company.put(
            "crm", "1", no="1", email="c1@example.com", changed=stamp(-1), status="active",
            tier=STORED["tier"], points="9007199254740993", balance="99999999999999.5000",
            opt_in="yes", since="2024-02-29", ends="9999-12-31",
            seen="2026-03-02T12:30:00.25+01:00", tags='["R&D", "sms"]',
        )  # fmt: skip
        now = company.now
        company.remind()
        for name in made["destinations"]:
            done = destination_steps.deliver(company.workspace, name, clock=lambda: now)
            assert done.error is None
        yield Told(folder, service, company, company.customers.profile("1").profile_id)


def _export(told: Told, form: str) -> bytes:
    target = io.BytesIO()
    export_profiles(told.company.customers, target, form)
    return target.getvalue()


def _csv_row(text: str) -> dict[str, str]:
    [row] = csv.DictReader(io.StringIO(text, newline=""))
    return {name: row[name] for name in STORED}


IN_JSON: dict[str, Callable[[Told], bytes]] = {
    "webhook channel": lambda told: told.service.told("/channel"),
    "webhook destination": lambda told: told.service.told("/hook"),
    "Braze": lambda told: told.service.told("/users/track"),
    "export of all as JSON": lambda told: _export(told, "jsonl"),
    "profile show --json": lambda told: json_text(_values_shown(told)).encode(),
    "export of one": lambda told: json_text(_values_exported(told)).encode(),
}


def _values_shown(told: Told) -> dict[str, Any]:
    view = told.company.customers.profile("1", now=told.company.now)
    found = profile_document(view, None)["attributes"]
    return {name: found[name]["value"] for name in STORED}


def _values_exported(told: Told) -> dict[str, Any]:
    document = told.company.customers.everything_about("1", now=told.company.now)
    found = document["customers"][0]["profile"]["attributes"]
    return {name: found[name]["value"] for name in STORED}


@pytest.mark.parametrize("place", IN_JSON)
def test_json_is_the_same_everywhere(told: Told, place: str) -> None:
    """Channels, destinations, exports and `--json` give programs the same document of a value."""
    assert told.in_json(IN_JSON[place](told)) == JSON


def test_csv_is_the_same_everywhere(told: Told) -> None:
    """The file of a destination and the export of all profiles."""
    delivered = _csv_row((told.folder / "exports/csv/csv.csv").read_text(encoding="utf-8"))
    assert delivered == _csv_row(_export(told, "csv").decode()) == TEXT


def test_a_key_is_the_text_of_its_value(told: Told) -> None:
    """By which a service knows a customer; nobody is told without one."""
    for number, name in enumerate(KEYS, 1):
        path = f"/api/v1/segments/{number}/add_customers"
        if STORED[name] is None:
            assert not [each for each in told.service.calls if each.path == path]
        else:
            assert json.loads(told.service.told(path)) == {"ids": [TEXT[name]]}


def test_tables_keep_the_types(told: Told) -> None:
    """Parquet, Delta and SQL have types of their own, and text only for what they haven't got."""
    exports = told.folder / "exports"
    rows = [
        pl.read_parquet(exports / "parquet/parquet.parquet").to_dicts()[0],
        DeltaTable(str(exports / "delta")).to_pyarrow_table().to_pylist()[0],
        pq.read_table(io.BytesIO(_export(told, "parquet"))).to_pylist()[0],
    ]
    for row in rows:
        assert {name: row[name] for name in STORED} == STORED
        assert {name: value_text(row[name]) for name in STORED} == TEXT
    engine = sa.create_engine(f"sqlite:///{told.folder}/theirs.db")
    with engine.connect() as connection:
        [found] = connection.execute(sa.text("select * from people")).mappings()
    assert found["tags"] == TEXT["tags"]
    assert (found["since"], found["ends"], found["nick"]) == ("2024-02-29", "9999-12-31", None)


def test_messages_are_for_people(told: Told) -> None:
    """Moments by the clocks, and lists with commas."""
    [path] = (told.folder / "outbox/drop").glob("*.eml")
    lines = [line for line in path.read_text().splitlines() if "=" in line]
    found = dict(line.split("=", 1) for line in lines)
    assert {name: found[name] for name in STORED} == READ
