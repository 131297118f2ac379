"""All by which the lake knows some people: their records, profiles, identifiers and keys."""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from sqlglot import exp

from profile_pipelines.catalog.mapped_fields import further_column
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.duckdb import Relation
from profile_pipelines.engine.sql import column, named
from profile_pipelines.engine.tables import profile_id_table
from profile_pipelines.identity.former import gone_up, ids_of_customers, pairs_of
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
    owners: Mapping[tuple[str, str], set[int]]
    """By (kind, value) of an identifier or a record's key: whose it is, as profiles."""

    def marks(self) -> Iterator[tuple[str, str, int]]:
        """(kind, value, profile) of all that they would come back by."""
        for name, values in self.identifiers.items():
            yield from self._owned(name, values)
        for (system, sync), keys in self.keys.items():
            yield from self._owned(record_kind(system, sync), keys)

    def _owned(self, kind: str, values: Iterable[str]) -> Iterator[tuple[str, str, int]]:
        for value in values:
            yield from ((kind, value, person) for person in self.owners[kind, value])


def find_people(catalogue: Catalogue, lake: Lake, profile_ids: Iterable[int]) -> People:
    """All by which the lake knows the people of these profiles, now and in its history."""
    profiles = sorted(set(ids_of_customers(catalogue, lake, list(profile_ids))))
    names = [f"id_{name}" for name in catalogue.identifiers]
    identities = lake.identities(catalogue).pin()
    records = _records(lake, identities, profiles)
    persons = _persons(catalogue, lake, identities, records, profiles)
    owners: dict[tuple[str, str], set[int]] = defaultdict(set)
    sources = _sources(catalogue, lake)
    told = [identities.changes(["record_id", *names], "told")]
    keys: dict[tuple[str, str], set[str]] = {}
    for where, source in sources.items():
        own = [name for name in names if name in source.table.columns]
        told.append(source.changes(["record_id", *own], "told"))
        log = source.changes(["record_id", "record_key"], "told")
        found = _values(lake, log, persons, ["record_key"])["record_key"]
        _own(owners, record_kind(*where), found)
        keys[where] = set(found)
    identifiers: dict[str, set[str]] = {name: set() for name in names}
    for log in told:
        own = [name for name in names if name in log.sql.named_selects]
        for name, values in _values(lake, log, persons, own).items():
            _own(owners, name.removeprefix("id_"), values)
            identifiers[name] |= values.keys()
    for source in sources.values():
        lists = {further_column(name): name for name in catalogue.identifiers}
        own = [name for name in lists if name in source.table.columns]
        log = source.changes(["record_id", *own], "told")
        for name in own:
            values = _entries(lake, log, persons, name)
            _own(owners, lists[name], values)
            identifiers[f"id_{lists[name]}"] |= values.keys()
    others = _of_others(lake, identities, names, identifiers, records)
    mine = {name.removeprefix("id_"): identifiers[name] - others[name] for name in names}
    for where, children in _children(catalogue, lake).items():
        found = _child_keys(lake, children, mine, owners)
        _own(owners, record_kind(*where), found)
        keys.setdefault(where, set()).update(found)
    return People(
        profiles,
        records,
        mine,
        sum(len(identifiers[name] & others[name]) for name in names),
        {where: found for where, found in keys.items() if found},
        _mixed(lake, identities, records, profiles),
        owners,
    )


def _own(
    owners: dict[tuple[str, str], set[int]], kind: str, values: Mapping[str, set[int]]
) -> None:
    for value, persons in values.items():
        owners[kind, value] |= persons


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


def _persons(
    catalogue: Catalogue,
    lake: Lake,
    identities: Pinned,
    records: pa.Table,
    profiles: Sequence[int],
) -> pa.Table:
    """`record_id` and `person`: whose each record is, by the last of these profiles it was in."""
    log = identities.changes(["record_id", "profile_id", "previous_profile_id"], "ever")
    ever = [
        exp.select(column("record_id", "e"), exp.alias_(column(name, "e"), "person", quoted=True))
        .from_(log.sql.copy().subquery("e"))
        .where(_in(column(name, "e"), "own", "profile_id"))
        for name in ("profile_id", "previous_profile_id")
    ]
    last = exp.alias_(exp.Max(this=column("person", "r")), "person", quoted=True)
    select = (
        exp.select(column("record_id", "r"), last)
        .from_(exp.union(*ever, distinct=True).subquery("r"))
        .where(_in(column("record_id", "r"), "wanted", "record_id"))
        .group_by(column("record_id", "r"))
    )
    own = profile_id_table(profiles)
    found = lake.engine.query(select, {**log.relations, "wanted": records, "own": own})
    today = dict(pairs_of(gone_up(catalogue, lake)))
    persons = [today.get(each, each) for each in found["person"].to_pylist()]
    return pa.table({"record_id": found["record_id"], "person": pa.array(persons, pa.int64())})


def _values(
    lake: Lake, log: Rows, persons: pa.Table, names: Sequence[str]
) -> dict[str, dict[str, set[int]]]:
    """What the records' columns ever held, and whose that was."""
    if not names:
        return {}
    select = (
        exp.select(*(column(name, "l") for name in names), column("person", "p"))
        .distinct()
        .from_(log.sql.subquery("l"))
        .join(
            named("persons", "p"),
            on=exp.EQ(this=column("record_id", "l"), expression=column("record_id", "p")),
        )
    )
    found = lake.engine.query(select, {**log.relations, "persons": persons})
    whose: list[int] = found["person"].to_pylist()
    values: dict[str, dict[str, set[int]]] = {}
    for name in names:
        own = values[name] = defaultdict(set)
        for value, person in zip(found[name].to_pylist(), whose, strict=True):
            if value is not None:
                own[value].add(person)
    return values


def _entries(lake: Lake, log: Rows, persons: pa.Table, name: str) -> dict[str, set[int]]:
    """What the records' lists in a column ever held, with the persons whose they were."""
    value = exp.alias_(exp.Explode(this=column(name, "l")), "value", quoted=True)
    select = (
        exp.select(value, column("person", "p"))
        .from_(log.sql.subquery("l"))
        .join(
            named("persons", "p"),
            on=exp.EQ(this=column("record_id", "l"), expression=column("record_id", "p")),
        )
    )
    found = lake.engine.query(select, {**log.relations, "persons": persons})
    values: dict[str, set[int]] = defaultdict(set)
    for each, person in zip(found["value"].to_pylist(), found["person"].to_pylist(), strict=True):
        values[each].add(person)
    return values


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


def _child_keys(
    lake: Lake,
    children: Pinned,
    identifiers: Mapping[str, set[str]],
    owners: Mapping[tuple[str, str], set[int]],
) -> dict[str, set[int]]:
    """The keys of child records that bear any of the identifiers, and whose they are."""
    names = [name for name in identifiers if f"id_{name}" in children.table.columns]
    log = children.changes(["record_key", *(f"id_{name}" for name in names)], "told")
    relations: dict[str, Relation] = dict(log.relations)
    tests: list[exp.Expr] = []
    for name in names:
        relations[f"wanted_{name}"] = identifier_table(identifiers[name])
        tests.append(_in(column(f"id_{name}", "l"), f"wanted_{name}", "value"))
    if not tests:
        return {}
    told = [column("record_key", "l"), *(column(f"id_{name}", "l") for name in names)]
    select = exp.select(*told).distinct().from_(log.sql.subquery("l")).where(exp.or_(*tests))
    found: dict[str, set[int]] = defaultdict(set)
    for row in lake.engine.rows(select, relations):
        for name in names:
            value = row[f"id_{name}"]
            if row["record_key"] is not None and value in identifiers[name]:
                found[row["record_key"]] |= owners[name, value]
    return found


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
