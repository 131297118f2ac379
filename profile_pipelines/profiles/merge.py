"""Keeps the profiles table up to date: only the profiles that changes touch are merged anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlglot import exp

from profile_pipelines.catalog.models import COMBINING, Catalogue
from profile_pipelines.catalog.survivorship import winner_keys
from profile_pipelines.engine.sql import column
from profile_pipelines.errors import LakeError
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.lake import UNSUBSCRIBES
from profile_pipelines.lake.table import Rows
from profile_pipelines.profiles.affected import Affected, affected_profiles
from profile_pipelines.profiles.difference import changed_profiles
from profile_pipelines.profiles.merged import merged_profiles
from profile_pipelines.profiles.past_rules import RULES, kept_rules
from profile_pipelines.profiles.unsubscribed import unsubscribed_profiles

_MOST_SYSTEMS = 62


@dataclass(frozen=True)
class ProfilesResult:
    """What a merge did."""

    profiles: int
    created: int
    changed: int
    removed: int

    @property
    def wrote(self) -> bool:
        """Whether any profile is another than before."""
        return bool(self.created or self.changed or self.removed)


def merge(catalogue: Catalogue, lake: Lake, *, now: datetime, run_id: str) -> ProfilesResult:
    """Bring profiles up to date with identities and records. Raises Conflict when another run
    was faster."""
    pinned = lake.profiles(catalogue).pin()
    identities = lake.identities(catalogue).pin()
    sources = {
        (system, sync): lake.source(catalogue, system, sync).pin()
        for system, declared in catalogue.systems.items()
        for sync in declared.syncs
    }
    inputs = {"identities": identities.seq} | {
        f"{system}/{sync}": source.seq for (system, sync), source in sources.items()
    }
    givers = list(catalogue.systems)
    unsubscribes = lake.unsubscribes().pin()
    if unsubscribes.exists:
        inputs[UNSUBSCRIBES] = unsubscribes.seq
        givers.append(UNSUBSCRIBES)
    state: dict[str, Any] = {
        "inputs": inputs,
        "fingerprint": _fingerprint(catalogue),
        "systems": system_codes(pinned.state.get("systems", {}), givers),
        RULES: kept_rules(pinned.state.get(RULES, {}), catalogue, now),
    }
    if {**pinned.state, "seq": 0} == {**state, "seq": 0} or not identities.exists:
        return _result(lake, identities, None)
    affected = None
    if pinned.exists and pinned.state.get("fingerprint") == state["fingerprint"]:
        affected = affected_profiles(
            catalogue, lake, pinned.state["inputs"], identities, sources, unsubscribes
        )
    if affected is not None and affected.profiles.num_rows == 0:
        rows = None
    else:
        unsubscribed = None
        if unsubscribes.exists and _any_consent(catalogue, affected):
            unsubscribed = unsubscribed_profiles(catalogue, lake, identities, unsubscribes)
        merged = merged_profiles(
            catalogue, identities, sources, state["systems"], affected, unsubscribed
        )
        rows = changed_profiles(catalogue, pinned, identities, merged, affected)
    committed = pinned.commit(lake.engine, rows, now=now, run_id=run_id, state=state)
    return _result(lake, identities, committed)


def _any_consent(catalogue: Catalogue, affected: Affected | None) -> bool:
    names = catalogue.attributes if affected is None else affected.attributes
    return any(catalogue.attributes[name].consent for name in names)


def _result(lake: Lake, identities: Pinned, committed: Rows | None) -> ProfilesResult:
    total = identities.state["totals"][1] if identities.exists else 0
    if committed is None:
        return ProfilesResult(total, 0, 0, 0)
    removed = column("removed", "c")
    created = exp.and_(
        exp.not_(removed), exp.Is(this=column("changed", "c"), expression=exp.null())
    )
    counts = exp.select(
        exp.alias_(exp.Count(this=exp.Star()), "n"),
        exp.alias_(exp.CountIf(this=removed.copy()), "removed"),
        exp.alias_(exp.CountIf(this=created), "created"),
    ).from_(committed.sql.subquery("c"))
    found = lake.engine.rows(counts, committed.relations)[0]
    created_count, removed_count = int(found["created"]), int(found["removed"])
    return ProfilesResult(
        total, created_count, found["n"] - created_count - removed_count, removed_count
    )


def system_codes(known: Mapping[str, int], systems: Sequence[str]) -> dict[str, int]:
    """A code for every system; one that was given once is never given to another system.

    Raises LakeError when more than 62 systems have ever been declared: a bit mask holds no more.
    """
    codes = dict(known)
    for system in systems:
        if system not in codes:
            codes[system] = max(codes.values(), default=0) + 1
    if max(codes.values(), default=0) > _MOST_SYSTEMS:
        raise LakeError(f"one lake holds at most {_MOST_SYSTEMS} systems")
    return codes


def _fingerprint(catalogue: Catalogue) -> str:
    """Changes when all profiles have to be merged anew."""
    parts = [
        [name, attribute.type, attribute.sources, attribute.merge, attribute.consent]
        for name, attribute in catalogue.attributes.items()
    ]
    mappings = [
        [system, sync, sorted(declared.attributes)]
        for system, s in catalogue.systems.items()
        for sync, declared in s.syncs.items()
    ]
    aggregates = [
        [system, sync, name, each.aggregate.model_dump(mode="json"), valid.model_dump(mode="json")]
        for system, s in catalogue.systems.items()
        for sync, declared in s.syncs.items()
        for name, each in declared.attributes.items()
        if each.aggregate is not None
        for valid in [catalogue.attributes[name].valid]
    ]
    whole: list[Any] = [parts, mappings, *([aggregates] if aggregates else [])]
    records = [
        [system, sync, keys]
        for system, s in catalogue.systems.items()
        for sync, declared in s.syncs.items()
        if (keys := winner_keys(declared, catalogue.attributes)) is not None
    ]
    if records:
        whole.append(["of one record", records])
    if any(attribute.merge in COMBINING for attribute in catalogue.attributes.values()):
        # profiles of before looked at the newest record of each system
        whole.append(["combined from all records"])
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:16]
