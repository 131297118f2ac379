"""The lake: a folder of tables and the engine that reads and writes them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from profile_pipelines.catalog.aggregates import CHILDLESS
from profile_pipelines.catalog.mapped_fields import further_column
from profile_pipelines.catalog.models import COMBINING, Attribute, Catalogue
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.engine import DuckDBEngine
from profile_pipelines.engine.columns import Columns, ColumnType
from profile_pipelines.high_water import Witness
from profile_pipelines.lake.table import LakeTable, Pinned
from profile_pipelines.lake_place import Place

RECORDS = "records"
"""The key, in the state of a sync's records, of how they are identified: by which `identifiers`."""
LAST_RECORD = "last_record_id"
"""The key, in the state of a sync's records, of a number that records have had: those to come
have greater ones. Only where a table was put back, and others know records that it doesn't."""
FURTHER_OF = "further_of"
"""Of a row of the identities with a further value of a record's identifier: which record's."""


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
    """Where each table lies and what its columns are. The witness is told of each commit."""

    def __init__(
        self, root: Place, engine: DuckDBEngine | None = None, witness: Witness | None = None
    ) -> None:
        self.root = root
        self.witness = witness
        self.engine = engine or DuckDBEngine()
        if not isinstance(root, Path):
            self.engine.reach(root.fs)

    def table(self, name: str, key: Sequence[str], columns: Columns) -> LakeTable:
        """A table of the lake, by its place, key and columns."""
        return LakeTable(self.root, name, key, columns, self.witness)

    def source(self, catalogue: Catalogue, system: str, sync: str) -> LakeTable:
        """The records of one sync."""
        columns = source_columns(catalogue.systems[system].syncs[sync], catalogue.attributes)
        return self.table(f"sources/{system}/{sync}", ["record_id"], columns)

    def landed(self, catalogue: Catalogue, system: str, sync: str) -> Pinned:
        """The records of one sync, with the identifiers by which they were read: those that it
        declares now count as soon as it was read by them."""
        pinned = self.source(catalogue, system, sync).pin()
        declared = catalogue.systems[system].syncs[sync]
        landed: list[str] = pinned.state.get(RECORDS, {}).get("identifiers", [])
        if not landed or set(landed) == set(declared.identifiers):
            return pinned
        columns = source_columns(declared, catalogue.attributes, landed)
        return self.table(pinned.table.name, pinned.table.key, columns).pin()

    def identities(self, catalogue: Catalogue, former: Iterable[str] = ()) -> LakeTable:
        """Each record's identifiers and the profile that it belongs to.

        Where a record has several values of an identifier, each but the first has a row of its
        own, with a negative number for a record's and, as `further_of`, the record's.

        `former` are identifiers that aren't declared any more, by which records were read.
        """
        columns: Columns = {
            "record_id": "integer",
            **_identifier_columns([*catalogue.identifiers, *former]),
            FURTHER_OF: "integer",
            "profile_id": "integer",
            "held_apart": "boolean",
            "shared_identifiers": "integer",
            "previous_profile_id": "integer",
        }
        return self.table("identities", ["record_id"], columns)

    def profiles(self, catalogue: Catalogue) -> LakeTable:
        """The merged profiles."""
        columns: dict[str, ColumnType] = {"profile_id": "integer"}
        for name, attribute in catalogue.attributes.items():
            columns[name] = attribute.type
            columns[provenance_column(name, attribute)] = provenance_type(attribute)
        columns["changed"] = "list"
        return self.table("profiles", ["profile_id"], columns)

    def unsubscribes(self) -> LakeTable:
        """Each profile's last act for each purpose: that it unsubscribed, or that it was restored.

        The profiles are those of the time, which may be no more.
        """
        return self.table(UNSUBSCRIBES, ["profile_id", "purpose"], UNSUBSCRIBES_COLUMNS)

    def audience(self, name: str) -> LakeTable:
        """The members of one audience, and those held."""
        return self.table(f"audiences/{name}", ["profile_id"], MEMBERS_COLUMNS)

    def entry(self, journey: str) -> LakeTable:
        """For whom a journey's `enter_when` holds; its columns are an audience's."""
        return self.table(f"journeys/{journey}", ["profile_id"], MEMBERS_COLUMNS)


def source_columns(
    sync: Sync, attributes: Mapping[str, Attribute], identifiers: Iterable[str] | None = None
) -> Columns:
    """The columns of a sync's records; `identifiers` in place of those that it declares."""
    own = list(sync.identifiers if identifiers is None else identifiers)
    return {
        "record_id": "integer",
        "record_key": "string",
        **_identifier_columns(own),
        **{further_column(name): "list" for name in sync.many if name in own},
        "updated_at": "timestamp",
        "deleted": "boolean",
        **{name: attributes[name].type for name in sync.attributes},
        **sync.order_columns,
        **({CHILDLESS: "boolean"} if sync.is_aggregating else {}),
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
