"""Profiles that part: with whom the id stays, and who has an earlier one again.

Most profiles part because they were joined by mistake: by a mistyped address, say. When that is
put right, each customer should be who they were.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from sqlglot import exp

from profile_pipelines.engine.sql import column, distinct, named
from profile_pipelines.identity.affected import SHARED, Affected, members, stored_columns
from profile_pipelines.identity.further import OF
from profile_pipelines.identity.numbering import Labels
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.lake import FURTHER_OF, RECORD_BLOCK


def ids_after_parting(
    lake: Lake,
    pinned: Pinned,
    affected: Affected,
    labels: Labels,
    known: Labels,
    names: Sequence[str],
    remapped: Sequence[int],
) -> Labels:
    """The profile id that each new record's cluster claims (0: none), given its own id so far.

    An id stays with the cluster that has the strongest identifier which its profile had. Where
    several have, or none, it stays with the one whose record was the first to have it. The
    records of the others, where none of them claims another id, claim what they had before, if
    nobody has it any more; and so on. A cluster that claims several ids takes that of the strongest
    identifier, of these the least.
    """
    records = affected.new.select(OF.alias("record_id"), *names, FURTHER_OF).with_columns(
        label=labels, profile_id=known
    )
    placed = records.filter(pl.col("label") >= 0)
    # what a sync's identifiers said by another declaration can't be compared with what they say now
    block = OF - OF % RECORD_BLOCK
    comparable = affected.old.filter(~block.is_in(list(remapped)))
    strongest = _strongest_identifiers(comparable, names)
    heirs = _heirs(strongest, placed, names)
    claims = (
        placed.filter(pl.col(FURTHER_OF).is_null() & (pl.col("profile_id") > 0))
        .select("record_id", "label", "profile_id")
        .join(
            heirs.select("profile_id", "label", heir=True), on=["profile_id", "label"], how="left"
        )
        .with_columns(pl.col("heir").fill_null(False))
    )
    # records may be replaced by others with the same customer number
    replaced = heirs.join(claims.filter("heir"), on="profile_id", how="anti")
    claims = pl.concat([claims, replaced.select("record_id", "label", "profile_id", heir=True)])
    if not (parted := _in_several(claims)).is_empty():
        claims = _without_losers(claims, _history(lake, pinned, parted))
    strengths = strongest.select("profile_id", "strength").unique()
    chosen = (
        claims.join(strengths, on="profile_id", how="left")
        .sort("strength", "profile_id", nulls_last=True)
        .unique("label", keep="first", maintain_order=True)
    )
    found = records.select("label").join(chosen, on="label", how="left", maintain_order="left")
    return found["profile_id"].fill_null(0).to_numpy()


def _without_losers(claims: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """The claims that are left when each id has gone to one cluster, and the others have the ids
    that they had before."""
    claims = claims.with_columns(turn=pl.lit(0, pl.Int64))
    while not (parted := _in_several(claims)).is_empty():
        keepers = (
            parted.join(history, on=["record_id", "profile_id"], how="left")
            .sort(~pl.col("heir"), "first", "record_id", nulls_last=True)
            .unique("profile_id", keep="first", maintain_order=True)
        )
        losers = parted.join(keepers, on=["profile_id", "label"], how="anti")
        claims = claims.join(losers, on=["profile_id", "label"], how="anti")
        earlier = (
            losers.join(claims, on="label", how="anti")
            .select("record_id", "label", pl.col("turn") + 1, heir=False)
            .join(history, on=["record_id", "turn"])
        )
        claims = pl.concat([claims, earlier.select(claims.columns)])
    return claims


def _strongest_identifiers(profiles: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """`profile_id`, `strength` (0: the strongest identifier) and `value`: of each profile the
    values of the strongest identifier that it has for itself."""
    found = [
        pl.DataFrame(schema={"profile_id": pl.Int64, "strength": pl.Int64, "value": pl.String})
    ]
    left = profiles.filter(pl.col("profile_id") > 0)
    for strength, name in enumerate(names):
        own = left.filter(pl.col(SHARED) & (1 << strength) == 0)
        values = own.select(
            "profile_id", pl.lit(strength, pl.Int64).alias("strength"), value=name
        ).drop_nulls("value")
        found.append(values.unique())
        left = left.join(values, on="profile_id", how="anti")
    return pl.concat(found)


def _heirs(strongest: pl.DataFrame, placed: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """`profile_id`, `label` and `record_id`: the clusters, and a record of each, that have a value
    of the strongest identifier of a profile for themselves."""
    columns = ("profile_id", "label", "record_id")
    found = [pl.DataFrame(schema=dict.fromkeys(columns, pl.Int64))]
    for strength, name in enumerate(names):
        wanted = strongest.filter(pl.col("strength") == strength)
        bearers = (
            placed.select("record_id", "label", value=name)
            .join(wanted, on="value", how="semi")
            .filter(pl.col("label").n_unique().over("value") == 1)
        )
        found.append(
            wanted.join(bearers, on="value")
            .group_by("profile_id", "label")
            .agg(pl.col("record_id").min())
        )
    return pl.concat(found)


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
    current = pinned.current(stored_columns(()), "i")
    return members(lake, current, (), {"profile_id": profile_ids})["profile_id"].unique()
