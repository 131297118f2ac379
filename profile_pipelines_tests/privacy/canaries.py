"""A company in which one customer's every value, of any time, is a canary; and where they are.

What is looked through is every file below a folder: bytes as they are, Parquet decoded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq

from profile_pipelines import destination_steps, journey_steps, pipeline
from profile_pipelines.activation.deliver import DeliveryResult
from profile_pipelines.lake_tables import lake_tables
from profile_pipelines.ledger.inbox import Named
from profile_pipelines.orchestration.run import run_in_process
from profile_pipelines_tests.company import catalogue, stamp
from profile_pipelines_tests.landing.test_aggregates import shop
from profile_pipelines_tests.privacy.reminders import SEND, Reminders

VALUES = {
    "email": "canary@person.example", "tier": "TIERcanary", "opt_in": "yes", "status": "active",
    "points": "4242424242", "since": "1942-04-24", "ends": "2042-04-25", "balance": "424242.4242",
    "tags": "TAGcanary", "seen": "2026-01-02T03:04:05.678901Z",
}  # fmt: skip
"""The texts that the customer's records hold in every system."""
NUMBER = "NO0CANARY"
_THEIRS = "CANARIES_DESTINATION_URL"
"""Where a company's copy has another database, but the catalogue names the same place."""
_DECODED = (
    "canary", "4242424242", "datetime.date(1942, 4, 24)", "datetime.date(2042, 4, 25)",
    "424242.4242", "678901",
)  # fmt: skip
_BYTES = (b"canary", b"4242424242", b"1942-04-24", b"2042-04-25", b"424242.4242")


def declared() -> dict[str, Any]:
    """Two systems with every attribute, a shop with orders, a journey, an audience."""
    made = catalogue(("crm", "billing"))
    orders = shop()
    made["systems"] |= orders["systems"]
    made["attributes"] |= orders["attributes"]
    for attribute in made["attributes"].values():
        attribute |= {
            "fresh_within": "400 days", "max_changed": "100%", "max_emptied": "100%",
            "max_invalid": "100%",
        }  # fmt: skip
    for system in made["systems"].values():
        system["syncs"]["people"]["max_deleted"] = "100%"
    made["attributes"]["opt_in"]["consent"] = "email"
    # to destinations, a customer goes on after unsubscribing from mails
    made["attributes"]["shared"] = {**made["attributes"]["opt_in"], "consent": "sharing"}
    for system in ("crm", "billing"):
        made["systems"][system]["syncs"]["people"]["attributes"]["shared"] = "opt_in"
    made["audiences"] = {"active": {"where": {"status": {"is": "active"}}}}
    made["channels"] = {"channels": {"drop": {"type": "file", "to": "email"}}}
    told = {"audience": "active", "consent": "sharing", "columns": ["email", "tier", "balance"]}
    made["destinations"] = {
        "sheet": {**told, "to": {"type": "csv"}},
        "columns": {**told, "to": {"type": "parquet"}},
        "versions": {**told, "to": {"type": "delta"}},
        "table": {**told, "to": {"type": "sql", "url": {"env": _THEIRS}, "table": "active"}},
    }
    made["templates"] = {"hello.txt": "Subject: Hello {{ tier }}\n\n{{ tags }} {{ points }}\n"}
    steps = [SEND, {"wait": "30 days"}, SEND]
    made["journeys"] = {"daily": {"audience": "active", "consent": "email", "steps": steps}}
    return made


class Canaries(Reminders):
    """Its systems hold the canary among others, with a past; its last run is Dagster's."""

    def __init__(self, folder: Path, ledger: str | None = None) -> None:
        os.environ[_THEIRS] = f"sqlite:///{folder / 'theirs.db'}"
        super().__init__(folder, declared(), ledger)
        (folder / "dagster").mkdir(exist_ok=True)
        self.instance = dg.DagsterInstance.local_temp(str(folder / "dagster"))

    def fill(self) -> None:
        """A history of two days: values change, are invalid, come by events; mails are written."""
        for key in ("1", "2", "3"):
            for system in ("crm", "billing"):
                self.customer(key, system)
            self.put("shop", f"o{key}", no=key, changed=stamp(-3), status="paid", points="7")
        self.canary("crm", changed=stamp(-5))
        self.canary("billing", changed=stamp(-5), status="invalid-CANARY-status")
        self.canary("shop", changed=stamp(-5))
        self.remind()
        self.now += timedelta(days=1)
        self.canary("crm", changed=stamp(20), email="other-CANARY@person.example", tier="canary2")
        self.canary("billing", changed=stamp(20))
        self.customer("1", tier="silver")
        self.remind(full=True)
        for name in self.workspace.catalogue.destinations:
            assert self.deliver(name).added == 4
        self.now += timedelta(days=1)
        self.unsubscribe(NUMBER)
        self.everything()
        lake = self.workspace.lake
        for table in lake_tables(self.workspace):
            table.pin().compact(lake.engine, force=True)
        record = {"id": "9", "no": f" C-{NUMBER} ", "email": "x@y.example", "tier": "third-canary"}
        self.workspace.ledger.inbox.store(
            [
                Named("crm", "people", "KEYcanary"),
                Named("crm", "people", None, json.dumps(record)),
                Named("crm", "people", "1"),
            ],
            [],
            now=self.now,
        )

    def canary(self, system: str, **values: str) -> None:
        """The customer's record in a system."""
        row: dict[str, str | None] = {**VALUES, "no": NUMBER, **values}
        self.put(system, "KEYcanary", **row)

    def deliver(self, name: str) -> DeliveryResult:
        """Bring a destination to the present."""
        result = destination_steps.deliver(self.workspace, name, clock=lambda: self.now)
        assert result.error is None
        return result

    def everything(self, *, full: bool = False) -> None:
        """A run of all syncs in Dagster, and of all that follows; then it is tomorrow."""
        space = self.workspace
        report = run_in_process(
            space,
            pipeline.due_syncs(space, self.now, everything=True),
            now=self.now,
            full=full,
            instance=self.instance,
        )
        assert not report.errors
        now = self.now
        journey_steps.dispatch(space, clock=lambda: now)
        self.now += timedelta(days=1)


def found(folder: Path) -> list[str]:
    """The files below the folder that hold a canary, but for others' databases."""
    return [str(path.relative_to(folder)) for path in _holding(folder)]


def _holding(folder: Path) -> Iterator[Path]:
    others = {folder / f"{name}.db" for name in ("crm", "billing", "shop", "theirs")}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path in others:
            continue
        data = path.read_bytes().lower()
        text = repr(pq.read_table(path).to_pylist()).lower() if path.suffix == ".parquet" else ""
        if any(each in data for each in _BYTES) or any(each in text for each in _DECODED):
            yield path
