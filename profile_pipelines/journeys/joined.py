"""Customers of a journey who have become other profiles, since profiles join."""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Collection
from typing import cast

import numpy as np
import polars as pl

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.identity.former import gone_up
from profile_pipelines.lake import Lake


def were_once(catalogue: Catalogue, lake: Lake, profile_ids: Collection[int]) -> np.ndarray:
    """The profiles of today that were one of these, which are no more."""
    former = _gone_up(catalogue, lake).filter(pl.col("former_id").is_in(profile_ids))
    return former["profile_id"].to_numpy()


def carried_over(
    catalogue: Catalogue, lake: Lake, active: pl.DataFrame
) -> tuple[pl.DataFrame, dict[int, int]]:
    """The enrolments, those of customers who have become other profiles under these; and by
    enrolment which profiles these are.

    Where such a profile is in the journey itself it stays alone there.
    """
    if active.is_empty():
        return active, {}
    former = _gone_up(catalogue, lake).rename({"former_id": "profile_id", "profile_id": "today"})
    first = former.group_by("profile_id").agg(pl.col("today").min())
    carried = (
        active.select("id", "profile_id")
        .join(first, on="profile_id")
        .join(active, left_on="today", right_on="profile_id", how="anti")
        .group_by("today")
        .agg(pl.col("id").min())
    )
    if carried.is_empty():
        return active, {}
    today = pl.coalesce("today", "profile_id")
    active = active.join(carried, on="id", how="left", maintain_order="left")
    profiles = dict(zip(carried["id"].to_list(), carried["today"].to_list(), strict=True))
    return active.with_columns(profile_id=today).drop("today"), profiles


def _gone_up(catalogue: Catalogue, lake: Lake) -> pl.DataFrame:
    return cast(pl.DataFrame, pl.from_arrow(gone_up(catalogue, lake)))
