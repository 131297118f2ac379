"""One preset against its vendor's server: declared as users do, synced, and read from the lake.

A preset's test is a `Case` (a few lines) and a server, a `Vendor` that follows the vendor's
documentation. `test_faults` runs every case through the fault proxy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from profile_pipelines import pipeline
from profile_pipelines.catalog.connections import RestConnection
from profile_pipelines.catalog.preset_files import shipped
from profile_pipelines.catalog.preset_starter import write_preset_starter
from profile_pipelines.landing import SyncResult
from profile_pipelines.workspace import Places, Workspace
from profile_pipelines_tests.presets.fault_proxy import Proxy
from profile_pipelines_tests.sources.api_server import Api

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
Rows = dict[str, dict[str, Any]]
"""The attributes of each record by its key; None where there is no value."""


class Vendor:
    """A vendor's server: fills `api.answers`, and knows what each stream should bring."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def expected(self, stream: str) -> Rows:
        """What the lake should hold of a stream after a sync."""
        raise NotImplementedError

    def change(self) -> None:
        """Change, add and delete some of what the streams bring."""
        raise NotImplementedError


@dataclass(frozen=True)
class Case:
    """A preset, the fields of its connection, and its server."""

    preset: str
    vendor: Callable[[Api], Vendor]
    fields: Mapping[str, Any]
    """The connection's fields; `{server}` is the server's own address, past the proxy."""
    records: Mapping[str, str | None]
    """Where a page's records stand in the answer, by stream."""
    secrets: Mapping[str, str]
    """The environment variables with the credentials that the server wants."""
    pages: int = 2
    """How many requests a full read of each stream takes at least."""
    connection: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Keys of the connection that are overridden, such as a limit that would make tests wait."""
    syncs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Keys that are overridden in every sync."""
    told: frozenset[str] = frozenset()
    """The harmless faults that this API's answers give away, so that they end the read."""
    name: str | None = None
    """What the case is called, where a preset has several."""

    @property
    def read(self) -> tuple[str, ...]:
        """The streams that are read: all that `records` names."""
        return tuple(self.records)


class Shop:
    """A catalogue written by `init --source`, over a vendor's server, with a lake."""

    def __init__(
        self, case: Case, folder: Path, url: str, server: str | None = None, **connection: Any
    ) -> None:
        self.case, self.folder = case, folder
        self.now = NOW
        root = folder / "catalog"
        write_preset_starter(root, shipped(case.preset), "vendor")
        path = root / "sources" / "vendor.yaml"
        declared = yaml.safe_load(path.read_text(encoding="utf-8"))
        # what isn't at the vendor's own address must be allowed to be private
        private = {"allow_private": True} if "allow_private" in RestConnection.model_fields else {}
        declared["connection"] = {
            "type": case.preset,
            **{
                name: value.replace("{server}", server or url) if isinstance(value, str) else value
                for name, value in case.fields.items()
            },
            "base_url": url,
            "timeout": "2s",
            **private,
            **case.connection,
            **connection,
        }
        declared["syncs"] = {name: {**declared["syncs"][name], **case.syncs} for name in case.read}
        path.write_text(yaml.safe_dump(declared, sort_keys=False), encoding="utf-8")
        attributes = root / "attributes" / "vendor.yaml"
        taken = {a for sync in declared["syncs"].values() for a in sync["attributes"]}
        kept = {k: v for k, v in yaml.safe_load(attributes.read_text()).items() if k in taken}
        attributes.write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
        self.workspace = Workspace(
            Places(root, folder / "lake", f"sqlite:///{folder / 'ledger.db'}")
        )

    def sync(self, stream: str, *, full: bool = False) -> SyncResult:
        """One sync, an hour after the one before."""
        self.now += timedelta(hours=1)
        declared = self.workspace.catalogue.systems["vendor"].syncs[stream]
        return pipeline.sync_attributes(
            self.workspace,
            pipeline.DueSync("vendor", stream, tuple(declared.attributes)),
            now=self.now,
            run_id=f"run-{self.now:%d-%H}",
            full=full,
        )

    def rows(self, stream: str) -> Rows:
        """What the lake holds of a stream now."""
        catalogue = self.workspace.catalogue
        lake = self.workspace.lake
        pinned = lake.source(catalogue, "vendor", stream).pin()
        if not pinned.exists:
            return {}
        attributes = list(catalogue.systems["vendor"].syncs[stream].attributes)
        names = ["record_key", *attributes]
        current = pinned.current([*names, "deleted"], "state")
        found = lake.engine.rows(current.sql, current.relations)
        return {
            row["record_key"]: {name: row[name] for name in attributes}
            for row in found
            if not row["deleted"]
        }


@dataclass
class World:
    """A case that runs: its server, the proxy before it, and the shop that reads through it."""

    vendor: Vendor
    proxy: Proxy
    shop: Shop
