"""Customers of a journey who have become other profiles, since profiles join."""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import cast

import numpy as np
import polars as pl
import pyarrow as pa
from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.sql import column, literal, named
from profile_pipelines.identity.former import former_profiles, gone_up
from profile_pipelines.lake import Lake
from profile_pipelines.lake.table import Pinned


def of_today(
    catalogue: Catalogue, lake: Lake, times: Mapping[int, datetime]
) -> dict[int, datetime]:
    """The times of profiles, also under the profiles of today that these have gone up in; of
    several to one profile the last."""
    found = dict(times)
    for former_id, today in _gone_up(catalogue, lake).iter_rows() if times else ():
        if former_id in times:
            found[today] = max(times[former_id], found.get(today, times[former_id]))
    return found


def were_members(
    catalogue: Catalogue,
    lake: Lake,
    entry: Pinned,
    found: np.ndarray,
    *,
    since: int,
    profiles_seq: int | None,
) -> np.ndarray:
    """Those of the profiles that are no newcomers, since their customers were members already as
    other profiles, when the entry's table stood at commit `since`.

    A profile that has gone up in another one was its customer; so was one that still is there, of
    which the other has parted since (since commit `profiles_seq` of the profiles).
    """
    identities = lake.identities(catalogue).pin()
    former = _frame(former_profiles(catalogue, lake, identities))
    former = former.filter(pl.col("profile_id").is_in(found.tolist()))
    if former.is_empty():
        return found[:0]
    living = _known(lake, identities, former["former_id"])
    parted = np.empty(0, np.int64)
    if profiles_seq is not None:
        profiles = lake.profiles(catalogue).pin()
        there = _known(lake, profiles, former["profile_id"], profiles_seq)
        parted = np.setdiff1d(former["profile_id"].to_numpy(), there)
    one = ~pl.col("former_id").is_in(living.tolist()) | pl.col("profile_id").is_in(parted.tolist())
    former = former.filter(one)
    members = _known(lake, entry, former["former_id"], since, "member")
    return former.filter(pl.col("former_id").is_in(members.tolist()))["profile_id"].to_numpy()


def _known(
    lake: Lake, pinned: Pinned, ids: pl.Series, seq: int | None = None, state: str | None = None
) -> np.ndarray:
    """Those of the profiles that stood in a table at a commit, or stand there now; with `state`,
    that had it."""
    columns = ["profile_id", *([state] if state else [])]
    if seq is None:
        rows = pinned.current(columns, "k")
    else:
        until = exp.LTE(this=column("seq"), expression=literal(seq))
        rows = pinned.changes(columns, "k", where=until)
    asked = pl.DataFrame({"profile_id": ids.unique()}, schema={"profile_id": pl.Int64()})
    select = (
        exp.select("k.*")
        .from_(rows.sql.subquery("k"))
        .join(
            named("asked_profiles", "asked"),
            on=column("profile_id", "asked").eq(column("profile_id", "k")),
            join_type="semi",
        )
    )
    found = _frame(
        lake.engine.query(select, {**rows.relations, "asked_profiles": asked.to_arrow()})
    )
    if seq is not None:
        found = found.sort("seq").unique("profile_id", keep="last").filter(~pl.col("removed"))
    if state is not None:
        found = found.filter(pl.col(state).fill_null(False))
    return found["profile_id"].unique().to_numpy()


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
    return _frame(gone_up(catalogue, lake))


def _frame(table: pa.Table) -> pl.DataFrame:
    return cast(pl.DataFrame, pl.from_arrow(table))
