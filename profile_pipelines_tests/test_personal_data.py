"""No personal value outside the data files: not in metadata, logs, errors or the ledger."""

from __future__ import annotations

import contextlib
import io
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from profile_pipelines import pipeline
from profile_pipelines.errors import ProfilePipelinesError
from profile_pipelines_tests.company import START, Company, catalogue, stamp

CANARIES = {
    "id": "KEY0canary", "no": "NO0canary", "email": "canary@person.example",
    "status": "STATUScanary", "tier": "TIERcanary", "opt_in": "OPTINcanary",
    "points": "4242424242", "since": "1942-04-24", "ends": "2042-04-24", "balance": "424242.4242",
    "tags": "TAGcanary", "seen": "SEENcanary",
}  # fmt: skip
WANTED = [*(text.lower() for text in CANARIES.values()), "canary"]


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """Customers whose every field is a canary; some values are invalid, some whole records."""
    declared = catalogue(("crm", "billing"))
    declared["audiences"]["tier"] = {"where": {"tier": {"starts_with": "TIER"}}}
    for attribute in declared["attributes"].values():
        attribute["max_invalid"] = "100%"
    company = Company(tmp_path, declared)
    for system in ("crm", "billing"):
        values = {name: text for name, text in CANARIES.items() if name != "id"}
        company.put(system, CANARIES["id"], changed=stamp(-5), **values)
        company.put(system, "lost", changed=stamp(-5), **{**values, "no": "", "email": "canary"})
    return company


def _leaks(text: str) -> list[str]:
    return [canary for canary in WANTED if canary in text.lower()]


@contextmanager
def _everything_said() -> Iterator[io.StringIO]:
    """Whatever is logged at any level, or printed."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            yield said
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def _run_twice(company: Company) -> None:
    company.run()
    company.put("crm", "2", no="NO1canary", changed=stamp(0.5), tier="TIERcanary2")
    company.run(full=True)
    lake, declared = company.workspace.lake, company.workspace.catalogue
    for name in declared.systems:
        lake.source(declared, name, "people").pin().compact(lake.engine, force=True)
    lake.profiles(declared).pin().compact(lake.engine, force=True)


def test_the_canaries_are_in_the_data(company: Company) -> None:
    """The values do reach the lake and its quarantine, so that the other tests mean something."""
    company.run()
    view = company.customers.profile(CANARIES["email"], now=company.now)
    assert view.values["tier"].value == "TIERcanary"
    quarantined = company.customers.quarantine().to_polars()
    assert "STATUScanary" in quarantined["value"].to_list()
    assert quarantined.filter(quarantined["attribute"] == "").height == 2


def test_table_metadata_holds_no_personal_value(company: Company) -> None:
    """Commits, statistics and checkpoints name columns, counts and digests alone."""
    _run_twice(company)
    lake, declared = company.workspace.lake, company.workspace.catalogue
    for table in (lake.profiles(declared), lake.source(declared, "crm", "people")):
        handle: Any = table.pin()._changes  # pyright: ignore[reportPrivateUsage]
        handle.create_checkpoint()
    logs = [path for path in (company.folder / "lake").rglob("_delta_log/*") if path.is_file()]
    assert len([path for path in logs if path.suffix == ".json"]) > 10
    assert len([path for path in logs if path.suffix == ".parquet"]) == 2
    for path in logs:
        text = (
            str(pq.read_table(path).to_pylist())
            if path.suffix == ".parquet"
            else path.read_text("utf-8")
        )
        assert _leaks(text) == [], path.name


def test_file_names_hold_no_personal_value(company: Company) -> None:
    """Nor do the names of tables and files."""
    _run_twice(company)
    names = " ".join(
        str(path.relative_to(company.folder)) for path in (company.folder / "lake").rglob("*")
    )
    assert _leaks(names) == []


def test_the_ledger_holds_no_personal_value(company: Company) -> None:
    """Counts by reason, never what was invalid."""
    _run_twice(company)
    with closing(sqlite3.connect(company.folder / "ledger.db")) as ledger:
        assert _leaks("\n".join(ledger.iterdump())) == []
        assert ledger.execute("select count(*) from sync_attributes").fetchone()[0] > 20


def test_a_run_says_no_personal_value(company: Company) -> None:
    """Neither a log record of any level nor a result that is printed."""
    with _everything_said() as said:
        results = [company.sync(name) for name in ("crm", "billing")]
        settled = company.settle()
        _run_twice(company)
    assert _leaks(said.getvalue()) == []
    assert _leaks(repr(results) + repr(settled)) == []


def test_a_set_aside_says_no_personal_value(company: Company) -> None:
    """A field that is gone is told by its name, the others' names included; no value is."""
    company.run()
    people = company.declared["systems"]["crm"]["syncs"]["people"]
    people["attributes"]["tier"] = "level"
    company.declare(company.declared)
    with _everything_said() as said:
        results = company.run()
    assert results[0].attributes["tier"].set_aside
    waiting = company.workspace.ledger.set_asides.newest()
    assert waiting
    assert _leaks(said.getvalue() + repr(results) + repr(waiting)) == []


def _another_type(company: Company) -> None:
    company.declared["attributes"]["tier"]["type"] = "integer"
    company.declared["audiences"] = {}
    company.declare(company.declared)
    company.run()


def _missing_column(company: Company) -> None:
    people = company.declared["systems"]["crm"]["syncs"]["people"]
    people["identifiers"]["email"] = "mail"
    company.declare(company.declared)
    company.run()


def _broken_database(company: Company) -> None:
    (company.folder / "crm.db").write_bytes(b"SQLite format 3\0 canary@person.example" * 99)
    company.run()


def _broken_query(company: Company) -> None:
    people = company.declared["systems"]["crm"]["syncs"]["people"]
    people["table"] = None
    people["query"] = "select *, abs(-9223372036854775807 - 1) as bad, tier || '' as t from people"
    people["attributes"]["points"] = "bad"
    company.declare(company.declared)
    company.run()


def _unknown_identifier(company: Company) -> None:
    company.customers.profile("other-canary@person.example", now=START)


def _unknown_in_the_past(company: Company) -> None:
    company.customers.profile(CANARIES["email"], as_of=START.replace(year=2000))


def _damaged_file(company: Company) -> None:
    for path in (company.folder / "lake" / "sources").rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:-30] + b"canary@person.example")
    company.put("crm", "3", no="3", changed=stamp(0.9), tier="canary")
    company.run()


def _endless_race(company: Company) -> None:
    rival = company.workspace.lake.source(company.workspace.catalogue, "crm", "people")
    pinned = rival.pin()
    company.put("crm", "3", no="3canary", changed=stamp(0.9), tier="canary")
    company.sync("crm")
    pinned.commit(company.workspace.lake.engine, None, now=START, run_id="r", state={"a": 1})


@pytest.mark.parametrize(
    "fault",
    [
        _another_type, _missing_column, _broken_database, _broken_query, _unknown_identifier,
        _unknown_in_the_past, _damaged_file, _endless_race,
    ],
)  # fmt: skip
def test_no_error_tells_a_personal_value(company: Company, fault: Any) -> None:
    """Neither the error nor anything that it was caused by; most are errors meant for people."""
    company.run()
    with _everything_said() as said, pytest.raises(Exception) as caught:  # noqa: PT011
        fault(company)
    error: BaseException | None = caught.value
    if fault is not _damaged_file:
        assert isinstance(error, ProfilePipelinesError)
    while error is not None:
        assert _leaks(f"{error!s} {error!r}") == []
        error = error.__cause__ or error.__context__
    assert _leaks(said.getvalue()) == []


def test_a_due_sync_says_no_personal_value(company: Company) -> None:
    """What is due and how fresh it is names systems and attributes alone."""
    company.run()
    due = pipeline.due_syncs(company.workspace, company.now, everything=True)
    assert _leaks(repr(due) + repr(company.customers.freshness(now=company.now))) == []
