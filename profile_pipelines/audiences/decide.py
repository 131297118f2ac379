"""Decides conditions for profiles at this moment, on the profiles as they are pinned."""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlglot import exp

from profile_pipelines.audiences.compile import (
    PROFILE_CHANGES,
    PROFILES,
    Context,
    audience_relation,
    compile_results,
)
from profile_pipelines.audiences.staleness import Coverage, stale_sources
from profile_pipelines.catalog.conditions import Condition, attributes_of, audiences_of
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.duckdb import Relation
from profile_pipelines.engine.sql import column, named
from profile_pipelines.lake import Lake
from profile_pipelines.lake.lake import provenance_column
from profile_pipelines.lake.table import Rows


def decided(
    catalogue: Catalogue,
    lake: Lake,
    coverage: Coverage,
    conditions: Mapping[str, Condition],
    *,
    now: datetime,
    columns: Sequence[str] = (),
) -> Rows:
    """A row for every profile: `profile_id`, the attributes in `columns`, and each condition's
    result under its name: true, false, or NULL where a stale value decides.

    The conditions are those that `check_condition` found no fault with.
    """
    profiles = lake.profiles(catalogue).pin()
    context = Context(
        now=now,
        timezone=ZoneInfo(catalogue.settings.timezone),
        attributes=catalogue.attributes,
        stale=stale_sources(catalogue, coverage, profiles.state.get("systems", {}), now),
    )
    results, joins = compile_results(conditions, context)
    used = sorted({name for each in conditions.values() for name in attributes_of(each)})
    needed = ["profile_id", *sorted({*used, *columns})]
    needed += [provenance_column(name, catalogue.attributes[name]) for name in used]
    tables = {PROFILES: profiles.current(needed, "p")}
    if any(join.alias.startswith("changed__") for join in joins):
        tables[PROFILE_CHANGES] = profiles.changes(["profile_id", "changed"], "c")
    for name in sorted({name for each in conditions.values() for name in audiences_of(each)}):
        state = lake.audience(name).pin().current(["profile_id", "member", "held"], f"a_{name}")
        tables[audience_relation(name)] = state
    select = exp.select(
        *(column(name, PROFILES) for name in ("profile_id", *columns)),
        *(exp.alias_(result, name, quoted=True) for name, result in results.items()),
    ).from_(named(PROFILES, PROFILES))
    for join in joins:
        on = column("profile_id", PROFILES).eq(column("profile_id", join.alias))
        select = select.join(join.relation.copy(), on=on, join_type="left")
    relations: dict[str, Relation] = {}
    for name, table in tables.items():
        select = select.with_(exp.to_identifier(name, quoted=True), as_=table.sql, copy=False)
        relations |= table.relations
    return Rows(select, relations)
