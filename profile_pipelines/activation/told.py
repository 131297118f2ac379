"""The rows as a destination is told them: its columns, the customer's key there, and a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import TYPE_CHECKING, cast

from profile_pipelines.catalog.destinations import (
    CustomerIo,
    Destination,
    GoogleCustomerMatch,
    HubSpotList,
    MetaAudience,
)
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.spelling import value_text
from profile_pipelines.lake import Lake
from profile_pipelines.profiles.values import value_table

if TYPE_CHECKING:
    import polars as pl


def told_rows(
    catalogue: Catalogue, lake: Lake, destination: Destination, profile_ids: Collection[int]
) -> pl.DataFrame:
    """`profile_id`, `key`, `digest` and the destination's columns of profiles, by profile id.

    The key is None where a profile hasn't got the identifier by which the destination knows it.
    """
    import polars as pl

    table = value_table(catalogue, lake, profile_ids, destination.told)
    values = cast(pl.DataFrame, pl.from_arrow(table)).sort("profile_id")
    target = destination.to
    if isinstance(target, MetaAudience | GoogleCustomerMatch):
        from profile_pipelines.activation.hashing import hashed_key

        names = list(destination.columns.items())
        columns = [values[name] for name, _ in names]
        keys = [
            hashed_key(target, {told: value for (_, told), value in zip(names, row, strict=True)})
            for row in zip(*columns, strict=True)
        ]
        rows = values.select("profile_id")
    elif isinstance(target, CustomerIo | HubSpotList):
        keys = _texts(values[cast(str, destination.key)])
        rows = values.select("profile_id")
    else:
        keys = _texts(values[destination.key or "profile_id"])
        rows = values.select(
            "profile_id", *(pl.col(name).alias(told) for name, told in destination.columns.items())
        )
    form = hashlib.sha256(repr(rows.columns[1:]).encode())
    digests: list[str] = []
    for row in rows.iter_rows():
        digest = form.copy()
        digest.update(repr(row[1:]).encode())
        digests.append(digest.hexdigest()[:32])
    return rows.select(
        "profile_id",
        pl.Series("key", keys, pl.String()),
        pl.Series("digest", digests, pl.String()),
        *rows.columns[1:],
    )


def _texts(values: pl.Series) -> list[str | None]:
    return [None if each is None or each == "" else value_text(each) for each in values]
