"""Files that arrive late, with records that were changed before the newest one known."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from profile_pipelines_tests.company import Company

FORMATS = ["parquet", "csv", "jsonl", "delta", "iceberg"]
Record = tuple[str, str, int]
"""Number, tier and the day of the change."""


class Branches:
    """A company whose branches each leave a file of customers now and then."""

    def __init__(self, folder: Path, form: str, attributes: tuple[str, ...] = ("tier",)) -> None:
        self.folder, self.form = folder / "files", form
        self.folder.mkdir()
        self.written = 0
        names = {"parquet": "*.parquet", "csv": "*.csv", "jsonl": "*.jsonl"}
        table = form if form not in names else None
        sync = {
            "path": names.get(form, "customers"),
            "key": "id",
            "identifiers": {"customer_no": "id"},
            "updated_at": "changed",
            "attributes": dict.fromkeys(attributes, "tier"),
            **({"format": table} if table else {}),
        }
        self.company = Company(
            folder,
            {
                "identifiers": {"customer_no": {}},
                "attributes": {
                    name: {"type": "string", "sources": ["lake"], "fresh_within": "24h"}
                    for name in attributes
                },
                "systems": {
                    "lake": {
                        "system": "lake",
                        "kind": "warehouse",
                        "connection": {"type": "files", "root": str(self.folder)},
                        "syncs": {"people": sync},
                    }
                },
                "audiences": {},
            },
        )

    def leave(self, *records: Record, name: str | None = None) -> None:
        """One more file (or commit of the table) with these records."""
        self.written += 1
        path = self.folder / f"{name or self.written}.{self.form}"
        days = [datetime(2026, 1, day, tzinfo=UTC) for _, _, day in records]
        rows = {
            "id": [number for number, _, _ in records],
            "tier": [tier for _, tier, _ in records],
            "changed": days
            if self.form in ("parquet", "delta", "iceberg")
            else list(map(str, days)),
        }
        match self.form:
            case "parquet":
                pq.write_table(pa.table(rows), path)
            case "csv":
                lines = [",".join(map(str, row)) for row in zip(*rows.values(), strict=True)]
                path.write_text("\n".join([",".join(rows), *lines]) + "\n")
            case "jsonl":
                each = [
                    dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)
                ]
                path.write_text("".join(json.dumps(row) + "\n" for row in each))
            case "delta":
                write_deltalake(self.folder / "customers", pa.table(rows), mode="append")
            case _:
                self._append_to_iceberg(pa.table(rows))

    def _append_to_iceberg(self, table: pa.Table) -> None:
        from pyiceberg.catalog.sql import SqlCatalog

        catalog = SqlCatalog(
            "c", uri=f"sqlite:///{self.folder.parent}/iceberg.db", warehouse=f"file://{self.folder}"
        )
        if not catalog.namespace_exists("n"):
            catalog.create_namespace("n")
            place = f"file://{self.folder}/customers"
            catalog.create_table("n.customers", table.schema, location=place)
        catalog.load_table("n.customers").append(table)

    def read(self, *attributes: str) -> tuple[int, int]:
        """Sync; how many rows were read and how many records changed."""
        result = self.company.sync("lake", *attributes)
        self.company.settle()
        return result.rows_read, result.changed

    @property
    def tiers(self) -> dict[str, str]:
        """What is known, by number."""
        shown = self.company.customers.profiles().to_polars().to_dicts()
        return {each["customer_no"][0]: each["tier"] for each in shown}


@pytest.mark.parametrize("form", FORMATS)
def test_a_late_file_is_read(tmp_path: Path, form: str) -> None:
    """A branch's export, a migration, a backfill: its records take part, whatever their times."""
    if form == "iceberg":
        pytest.importorskip("pyiceberg")
    branches = Branches(tmp_path, form)
    branches.leave(("1", "gold", 20), ("2", "gold", 20))
    branches.read()
    branches.leave(("3", "late", 1), name="0")
    assert branches.read()[1] == 1
    assert branches.tiers == {"1": "gold", "2": "gold", "3": "late"}


@pytest.mark.parametrize("form", ["parquet", "delta"])
def test_files_that_are_known_are_still_read_incrementally(tmp_path: Path, form: str) -> None:
    """Only what is new since the last read, or was changed since."""
    branches = Branches(tmp_path, form)
    branches.leave(("1", "gold", 1), ("2", "gold", 20))
    assert branches.read() == (2, 2)
    branches.leave(("3", "late", 2))
    assert branches.read() == (2, 1)
    branches.leave(("4", "new", 21))
    assert branches.read() == (2, 1)
    assert branches.read() == (0, 0)


def test_a_late_files_older_version_of_a_known_record_changes_nothing(tmp_path: Path) -> None:
    """Of two versions the newer one stands, in whichever order their files come."""
    branches = Branches(tmp_path, "parquet")
    branches.leave(("1", "new", 20))
    branches.read()
    branches.leave(("1", "old", 10), ("2", "late", 10))
    branches.read()
    assert branches.tiers == {"1": "new", "2": "late"}


def test_a_file_that_is_written_anew_is_read_whole(tmp_path: Path) -> None:
    """It bears the same name, and what was put into it may be old."""
    branches = Branches(tmp_path, "parquet")
    branches.leave(("1", "gold", 20), name="all")
    branches.read()
    branches.leave(("1", "gold", 20), ("2", "late", 1), name="all")
    branches.read()
    assert branches.tiers == {"1": "gold", "2": "late"}


def test_each_attribute_knows_the_files_of_its_own_reads(tmp_path: Path) -> None:
    """That another attribute's sync has read a late file says nothing about this one's."""
    branches = Branches(tmp_path, "parquet", ("tier", "band"))
    branches.leave(("1", "gold", 20))
    branches.read()
    branches.leave(("2", "late", 1))
    branches.read("tier")
    branches.read("band")
    assert branches.company.profile("2") == {"tier": "late", "band": "late"}


def test_of_very_many_files_the_newest_time_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was changed later is new; what a commit remembers stays small."""
    monkeypatch.setattr("profile_pipelines.sources.files_read._MOST", 2)
    branches = Branches(tmp_path, "parquet")
    for number in range(1, 5):
        branches.leave((str(number), "gold", 20))
    branches.read()
    branches.leave(("9", "late", 1))
    later = (datetime.now(UTC) + timedelta(minutes=1)).timestamp()
    os.utime(branches.folder / "5.parquet", (later, later))
    assert branches.read()[1] == 1
    assert branches.tiers["9"] == "late"


_records = st.lists(
    st.tuples(st.sampled_from("1234"), st.sampled_from("abc"), st.integers(1, 28)),
    min_size=1,
    max_size=4,
)


@given(
    st.lists(_records, min_size=1, max_size=4),
    st.randoms(),
    st.sampled_from(["parquet", "csv", "jsonl", "delta"]),
)
@settings(max_examples=8, deadline=None)
def test_files_in_any_order_of_arrival_give_the_same_as_all_at_once(
    files: list[list[Record]], random: Any, form: str
) -> None:
    """Whichever file comes first, and whether they are read one by one or together."""
    versions = {(number, day): tier for file in files for number, tier, day in file}
    files = [[(n, versions[n, day], day) for n, _, day in file] for file in files]
    every = sorted(itertools.chain(*files), key=lambda record: record[2])
    expected = {number: tier for number, tier, _ in every}
    with tempfile.TemporaryDirectory() as folder:
        branches = Branches(Path(folder), form)
        random.shuffle(files)
        for file in files:
            branches.leave(*file)
            if random.random() < 0.7:
                branches.read()
        branches.read()
        assert branches.tiers == expected
