"""Keeps the identities table up to date with the records of all syncs.

Only what the changed records touch is clustered anew: their profiles, and all that shares one
of their identifiers. The result is the same as clustering everything.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.sql import named
from profile_pipelines.errors import LakeError
from profile_pipelines.lake import Lake
from profile_pipelines.lake.lake import record_block
from profile_pipelines.lake.table import Rows


@dataclass(frozen=True)
class IdentitiesResult:
    """What a resolution did. `held_apart` counts the records of clusters above the cap."""

    records: int
    profiles: int
    changed: int
    held_apart: int


def resolve(catalogue: Catalogue, lake: Lake, *, now: datetime, run_id: str) -> IdentitiesResult:
    """Bring identities up to date.

    Raises Conflict when another run was faster, LakeError when two syncs can't stand together.
    """
    pinned = lake.identities(catalogue).pin()
    names = [f"id_{name}" for name in catalogue.identifiers]
    sources = {
        f"{system}/{sync}": lake.source(catalogue, system, sync).pin()
        for system, declared in catalogue.systems.items()
        for sync in declared.syncs
    }
    inputs = {name: source.seq for name, source in sources.items()}
    fingerprint = _fingerprint(catalogue)
    state = {
        "inputs": inputs,
        "fingerprint": fingerprint,
        "next_profile_id": pinned.state.get("next_profile_id", 1),
        "totals": pinned.state.get("totals", [0, 0, 0]),
    }
    if {**pinned.state, "seq": 0} == {**state, "seq": 0}:
        return IdentitiesResult(state["totals"][0], state["totals"][1], 0, state["totals"][2])
    # Polars and NumPy are loaded only where something has changed.
    from profile_pipelines.identity.affected import affected_records, all_records
    from profile_pipelines.identity.recluster import recluster

    if pinned.state.get("fingerprint") == fingerprint:
        affected = affected_records(lake, pinned, sources, names)
    else:
        _refuse_shared_numbers(list(sources))
        affected = all_records(lake, pinned, sources, names)
    rows, changed = None, 0
    if affected is not None:
        found = recluster(
            lake, pinned, affected, names, catalogue.settings.max_cluster, state["next_profile_id"]
        )
        changed = len(found.changes)
        state["next_profile_id"] = found.next_profile_id
        state["totals"] = [
            total + more for total, more in zip(state["totals"], found.gained, strict=True)
        ]
        if changed:
            select = exp.select(exp.Star()).from_(named("changes"))
            rows = Rows(select, {"changes": found.changes.to_arrow()})
    pinned.commit(lake.engine, rows, now=now, run_id=run_id, state=state)
    records, profiles, held = state["totals"]
    return IdentitiesResult(records, profiles, changed, held)


def _refuse_shared_numbers(names: list[str]) -> None:
    """One chance in millions, but then two customers' records would be taken for one."""
    given: dict[int, str] = {}
    for name in names:
        system, sync = name.split("/")
        other = given.setdefault(record_block(system, sync), name)
        if other != name:
            raise LakeError(f"{other} and {name} would number their records alike; rename one sync")


def _fingerprint(catalogue: Catalogue) -> str:
    parts = [
        list(catalogue.identifiers),
        catalogue.settings.max_cluster,
        sorted(
            [f"{system}/{sync}", *sorted(each.identifiers)]
            for system, declared in catalogue.systems.items()
            for sync, each in declared.syncs.items()
        ),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
