"""The lake: a folder of tables and the engine that reads and writes them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from profile_pipelines.catalog.models import Attribute, Catalogue
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.engine import DuckDBEngine
from profile_pipelines.engine.columns import Columns, ColumnType
from profile_pipelines.lake import delta
from profile_pipelines.lake.table import LakeTable
from profile_pipelines.lake_place import Place

COMBINING = frozenset({"most_restrictive", "min", "max"})
"""Merge rules in which every system that gives a value decides."""


UNSUBSCRIBES = "unsubscribes"
"""The built-in system whose values outrank all others: what customers unsubscribed from."""
UNSUBSCRIBES_COLUMNS: Columns = {
    "profile_id": "integer",
    "purpose": "string",
    "number": "integer",
    "unsubscribed": "boolean",
    "acted_at": "timestamp",
}

MEMBERS_COLUMNS: Columns = {"profile_id": "integer", "member": "boolean", "held": "boolean"}

RECORD_BLOCK = 1 << 40
"""How many record numbers each sync has to give."""


def record_block(system: str, sync: str) -> int:
    """The first number of a sync's records: by its name, so that no two syncs give the same."""
    return (zlib.crc32(f"{system}/{sync}".encode()) >> 9) * RECORD_BLOCK


class Lake:
    """Where each table lies and what its columns are."""

    def __init__(self, root: Place, engine: DuckDBEngine | None = None) -> None:
        self.root = root
        self.engine = engine or DuckDBEngine()
        if not isinstance(root, Path):
            self.engine.reach(root.fs)

    def source(self, catalogue: Catalogue, system: str, sync: str) -> LakeTable:
        """The records of one sync."""
        columns = source_columns(catalogue.systems[system].syncs[sync], catalogue.attributes)
        return LakeTable(self.root, f"sources/{system}/{sync}", ["record_id"], columns)

    def holds_any(self, syncs: Iterable[tuple[str, str]]) -> bool:
        """Whether there are records of any of these (system, sync).

        Raises LakeError for a place that can't be read.
        """
        return any(
            delta.open_table(self.root / kind / system / sync / "changes") is not None
            for system, sync in syncs
            for kind in ("sources", "children")
        )

    def identities(self, catalogue: Catalogue) -> LakeTable:
        """Each record's identifiers and the profile that it belongs to."""
        columns: Columns = {
            "record_id": "integer",
            **_identifier_columns(catalogue.identifiers),
            "profile_id": "integer",
            "held_apart": "boolean",
            "previous_profile_id": "integer",
        }
        return LakeTable(self.root, "identities", ["record_id"], columns)

    def profiles(self, catalogue: Catalogue) -> LakeTable:
        """The merged profiles."""
        columns: dict[str, ColumnType] = {"profile_id": "integer"}
        for name, attribute in catalogue.attributes.items():
            columns[name] = attribute.type
            columns[provenance_column(name, attribute)] = provenance_type(attribute)
        columns["changed"] = "list"
        return LakeTable(self.root, "profiles", ["profile_id"], columns)

    def unsubscribes(self) -> LakeTable:
        """Each profile's last act for each purpose: that it unsubscribed, or that it was restored.

        The profiles are those of the time, which may be no more.
        """
        return LakeTable(self.root, UNSUBSCRIBES, ["profile_id", "purpose"], UNSUBSCRIBES_COLUMNS)

    def audience(self, name: str) -> LakeTable:
        """The members of one audience, and those held."""
        return LakeTable(self.root, f"audiences/{name}", ["profile_id"], MEMBERS_COLUMNS)

    def entry(self, journey: str) -> LakeTable:
        """For whom a journey's `enter_when` holds; its columns are an audience's."""
        return LakeTable(self.root, f"journeys/{journey}", ["profile_id"], MEMBERS_COLUMNS)


def source_columns(sync: Sync, attributes: Mapping[str, Attribute]) -> Columns:
    """The columns of a sync's records."""
    return {
        "record_id": "integer",
        "record_key": "string",
        **_identifier_columns(sync.identifiers),
        "updated_at": "timestamp",
        "deleted": "boolean",
        **{name: attributes[name].type for name in sync.attributes},
        "quarantine": "quarantine",
    }


def _identifier_columns(identifiers: Iterable[str]) -> Columns:
    return {f"id_{name}": "string" for name in identifiers}


def provenance_column(name: str, attribute: Attribute) -> str:
    """The column that says where an attribute's value came from."""
    return f"{name}__sources" if attribute.merge in COMBINING else f"{name}__source"


def provenance_type(attribute: Attribute) -> ColumnType:
    """A bit mask of the givers for combining rules, else the winner's code."""
    return "integer" if attribute.merge in COMBINING else "code"
