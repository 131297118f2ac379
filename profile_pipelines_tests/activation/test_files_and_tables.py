"""What files and tables hold after deliveries: exactly who should be there, whatever happened."""

from __future__ import annotations

import csv
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from deltalake import DeltaTable

from profile_pipelines import destination_steps
from profile_pipelines.errors import DestinationError
from profile_pipelines_tests.activation.delivering import Delivering

Held = Callable[[], dict[int, dict[str, Any]]]


def _csv(path: Path) -> dict[int, dict[str, Any]]:
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert len({row["profile_id"] for row in rows}) == len(rows)
    return {int(row.pop("profile_id")): row for row in rows}


def _file(kind: str, folder: Path) -> dict[int, dict[str, Any]]:
    if kind == "csv":
        return _csv(folder / "out.csv")
    if kind == "delta":
        rows = DeltaTable(str(folder)).to_pyarrow_table().to_pylist()
    else:
        rows = pq.read_table(folder / "out.parquet").to_pylist()
    assert len({row["profile_id"] for row in rows}) == len(rows)
    return {row.pop("profile_id"): row for row in rows}


def _table(url: str) -> dict[int, dict[str, Any]]:
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg2://"))
    with engine.connect() as connection:
        found = connection.execute(sa.text("select * from people")).mappings()
        return {row["profile_id"]: {"mail": row["mail"]} for row in found}


@pytest.fixture(params=["csv", "parquet", "delta", "sqlite", "postgresql"])
def company(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Delivering, Held]:
    """A company with three customers, delivered to a destination of each kind."""
    to: dict[str, Any] = {"type": request.param}
    ledger, held = None, partial(_file, request.param, tmp_path / "exports/out")
    if request.param in ("sqlite", "postgresql"):
        url = f"sqlite:///{tmp_path / 'marketing.db'}"
        if request.param == "postgresql":
            ledger = url = request.getfixturevalue("postgres_url")
        to = {"type": "sql", "url": url, "table": "people"}
        held = partial(_table, url)
    made = Delivering(tmp_path, to, ledger=ledger)
    for key in "123":
        made.customer(key)
    return made, held


def test_changes_arrive(company: tuple[Delivering, Held]):
    """Who enters is added, whose row changes is told anew, who leaves is removed."""
    made, held = company
    first = made.deliver()
    assert (first.added, first.changed, first.removed) == (3, 0, 0)
    assert held() == {made.number(k): {"mail": f"c{k}@example.com"} for k in "123"}
    assert made.deliver().wrote is False
    gone = made.number("3")
    made.customer("2", email="c2@example.com", status="churned")
    made.remove("crm", "3")
    made.customer("4")
    later = made.deliver()
    assert (later.added, later.changed, later.removed) == (1, 0, 2)
    assert set(held()) == {made.number("1"), made.number("4")}
    assert gone not in held()


def test_withdrawn_consent_removes(company: tuple[Delivering, Held]):
    """Who withdraws consent at the source, or by a click, is taken out of the destination."""
    made, held = company
    made.deliver()
    made.customer("1", opt_in="no")
    clicked = made.unsubscribe("c2@example.com")
    done = made.deliver()
    assert done.removed == 2
    assert done.without_consent == 2
    assert set(held()) == {made.number("3")}
    assert clicked not in held()


def test_missing_consent_is_none(company: tuple[Delivering, Held]):
    """A customer of whom no consent is known is never delivered."""
    made, held = company
    made.customer("1", opt_in=None)
    made.deliver()
    assert set(held()) == {made.number("2"), made.number("3")}


def test_stale_consent_adds_nobody(tmp_path: Path):
    """A stale consent adds nobody, and leaves who is there as they are."""
    made = Delivering(tmp_path, {"type": "csv"})
    made.customer("1")
    made.deliver()
    made.declared["attributes"]["opt_in"]["fresh_within"] = "30m"
    for system in made.declared["systems"].values():
        system["syncs"]["people"]["schedule"] = "*/5 * * * *"
    made.declare(made.declared)
    made.customer("2")
    made.run()
    done = destination_steps.deliver(made.workspace, "out", clock=lambda: made.now)
    assert (done.added, done.removed, done.staying, done.without_consent) == (0, 0, 1, 1)
    assert set(_csv(tmp_path / "exports/out/out.csv")) == {made.number("1")}


def test_lost_place_is_filled_again(company: tuple[Delivering, Held], tmp_path: Path):
    """A file or a table that was taken away is made anew, with everybody in it."""
    made, held = company
    made.deliver()
    before = held()
    to = made.declared["destinations"]["out"]["to"]
    if to["type"] != "sql":
        shutil.rmtree(tmp_path / "exports/out")
    else:
        url = to["url"].replace("postgresql://", "postgresql+psycopg2://")
        with sa.create_engine(url).begin() as connection:
            connection.execute(sa.text("drop table people"))
    assert made.deliver().added == 3
    assert held() == before


def test_dry_run_writes_nothing(company: tuple[Delivering, Held]):
    """A dry run counts what a run would do."""
    made, _ = company
    now = made.now
    made.run()
    told = destination_steps.deliver(made.workspace, "out", clock=lambda: now, dry=True)
    assert told.added == 3
    assert made.workspace.ledger.deliveries.counts() == {}
    assert destination_steps.deliver(made.workspace, "out", clock=lambda: now).added == 3


def test_formulas_are_neutralised(tmp_path: Path):
    """A text that a spreadsheet would compute gets an apostrophe; numbers stay numbers."""
    made = Delivering(tmp_path, {"type": "csv"}, columns=["tier", "email"])
    formulas = ["=1+1", "+49 30 1", "-2", "@SUM(A1)", "\tx", 'plain, with "quotes"']
    for key, tier in enumerate(formulas, 1):
        made.customer(str(key), tier=tier)
    made.deliver()
    found = {row["tier"] for row in _csv(tmp_path / "exports/out/out.csv").values()}
    assert {f"'{each}" for each in formulas[:4]} <= found
    assert formulas[-1] in found
    assert not any(cell[0] in "=+-@\t\r" for cell in found)


def test_change_files(tmp_path: Path):
    """Each delivery leaves a file of what it changed; after their time those go."""
    made = Delivering(tmp_path, {"type": "csv", "keep_changes": "90 minutes"})
    made.customer("1")
    made.deliver()
    changes = tmp_path / "exports/out/changes"
    (first,) = changes.iterdir()
    assert first.read_text().splitlines()[0] == "operation,profile_id,mail"
    made.customer("1", status="churned")
    made.deliver()
    second = {path.name: path.read_text() for path in changes.iterdir()}
    assert len(second) == 2
    assert any(text.splitlines()[1].startswith("remove,") for text in second.values())
    made.deliver()
    assert first.name not in {path.name for path in changes.iterdir()}


def test_another_place_is_refused(tmp_path: Path):
    """A destination that holds customers can't be moved, and so forget them there."""
    made = Delivering(tmp_path, {"type": "csv"})
    made.customer("1")
    made.deliver()
    made.declared["destinations"]["out"]["to"]["folder"] = str(tmp_path / "elsewhere")
    made.declare(made.declared)
    with pytest.raises(DestinationError, match="moved"):
        made.deliver()
    del made.declared["destinations"]["out"]["to"]["folder"]
    made.declare(made.declared)
    done = destination_steps.empty_destination(made.workspace, "out", clock=lambda: made.now)
    assert done.removed == 1
    assert _csv(tmp_path / "exports/out/out.csv") == {}
    made.declared["destinations"]["out"]["to"]["folder"] = str(tmp_path / "elsewhere")
    made.declare(made.declared)
    assert made.deliver().added == 1


def test_table_without_a_column(tmp_path: Path):
    """A table that lacks a column is told by name, and nothing is written."""
    path = tmp_path / "marketing.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table people (profile_id integer primary key)")
    made = Delivering(tmp_path, {"type": "sql", "url": f"sqlite:///{path}", "table": "people"})
    made.customer("1")
    done = made.deliver()
    assert done.error is not None
    assert "no column mail" in done.error
    assert made.workspace.ledger.deliveries.runs.standing("out").error == done.error


def test_columns_of_today(company: tuple[Delivering, Held], tmp_path: Path):
    """Other columns are told of everybody at the next delivery."""
    made, held = company
    to = made.declared["destinations"]["out"]["to"]
    made.deliver()
    made.declared["destinations"]["out"]["columns"] = {"email": "mail", "tier": "band"}
    if to["type"] == "sql":
        url = to["url"].replace("postgresql://", "postgresql+psycopg2://")
        with sa.create_engine(url).begin() as connection:
            connection.execute(sa.text("alter table people add column band text"))
    made.declare(made.declared)
    assert made.deliver().changed == 3
    if to["type"] != "sql":
        assert {row["band"] for row in held().values()} == {"gold"}


def test_no_value_stands_in_the_delta_log(tmp_path: Path):
    """A Delta table's log has no value of a customer, and what was removed goes with its time."""
    made = Delivering(tmp_path, {"type": "delta", "keep_changes": "0 days"})
    made.customer("1")
    made.customer("2")
    made.deliver()
    made.customer("2", status="churned")
    made.deliver()
    folder = tmp_path / "exports/out"
    log = "".join(path.read_text() for path in (folder / "_delta_log").glob("*.json"))
    assert "example.com" not in log
    left = [row for path in folder.glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert {row["mail"] for row in left} == {"c1@example.com"}


def test_own_columns_stay(tmp_path: Path):
    """What a table of one's own has besides is left as it is when a row changes."""
    url = f"sqlite:///{tmp_path / 'marketing.db'}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            sa.text("create table people (profile_id integer primary key, mail text, note text)")
        )
    made = Delivering(
        tmp_path, {"type": "sql", "url": url, "table": "people"}, columns={"tier": "mail"}
    )
    made.customer("1")
    made.deliver()
    with engine.begin() as connection:
        connection.execute(sa.text("update people set note = 'called'"))
    made.customer("1", tier="silver")
    assert made.deliver().changed == 1
    with engine.connect() as connection:
        assert connection.execute(sa.text("select mail, note from people")).all() == [
            ("silver", "called")
        ]


def test_who_has_a_suppressed_address_is_taken_out(tmp_path: Path) -> None:
    """Whichever customer it belongs to, whatever they consent to, until that is lifted."""
    company = Delivering(tmp_path, {"type": "csv"})
    for key in "123":
        company.customer(key)
    assert company.deliver().added == 3
    suppressions = company.workspace.ledger.suppressions
    address = suppressions.mark("C2@Example.com")
    suppressions.unsubscribe(address, "email", now=company.now)
    suppressions.unsubscribe(suppressions.mark("c3@example.com"), "sms", now=company.now)
    done = company.deliver()
    assert (done.removed, done.without_consent) == (1, 1)
    suppressions.restore(address, "email", by="anna", because="asked", at=company.now)
    assert company.deliver().added == 1
