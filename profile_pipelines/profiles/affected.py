"""Which profiles, and which of their attributes, a change touches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pyarrow as pa
from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.duckdb import Relation
from profile_pipelines.engine.sql import column, named, select_from
from profile_pipelines.engine.tables import profile_id_table
from profile_pipelines.identity.former import former_profiles
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.lake import UNSUBSCRIBES

Sources = Mapping[tuple[str, str], Pinned]
"""The records of every sync, by (system, sync)."""


class Affected(NamedTuple):
    """What has to be merged anew."""

    profiles: pa.Table
    """The profiles, as `profile_id`."""
    attributes: set[str]
    """The attributes that may be others than before in any of them."""
    moved: bool
    """Whether records moved between profiles, so that some may be new or gone."""


def affected_profiles(
    catalogue: Catalogue,
    lake: Lake,
    inputs: Mapping[str, int],
    identities: Pinned,
    sources: Sources,
    unsubscribes: Pinned,
) -> Affected:
    """What anything since the given commits may have changed.

    Where only values changed and no record moved, that is the attributes of the changed syncs.
    """
    attributes: set[str] = set()
    moved = False
    parts: list[exp.Query] = []
    relations: dict[str, Relation] = {}
    since = inputs["identities"]
    if identities.seq > since:
        log = identities.changes(["profile_id", "previous_profile_id"], "moved", since=since)
        relations |= log.relations
        moved = bool(lake.engine.rows(log.sql.copy().limit(1), log.relations))
        for name in ("profile_id", "previous_profile_id"):
            parts.append(
                exp.select(exp.alias_(column(name, "l"), "profile_id", quoted=True)).from_(
                    log.sql.copy().subquery("l")
                )
            )
    members = identities.current(["record_id", "profile_id"], "members")
    for (system, sync), source in sources.items():
        since = inputs.get(f"{system}/{sync}", 0)
        if source.seq <= since:
            continue
        attributes |= set(catalogue.systems[system].syncs[sync].attributes)
        log = source.changes(["record_id"], f"{system}/{sync}#touched", since=since)
        relations |= log.relations | members.relations
        touched = exp.select(column("record_id", "l")).from_(log.sql.subquery("l"))
        parts.append(
            exp.select(column("profile_id", "m"))
            .from_(members.sql.copy().subquery("m"))
            .where(exp.In(this=column("record_id", "m"), query=touched.subquery()))
        )
    since = inputs.get(UNSUBSCRIBES, 0)
    if unsubscribes.seq > since:
        log = unsubscribes.changes(["profile_id", "purpose"], "acted", since=since)
        acted = lake.engine.query(log.sql, log.relations)
        purposes = set(acted["purpose"].to_pylist())
        attributes |= {n for n, each in catalogue.attributes.items() if each.consent in purposes}
        relations |= {"acted": acted, "former": former_profiles(catalogue, lake, identities)}
        parts += [
            select_from("acted", ["profile_id"]),
            exp.select(column("profile_id", "f"))
            .from_(named("former", "f"))
            .join(
                named("acted", "a"),
                on=exp.EQ(this=column("profile_id", "a"), expression=column("former_id", "f")),
                join_type="semi",
            ),
        ]
    if not parts:
        return Affected(profile_id_table([]), set(), False)
    union = parts[0]
    for part in parts[1:]:
        union = exp.union(union, part, distinct=False)
    select = (
        exp.select(column("profile_id", "a"))
        .distinct()
        .from_(union.subquery("a"))
        .where(exp.not_(exp.Is(this=column("profile_id", "a"), expression=exp.null())))
    )
    profiles = lake.engine.query(select, relations)
    return Affected(profiles, set(catalogue.attributes) if moved else attributes, moved)
