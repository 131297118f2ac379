"""The warehouse: Parquet files with scores, and a Delta table with the loyalty programme.

Files of scores are added; some carry a score that is older than one in a file
before it: the row with the later `scored_at` is the right one, not the one in the later file.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from deltalake import DeltaTable, write_deltalake

from profile_pipelines.demo.flaws import earlier, moments, spell_numbers, spoil
from profile_pipelines.demo.population import BANDS

WAREHOUSE = "warehouse"
SCORES = "customer_value"
LOYALTY = "loyalty"


def score_rows(
    people: pl.DataFrame, now: datetime, spread: timedelta, rng: np.random.Generator
) -> pl.DataFrame:
    """Scores by the plain number of the customer."""
    people = people.filter("in_value")
    frame = people.select(
        customer_no="number",
        value_band="value_band",
        lifetime_value="lifetime_value",
        churn_risk="churn_risk",
        scored_at=moments(people.height, now, spread, rng),
    )
    frame = spoil(frame, "value_band", ["unobtainium", "?"], rng)
    frame = spoil(frame, "churn_risk", [1.7, -0.5, 999.0], rng)
    return spoil(frame, "lifetime_value", [-1.0, -9999.0], rng)


def loyalty_rows(
    people: pl.DataFrame, now: datetime, spread: timedelta, rng: np.random.Generator
) -> pl.DataFrame:
    """Members of the loyalty programme, with their numbers padded with zeros."""
    people = people.filter("in_loyalty")
    frame = people.select(
        member_no=spell_numbers(people["number"], (0, 0, 1, 0), rng),
        tier="tier",
        points="points",
        updated_at=moments(people.height, now, spread, rng),
    )
    frame = spoil(frame, "points", [-50, -1], rng)
    return spoil(frame, "tier", ["diamond?", "n/a"], rng)


def create(
    root: Path, scores: pl.DataFrame, loyalty: pl.DataFrame, rng: np.random.Generator
) -> None:
    """Write the folder: three files of scores, the last with rows that arrived late."""
    late = scores[np.sort(rng.permutation(scores.height)[: scores.height // 20])]
    shuffled = pl.Series(rng.permutation(len(BANDS))[np.arange(late.height) % len(BANDS)])
    late = late.with_columns(
        value_band=pl.Series(BANDS).gather(shuffled),
        scored_at=earlier(late["scored_at"], rng),
    )
    half = scores.height // 2
    for name, part in (("part-1", scores[:half]), ("part-2", scores[half:]), ("part-3", late)):
        add_scores(root, name, part)
    write_deltalake(str(root / LOYALTY), loyalty.to_arrow(), mode="error")


def add_scores(root: Path, name: str, scores: pl.DataFrame) -> None:
    """Add a file of scores; a reader sees it whole or not at all."""
    _write(root / SCORES / f"{name}.parquet", scores)


def add_members(root: Path, loyalty: pl.DataFrame) -> None:
    """Add members to the loyalty programme."""
    if not loyalty.is_empty():
        write_deltalake(str(root / LOYALTY), loyalty.to_arrow(), mode="append")


def remove(root: Path, numbers: list[int]) -> None:
    """Purge customers from all files and from the loyalty programme."""
    for path in sorted((root / SCORES).glob("*.parquet")):
        before = pl.read_parquet(path)
        after = before.filter(~pl.col("customer_no").is_in(numbers))
        if after.height < before.height:
            _write(path, after)
    members = ", ".join(f"'{number:06d}'" for number in numbers)
    DeltaTable(str(root / LOYALTY)).delete(f"member_no IN ({members})")


def _write(path: Path, frame: pl.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    frame.write_parquet(unfinished)
    unfinished.rename(path)
