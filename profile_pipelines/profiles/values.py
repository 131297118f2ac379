"""What is known of profiles at this moment: attributes, and an identifier of each type."""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa
from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.sql import column, named
from profile_pipelines.engine.tables import profile_id_table
from profile_pipelines.lake import Lake
from profile_pipelines.lake.lake import FURTHER_OF
from profile_pipelines.profiles.addresses import used_values

Values = Mapping[str, object]
"""A customer's attributes and identifiers by name."""


def values_of(
    catalogue: Catalogue, lake: Lake, profile_ids: Collection[int], names: Collection[str]
) -> dict[int, Values]:
    """The named attributes and identifiers of profiles by id, as `value_table` has them."""
    found = value_table(catalogue, lake, profile_ids, names)
    return {row.pop("profile_id"): row for row in found.to_pylist()}


def value_table(
    catalogue: Catalogue, lake: Lake, profile_ids: Collection[int], names: Collection[str]
) -> pa.Table:
    """`profile_id` and the named attributes and identifiers of profiles, as they are now.

    Of several values of one identifier it is the one that `profiles.addresses` chooses. A profile
    that isn't there any more is left out.
    """
    asked = profile_id_table(sorted(set(profile_ids)))
    attributes = [name for name in catalogue.attributes if name in names]
    identifiers = [name for name in catalogue.identifiers if name in names]
    profiles = lake.profiles(catalogue).pin().current(["profile_id", *attributes], "p")
    identities = (
        lake.identities(catalogue)
        .pin()
        .current(["profile_id", FURTHER_OF, *(f"id_{name}" for name in identifiers)], "i")
    )
    held = (
        exp.select(
            column("profile_id", "g"),
            *(
                exp.alias_(function(this=column(f"id_{name}", "g")), f"{word}_{name}", quoted=True)
                for name in identifiers
                for word, function in (("least", exp.Min), ("most", exp.Max))
            ),
        )
        .from_(identities.sql.subquery("g"))
        .join(
            named("asked_profiles", "w"),
            on=column("profile_id", "w").eq(column("profile_id", "g")),
            join_type="semi",
        )
        .where(column(FURTHER_OF, "g").is_(exp.null()))
        .group_by(column("profile_id", "g"))
    )
    relations = {**profiles.relations, **identities.relations, "asked_profiles": asked}
    known = lake.engine.query(held, relations) if identifiers else None
    chosen: dict[str, pa.Table] = {}
    if known is not None:
        chosen = {"known": known, "used": _used(catalogue, lake, known, identifiers)}
    select = (
        exp.select(
            column("profile_id", "p"),
            *(column(name, "p") for name in attributes),
            *(
                exp.alias_(
                    exp.func("COALESCE", column(name, "u"), column(f"least_{name}", "k")),
                    name,
                    quoted=True,
                )
                for name in identifiers
            ),
        )
        .from_(profiles.sql.subquery("p"))
        .join(
            named("asked_profiles", "a"),
            on=column("profile_id", "a").eq(column("profile_id", "p")),
            join_type="semi",
        )
    )
    for alias, relation in zip("ku", chosen, strict=False):
        select = select.join(
            named(relation, alias),
            on=column("profile_id", alias).eq(column("profile_id", "p")),
            join_type="left",
        )
    return lake.engine.query(select, {**relations, **chosen})


def _used(
    catalogue: Catalogue, lake: Lake, known: pa.Table, identifiers: Sequence[str]
) -> pa.Table:
    """The values that are used of those profiles that have several; few have."""
    differ = (column(f"least_{name}").neq(column(f"most_{name}")) for name in identifiers)
    chosen = exp.select(column("profile_id")).from_(named("known")).where(exp.or_(*differ))
    several = lake.engine.query(chosen, {"known": known})
    if several.num_rows == 0:
        kinds = [("profile_id", pa.int64()), *((name, pa.string()) for name in identifiers)]
        return pa.schema(kinds).empty_table()
    rows = used_values(catalogue, lake, identifiers, "several")
    return lake.engine.query(rows.sql, {**rows.relations, "several": several})
