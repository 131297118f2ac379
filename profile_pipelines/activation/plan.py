"""The difference between whom a destination holds and who should be there at this moment.

in the audience | consent       | held there       | not there
yes             | yes           | told if changed  | added
yes             | stale         | stays as it is   | not added
unknown (held)  | yes or stale  | stays as it is   | not added
any             | no, missing   | removed          | not added
no              | any           | removed          | not added
"""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast

from profile_pipelines.activation.told import told_rows
from profile_pipelines.audiences.decide import decided
from profile_pipelines.audiences.staleness import Coverage
from profile_pipelines.catalog.destinations import Destination
from profile_pipelines.catalog.local_time import CLOCKS_DIFFER
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.consent.permission import Unsubscribed, consent_condition
from profile_pipelines.engine.sql import column
from profile_pipelines.errors import DestinationError
from profile_pipelines.lake import Lake

if TYPE_CHECKING:
    import polars as pl


NO_DIGEST = ""
"""What a removal has in place of a row's digest."""


@dataclass(frozen=True)
class Plan:
    """What is to be done. `add` and `remove` have profile_id, key, digest, batch (that in which
    they may have been sent already) and, to add, the destination's columns."""

    remove: pl.DataFrame
    add: pl.DataFrame
    drop: list[int]
    """Customers of the ledger whom the destination doesn't hold, or holds as another profile."""
    members: int
    new: int
    """How many of `add` the destination doesn't hold."""
    staying: int
    """Who stays as they are, though a stale value leaves open whether they should be there."""
    without_consent: int
    """Members who aren't delivered for want of a present, true and fresh consent."""
    held: int
    """Members who aren't delivered, since it is open whether they still are members."""
    without_key: int
    """Members whom the destination couldn't know."""
    waiting: int
    """Who was refused before and isn't tried again yet."""


def planned(
    catalogue: Catalogue,
    lake: Lake,
    coverage: Coverage,
    unsubscribed: Unsubscribed,
    destination: Destination,
    standing: pl.DataFrame,
    *,
    now: datetime,
) -> Plan:
    """What is to be done for a destination; `standing` is what the ledger knows of it.

    Raises DestinationError when its audience was never evaluated.
    """
    import polars as pl

    members = _members(catalogue, lake, coverage, unsubscribed, destination, now)
    sure = members.filter(~pl.col("held") & pl.col("consented").fill_null(False))
    open_ = members.filter(
        (pl.col("held") & pl.col("consented").fill_null(True)) | pl.col("consented").is_null()
    )
    wanted = told_rows(catalogue, lake, destination, sure["profile_id"].to_list())
    reachable = wanted.filter(pl.col("key").is_not_null())
    known = standing.select(
        "profile_id",
        pl.col("key").alias("old_key"),
        pl.col("digest").alias("old_digest"),
        "operation", "new_digest", "batch", "reason", "next_attempt_at", "changed_at",
    )  # fmt: skip
    stays = known.join(open_, on="profile_id", how="semi")

    there = pl.col("old_digest").is_not_null() | (pl.col("operation") == "add").fill_null(False)
    here = known.join(stays, on="profile_id", how="anti")
    here = here.join(reachable.select("profile_id", "key"), on="profile_id", how="left")
    going = here.filter(pl.col("key").is_null() | (pl.col("key") != pl.col("old_key")))
    # what another customer keeps there, by the same key, isn't taken away
    kept = pl.concat([reachable["key"], stays["old_key"]]).unique()
    shared = pl.col("old_key").is_in(kept.implode())
    removable = there | (pl.col("operation") == "remove").fill_null(False)
    # by a clock that was put back since: what it was to wait for is no matter
    ahead = pl.col("changed_at") > now + CLOCKS_DIFFER
    due = pl.col("next_attempt_at").is_null() | (pl.col("next_attempt_at") <= now) | ahead
    # only a refused removal waits: one who withdraws isn't kept for a refused change before
    again = due | (pl.col("new_digest") != NO_DIGEST).fill_null(True)
    remove = going.filter(removable & ~shared & again)
    waiting = going.filter(removable & ~shared & ~again)
    drop = going.filter(~removable | shared)

    before = reachable.join(known, on="profile_id", how="left")
    same_key = pl.col("old_key") == pl.col("key")
    changed = (
        ~same_key.fill_null(False)
        | pl.col("operation").is_not_null()
        | pl.col("reason").is_not_null()
        | pl.col("old_digest").ne_missing(pl.col("digest"))
    )
    refused = (
        pl.col("reason").is_not_null()
        & same_key.fill_null(False)
        & pl.col("new_digest").eq_missing(pl.col("digest"))
        & pl.col("operation").is_null()
        & ~due
    )
    candidates = before.filter(
        changed & ~pl.col("profile_id").is_in(waiting["profile_id"].implode())
    )
    put_off = candidates.filter(refused)
    add = candidates.filter(~refused).with_columns(
        batch=pl.when(
            (pl.col("operation") == "add")
            & same_key
            & pl.col("new_digest").eq_missing(pl.col("digest"))
        ).then(pl.col("batch"))
    )
    new = add.filter(~(there & same_key.fill_null(False)))
    outside = members.join(sure, on="profile_id", how="anti").join(
        stays, on="profile_id", how="anti"
    )
    consents = pl.col("consented").fill_null(False)
    extra = ["old_key", "old_digest", "operation", "new_digest", "reason", "next_attempt_at",
             "changed_at"]  # fmt: skip
    return Plan(
        remove=remove.select(
            "profile_id",
            pl.col("old_key").alias("key"),
            pl.lit(NO_DIGEST).alias("digest"),
            pl.when(pl.col("operation") == "remove").then(pl.col("batch")).alias("batch"),
        ).sort("profile_id"),
        add=add.drop(extra).sort("profile_id"),
        drop=drop["profile_id"].to_list(),
        members=len(members),
        new=len(new),
        staying=len(stays),
        without_consent=len(outside.filter(~consents)),
        held=len(outside.filter(consents)),
        without_key=len(wanted) - len(reachable),
        waiting=len(put_off) + len(waiting),
    )


def _members(
    catalogue: Catalogue,
    lake: Lake,
    coverage: Coverage,
    unsubscribed: Unsubscribed,
    destination: Destination,
    now: datetime,
) -> pl.DataFrame:
    """profile_id, held and consented (None: stale) of all who are in the audience."""
    import polars as pl

    name = destination.audience
    pinned = lake.audience(name).pin()
    if not pinned.exists:
        raise DestinationError(
            f"destination {destination.destination}: the audience {name} was never evaluated; "
            "`profile-pipelines run` does it"
        )
    condition = consent_condition(catalogue, destination.consent)
    assert condition is not None  # the catalogue's check has seen to it
    rows = decided(catalogue, lake, coverage, {"consented": condition}, now=now)
    audience = pinned.current(["profile_id", "member", "held"], "m")
    select = (
        rows.sql.select(column("held", "m"))
        .join(
            audience.sql.subquery("m"),
            on=column("profile_id", "m").eq(column("profile_id", "profiles")),
        )
        .where(column("member", "m"))
    )
    found = lake.engine.query(select, {**rows.relations, **audience.relations})
    members = cast(pl.DataFrame, pl.from_arrow(found))
    # asked last, so that a click while the profiles were read counts
    told = members["profile_id"].to_list()
    out = unsubscribed.of(destination.consent)
    out |= unsubscribed.at_addresses(destination.consent, told)
    gone = pl.Series(sorted(out), dtype=pl.Int64())
    is_out = pl.col("profile_id").is_in(gone.implode())
    return members.with_columns(consented=pl.col("consented") & ~is_out)
