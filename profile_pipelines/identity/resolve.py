"""Keeps the identities table up to date with the records of all syncs.

Only what the changed records touch is clustered anew: their profiles, and all that shares one
of their identifiers. The result is the same as clustering everything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlglot import exp

from profile_pipelines.catalog.mapped_fields import FURTHER
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.sql import named
from profile_pipelines.errors import LakeError
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.lake import RECORDS, record_block
from profile_pipelines.lake.table import Rows


@dataclass(frozen=True)
class IdentitiesResult:
    """What a resolution did."""

    records: int
    profiles: int
    changed: int
    held_apart: int
    """How many records fit several customers, or belong to a cluster that is too large."""
    shared: Mapping[str, int]
    """By identifier how many of its values join nobody, since they fit several customers."""


def resolve(catalogue: Catalogue, lake: Lake, *, now: datetime, run_id: str) -> IdentitiesResult:
    """Bring identities up to date.

    Raises Conflict when another run was faster, LakeError when two syncs can't stand together.
    """
    sources = {
        f"{system}/{sync}": lake.landed(catalogue, system, sync)
        for system, declared in catalogue.systems.items()
        for sync in declared.syncs
    }
    by = {name: _identifiers(source) for name, source in sources.items()}
    # records are told apart by what they were read with, until they are read anew
    former = sorted({each for own in by.values() for each in own} - set(catalogue.identifiers))
    pinned = lake.identities(catalogue, former).pin()
    names = [f"id_{name}" for name in (*catalogue.identifiers, *former)]
    inputs = {name: source.seq for name, source in sources.items()}
    lists = {name: _lists(source) for name, source in sources.items()}
    fingerprint = _fingerprint(catalogue, by, {name: each for name, each in lists.items() if each})
    state = {
        "inputs": inputs,
        "fingerprint": fingerprint,
        "next_profile_id": pinned.state.get("next_profile_id", 1),
        "totals": pinned.state.get("totals", [0, 0, 0]),
        "next_further": pinned.state.get("next_further", -1),
        "shared": pinned.state.get("shared", [0] * len(names)),
        "mappings": {
            name: source.state.get(RECORDS, {}).get("mapping") for name, source in sources.items()
        },
    }
    if {**pinned.state, "seq": 0} == {**state, "seq": 0}:
        return _result(catalogue, state, 0)
    # Polars and NumPy are loaded only where something has changed.
    from profile_pipelines.identity.affected import affected_records, all_records
    from profile_pipelines.identity.clusters import Limits
    from profile_pipelines.identity.recluster import recluster

    anew = pinned.state.get("fingerprint") != fingerprint
    if not anew:
        affected = affected_records(lake, pinned, sources, names, state["next_further"])
    else:
        _refuse_shared_numbers(list(sources))
        affected = all_records(lake, pinned, sources, names, state["next_further"])
    rows, changed = None, 0
    if affected is not None:
        before = pinned.state.get("mappings", {})
        found = recluster(
            lake,
            pinned,
            affected,
            names,
            Limits.of(catalogue, len(former)),
            state["next_profile_id"],
            remapped=[
                record_block(*name.split("/"))
                for name, mapping in state["mappings"].items()
                if before.get(name, mapping) != mapping
            ],
        )
        changed = len(found.changes)
        state["next_profile_id"] = found.next_profile_id
        state["next_further"] = affected.next_further
        state["totals"] = [
            total + more for total, more in zip(state["totals"], found.gained, strict=True)
        ]
        others = (
            [0] * len(names)
            if anew
            else [
                total - old for total, old in zip(state["shared"], found.shared_before, strict=True)
            ]
        )
        state["shared"] = [n + new for n, new in zip(others, found.shared, strict=True)]
        if changed:
            select = exp.select(exp.Star()).from_(named("changes"))
            rows = Rows(select, {"changes": found.changes.to_arrow()})
    pinned.commit(lake.engine, rows, now=now, run_id=run_id, state=state)
    return _result(catalogue, state, changed)


def _result(catalogue: Catalogue, state: Mapping[str, Any], changed: int) -> IdentitiesResult:
    records, profiles, held = state["totals"]
    shared = dict(zip(catalogue.identifiers, state["shared"], strict=False))
    return IdentitiesResult(records, profiles, changed, held, shared)


def _refuse_shared_numbers(names: list[str]) -> None:
    """One chance in millions, but then two customers' records would be taken for one."""
    given: dict[int, str] = {}
    for name in names:
        system, sync = name.split("/")
        other = given.setdefault(record_block(system, sync), name)
        if other != name:
            raise LakeError(f"{other} and {name} would number their records alike; rename one sync")


def _identifiers(source: Pinned) -> list[str]:
    return [name.removeprefix("id_") for name in source.table.columns if name.startswith("id_")]


def _lists(source: Pinned) -> list[str]:
    """The columns of identifiers' further values."""
    return sorted(name for name in source.table.columns if name.endswith(FURTHER))


def _fingerprint(
    catalogue: Catalogue, by: Mapping[str, list[str]], lists: Mapping[str, list[str]]
) -> str:
    parts: list[Any] = [
        list(catalogue.identifiers),
        catalogue.settings.max_cluster,
        catalogue.values_per_profile,
        {name: each.profiles for name, each in catalogue.identifiers.items()},
        sorted([name, *sorted(own)] for name, own in by.items()),
    ]
    if lists:
        parts.append(lists)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
