"""Profiles that part: with whom the id stays, and who has an earlier one again.

Most profiles part because they were joined by mistake: by a mistyped address, say. When that is
put right, each customer should be who they were.
"""

from __future__ import annotations

import polars as pl
from sqlglot import exp

from profile_pipelines.engine.sql import column, distinct, named
from profile_pipelines.identity.affected import members
from profile_pipelines.identity.clusters import Labels
from profile_pipelines.lake import Lake, Pinned


def ids_after_parting(
    lake: Lake, pinned: Pinned, record_ids: pl.Series, labels: Labels, known: Labels
) -> Labels:
    """The profile id that each record claims (0: none), given its cluster and its id so far.

    An id in several clusters stays with the one whose record was the first to have it. The
    records of the others, where none of them claims another id, claim what they had before, if
    nobody has it any more; and so on.
    """
    records = pl.DataFrame({"record_id": record_ids, "label": labels, "profile_id": known})
    claims = records.filter((pl.col("label") >= 0) & (pl.col("profile_id") > 0))
    parted = _in_several(claims)
    if parted.is_empty():
        return known
    history = _history(lake, pinned, parted)
    claims = claims.with_columns(turn=pl.lit(0, pl.Int64))
    while not (parted := _in_several(claims)).is_empty():
        keepers = (
            parted.join(history, on=["record_id", "profile_id"], how="left")
            .sort("first", "record_id")
            .unique("profile_id", keep="first", maintain_order=True)
        )
        losers = parted.join(keepers, on=["profile_id", "label"], how="anti")
        claims = claims.join(losers, on="record_id", how="anti")
        earlier = (
            losers.join(claims, on="label", how="anti")
            .select("record_id", "label", pl.col("turn") + 1)
            .join(history, on=["record_id", "turn"])
        )
        claims = pl.concat([claims, earlier.select(claims.columns)])
    found = records.select("record_id").join(
        claims, on="record_id", how="left", maintain_order="left"
    )
    return found["profile_id"].fill_null(0).to_numpy()


def _in_several(claims: pl.DataFrame) -> pl.DataFrame:
    """The claims for ids that more than one cluster claims."""
    return claims.filter(pl.col("label").n_unique().over("profile_id") > 1)


def _history(lake: Lake, pinned: Pinned, parted: pl.DataFrame) -> pl.DataFrame:
    """`record_id`, `profile_id` and `first`: with which commit the records came to the profiles.

    These are the ones that part, as `turn` 0, and those before that are no more, the last one
    first.
    """
    came = _came_to_profiles(lake, pinned, parted)
    living = _living(lake, pinned, came["profile_id"])
    return (
        came.join(parted.select("record_id", now="profile_id"), on="record_id")
        .filter(
            ~pl.col("profile_id").is_in(living.implode()) | (pl.col("profile_id") == pl.col("now"))
        )
        .group_by("record_id", "profile_id")
        .agg(first=pl.col("seq").min(), last=pl.col("seq").max())
        .sort("last", descending=True)
        .with_columns(turn=pl.int_range(pl.len()).over("record_id"))
    )


def _came_to_profiles(lake: Lake, pinned: Pinned, records: pl.DataFrame) -> pl.DataFrame:
    """`record_id`, `profile_id` and `seq`: with which commits these records came to profiles."""
    moved = distinct(column("profile_id"), column("previous_profile_id"))
    log = pinned.changes(["record_id", "profile_id", "previous_profile_id"], "l", where=moved)
    select = (
        exp.select(*(column(name, "l") for name in ("record_id", "profile_id", "seq")))
        .from_(log.sql.subquery("l"))
        .join(
            named("parted", "p"),
            on=column("record_id", "p").eq(column("record_id", "l")),
            join_type="semi",
        )
    )
    parted = records.select("record_id").to_arrow()
    frame = pl.from_arrow(lake.engine.query(select, {**log.relations, "parted": parted}))
    assert isinstance(frame, pl.DataFrame)
    return frame.drop_nulls("profile_id")


def _living(lake: Lake, pinned: Pinned, profile_ids: pl.Series) -> pl.Series:
    current = pinned.current(["record_id", "profile_id", "held_apart"], "i")
    return members(lake, current, (), {"profile_id": profile_ids})["profile_id"].unique()
