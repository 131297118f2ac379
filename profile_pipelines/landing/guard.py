"""Would a sync take away, replace or delete more than may be? See docs/adr/0007.

The question is asked of what was written for the commit, before it is committed. What can't
exceed any limit by its sheer number of rows isn't counted: each commit's state keeps a number of
values that are known at least, by attribute, which the engine's own statistics of the written
file keep up to date.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from profile_pipelines.catalog.models import Attribute
from profile_pipelines.engine import Written
from profile_pipelines.engine.sql import column, differs, literal, named
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.table import rows_of
from profile_pipelines.ledger import WHOLE_SYNC, Excess, SetAside

NEVER_HELD = 10
"""So few values or records of one sync never trip the guard, whatever their share."""

OTHERS = "by their changed identifiers they would be new customers with new profile ids"


@dataclass(frozen=True)
class Known:
    """What the table holds before a sync: records with and without the deleted, and the greatest
    number given to one."""

    records: int = 0
    living: int = 0
    last_id: int = 0


@dataclass(frozen=True)
class Losses:
    """What a commit would do to living records and their values, by attribute."""

    deleted: int = 0
    of_others: bool = False
    """The deleted are customers whom no record reaches any more, since its identifiers are read
    otherwise."""
    values: Mapping[str, int] = field(default_factory=dict[str, int])
    emptied: Mapping[str, int] = field(default_factory=dict[str, int])
    changed: Mapping[str, int] = field(default_factory=dict[str, int])


class Guard:
    """The limits of one sync, with what has been approved on top of them."""

    def __init__(
        self, attributes: Mapping[str, Attribute], max_deleted: float, waiting: Iterable[SetAside]
    ) -> None:
        self._attributes = attributes
        self._max_deleted = max_deleted
        self._approved: dict[tuple[str, str], int] = {}
        for each in waiting:
            if each.approved_at is not None:
                at = each.attribute, each.excess.kind
                self._approved[at] = max(each.excess.count, self._approved.get(at, 0))

    def approves(self, attribute: str, kind: str) -> bool:
        """Whether a set-aside of this kind was approved and not yet used."""
        return (attribute, kind) in self._approved

    def invalid(self, attribute: str, count: int, records: int) -> list[Excess]:
        """The excess of invalid values over `max_invalid` of the sync's records, if any."""
        limit = self._attributes[attribute].max_invalid
        allowed = limit * records + self._approved.get((attribute, "invalid"), 0)
        return [Excess("invalid", count, records, limit)] if count > allowed else []

    def vanished(self, known: Known) -> list[Excess]:
        """The excess when a source that had records comes back with none at all."""
        if not known.living or known.living <= self._approved.get((WHOLE_SYNC, "deleted"), 0):
            return []
        said = "the source came back empty"
        return [Excess("deleted", known.living, known.living, self._max_deleted, said)]

    def may_exceed(
        self, written: Written, brought: Sequence[str], known: Known, at_least: Mapping[str, int]
    ) -> bool:
        """Whether so many rows could exceed a limit; False without any counting, most often."""
        if not known.living or written.rows <= NEVER_HELD:
            return False
        return written.rows > self._max_deleted * known.living or any(
            written.rows > min(each.max_emptied, each.max_changed) * at_least.get(name, 0)
            for name in brought
            for each in [self._attributes[name]]
        )

    def excesses(
        self, losses: Losses, brought: Sequence[str], known: Known
    ) -> dict[str, list[Excess]]:
        """By attribute what is more than may be; under WHOLE_SYNC what concerns all of it."""
        found: dict[str, list[Excess]] = {}

        def weigh(attribute: str, excess: Excess) -> None:
            approved = self._approved.get((attribute, excess.kind), 0)
            allowed = max(NEVER_HELD, excess.limit * excess.out_of + approved)
            if excess.count > allowed:
                found.setdefault(attribute, []).append(excess)

        said = OTHERS if losses.of_others else ""
        deleted = Excess("deleted", losses.deleted, known.living, self._max_deleted, said)
        weigh(WHOLE_SYNC, deleted)
        for name in brought:
            limits, values = self._attributes[name], losses.values[name]
            weigh(name, Excess("emptied", losses.emptied[name], values, limits.max_emptied))
            weigh(name, Excess("changed", losses.changed[name], values, limits.max_changed))
        return found


def count_losses(
    lake: Lake,
    pinned: Pinned,
    written: Written,
    brought: Sequence[str],
    sets: Collection[str],
    *,
    identifiers: Sequence[str],
    moved: bool = False,
) -> Losses:
    """What the written rows would do to the records as they stand.

    A list that loses all of its entries counts as emptied, as a value that goes does. A record that
    is left without any of the `identifiers` counts as deleted: it is nobody's. With
    `moved` the records were read by other identifiers before. `sets` names the attributes whose
    lists are sets.
    """
    known = pinned.current(["record_id", "deleted", *identifiers, *brought], "k")
    after = rows_of(written)
    alive = exp.not_(column("deleted", "k"))
    touched = exp.not_(exp.Is(this=column("record_id", "c"), expression=exp.null()))
    kept = exp.and_(touched.copy(), exp.not_(column("deleted", "c")))
    lost = exp.and_(kept.copy(), exp.not_(_any_given(identifiers, "c")))
    if not moved:
        lost = exp.and_(lost, _any_given(identifiers, "k"))
    gone = exp.or_(exp.and_(touched.copy(), column("deleted", "c")), lost)
    counts: list[exp.Expr] = [_count("deleted", exp.and_(alive, gone))]
    for number, name in enumerate(brought):
        had = exp.and_(alive, exp.not_(exp.Is(this=column(name, "k"), expression=exp.null())))
        gone = exp.Is(this=column(name, "c"), expression=exp.null())
        if pinned.table.columns[name] == "list":
            gone = exp.or_(gone, exp.and_(_size(name, "c").eq(0), _size(name, "k") > literal(0)))
        other = exp.and_(exp.not_(gone), differs(name, "k", "c", as_set=name in sets))
        counts += [
            _count(f"values_{number}", had),
            _count(f"emptied_{number}", exp.and_(had, kept, gone)),
            _count(f"changed_{number}", exp.and_(had, kept, other)),
        ]
    select = (
        exp.select(*counts)
        .from_(known.sql.subquery("k"))
        .join(
            after.sql.subquery("c"),
            on=exp.EQ(this=column("record_id", "k"), expression=column("record_id", "c")),
            join_type="left",
        )
    )
    found = lake.engine.rows(select, {**known.relations, **after.relations})[0]

    def each(what: str) -> dict[str, int]:
        return {name: found[f"{what}_{number}"] for number, name in enumerate(brought)}

    return Losses(found["deleted"], False, each("values"), each("emptied"), each("changed"))


def count_losses_in_all(
    lake: Lake, pinned: Pinned, written: Written, brought: Sequence[str]
) -> Losses:
    """What the written rows would do where no record has the key that it had: how many records and
    values fewer there are after a read of everything."""
    known = pinned.current(["record_id", "deleted", *brought], "k")
    after = rows_of(written)

    def living(alias: str) -> list[exp.Expr]:
        alive = exp.not_(column("deleted", alias))
        return [
            _count("living", alive),
            *(
                _count(f"values_{number}", exp.and_(alive, _any_given([name], alias)))
                for number, name in enumerate(brought)
            ),
        ]

    same = exp.EQ(this=column("record_id", "k"), expression=column("record_id", "c"))
    before = exp.select(*living("k")).from_(known.sql.subquery("k"))
    stays = before.copy().join(after.sql.subquery("c"), on=same, join_type="anti")
    came = exp.select(*living("c")).from_(after.sql.subquery("c"))
    relations = {**known.relations, **after.relations}
    old, kept, new = (
        {what: found or 0 for what, found in lake.engine.rows(each, relations)[0].items()}
        for each in (before, stays, came)
    )
    fewer = {what: max(0, old[what] - kept[what] - new[what]) for what in old}

    def each(of: Mapping[str, int]) -> dict[str, int]:
        return {name: of[f"values_{number}"] for number, name in enumerate(brought)}

    return Losses(fewer["living"], False, each(old), each(fewer), dict.fromkeys(brought, 0))


def went_back(lake: Lake, pinned: Pinned, relations: dict[str, Any]) -> int:
    """How many living records of `incoming` are older than they are known, in all versions."""
    known = pinned.current(["record_key", "updated_at", "deleted"], "k")
    newest = (
        exp.select(
            column("record_key"),
            exp.alias_(exp.Max(this=column("updated_at")), "updated_at", quoted=True),
        )
        .from_(named("incoming"))
        .group_by(column("record_key"))
    )
    older = exp.LT(this=column("updated_at", "i"), expression=column("updated_at", "k"))
    select = (
        exp.select(exp.alias_(exp.Count(this=exp.Star()), "records"))
        .from_(known.sql.subquery("k"))
        .join(
            newest.subquery("i"),
            on=exp.EQ(this=column("record_key", "i"), expression=column("record_key", "k")),
        )
        .where(exp.and_(older, exp.not_(column("deleted", "k"))))
    )
    return lake.engine.rows(select, {**known.relations, **relations})[0]["records"]


def known_at_least(
    before: Mapping[str, int], written: Written | None, deleted: int, attributes: Iterable[str]
) -> dict[str, int]:
    """How many values are known at least after the commit of `written`, by attribute."""
    if written is None:
        return {name: before.get(name, 0) for name in attributes}
    return {
        name: max(0, before.get(name, 0) - written.rows)
        + max(0, written.rows - written.nulls.get(name, written.rows) - deleted)
        for name in attributes
    }


def _size(name: str, alias: str) -> exp.Expr:
    return exp.func("COALESCE", exp.ArraySize(this=column(name, alias)), literal(0))


def _any_given(names: Iterable[str], alias: str) -> exp.Expr:
    return exp.or_(*(exp.not_(column(name, alias).is_(exp.null())) for name in names))


def _count(name: str, condition: exp.Expr) -> exp.Expr:
    return exp.alias_(exp.CountIf(this=condition.copy()), name, quoted=True)
