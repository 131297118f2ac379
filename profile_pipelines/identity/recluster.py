"""Clusters the affected records anew: the rows of the identities table that this changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from profile_pipelines.identity.affected import SHARED, Affected, stored_columns
from profile_pipelines.identity.clusters import Limits, cluster
from profile_pipelines.identity.further import OF, positions_of_records
from profile_pipelines.identity.numbering import Labels
from profile_pipelines.identity.parting import ids_after_parting
from profile_pipelines.identity.profile_ids import assign_profiles
from profile_pipelines.identity.returning import former_ids
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.lake import FURTHER_OF


class Reclustered(NamedTuple):
    """What clustering anew has changed."""

    changes: pl.DataFrame
    """The rows of the identities table that change, with `removed`."""
    next_profile_id: int
    gained: tuple[int, int, int]
    """How many records, profiles and records held apart there are more than before."""
    shared: tuple[int, ...]
    """By identifier, strongest first, how many values of these records join nobody."""
    shared_before: tuple[int, ...]
    """How many did before."""


def recluster(
    lake: Lake,
    pinned: Pinned,
    affected: Affected,
    names: Sequence[str],
    limits: Limits,
    next_profile_id: int,
    remapped: Sequence[int] = (),
) -> Reclustered:
    """Cluster the affected records, and compare with what is stored of them.

    `remapped` are the blocks of record numbers of syncs that are identified otherwise by now.
    """
    # rows of older versions have no marks
    old, new = affected.old.with_columns(pl.col(SHARED).fill_null(0)), affected.new
    labels, held, shared = cluster(new, names, limits, positions_of_records(new))
    if new["childless"].any():
        living = ~new["childless"].to_numpy()
        stays = living | held | np.isin(labels, labels[living])
        new, labels, held, shared = new.filter(stays), labels[stays], held[stays], shared[stays]
    affected = affected._replace(old=old, new=new)
    known = _ids(new, old)
    if pinned.exists:
        known = ids_after_parting(lake, pinned, affected, labels, known, names, remapped)
    newcomers = (labels >= 0) & ~np.isin(labels, labels[known > 0])
    if pinned.exists and newcomers.any():
        others = new.with_columns(pl.Series(SHARED, shared), held_apart=held).filter(newcomers)
        known = known + _ids(new, former_ids(lake, pinned, affected, others, names))
    assigned = assign_profiles(new.select(of=OF)["of"].to_numpy(), labels, known, next_profile_id)
    result = new.select("record_id", *names, FURTHER_OF).with_columns(
        pl.Series("profile_id", assigned.profile_ids).replace(0, None).alias("profile_id"),
        pl.Series("held_apart", held),
        pl.Series(SHARED, shared),
    )
    # All records of an affected profile are affected, so profiles can be counted here.
    records, former = (each.filter(pl.col(FURTHER_OF).is_null()) for each in (result, old))
    gained = (
        len(records) - len(former),
        assigned.profiles - old["profile_id"].drop_nulls().n_unique(),
        int(records["held_apart"].sum()) - int(former["held_apart"].sum()),
    )
    shared_values = _shared_values(result, names), _shared_values(old, names)
    if not len(old):
        changes = result.with_columns(
            pl.lit(None, pl.Int64).alias("previous_profile_id"), pl.lit(False).alias("removed")
        )
        return Reclustered(changes, assigned.next_profile_id, gained, *shared_values)
    stored = old.select(*stored_columns(names))
    compared = [*names, "profile_id", "held_apart", SHARED]
    both = result.join(stored, on="record_id", how="left", suffix="_old", coalesce=True)
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_old")) for name in compared)
    changed = both.filter(differs).select(
        *result.columns,
        pl.col("profile_id_old").alias("previous_profile_id"),
        pl.lit(False).alias("removed"),
    )
    # a value that a record has no more isn't the customer's: who has it next is somebody else
    given_up = pl.col(FURTHER_OF).is_in(result["record_id"].implode())
    gone = (
        stored.join(result, on="record_id", how="anti")
        .with_columns(
            pl.when(given_up.fill_null(False)).then(None).otherwise(pl.col(name)).alias(name)
            for name in names
        )
        .select(
            *result.columns,
            pl.col("profile_id").alias("previous_profile_id"),
            pl.lit(True).alias("removed"),
        )
    )
    return Reclustered(pl.concat([changed, gone]), assigned.next_profile_id, gained, *shared_values)


def _shared_values(records: pl.DataFrame, names: Sequence[str]) -> tuple[int, ...]:
    """By identifier how many of its values are shared."""
    some = records.filter(pl.col(SHARED) != 0)
    return tuple(
        some.filter(pl.col(SHARED) & (1 << number) != 0)[name].n_unique()
        for number, name in enumerate(names)
    )


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
