"""Which of a customer's values of an identifier is used, such as one of two addresses.

That of the system that is trusted most (`sources` in identifiers.yaml), and within it that of
the newest record; of a record with several, its first. Messages, deliveries and
screens all ask here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue, Identifier
from profile_pipelines.engine.sql import column, literal, named
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.lake import FURTHER_OF, RECORD_BLOCK, record_block
from profile_pipelines.lake.table import Rows

_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class KnownValue:
    """One value of an identifier: the record that gives it, and when that was changed (UTC). Of
    several records with one value it is the one that counts most."""

    value: str
    system: str
    sync: str
    record: str | None
    record_updated_at: datetime | None


def known_values(
    catalogue: Catalogue,
    lake: Lake,
    records: Iterable[Mapping[str, Any]],
    *,
    as_of: datetime | None = None,
) -> dict[str, tuple[KnownValue, ...]]:
    """By identifier the values of one profile's identity rows, the one that is used first."""
    rows = list(records)
    ids = [int(row[FURTHER_OF] or row["record_id"]) for row in rows]
    places = {
        number: place
        for place in _places(catalogue)
        for number in ids
        if record_block(*place) <= number < record_block(*place) + RECORD_BLOCK
    }
    own = {
        place: [number for number, where in places.items() if where == place]
        for place in dict.fromkeys(places.values())
    }
    answers = lake.engine.side_by_side(
        partial(_records, lake, lake.source(catalogue, *place).pin(), numbers, as_of)
        for place, numbers in own.items()
    )
    times = {row["record_id"]: row for found in answers for row in found}
    known: dict[str, tuple[KnownValue, ...]] = {}
    for name, identifier in catalogue.identifiers.items():
        standing: list[tuple[tuple[Any, ...], KnownValue]] = []
        for row in rows:
            first = row[FURTHER_OF] is None
            number, value = row[FURTHER_OF] or row["record_id"], row[f"id_{name}"]
            if value is not None:
                # a system that isn't declared any more gave it once
                system, sync = places.get(number, ("", ""))
                record = times.get(number, {"record_key": None, "updated_at": None})
                at = record["updated_at"]
                order = (_trust(identifier, system), at or _LONG_AGO, number, first, value)
                given = KnownValue(str(value), system, sync, record["record_key"], at)
                standing.append((order, given))
        best: dict[str, KnownValue] = {}
        for _, given in sorted(standing, key=lambda each: each[0], reverse=True):
            best.setdefault(given.value, given)
        known[name] = tuple(best.values())
    return known


def used_values(catalogue: Catalogue, lake: Lake, names: Sequence[str], several: str) -> Rows:
    """`profile_id` and the value of each named identifier that is used, of the profiles in the
    relation `several`."""
    identities = lake.identities(catalogue).pin()
    columns = [f"id_{name}" for name in names]
    held = identities.current(["record_id", "profile_id", *columns], "several#i")
    relations = dict(held.relations)
    parts: list[exp.Query] = []
    for system, sync in _places(catalogue):
        pinned = lake.source(catalogue, system, sync).pin()
        given = set(catalogue.systems[system].syncs[sync].identifiers)
        if not pinned.exists or given.isdisjoint(names):
            continue
        rows = pinned.current(["record_id", "updated_at"], f"several#{system}/{sync}")
        relations |= rows.relations
        parts.append(
            exp.select(
                column("record_id", "r"),
                column("updated_at", "r"),
                *(
                    exp.alias_(
                        literal(_trust(catalogue.identifiers[name], system)), f"trust_{name}",
                        quoted=True,
                    )
                    for name in names
                ),
            ).from_(rows.sql.subquery("r"))
        )  # fmt: skip
    if not parts:
        return Rows(exp.select(column("profile_id")).from_(named(several)).where(exp.false()), {})
    records = parts[0]
    for part in parts[1:]:
        records = exp.union(records, part, distinct=False)

    def used(name: str) -> exp.Expr:
        order = {
            "trust": column(f"trust_{name}", "t"),
            "at": exp.func("COALESCE", column("updated_at", "t"), literal(_LONG_AGO)),
            "id": column("record_id", "h"),
            "value": column(f"id_{name}", "h"),
        }
        struct = exp.Struct(
            expressions=[
                exp.PropertyEQ(this=exp.to_identifier(key), expression=each)
                for key, each in order.items()
            ]
        )
        present = exp.not_(exp.Is(this=column(f"id_{name}", "h"), expression=exp.null()))
        best = exp.ArgMax(this=column(f"id_{name}", "h"), expression=struct)
        return exp.Filter(this=best, expression=exp.Where(this=present))

    select = (
        exp.select(
            column("profile_id", "h"),
            *(exp.alias_(used(name), name, quoted=True) for name in names),
        )
        .from_(held.sql.subquery("h"))
        .join(
            named(several, "s"),
            on=column("profile_id", "s").eq(column("profile_id", "h")),
            join_type="semi",
        )
        .join(
            records.subquery("t"),
            on=column("record_id", "t").eq(column("record_id", "h")),
        )
        .group_by(column("profile_id", "h"))
    )
    return Rows(select, relations)


def _places(catalogue: Catalogue) -> list[tuple[str, str]]:
    return [
        (system, sync) for system, declared in catalogue.systems.items() for sync in declared.syncs
    ]


def _records(
    lake: Lake, pinned: Pinned, numbers: Sequence[int], as_of: datetime | None
) -> list[dict[str, Any]]:
    if not pinned.exists:
        return []
    where = exp.In(this=column("record_id"), expressions=[literal(each) for each in numbers])
    columns = ["record_id", "record_key", "updated_at"]
    found = pinned.as_of(as_of, columns, "r", where=where)
    return lake.engine.rows(found.sql, found.relations)


def _trust(identifier: Identifier, system: str) -> int:
    """The greater, the more; 0 for a system that isn't named."""
    order = identifier.sources
    return len(order) - order.index(system) if system in order else 0
