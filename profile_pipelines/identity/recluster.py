"""Clusters the affected records anew: the rows of the identities table that this changes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from sqlglot import exp

from profile_pipelines.engine.sql import column, literal, named
from profile_pipelines.identity.affected import Affected
from profile_pipelines.identity.clusters import assign_profiles, cluster
from profile_pipelines.lake import Lake, Pinned


def recluster(
    affected: Affected, names: Sequence[str], cap: int, next_profile_id: int
) -> tuple[pl.DataFrame, int]:
    """The rows of the identities table that change, with `removed`, and the next profile id."""
    old, new = affected
    labels, held = cluster(new.select("record_id", *names).to_arrow(), names, cap)
    known = (
        new.select("record_id")
        .join(
            old.select("record_id", "profile_id"), on="record_id", how="left", maintain_order="left"
        )["profile_id"]
        .fill_null(0)
        .to_numpy()
        if len(old)
        else np.zeros(len(new), dtype=np.int64)
    )
    profile_ids, next_profile_id = assign_profiles(
        new["record_id"].to_numpy(), labels, known, next_profile_id
    )
    result = new.select("record_id", *names).with_columns(
        pl.Series("profile_id", profile_ids).replace(0, None).alias("profile_id"),
        pl.Series("held_apart", held.astype(bool)),
    )
    if not len(old):
        return (
            result.with_columns(
                pl.lit(None, pl.Int64).alias("previous_profile_id"), pl.lit(False).alias("removed")
            ),
            next_profile_id,
        )
    stored = old.select("record_id", *names, "profile_id", "held_apart")
    compared = [*names, "profile_id", "held_apart"]
    both = result.join(stored, on="record_id", how="left", suffix="_old", coalesce=True)
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_old")) for name in compared)
    changed = both.filter(differs).select(
        *result.columns,
        pl.col("profile_id_old").alias("previous_profile_id"),
        pl.lit(False).alias("removed"),
    )
    gone = stored.join(result, on="record_id", how="anti").select(
        *result.columns,
        pl.col("profile_id").alias("previous_profile_id"),
        pl.lit(True).alias("removed"),
    )
    return pl.concat([changed, gone]), next_profile_id


def totals_after(lake: Lake, pinned: Pinned, changes: pl.DataFrame) -> list[int]:
    """Records, profiles and held-apart records once the changes are in."""
    rows = pinned.current(["record_id", "profile_id", "held_apart"], "state")
    kept = (
        exp.select(column("profile_id", "s"), column("held_apart", "s"))
        .from_(rows.sql.subquery("s"))
        .join(
            named("changes", "c"),
            on=exp.EQ(this=column("record_id", "s"), expression=column("record_id", "c")),
            join_type="anti",
        )
    )
    arrived = (
        exp.select(column("profile_id"), column("held_apart"))
        .from_(named("changes"))
        .where(exp.not_(column("removed")))
    )
    held = exp.Sum(this=exp.cast(column("held_apart", "t"), "BIGINT"))
    totals = exp.select(
        exp.alias_(exp.Count(this=exp.Star()), "records"),
        exp.alias_(
            exp.Count(this=exp.Distinct(expressions=[column("profile_id", "t")])), "profiles"
        ),
        exp.alias_(exp.cast(exp.func("COALESCE", held, literal(0)), "BIGINT"), "held"),
    ).from_(exp.union(kept, arrived, distinct=False).subquery("t"))
    slim = changes.select("record_id", "profile_id", "held_apart", "removed").to_arrow()
    found = lake.engine.rows(totals, {**rows.relations, "changes": slim})[0]
    return [found["records"], found["profiles"], found["held"]]
