"""The SELECT that merges the records of profiles: one row a profile, values with provenance.

Within one system the newest record that has a value gives it, or the one record that wins gives
all; what a rule combines, or what is aggregated of children, is combined from all records. The
chain of joins over one pre-joined row per system and profile is several times faster than a union
with a group-by.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
from sqlglot import exp

from profile_pipelines.catalog.aggregates import attribute_of
from profile_pipelines.catalog.models import COMBINING, Catalogue
from profile_pipelines.catalog.survivorship import winner_keys
from profile_pipelines.engine.duckdb import Relation
from profile_pipelines.engine.sql import column, literal, named, select_from
from profile_pipelines.lake import Pinned
from profile_pipelines.lake.lake import (
    RECORD_BLOCK,
    UNSUBSCRIBES,
    provenance_column,
    record_block,
)
from profile_pipelines.lake.table import Rows
from profile_pipelines.profiles.affected import Affected, Sources
from profile_pipelines.profiles.combined import combined_value
from profile_pipelines.profiles.one_record import WON, opened, winning_record
from profile_pipelines.profiles.rules import (
    LONG_AGO,
    Giver,
    merged_value,
    outranked,
    provenance,
    within_system,
)


def living_profiles(identities: Pinned, *, only_affected: bool) -> Rows:
    """`profile_id` of all profiles that have records, or of those in the relation `affected`."""
    everyone = _members(identities, "everyone", None, only_affected)
    select = exp.select(column("profile_id", "e")).distinct().from_(everyone.sql.subquery("e"))
    return Rows(select, everyone.relations)


def merged_profiles(
    catalogue: Catalogue,
    identities: Pinned,
    sources: Sources,
    codes: Mapping[str, int],
    affected: Affected | None,
    unsubscribed: pa.Table | None,
) -> Rows:
    """`profile_id` with values and provenance: of all profiles, or of what is affected.

    `unsubscribed` has `profile_id` and `purpose`; None: nobody ever did.
    """
    wanted = set(catalogue.attributes) if affected is None else affected.attributes
    relations: dict[str, Relation] = {}
    if affected is not None:
        relations["affected"] = affected.profiles
    living = living_profiles(identities, only_affected=affected is not None)
    relations |= living.relations
    present = {
        (system, sync): source
        for (system, sync), source in sources.items()
        if source.exists and not wanted.isdisjoint(catalogue.systems[system].syncs[sync].attributes)
    }
    picked: list[exp.Expr] = [column("profile_id", "p")]
    purposes: set[str] = set()
    for name, attribute in catalogue.attributes.items():
        if name not in wanted:
            continue
        givers = [
            Giver(_alias(system, sync), codes[system])
            for system in attribute.sources
            for (owner, sync) in present
            if owner == system and name in catalogue.systems[system].syncs[sync].attributes
        ]
        value = merged_value(name, attribute, givers)
        origin = provenance(name, attribute, givers)
        if unsubscribed is not None and attribute.consent is not None:
            over = Giver(_outranking(attribute.consent), codes[UNSUBSCRIBES])
            value, origin = outranked(attribute, value, origin, over)
            purposes.add(attribute.consent)
        picked.append(exp.alias_(value, name, quoted=True, copy=False))
        picked.append(
            exp.alias_(origin, provenance_column(name, attribute), quoted=True, copy=False)
        )
    query = exp.select(*picked, copy=False).from_(living.sql.subquery("p"), copy=False)
    for (system, sync), source in present.items():
        names = [n for n in catalogue.systems[system].syncs[sync].attributes if n in wanted]
        rows = _by_profile(catalogue, identities, system, sync, source, names, affected is not None)
        relations |= rows.relations
        alias = _alias(system, sync)
        query.join(
            rows.sql.subquery(alias, copy=False),
            on=exp.EQ(this=column("profile_id", alias), expression=column("profile_id", "p")),
            join_type="left",
            copy=False,
        )
    for purpose in sorted(purposes):
        alias = _outranking(purpose)
        relations[UNSUBSCRIBES] = unsubscribed
        theirs = select_from(UNSUBSCRIBES, ["profile_id"]).where(
            column("purpose").eq(literal(purpose))
        )
        query.join(
            theirs.subquery(exp.to_identifier(alias, quoted=True), copy=False),
            on=exp.EQ(this=column("profile_id", alias), expression=column("profile_id", "p")),
            join_type="left",
            copy=False,
        )
    return Rows(query, relations)


def _outranking(purpose: str) -> str:
    return f"{UNSUBSCRIBES}/{purpose}"


def _alias(system: str, sync: str) -> str:
    return f"{system}/{sync}"


def _members(identities: Pinned, alias: str, block: int | None, only_affected: bool) -> Rows:
    """`record_id` and `profile_id` of a sync's records, or of all."""
    where = None
    if block is not None:
        where = exp.Between(
            this=column("record_id"), low=literal(block), high=literal(block + RECORD_BLOCK - 1)
        )
    rows = identities.current(["record_id", "profile_id"], alias, where=where)
    select = rows.sql.where(
        exp.not_(exp.Is(this=column("profile_id", alias), expression=exp.null()))
    )
    if only_affected:
        wanted = exp.select(column("profile_id")).from_(named("affected"))
        select = select.where(exp.In(this=column("profile_id", alias), query=wanted.subquery()))
    return Rows(select, rows.relations)


def _by_profile(
    catalogue: Catalogue,
    identities: Pinned,
    system: str,
    sync: str,
    source: Pinned,
    names: list[str],
    only_affected: bool,
) -> Rows:
    """One row for each profile that the sync has records of: its newest values, or those that
    all of its records make together."""
    alias = _alias(system, sync)
    timed = {name for name in names if catalogue.attributes[name].merge == "latest"}
    declared = catalogue.systems[system].syncs[sync]
    combined = {name for name in names if declared.attributes[name].aggregate is not None}
    beside = [c for c in declared.order_columns if attribute_of(c) in combined]
    beside += ["quarantine"] if combined else []
    keys = winner_keys(declared, catalogue.attributes)
    # all of these are the winning record's
    whole = [
        name
        for name in names
        if keys is not None and catalogue.attributes[name].merge not in COMBINING
    ]
    beside += [key.column for key in keys or () if whole]
    members = _members(identities, f"{alias}#members", record_block(system, sync), only_affected)
    # The few that are affected are sought once; all of them cost less to read again than to keep.
    theirs = named(f"{alias}#m", "m") if only_affected else members.sql.subquery("m")
    columns = list(dict.fromkeys(["record_id", "updated_at", *names, *beside]))
    records = source.current(columns, f"{alias}#records")
    joined = (
        exp.select(
            column("profile_id", "m"),
            *(column(name, "r") for name in columns),
        )
        .from_(records.sql.subquery("r", copy=False), copy=False)
        .join(
            theirs.copy(),
            on=exp.EQ(this=column("record_id", "m"), expression=column("record_id", "r")),
            copy=False,
        )
    )
    repeated = (
        exp.select(column("profile_id"))
        .from_(theirs, copy=False)
        .group_by(column("profile_id"), copy=False)
        .having(exp.GT(this=exp.Count(this=exp.Star()), expression=literal(1)), copy=False)
    )
    is_repeated = exp.In(
        this=column("profile_id", "m"),
        query=exp.select(column("profile_id")).from_(named(f"{alias}#repeated")).subquery(),
    )
    same = exp.EQ(this=column("profile_id", "m"), expression=column("profile_id", "d"))
    singles = exp.select(
        column("profile_id", "s"),
        *(column(name, "s") for name in names),
        *(
            exp.alias_(column("updated_at", "s"), f"{name}__at", quoted=True)
            for name in names
            if name in timed
        ),
    ).from_(
        joined.copy()
        .join(named(f"{alias}#repeated", "d"), on=same, join_type="anti", copy=False)
        .subquery("s", copy=False),
        copy=False,
    )
    grouped = (
        exp.select(
            column("profile_id", "s"),
            *(
                exp.alias_(
                    combined_value(name, catalogue.attributes[name], declared, "s")
                    if name in combined
                    else within_system(name, catalogue.attributes[name], "s")
                    or _newest(name, column(name, "s")),
                    name,
                    quoted=True,
                )
                for name in names
                if name not in whole
            ),
            *(
                exp.alias_(_newest(name, column("updated_at", "s")), f"{name}__at", quoted=True)
                for name in names
                if name in timed and name not in whole
            ),
            *([exp.alias_(winning_record(whole, keys or (), "s"), WON)] if whole else ()),
        )
        .from_(joined.where(is_repeated, copy=False).subquery("s", copy=False), copy=False)
        .group_by(column("profile_id", "s"), copy=False)
    )
    newest = opened(grouped, names, timed, whole) if whole else grouped
    union = exp.union(singles, newest, distinct=False, copy=False)
    select = exp.select(exp.Star()).from_(union.subquery("one", copy=False), copy=False)
    shared = {f"{alias}#m": members.sql} if only_affected else {}
    for name, query in {**shared, f"{alias}#repeated": repeated}.items():
        select.with_(exp.to_identifier(name, quoted=True), as_=query, copy=False)
    return Rows(select, {**members.relations, **records.relations})


def _newest(name: str, what: exp.Expr) -> exp.Expr:
    """`what` of the newest record with a value; of equally new ones, of the last to be known."""
    order = exp.Struct(
        expressions=[
            exp.PropertyEQ(
                this=exp.to_identifier("at"),
                expression=exp.func("COALESCE", column("updated_at", "s"), literal(LONG_AGO)),
            ),
            exp.PropertyEQ(this=exp.to_identifier("id"), expression=column("record_id", "s")),
        ]
    )
    present = exp.not_(exp.Is(this=column(name, "s"), expression=exp.null()))
    return exp.Filter(
        this=exp.ArgMax(this=what, expression=order), expression=exp.Where(this=present)
    )
