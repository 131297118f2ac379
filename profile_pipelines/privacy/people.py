"""All by which the lake knows some people: their records, profiles, identifiers and keys."""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.duckdb import Relation
from profile_pipelines.engine.sql import column, named
from profile_pipelines.engine.tables import profile_id_table
from profile_pipelines.identity.former import ids_of_customers
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.table import Rows
from profile_pipelines.landing.barred import record_kind
from profile_pipelines.landing.children import children_table


@dataclass(frozen=True)
class People:
    """`profiles` are theirs, `records` their records' numbers in the tables of `sources/`.

    `identifiers` are by type those that nobody else has, of any time; `keys` those of their
    records, by (system, sync). `mixed` has the profiles of others in which a record of theirs
    once was, and `until` when: what stood there before may be theirs.
    """

    profiles: list[int]
    records: pa.Table
    identifiers: Mapping[str, set[str]]
    shared: int
    """Identifiers that others have, too: they stay others'."""
    keys: Mapping[tuple[str, str], set[str]]
    mixed: pa.Table

    def marks(self) -> Iterator[tuple[str, str]]:
        """(kind, value) of all that they would come back by."""
        for name, values in self.identifiers.items():
            yield from ((name, value) for value in values)
        for (system, sync), keys in self.keys.items():
            yield from ((record_kind(system, sync), key) for key in keys)


def find_people(catalogue: Catalogue, lake: Lake, profile_ids: Iterable[int]) -> People:
    """All by which the lake knows the people of these profiles, now and in its history."""
    profiles = sorted(set(ids_of_customers(catalogue, lake, list(profile_ids))))
    names = [f"id_{name}" for name in catalogue.identifiers]
    identities = lake.identities(catalogue).pin()
    records = _records(lake, identities, profiles)
    sources = _sources(catalogue, lake)
    told = [identities.changes(["record_id", *names], "told")]
    keys: dict[tuple[str, str], set[str]] = {}
    for where, source in sources.items():
        own = [name for name in names if name in source.table.columns]
        told.append(source.changes(["record_id", *own], "told"))
        log = source.changes(["record_id", "record_key"], "told")
        keys[where] = _values(lake, log, records, ["record_key"])["record_key"]
    identifiers: dict[str, set[str]] = {name: set() for name in names}
    for log in told:
        own = [name for name in names if name in log.sql.named_selects]
        for name, values in _values(lake, log, records, own).items():
            identifiers[name] |= values
    others = _of_others(lake, identities, names, identifiers, records)
    mine = {name.removeprefix("id_"): identifiers[name] - others[name] for name in names}
    for where, children in _children(catalogue, lake).items():
        keys.setdefault(where, set()).update(_child_keys(lake, children, mine))
    return People(
        profiles,
        records,
        mine,
        sum(len(identifiers[name] & others[name]) for name in names),
        {where: found for where, found in keys.items() if found},
        _mixed(lake, identities, records, profiles),
    )


def _sources(catalogue: Catalogue, lake: Lake) -> dict[tuple[str, str], Pinned]:
    pinned = {
        (system, sync): lake.source(catalogue, system, sync).pin()
        for system, declared in catalogue.systems.items()
        for sync in declared.syncs
    }
    return {where: each for where, each in pinned.items() if each.exists}


def _children(catalogue: Catalogue, lake: Lake) -> dict[tuple[str, str], Pinned]:
    pinned = {
        (system, sync): children_table(catalogue, lake, system, sync).pin()
        for system, declared in catalogue.systems.items()
        for sync, each in declared.syncs.items()
        if each.is_aggregating
    }
    return {where: each for where, each in pinned.items() if each.exists}


def _records(lake: Lake, identities: Pinned, profiles: Sequence[int]) -> pa.Table:
    """The records that are, or were and are nobody else's, in the profiles: `record_id`."""
    wanted = {"wanted": profile_id_table(profiles)}
    log = identities.changes(["record_id", "profile_id", "previous_profile_id"], "ever")
    ever = [
        exp.select(column("record_id", "e"))
        .from_(log.sql.copy().subquery("e"))
        .where(_in(column(name, "e"), "wanted", "profile_id"))
        for name in ("profile_id", "previous_profile_id")
    ]
    here = identities.current(["record_id", "profile_id"], "here")
    elsewhere = (
        exp.select(column("record_id", "h"))
        .from_(here.sql.subquery("h"))
        .where(exp.not_(_in(column("profile_id", "h"), "wanted", "profile_id")))
    )
    select = (
        exp.select(column("record_id", "r"))
        .distinct()
        .from_(exp.union(*ever, distinct=True).subquery("r"))
        .join(
            elsewhere.subquery("o"),
            on=exp.EQ(this=column("record_id", "r"), expression=column("record_id", "o")),
            join_type="anti",
        )
    )
    return lake.engine.query(select, {**log.relations, **here.relations, **wanted})


def _values(lake: Lake, log: Rows, records: pa.Table, names: Sequence[str]) -> dict[str, set[str]]:
    """What the records' columns ever held."""
    if not names:
        return {}
    select = (
        exp.select(*(column(name, "l") for name in names))
        .distinct()
        .from_(log.sql.subquery("l"))
        .where(_in(column("record_id", "l"), "wanted", "record_id"))
    )
    found = lake.engine.query(select, {**log.relations, "wanted": records})
    return {name: set(found[name].drop_null().to_pylist()) for name in names}


def _of_others(
    lake: Lake,
    identities: Pinned,
    names: Sequence[str],
    identifiers: Mapping[str, set[str]],
    records: pa.Table,
) -> dict[str, set[str]]:
    """Which of the identifiers living records have that aren't these people's.

    Others are also those who are held apart, without a profile.
    """
    here = identities.current(["record_id", *names], "here")
    own = {"own": records}
    found: dict[str, set[str]] = {}
    for name in names:
        wanted = pa.table({name: pa.array(sorted(identifiers[name]), pa.string())})
        select = (
            exp.select(column(name, "h"))
            .distinct()
            .from_(here.sql.copy().subquery("h"))
            .where(
                exp.and_(
                    _in(column(name, "h"), "wanted", name),
                    exp.not_(_in(column("record_id", "h"), "own", "record_id")),
                )
            )
        )
        rows = lake.engine.query(select, {**here.relations, **own, "wanted": wanted})
        found[name] = set(rows[name].to_pylist())
    return found


def _child_keys(lake: Lake, children: Pinned, identifiers: Mapping[str, set[str]]) -> set[str]:
    names = [name for name in identifiers if f"id_{name}" in children.table.columns]
    log = children.changes(["record_key", *(f"id_{name}" for name in names)], "told")
    relations: dict[str, Relation] = dict(log.relations)
    tests: list[exp.Expr] = []
    for name in names:
        relations[f"wanted_{name}"] = identifier_table(identifiers[name])
        tests.append(_in(column(f"id_{name}", "l"), f"wanted_{name}", "value"))
    if not tests:
        return set()
    select = exp.select(column("record_key", "l")).distinct()
    select = select.from_(log.sql.subquery("l")).where(exp.or_(*tests))
    return set(lake.engine.query(select, relations)["record_key"].drop_null().to_pylist())


def _mixed(lake: Lake, identities: Pinned, records: pa.Table, profiles: Sequence[int]) -> pa.Table:
    """`profile_id` and `until`: other profiles that a record of theirs left, and when it did."""
    log = identities.changes(["record_id", "previous_profile_id"], "ever")
    select = (
        exp.select(
            exp.alias_(column("previous_profile_id", "e"), "profile_id", quoted=True),
            exp.alias_(exp.Max(this=column("recorded_at", "e")), "until", quoted=True),
        )
        .from_(log.sql.subquery("e"))
        .where(
            exp.and_(
                _in(column("record_id", "e"), "wanted", "record_id"),
                exp.not_(column("previous_profile_id", "e").is_(exp.null())),
                exp.not_(_in(column("previous_profile_id", "e"), "own", "profile_id")),
            )
        )
        .group_by(column("previous_profile_id", "e"))
    )
    own = profile_id_table(profiles)
    return lake.engine.query(select, {**log.relations, "wanted": records, "own": own})


def identifier_table(values: Iterable[str]) -> pa.Table:
    """`value`: identifiers for a query."""
    return pa.table({"value": pa.array(sorted(values), pa.string())})


def _in(value: exp.Expr, relation: str, name: str) -> exp.Expr:
    return exp.In(this=value, query=exp.select(column(name)).from_(named(relation)).subquery())
