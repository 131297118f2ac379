"""Records with several values of an identifier: a row for each value beside the first.

Such a row stands in the identities beside the record's own, with one value alone and a negative
number in place of a record's. It keeps its number as long as the record has the value, so that a
repeated run writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from profile_pipelines.catalog.mapped_fields import FURTHER
from profile_pipelines.identity.numbering import Labels
from profile_pipelines.lake import Pinned
from profile_pipelines.lake.lake import FURTHER_OF

OF = pl.coalesce(FURTHER_OF, "record_id")
"""The number of the record that a row of the identities belongs to."""


def further_columns(source: Pinned, names: Sequence[str]) -> list[str]:
    """Which columns of a source's records have further values, of the `id_` columns `names`."""
    columns = (name.removeprefix("id_") + FURTHER for name in names)
    return [each for each in columns if each in source.table.columns]


def spread(records: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """The records with a row for each further value, and `further_of`; without the lists.

    `stored` are rows of the identities, among them all that the records have so far: what is there
    keeps its number. A value that is new has none yet; see `numbered_on`.
    """
    lists = [name for name in records.columns if name.endswith(FURTHER)]
    heads = records.drop(lists).with_columns(pl.lit(None, pl.Int64).alias(FURTHER_OF))
    parts: list[pl.DataFrame] = []
    known = stored.filter(pl.col(FURTHER_OF).is_not_null())
    for each in lists:
        name = f"id_{each.removesuffix(FURTHER)}"
        rows = (
            records.filter(pl.col(each).list.len() > 0)
            .select(pl.col("record_id").alias(FURTHER_OF), pl.col(each).alias(name), "childless")
            .explode(name)
            .drop_nulls(name)
        )
        numbers = known.filter(pl.col(name).is_not_null()).select("record_id", FURTHER_OF, name)
        parts.append(rows.join(numbers, on=[FURTHER_OF, name], how="left"))
    if not parts:
        return heads
    further = pl.concat(parts, how="diagonal")
    return pl.concat([heads, further], how="diagonal").select(heads.columns)


def numbered_on(
    rows: pl.DataFrame, names: Sequence[str], next_number: int
) -> tuple[pl.DataFrame, int]:
    """The rows with a number for each that has none yet, in the order of records and values; and
    the next number, which is one less than the last."""
    if not rows["record_id"].null_count():
        return rows, next_number
    known = rows.filter(pl.col("record_id").is_not_null())
    new = rows.filter(pl.col("record_id").is_null()).sort(FURTHER_OF, *names, nulls_last=True)
    numbers = next_number - pl.int_range(len(new), dtype=pl.Int64)
    return pl.concat([known, new.with_columns(record_id=numbers)]), next_number - len(new)


def positions_of_records(rows: pl.DataFrame) -> Labels | None:
    """For each row the position of its record's own row; None where no record has several."""
    if rows[FURTHER_OF].null_count() == len(rows):
        return None
    own = rows.select("record_id", at=pl.int_range(pl.len(), dtype=pl.Int64))
    found = rows.select(OF.alias("record_id")).join(
        own, on="record_id", how="left", maintain_order="left"
    )
    return found["at"].to_numpy().astype(np.int64)
