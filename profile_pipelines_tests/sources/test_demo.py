from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.dataset as ds
import pytest
from deltalake import DeltaTable

import profile_pipelines.demo
from profile_pipelines.catalog.load import load_catalogue
from profile_pipelines.demo import DemoSystems
from profile_pipelines.sources import ReadRequest, open_source

NOW = datetime(2024, 5, 1, tzinfo=UTC)
CATALOG = Path(profile_pipelines.demo.__file__).parent / "catalog"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("systems")
    with (
        DemoSystems(folder, customers=350, now=NOW) as systems,
        pytest.MonkeyPatch.context() as env,
    ):
        for name, value in systems.environment.items():
            env.setenv(name, value)
        yield folder


def test_every_sample_system_is_read_whole(folder: Path) -> None:
    """The declarations alone bring every record, with a key and a time each."""
    counts = {}
    for system in load_catalogue(CATALOG).systems.values():
        for name, sync in system.syncs.items():
            fields = sync.mapped_fields
            batches = list(open_source(system, sync).read(ReadRequest(fields)))
            counts[f"{system.system}.{name}"] = sum(batch.num_rows for batch in batches)
            for batch in batches:
                assert batch.schema.names == list(fields)
                assert sync.key is None or batch.column(sync.key.field).null_count == 0
    assert counts == _there(folder)


def test_incremental_reads_of_the_apis_bring_a_part(folder: Path) -> None:
    """Each API gives only what changed lately when it's asked for that."""
    for system in load_catalogue(CATALOG).systems.values():
        for sync in system.syncs.values():
            if sync.cursor is None:
                continue
            opened, fields = open_source(system, sync), (sync.key.field if sync.key else "id",)
            since = NOW - timedelta(days=30)
            part = sum(b.num_rows for b in opened.read(ReadRequest(fields, since)))
            whole = sum(b.num_rows for b in opened.read(ReadRequest(fields)))
            assert 0 < part < whole


def _there(folder: Path) -> dict[str, int]:
    def rows(file: str, table: str) -> int:
        with closing(sqlite3.connect(folder / file)) as database:
            return database.execute(f"select count(*) from {table}").fetchone()[0]

    warehouse = folder / "warehouse"
    loyalty = DeltaTable(warehouse / "loyalty").to_pyarrow_dataset()
    return {
        "crm.contacts": rows("crm.db", "contacts"),
        "crm.accounts": rows("crm.db", "accounts"),
        "billing.subscriptions": rows("sample.db", "billing_subscriptions"),
        "ecommerce.customers": rows("sample.db", "shop_customers"),
        "support.users": rows("sample.db", "support_users"),
        "warehouse.customer_value": ds.dataset(warehouse / "customer_value").count_rows(),
        "warehouse.loyalty": loyalty.count_rows(),
    }
