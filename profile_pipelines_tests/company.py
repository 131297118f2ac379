"""A small company for tests: SQLite systems, a catalogue folder, a lake and a ledger."""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml

from profile_pipelines import pipeline
from profile_pipelines.audiences.materialise import AudienceResult
from profile_pipelines.catalog.plan import audience_order
from profile_pipelines.identity import IdentitiesResult
from profile_pipelines.lake_place import lake_place
from profile_pipelines.landing import SyncResult
from profile_pipelines.profiles.merge import ProfilesResult
from profile_pipelines.progress import HowFar
from profile_pipelines.reading import Customers
from profile_pipelines.workspace import Places, Workspace, refusals_beside

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

COLUMNS = (
    "id", "no", "email", "changed", "gone", "status", "tier", "opt_in", "points", "since",
    "ends", "balance", "tags", "seen",
)  # fmt: skip
"""The columns of every system's table `people`; each is text."""

ATTRIBUTES: dict[str, dict[str, Any]] = {
    "status": {"type": "string", "valid": {"in": ["active", "churned", "prospect"]}},
    "tier": {"type": "string", "merge": "latest"},
    "opt_in": {"type": "boolean", "merge": "most_restrictive"},
    "points": {"type": "integer", "merge": "max"},
    "since": {"type": "date", "merge": "min"},
    "ends": {"type": "date"},
    "balance": {"type": "decimal", "merge": "max"},
    "tags": {"type": "list"},
    "seen": {"type": "timestamp", "merge": "latest"},
}


def joining(declared: dict[str, Any]) -> dict[str, Any]:
    """The catalogue, changed so that a customer may have several customer numbers."""
    declared["identifiers"]["customer_no"]["per_profile"] = "unlimited"
    return declared


def catalogue(
    systems: tuple[str, ...] = ("crm", "billing"), attributes: tuple[str, ...] = tuple(ATTRIBUTES)
) -> dict[str, Any]:
    """A catalogue in which every system gives every attribute; tests change copies of it."""
    return {
        "identifiers": {
            "customer_no": {
                "normalise": ["trim", "upper", {"strip_prefix": "C-"}, "strip_leading_zeros"]
            },
            "email": {"normalise": ["email"]},
        },
        "attributes": {
            name: {
                "sources": list(systems),
                "fresh_within": "24h",
                "max_invalid": "50%",
                **copy.deepcopy(ATTRIBUTES[name]),
            }
            for name in attributes
        },
        "systems": {
            system: {
                "system": system,
                "kind": "crm",
                "connection": {"type": "sql", "url": ""},
                "syncs": {
                    "people": {
                        "table": "people",
                        "key": "id",
                        "identifiers": {"customer_no": "no", "email": "email"},
                        "updated_at": "changed",
                        "deleted": "gone",
                        "attributes": {name: name for name in attributes},
                    }
                },
            }
            for system in systems
        },
        "audiences": {},
    }


class Company:
    """Systems in `folder`, and a workspace over them.

    Every run happens an hour after the one before, on a clock that begins at `START`. The lake
    and the ledger lie in `folder` too, or at the URLs `lake` and `ledger`.
    """

    def __init__(
        self,
        folder: Path,
        declared: Mapping[str, Any] | None = None,
        lake: str | None = None,
        ledger: str | None = None,
    ) -> None:
        self.folder = folder
        self.ledger = ledger or f"sqlite:///{folder / 'ledger.db'}"
        self.lake = lake_place(lake or str(folder / "lake"))
        self.now = START
        self.declared: dict[str, Any] = {}
        self.declare(declared or catalogue())

    def declare(self, declared: Mapping[str, Any]) -> None:
        """Write this catalogue in place of the one before, and open it."""
        self.declared = copy.deepcopy(dict(declared))
        root = self.folder / "catalog"
        files: dict[str, Any] = {
            "catalogue.yaml": self.declared.get("settings", {}),
            "identifiers.yaml": self.declared["identifiers"],
            "attributes.yaml": self.declared["attributes"],
        }
        for name, system in self.declared["systems"].items():
            if system["connection"]["type"] == "sql" and not system["connection"]["url"]:
                system["connection"]["url"] = f"sqlite:///{self.folder / name}.db"
            files[f"sources/{name}.yaml"] = system
        for name, audience in self.declared["audiences"].items():
            files[f"audiences/{name}.yaml"] = {"audience": name, **audience}
        if "channels" in self.declared:
            files["channels.yaml"] = self.declared["channels"]
        for name, journey in self.declared.get("journeys", {}).items():
            files[f"journeys/{name}.yaml"] = {"journey": name, **journey}
        for name, destination in self.declared.get("destinations", {}).items():
            files[f"destinations/{name}.yaml"] = {"destination": name, **destination}
        for old in [*root.rglob("*.yaml"), *root.rglob("templates/*")]:
            old.unlink()
        for name, content in self.declared.get("templates", {}).items():
            (root / "templates").mkdir(parents=True, exist_ok=True)
            (root / "templates" / name).write_text(content, encoding="utf-8")
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        for name in self.declared["systems"]:
            self.execute(name, f"create table if not exists people ({', '.join(COLUMNS)})")
        self.workspace = Workspace(Places(root, self.lake, self.ledger, refusals_beside(self.lake)))

    @property
    def customers(self) -> Customers:
        """What people read."""
        return Customers(self.workspace)

    def put(self, system: str, key: str, **values: str | None) -> None:
        """Write the row `key` of a system's table, in place of the one before."""
        self.remove(system, key)
        self.add(system, key, **values)

    def add(self, system: str, key: str, **values: str | None) -> None:
        """Add a row, even where there is one with this key."""
        row = {"id": key, **values}
        marks = ", ".join("?" for _ in row)
        self.execute(
            system, f"insert into people ({', '.join(row)}) values ({marks})", *row.values()
        )

    def remove(self, system: str, key: str) -> None:
        """Take a row away, without a trace."""
        self.execute(system, "delete from people where id = ?", key)

    def sync(
        self,
        system: str,
        *attributes: str,
        full: bool = False,
        progress: Callable[[HowFar], None] | None = None,
    ) -> SyncResult:
        """One sync of the system, by default of all its attributes."""
        names = attributes or tuple(
            self.workspace.catalogue.systems[system].syncs["people"].attributes
        )
        return pipeline.sync_attributes(
            self.workspace,
            pipeline.DueSync(system, "people", names),
            now=self.now,
            run_id=self.run_id,
            full=full,
            progress=progress,
        )

    def settle(self) -> tuple[IdentitiesResult, ProfilesResult, dict[str, AudienceResult]]:
        """Identities, profiles and audiences; then the clock moves on."""
        at = {"now": self.now, "run_id": self.run_id}
        identities = pipeline.resolve_identities(self.workspace, **at)
        profiles = pipeline.merge_profiles(self.workspace, **at)
        audiences = {
            name: pipeline.evaluate_audience(self.workspace, name, **at)
            for name in audience_order(self.workspace.catalogue.audiences)
        }
        self.now += HOUR
        return identities, profiles, audiences

    def run(self, *, full: bool = False) -> list[SyncResult]:
        """Every sync, and what follows from it."""
        results = [self.sync(system, full=full) for system in self.declared["systems"]]
        self.settle()
        return results

    @property
    def run_id(self) -> str:
        """The id of the run at the present time."""
        return f"run-{self.now:%d-%H}"

    def profile(self, identifier: str, **at: datetime) -> dict[str, Any]:
        """The attributes that a profile has a value of."""
        view = self.customers.profile(identifier, **{"now": self.now, **at})
        return {name: value.value for name, value in view.values.items() if value.value is not None}

    def execute(self, system: str, statement: str, *values: object) -> None:
        """Run a statement in a system's database."""
        with closing(sqlite3.connect(self.folder / f"{system}.db")) as connection, connection:
            connection.execute(statement, values)


def empty_ledger(url: str) -> None:
    """Drop all tables of a `postgresql://` database, for the next example, whoever is in them."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg2:"))
    others = sa.text(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()"
    )
    with engine.connect() as connection:
        connection.execute(others)
    metadata = sa.MetaData()
    metadata.reflect(engine)
    metadata.drop_all(engine)
    engine.dispose()


def stamp(hours: float) -> str:
    """A source's time, in hours before (or after) the first run."""
    return (START + timedelta(hours=hours)).isoformat()
