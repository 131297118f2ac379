"""Clusters the affected records anew: the rows of the identities table that this changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from profile_pipelines.identity.affected import Affected
from profile_pipelines.identity.clusters import Labels, assign_profiles, cluster
from profile_pipelines.identity.parting import ids_after_parting
from profile_pipelines.identity.returning import former_ids
from profile_pipelines.lake import Lake, Pinned


class Reclustered(NamedTuple):
    """What clustering anew has changed."""

    changes: pl.DataFrame
    """The rows of the identities table that change, with `removed`."""
    next_profile_id: int
    gained: tuple[int, int, int]
    """How many records, profiles and records held apart there are more than before."""


def recluster(
    lake: Lake,
    pinned: Pinned,
    affected: Affected,
    names: Sequence[str],
    cap: int,
    next_profile_id: int,
) -> Reclustered:
    """Cluster the affected records, and compare with what is stored of them."""
    old, new = affected
    labels, held = cluster(new, names, cap)
    known = _ids(new, old)
    if pinned.exists:
        known = ids_after_parting(lake, pinned, new["record_id"], labels, known)
    newcomers = (labels >= 0) & ~np.isin(labels, labels[known > 0])
    if pinned.exists and newcomers.any():
        others = new.with_columns(pl.Series("held_apart", held.astype(bool))).filter(newcomers)
        known = known + _ids(new, former_ids(lake, pinned, affected, others, names))
    assigned = assign_profiles(new["record_id"].to_numpy(), labels, known, next_profile_id)
    result = new.select("record_id", *names).with_columns(
        pl.Series("profile_id", assigned.profile_ids).replace(0, None).alias("profile_id"),
        pl.Series("held_apart", held.astype(bool)),
    )
    # All records of an affected profile are affected, so profiles can be counted here.
    gained = (
        len(result) - len(old),
        assigned.profiles - old["profile_id"].drop_nulls().n_unique(),
        int(result["held_apart"].sum()) - int(old["held_apart"].sum()),
    )
    if not len(old):
        changes = result.with_columns(
            pl.lit(None, pl.Int64).alias("previous_profile_id"), pl.lit(False).alias("removed")
        )
        return Reclustered(changes, assigned.next_profile_id, gained)
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
    return Reclustered(pl.concat([changed, gone]), assigned.next_profile_id, gained)


def _ids(records: pl.DataFrame, given: pl.DataFrame) -> Labels:
    """The profile id that each record has in `given`; 0: none."""
    if given.is_empty():
        return np.zeros(len(records), dtype=np.int64)
    ids = records.select("record_id").join(
        given.select("record_id", "profile_id"),
        on="record_id",
        how="left",
        maintain_order="left",
    )["profile_id"]
    return ids.fill_null(0).to_numpy()
