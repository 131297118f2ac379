"""What is known of profiles at this moment: attributes, and an identifier of each type."""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Collection, Mapping

import pyarrow as pa
from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.sql import column, named
from profile_pipelines.engine.tables import profile_id_table
from profile_pipelines.lake import Lake

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

    Of several identifiers of one type it is the first in the order of their text. A profile that
    isn't there any more is left out.
    """
    asked = profile_id_table(sorted(set(profile_ids)))
    attributes = [name for name in catalogue.attributes if name in names]
    identifiers = [name for name in catalogue.identifiers if name in names]
    profiles = lake.profiles(catalogue).pin().current(["profile_id", *attributes], "p")
    identities = (
        lake.identities(catalogue)
        .pin()
        .current(["profile_id", *(f"id_{name}" for name in identifiers)], "i")
    )
    grouped = (
        exp.select(
            column("profile_id", "g"),
            *(
                exp.alias_(exp.Min(this=column(f"id_{name}", "g")), name, quoted=True)
                for name in identifiers
            ),
        )
        .from_(identities.sql.subquery("g"))
        .join(
            named("asked_profiles", "w"),
            on=column("profile_id", "w").eq(column("profile_id", "g")),
            join_type="semi",
        )
        .group_by(column("profile_id", "g"))
    )
    select = (
        exp.select(
            column("profile_id", "p"),
            *(column(name, "p") for name in attributes),
            *(column(name, "k") for name in identifiers),
        )
        .from_(profiles.sql.subquery("p"))
        .join(
            named("asked_profiles", "a"),
            on=column("profile_id", "a").eq(column("profile_id", "p")),
            join_type="semi",
        )
        .join(
            grouped.subquery("k"),
            on=column("profile_id", "k").eq(column("profile_id", "p")),
            join_type="left",
        )
    )
    relations = {**profiles.relations, **identities.relations, "asked_profiles": asked}
    return lake.engine.query(select, relations)
