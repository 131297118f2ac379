"""Which profiles stand today for profiles of the past.

What was said of a profile holds for whoever its customer is by now. Identities join and part, and
systems are replaced: so a profile of today stands for a former one when a record is in it that
was in the former one, or (of a record that is gone) one with the same identifier.
"""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import pyarrow as pa
from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.columns import Columns
from profile_pipelines.engine.duckdb import Relation
from profile_pipelines.engine.sql import column, distinct, literal, named
from profile_pipelines.engine.tables import no_rows
from profile_pipelines.identity.shared import is_own
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.lake import FURTHER_OF

_FORMER: Columns = {"former_id": "integer", "profile_id": "integer"}


def former_profiles(
    catalogue: Catalogue, lake: Lake, identities: Pinned, *, as_of: datetime | None = None
) -> pa.Table:
    """`former_id` and the `profile_id` of today (or as of a moment), where they differ.

    A record that is held apart takes nothing over by its identifiers, which it shares with many,
    nor does any by a value that fits several customers, or did in the former profile.
    """
    names = [f"id_{name}" for name in catalogue.identifiers]
    if not identities.exists:
        return no_rows(_FORMER)
    past = None
    if as_of is not None:
        past = exp.LTE(this=column("recorded_at"), expression=literal(as_of))
    log = identities.changes(
        [
            "record_id",
            "profile_id",
            "previous_profile_id",
            "shared_identifiers",
            FURTHER_OF,
            *names,
        ],
        "ever",
        where=past,
    )
    left = exp.and_(
        exp.not_(column("previous_profile_id", "l").is_(exp.null())),
        distinct(column("previous_profile_id", "l"), column("profile_id", "l")),
    )
    travelled = (
        exp.select(column("record_id", "l"))
        .distinct()
        .from_(log.sql.copy().subquery("l"))
        .where(exp.or_(column("removed", "l"), left))
    )
    relations: dict[str, Relation] = {**log.relations}
    relations["travelled"] = lake.engine.query(travelled, relations)
    if relations["travelled"].num_rows == 0:
        return no_rows(_FORMER)
    kept = [column(name, "l") for name in ("record_id", "profile_id", FURTHER_OF, *names)]
    shared = exp.BitwiseOrAgg(this=column("shared_identifiers", "l"))
    stays = (
        exp.select(*kept, exp.alias_(shared, "shared_identifiers", quoted=True))
        .from_(log.sql.copy().subquery("l"))
        .join(named("travelled", "t"), on=_same("record_id", "t", "l"), join_type="semi")
        .where(exp.not_(column("profile_id", "l").is_(exp.null())))
        .group_by(*kept)
    )
    relations["stays"] = lake.engine.query(stays, relations)
    columns = ["record_id", "profile_id", "held_apart", "shared_identifiers", *names]
    rows = identities.as_of(as_of, columns, "now")
    relations |= rows.relations
    here = _pairs().from_(named("stays", "s")).join(
        rows.sql.subquery("n"), on=_same("record_id", "s", "n")
    )  # fmt: skip
    gone = (
        exp.select(exp.Star())
        .from_(named("stays", "s"))
        .join(
            rows.sql.subquery("n"),
            # what a record has given up goes on as nobody
            on=exp.EQ(
                this=exp.func("COALESCE", column(FURTHER_OF, "s"), column("record_id", "s")),
                expression=column("record_id", "n"),
            ),
            join_type="anti",
        )
    )
    relations["gone"] = lake.engine.query(gone, relations)
    parts = [here]
    if relations["gone"].num_rows:
        parts += _by_identifiers(rows.sql, names)
    union: exp.Query = parts[0]
    for part in parts[1:]:
        union = exp.union(union, part, distinct=False)
    select = (
        exp.select(column("former_id", "u"), column("profile_id", "u"))
        .distinct()
        .from_(union.subquery("u"))
        .where(column("former_id", "u").neq(column("profile_id", "u")))
    )
    return lake.engine.query(select, relations)


def gone_up(catalogue: Catalogue, lake: Lake) -> pa.Table:
    """`former_id` and `profile_id`: the former profiles that are no more, and what they are today.

    A former profile that is still there is another customer's by now, and isn't among them. One
    that has parted is there for each of its parts.
    """
    identities = lake.identities(catalogue).pin()
    former = former_profiles(catalogue, lake, identities)
    if former.num_rows == 0:
        return former
    living = identities.current(["record_id", "profile_id"], "now")
    select = (
        exp.select(column("former_id", "f"), column("profile_id", "f"))
        .from_(named("former", "f"))
        .join(
            living.sql.subquery("n"),
            on=column("former_id", "f").eq(column("profile_id", "n")),
            join_type="anti",
        )
    )
    return lake.engine.query(select, {**living.relations, "former": former})


def ids_of_customers(catalogue: Catalogue, lake: Lake, profile_ids: Sequence[int]) -> list[int]:
    """The profiles' ids, then those of former profiles that have gone up in them."""
    wanted = set(profile_ids)
    pairs = pairs_of(gone_up(catalogue, lake))
    former = {former_id for former_id, profile_id in pairs if profile_id in wanted}
    return [*profile_ids, *sorted(former)]


def customers_of(catalogue: Catalogue, lake: Lake, profile_ids: Collection[int]) -> list[int]:
    """The profiles that these ones are today: themselves, or what they have gone up in; a profile
    that is gone and went up in none stays as it is."""
    now: dict[int, set[int]] = {}
    for former_id, profile_id in pairs_of(gone_up(catalogue, lake)):
        now.setdefault(former_id, set()).add(profile_id)
    return sorted(set().union(*(now.get(each, {each}) for each in profile_ids)))


def pairs_of(former: pa.Table) -> list[tuple[int, int]]:
    """(former id, id of today) of what the others found."""
    return list(zip(former["former_id"].to_pylist(), former["profile_id"].to_pylist(), strict=True))


def _by_identifiers(rows: exp.Select, names: Sequence[str]) -> list[exp.Select]:
    return [
        _pairs()
        .from_(named("gone", "s"))
        .join(rows.subquery("n"), on=_same(name, "s", "n"))
        .where(exp.not_(column("held_apart", "n")), is_own(number, "s"), is_own(number, "n"))
        for number, name in enumerate(names)
    ]


def _pairs() -> exp.Select:
    return exp.select(
        exp.alias_(column("profile_id", "s"), "former_id", quoted=True), column("profile_id", "n")
    )


def _same(name: str, one: str, other: str) -> exp.Expr:
    return exp.EQ(this=column(name, one), expression=column(name, other))
