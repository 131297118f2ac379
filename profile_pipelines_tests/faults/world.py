"""A small company with everything that is written to: two systems, a lake, a ledger, a journey over
mail and one over webhooks, destinations of three kinds. One of its customers is a canary.

What happens in it are commands; what it holds afterwards can be compared with another one.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from deltalake import DeltaTable

from profile_pipelines.cli.failures import report
from profile_pipelines.cli.main import main
from profile_pipelines.lake.upkeep import merge_small_files
from profile_pipelines.lake_tables import lake_tables
from profile_pipelines.workspace import Places, Workspace
from profile_pipelines_tests.company import HOUR, START, Company, stamp
from profile_pipelines_tests.privacy import canaries
from profile_pipelines_tests.privacy.reminders import declared

CUSTOMERS = ("1", "2", "3")
NEW = "4"
MARKER = "MARKER"
"""Stands in the values of those who aren't the canary."""
DAY, LATER = timedelta(days=1), timedelta(hours=3)
_THEIRS = "FAULTS_DESTINATION_URL"


class World:
    """The company in a folder, with its sinks. Nothing is opened before a command is."""

    def __init__(self, folder: Path, mail: int, hook: int, ledger: str | None = None) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.ledger = ledger or f"sqlite:///{folder / 'ledger.db'}"
        self._ports = mail, hook

    def create(self) -> None:
        """The systems and the catalogue, before any run."""
        self.temporary.mkdir(parents=True)
        self.at_home()
        company = Company(self.folder, self._declared(), ledger=self.ledger)
        for key in CUSTOMERS:
            for system in company.declared["systems"]:
                _put(company, system, key, hours=-5)
        _canary(company, hours=-5)

    def change(self) -> None:
        """What the systems say a day later: one customer is new, values are others."""
        company = self._company()
        _put(company, "crm", NEW, hours=1)
        _put(company, "crm", "1", hours=1, tier=f"silver{MARKER}")
        _put(company, "billing", "2", hours=1, gone="yes")
        _canary(company, hours=1, tier="second-canary")

    def at_home(self) -> None:
        """Commands of this process are about this world from now on."""
        tempfile.tempdir = None
        for name in [n for n in os.environ if n.startswith("PROFILE_PIPELINES_")]:
            del os.environ[name]
        os.environ.update({
            "TMPDIR": str(self.temporary),
            "PROFILE_PIPELINES_CATALOG": str(self.folder / "catalog"),
            "PROFILE_PIPELINES_LAKE": str(self.folder / "lake"),
            "PROFILE_PIPELINES_LEDGER": self.ledger,
            _THEIRS: f"sqlite:///{self.folder / 'theirs.db'}",
            "FAULTS_SECRET": "s" * 32,
        })  # fmt: skip

    def workspace(self) -> Workspace:
        self.at_home()
        return Workspace(Places.from_environment())

    def _company(self) -> Company:
        self.at_home()
        company = Company.__new__(Company)
        company.folder, company.now = self.folder, START
        return company

    def _declared(self) -> dict[str, Any]:
        made = declared()
        for attribute in made["attributes"].values():
            attribute["fresh_within"] = "9999 days"
        for system in made["systems"].values():
            system["syncs"]["people"]["schedule"] = "0 6 * * *"
        mail, hook = self._ports
        made["channels"] = {"channels": {
            "mail": {"type": "smtp", "host": "127.0.0.1", "port": mail, "security": "none",
                     "from": "hello@example.org", "to": "email"},
            "hook": {"type": "webhook", "url": f"http://127.0.0.1:{hook}/x", "to": "email",
                     "secret": {"env": "FAULTS_SECRET"}, "allow_private": True},
            "drop": {"type": "file", "to": "email"},
        }}  # fmt: skip
        steps: list[dict[str, Any]] = []
        for channel in made["channels"]["channels"]:
            send = {"channel": channel, "template": "hello", "expire_after": "400 days"}
            steps.append({"send": send})
        made["journeys"]["daily"]["steps"] = [*steps, {"wait": "20 hours"}, steps[0]]
        told = {"audience": "active", "consent": "email", "columns": ["email", "tier"]}
        made["destinations"] = {
            "sheet": {**told, "to": {"type": "csv"}},
            "versions": {**told, "to": {"type": "delta"}},
            "table": {**told, "to": {"type": "sql", "url": {"env": _THEIRS}, "table": "active"}},
        }
        return made


def _put(company: Company, system: str, key: str, *, hours: float, **values: str) -> None:
    row: dict[str, str | None] = {
        "no": key, "email": f"{MARKER}{key}@example.com", "status": "active",
        "tier": f"gold{MARKER}", "opt_in": "yes", "changed": stamp(hours), **values,
    }  # fmt: skip
    company.put(system, key, **row)


def _canary(company: Company, *, hours: float, **values: str) -> None:
    for system in ("crm", "billing"):
        row = {**canaries.VALUES, "no": canaries.NUMBER, "changed": stamp(hours), **values}
        company.put(system, "KEYcanary", **row)


@dataclass(frozen=True)
class Stage:
    """What is done to the company, and what puts it right after a fault: commands, as exit codes.

    `prepare` happens before, undisturbed.
    """

    name: str
    prepare: Callable[[World], None]
    step: Callable[[World], int]
    recover: tuple[Callable[[World], int], ...]


def _run(days: int, later: timedelta = timedelta(0)) -> Callable[[World], int]:
    moment = (START + days * DAY + later).isoformat()

    def run(world: World) -> int:
        world.at_home()
        return main(["run", "--now", moment])

    return run


def _compact(world: World) -> int:
    """What runs do when a table has grown, at once and to all of them."""
    try:
        space = world.workspace()
        for table in lake_tables(space):
            table.pin().compact(space.lake.engine, force=True)
            merge_small_files(table, space.lake.engine, many=1)
        space.pairing.advance(now=START + 2 * DAY)
    except BaseException as error:
        return report(error, debug=False)
    return 0


def _erase(world: World) -> int:
    world.at_home()
    moment = (START + 2 * DAY).isoformat()
    return main(["erase", canaries.NUMBER, "--yes", "--by", "officer", "--now", moment])


def _back_up(world: World) -> int:
    world.at_home()
    return main(["backup", str(world.folder / "backups")])


def _prove(world: World) -> int:
    world.at_home()
    return main(["restore", "--check", str(world.folder / "backups")])


def _restore(world: World) -> int:
    world.at_home()
    return main(["restore", str(world.folder / "backups"), "--replace", "--yes"])


def _run_since(world: World) -> int:
    """A run after a restore, whose commits are of the present."""
    world.at_home()
    return main(["run", "--now", (datetime.now(UTC) + HOUR).isoformat()])


STAGES = (
    Stage("first", lambda world: None, _run(0), (_run(0, LATER),)),
    Stage("second", World.change, _run(1), (_run(1, LATER),)),
    Stage("compact", lambda world: None, _compact, (_compact, _run(2, LATER))),
    Stage("erase", lambda world: None, _erase, (_erase, _run(3, LATER))),
    Stage("backup", lambda world: None, _back_up, (_back_up, _prove)),
    Stage("restore", lambda world: None, _restore, (_restore, _run_since)),
)


def told(world: World) -> dict[str, Any]:
    """What the company holds, by customers' numbers, and without the times of runs. What is under
    `log` tells how it came about: how many changes of each table were recorded, and the numbers of
    the systems that decided."""
    space = world.workspace()
    lake, ledger, declared = space.lake, space.ledger, space.catalogue
    found: dict[str, Any] = {}
    for name in declared.systems:
        table = lake.source(declared, name, "people")
        columns = [each for each in table.columns if each != "record_id"]
        found[f"records of {name}"] = _sorted(_rows(space, table.pin().current(columns, "t")))
    identities = lake.identities(declared).pin().current(["id_customer_no", "profile_id"], "t")
    customers = {row["profile_id"]: row["id_customer_no"] for row in _rows(space, identities)}
    found["log"] = {
        table.name: len(_rows(space, table.pin().changes(["seq"], "t")))
        for table in lake_tables(space)
    }
    profiles = lake.profiles(declared)
    for row in _rows(space, profiles.pin().current(profiles.columns, "t")):
        no = customers.get(row.pop("profile_id"), "nobody's")
        found[f"profile {no}"] = {name: row[name] for name in declared.attributes}
        found["log"][f"profile {no}"] = {n: row[n] for n in row if "__source" in n}
    members = _rows(space, lake.audience("active").pin().current(["profile_id", "member"], "t"))
    found["members"] = sorted(customers[r["profile_id"]] for r in members if r["member"])
    found["messages"] = {
        f"{customers.get(row['profile_id'], '?')} {row['step']} {row['channel']}": row["state"]
        for row in ledger.outbox.messages(limit=None)
    }
    found["drop"] = len([e for e in (world.folder / "outbox").rglob("*") if e.suffix == ".eml"])
    found["sheet"] = _sheet(world, customers)
    with closing(sqlite3.connect(world.folder / "theirs.db")) as theirs:
        rows = theirs.execute("select profile_id, email, tier from active").fetchall()
    found["table"] = sorted((customers[row[0]], *row[1:]) for row in rows)
    versions = DeltaTable(str(world.folder / "exports" / "versions")).to_pyarrow_table()
    found["versions"] = sorted(
        (customers[row["profile_id"]], row["email"], row["tier"]) for row in versions.to_pylist()
    )
    found["due"] = sorted(f"{system}.{name}" for system, name in ledger.coverage())
    return found


def _sheet(world: World, customers: dict[int, str]) -> list[list[str]]:
    [sheet] = (world.folder / "exports").rglob("sheet.csv")
    head, *rows = [line.split(",") for line in sheet.read_text().splitlines()]
    at = head.index("profile_id")
    return sorted([*row[:at], customers[int(row[at])], *row[at + 1 :]] for row in rows)


def _rows(space: Workspace, rows: Any) -> list[dict[str, Any]]:
    return space.lake.engine.query(rows.sql, rows.relations).to_pylist()


def _sorted(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(repr(sorted(row.items())) for row in rows)


def logs_with_values(world: World) -> list[str]:
    """The files of Delta's logs in the lake that hold a value of a customer."""
    wanted = [MARKER.lower(), "canary", "4242424242"]
    found: list[str] = []
    for path in (world.folder / "lake").rglob("_delta_log/*"):
        if path.is_file():
            parquet = path.suffix == ".parquet"
            text = repr(pq.read_table(path).to_pylist()) if parquet else path.read_text("utf-8")
            if any(each in text.lower() for each in wanted):
                found.append(str(path.relative_to(world.folder)))
    return found


def unfinished(world: World) -> list[str]:
    """Files of deliveries and messages that somebody was about to write."""
    found: list[str] = []
    for folder in ("exports", "outbox"):
        for path in (world.folder / folder).rglob("*"):
            if path.suffix in (".unfinished", ".part") or "#" in path.name:
                found.append(str(path.relative_to(world.folder)))
    found += [each.name for each in world.folder.glob("*.restoring")]
    return found


def left_behind(world: World, process: int) -> list[str]:
    """What lies in the folder for temporary data and isn't this process's, nor Python's own try
    whether it may write there."""
    own = f"profile_pipelines_process_{process}_"
    lying = [each for each in world.temporary.iterdir() if not each.name.startswith(own)]
    return [e.name for e in lying if e.is_dir() or not b"blat".startswith(e.read_bytes())]
