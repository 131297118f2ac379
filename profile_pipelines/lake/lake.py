"""The lake: a folder of tables and the engine that reads and writes them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from profile_pipelines.catalog.models import Attribute, Catalogue
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.engine import DuckDBEngine
from profile_pipelines.lake.column_types import ARROW_TYPES
from profile_pipelines.lake.table import LakeTable
from profile_pipelines.lake_place import Place

QUARANTINE_TYPE = pa.list_(
    pa.struct([("attribute", pa.string()), ("reason", pa.string()), ("value", pa.string())])
)
COMBINING = frozenset({"most_restrictive", "min", "max"})
"""Merge rules in which every system that gives a value decides."""


UNSUBSCRIBES = "unsubscribes"
"""The built-in system whose values outrank all others: what customers unsubscribed from."""
UNSUBSCRIBES_SCHEMA = pa.schema(
    [
        ("profile_id", pa.int64()),
        ("purpose", pa.string()),
        ("number", pa.int64()),
        ("unsubscribed", pa.bool_()),
        ("acted_at", ARROW_TYPES["timestamp"]),
    ]
)

MEMBERS_SCHEMA = pa.schema(
    [("profile_id", pa.int64()), ("member", pa.bool_()), ("held", pa.bool_())]
)

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
        schema = source_schema(catalogue.systems[system].syncs[sync], catalogue.attributes)
        return LakeTable(self.root, f"sources/{system}/{sync}", ["record_id"], schema)

    def identities(self, catalogue: Catalogue) -> LakeTable:
        """Each record's identifiers and the profile that it belongs to."""
        return LakeTable(
            self.root,
            "identities",
            ["record_id"],
            pa.schema(
                [
                    ("record_id", pa.int64()),
                    *((f"id_{name}", pa.string()) for name in catalogue.identifiers),
                    ("profile_id", pa.int64()),
                    ("held_apart", pa.bool_()),
                    ("previous_profile_id", pa.int64()),
                ]
            ),
        )

    def profiles(self, catalogue: Catalogue) -> LakeTable:
        """The merged profiles."""
        fields: list[tuple[str, pa.DataType]] = [("profile_id", pa.int64())]
        for name, attribute in catalogue.attributes.items():
            fields.append((name, ARROW_TYPES[attribute.type]))
            fields.append((provenance_column(name, attribute), provenance_type(attribute)))
        fields.append(("changed", pa.list_(pa.string())))
        return LakeTable(self.root, "profiles", ["profile_id"], pa.schema(fields))

    def unsubscribes(self) -> LakeTable:
        """Each profile's last act for each purpose: that it unsubscribed, or that it was restored.

        The profiles are those of the time, which may be no more.
        """
        return LakeTable(self.root, UNSUBSCRIBES, ["profile_id", "purpose"], UNSUBSCRIBES_SCHEMA)

    def audience(self, name: str) -> LakeTable:
        """The members of one audience, and those held."""
        return LakeTable(self.root, f"audiences/{name}", ["profile_id"], MEMBERS_SCHEMA)

    def entry(self, journey: str) -> LakeTable:
        """For whom a journey's `enter_when` holds; its columns are an audience's."""
        return LakeTable(self.root, f"journeys/{journey}", ["profile_id"], MEMBERS_SCHEMA)


def source_schema(sync: Sync, attributes: Mapping[str, Attribute]) -> pa.Schema:
    """The columns of a sync's records."""
    return pa.schema(
        [
            ("record_id", pa.int64()),
            ("record_key", pa.string()),
            *((f"id_{identifier}", pa.string()) for identifier in sync.identifiers),
            ("updated_at", ARROW_TYPES["timestamp"]),
            ("deleted", pa.bool_()),
            *((name, ARROW_TYPES[attributes[name].type]) for name in sync.attributes),
            ("quarantine", QUARANTINE_TYPE),
        ]
    )


def provenance_column(name: str, attribute: Attribute) -> str:
    """The column that says where an attribute's value came from."""
    return f"{name}__sources" if attribute.merge in COMBINING else f"{name}__source"


def provenance_type(attribute: Attribute) -> pa.DataType:
    """A bit mask of the givers for combining rules, else the winner's code."""
    return pa.int64() if attribute.merge in COMBINING else pa.int8()
