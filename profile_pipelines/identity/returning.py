"""Customers who come back: the ids that their profiles had before all their records were gone."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from profile_pipelines.engine.sql import column
from profile_pipelines.identity.affected import Affected, members, stored_columns
from profile_pipelines.lake import Lake, Pinned


def former_ids(
    lake: Lake, pinned: Pinned, affected: Affected, newcomers: pl.DataFrame, names: Sequence[str]
) -> pl.DataFrame:
    """`record_id` and `profile_id`: whose profile ended, of the records of new profiles.

    `newcomers` has `record_id`, identifiers and `held_apart`. A record was in a profile that ended
    when it is the same record, or shares an identifier with one of the profile's last records;
    what is held apart shares its identifiers with many, and takes nothing over by them. Of
    several such profiles it is the oldest.
    """
    empty = pl.DataFrame(schema={"record_id": pl.Int64, "profile_id": pl.Int64})
    wanted = {name: newcomers[name] for name in ("record_id", *names)}
    log = pinned.changes(stored_columns(names), "l", where=column("removed"))
    ended = pl.concat(
        [
            members(lake, log, names, wanted),
            affected.old.join(affected.new, on="record_id", how="anti"),
        ]
    ).drop_nulls("profile_id")
    stays = affected.old.join(affected.new, on="record_id", how="semi")["profile_id"]
    current = pinned.current(stored_columns(names), "i")
    now = members(lake, current, names, {"profile_id": ended["profile_id"]})["profile_id"]
    elsewhere = now.filter(~now.is_in(affected.old["profile_id"].drop_nulls().implode()))
    living = pl.concat([stays, elsewhere]).drop_nulls().unique()
    ended = ended.filter(~pl.col("profile_id").is_in(living.implode()))
    apart = pl.col("held_apart")
    found = [empty, newcomers.join(ended, on="record_id").select(empty.columns)]
    found += [
        newcomers.filter(~apart).join(ended.filter(~apart), on=name).select(empty.columns)
        for name in names
    ]
    return pl.concat(found).group_by("record_id").agg(pl.col("profile_id").min())
