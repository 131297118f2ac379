"""Customers who come back: the ids that their profiles had before all their records were gone."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from profile_pipelines.engine.sql import column
from profile_pipelines.identity.affected import SHARED, Affected, members, stored_columns
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.lake import FURTHER_OF


def former_ids(
    lake: Lake,
    pinned: Pinned,
    affected: Affected,
    newcomers: pl.DataFrame,
    names: Sequence[str],
) -> pl.DataFrame:
    """`record_id` and `profile_id`: whose profile ended, of the records of new profiles.

    `newcomers` has `record_id`, identifiers, `held_apart` and `shared_identifiers`. A record was in
    a profile that ended when it is the same record, or has an identifier of one of the profile's
    last records. Nothing is taken over by a value that fits several customers, or did when the
    profile ended. Of several such profiles it is the one with the strongest identifier in common,
    of these the oldest.
    """
    empty = pl.DataFrame(schema={"record_id": pl.Int64, "profile_id": pl.Int64})
    wanted = {name: newcomers[name] for name in ("record_id", *names)}
    log = pinned.changes(stored_columns(names), "l", where=column("removed"))
    ended = pl.concat(
        [
            members(lake, log, names, wanted),
            affected.old.join(affected.new, on="record_id", how="anti").filter(
                ~pl.col(FURTHER_OF).is_in(affected.new["record_id"].implode()).fill_null(False)
            ),
        ]
    ).drop_nulls("profile_id")
    stays = affected.old.join(affected.new, on="record_id", how="semi")["profile_id"]
    current = pinned.current(stored_columns(names), "i")
    now = members(lake, current, names, {"profile_id": ended["profile_id"]})["profile_id"]
    elsewhere = now.filter(~now.is_in(affected.old["profile_id"].drop_nulls().implode()))
    living = pl.concat([stays, elsewhere]).drop_nulls().unique()
    ended = ended.filter(~pl.col("profile_id").is_in(living.implode()))
    found = newcomers.join(ended, on="record_id").select(empty.columns)
    for number, name in enumerate(names):
        own = ~pl.col("held_apart") & (pl.col(SHARED).fill_null(0) & (1 << number) == 0)
        pairs = newcomers.filter(own).join(ended.filter(own), on=name, suffix="_ended")
        same = pairs.select(empty.columns).join(found, on="record_id", how="anti")
        found = pl.concat([found, same.group_by("record_id").agg(pl.col("profile_id").min())])
    return found.group_by("record_id").agg(pl.col("profile_id").min())
