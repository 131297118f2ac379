"""A small business with two systems: a CRM in SQLite and a shop that leaves CSV files."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from profile_pipelines.orchestration.build import definitions_at
from profile_pipelines.workspace import Places, Workspace

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

_CATALOGUE = {
    "catalogue.yaml": "timezone: Europe/Berlin\n",
    "identifiers.yaml": "customer_id: {normalise: [trim]}\n",
    "attributes.yaml": """
tier: {type: string, sources: [crm], fresh_within: 24h, valid: {in: [gold, silver]}}
email_opt_in: {type: boolean, sources: [crm], fresh_within: 1h, owner: privacy@example.com}
orders: {type: integer, sources: [shop], fresh_within: 48h}
""",
    "sources/crm.yaml": """
system: crm
kind: crm
owner: sales operations
connection: {type: sql, url: {env: TEST_CRM_URL}}
syncs:
  contacts:
    table: contacts
    key: id
    identifiers: {customer_id: customer_no}
    updated_at: modified_at
    schedule: "*/15 * * * *"
    attributes: {tier: tier, email_opt_in: {field: opt_in, schedule: "*/5 * * * *"}}
""",
    "sources/shop.yaml": """
system: shop
kind: ecommerce
connection: {type: files, root: {env: TEST_SHOP_ROOT}}
syncs:
  customers:
    path: "*.csv"
    format: csv
    key: customer_no
    identifiers: {customer_id: customer_no}
    mode: full
    schedule: "0 4 * * *"
    attributes: {orders: orders}
""",
    "audiences/gold.yaml": "{audience: gold, where: {all: [tier: {is: gold}]}}\n",
    "audiences/gold_by_email.yaml": (
        "{audience: gold_by_email, where: {all: [{in_audience: gold}, {email_opt_in: {is: true}}]}}"
    ),
}


@dataclass(frozen=True)
class Business:
    """The two systems and the places of the pipeline that reads them."""

    folder: Path

    @property
    def places(self) -> Places:
        ledger = f"sqlite:///{self.folder / 'ledger.db'}"
        return Places(self.folder / "catalog", self.folder / "lake", ledger)

    def workspace(self) -> Workspace:
        return Workspace(self.places)

    def definitions(self) -> dg.Definitions:
        return definitions_at(self.places)

    def crm(self, *contacts: tuple[int, str, str, str, str]) -> None:
        """Add or replace contacts: id, customer_no, tier, opt_in, modified_at."""
        with closing(sqlite3.connect(self.folder / "crm.db")) as store:
            store.executemany("REPLACE INTO contacts VALUES (?, ?, ?, ?, ?)", contacts)
            store.commit()

    def shop(self, orders: dict[str, str]) -> None:
        """Write the shop's file anew: orders by customer_no."""
        lines = ["customer_no,orders", *(f"{number},{n}" for number, n in orders.items())]
        (self.folder / "shop" / "customers.csv").write_text("\n".join(lines) + "\n")

    def members(self, audience: str) -> int:
        workspace = self.workspace()
        pinned = workspace.lake.audience(audience).pin()
        return pinned.state["counts"]["members"] if pinned.exists else 0


@pytest.fixture
def business(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Business:
    """Ten customers, the first three of them gold; all but the first are reachable by email."""
    for name, text in _CATALOGUE.items():
        path = tmp_path / "catalog" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "shop").mkdir()
    with closing(sqlite3.connect(tmp_path / "crm.db")) as store:
        store.execute(
            "CREATE TABLE contacts (id INTEGER PRIMARY KEY, customer_no TEXT, tier TEXT,"
            " opt_in TEXT, modified_at TEXT)"
        )
        store.commit()
    monkeypatch.setenv("TEST_CRM_URL", f"sqlite:///{tmp_path / 'crm.db'}")
    monkeypatch.setenv("TEST_SHOP_ROOT", str(tmp_path / "shop"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    made = Business(tmp_path)
    made.crm(
        *(
            (n, f"C{n}", "gold" if n <= 3 else "silver", str(n > 1).lower(), "2026-02-01 10:00:00")
            for n in range(1, 11)
        )
    )
    made.shop({f"C{n}": str(n) for n in range(1, 11)})
    return made


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that keeps its events in memory."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def materialise(
    business: Business,
    instance: dg.DagsterInstance,
    *keys: Sequence[str],
    now: datetime = NOW,
) -> dg.ExecuteInProcessResult:
    """Materialise the assets (default: all) with their checks in one run, as by hand."""
    job = business.definitions().resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        raise_on_error=False,
        tags={"profile_pipelines/now": now.isoformat()},
        asset_selection=[dg.AssetKey(key) for key in keys] or None,
    )
