"""The ways in which real systems spell, repeat, delay and spoil what they know.

Shares of spoilt values are below one percent for each field, so that a whole sync is never
set aside by `max_invalid`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl

FUTURE = timedelta(days=400)
"""How far ahead the clock of the few rows from the future goes."""
PLACEHOLDER_EMAIL = "null@null.com"
_SPELLINGS = ("C-{}", " c-{} ", "{}", "{}")


def spell_numbers(
    numbers: pl.Series, weights: Sequence[float], rng: np.random.Generator
) -> pl.Series:
    """Customer numbers as `C-000123`, ` c-000123 `, `000123` or `123`, by the given weights."""
    which = pl.Series(rng.choice(4, len(numbers), p=list(weights)))
    plain = numbers.cast(pl.String)
    padded = plain.str.zfill(6)
    frame = pl.DataFrame({"which": which, "plain": plain, "padded": padded})
    spelt = pl.when(pl.col("which") == 3).then("plain")
    for code, pattern in enumerate(_SPELLINGS[:3]):
        spelt = spelt.when(pl.col("which") == code).then(pl.format(pattern, "padded"))
    return frame.select(spelt.otherwise(None).alias("spelt")).to_series()


def spell_emails(emails: pl.Series, rng: np.random.Generator) -> pl.Series:
    """A tenth of the addresses in title case or with blanks around them."""
    draw = pl.Series(rng.random(len(emails)))
    return (
        pl.DataFrame({"email": emails, "draw": draw})
        .select(
            pl.when(pl.col("draw") < 0.07)
            .then(pl.col("email").str.to_titlecase())
            .when(pl.col("draw") < 0.1)
            .then(pl.format(" {} ", "email"))
            .otherwise("email")
        )
        .to_series()
    )


def spoil(
    frame: pl.DataFrame,
    column: str,
    values: Sequence[object],
    rng: np.random.Generator,
    share: float = 0.007,
) -> pl.DataFrame:
    """Put one of `values` into `column` of a random share of the rows."""
    n = frame.height
    chosen = rng.permutation(n)[: round(share * n)]
    spoilt = np.zeros(n, dtype=bool)
    spoilt[chosen] = True
    index = rng.integers(0, len(values), n)
    bad = pl.Series("bad", list(values), dtype=frame.schema[column]).gather(index)
    return frame.with_columns(
        pl.when(pl.Series(spoilt)).then(bad).otherwise(pl.col(column)).alias(column)
    )


def moments(n: int, now: datetime, spread: timedelta, rng: np.random.Generator) -> pl.Series:
    """Times of change in whole seconds, UTC, within `spread` before `now`, denser near it.

    Of a thousand rows or more, a tenth share one moment (a bulk update) and two lie far in the
    future (a wrong clock).
    """
    back = (rng.random(n) ** 1.5 * spread.total_seconds()).astype(np.int64)
    if n >= 1000:
        back[rng.permutation(n)[: n // 10]] = int(spread.total_seconds() * 0.3)
        back[rng.permutation(n)[:2]] = -int(FUTURE.total_seconds())
    seconds = int(now.timestamp()) - back
    return pl.Series(seconds * 1_000_000).cast(pl.Datetime("us", "UTC"))


def earlier(times: pl.Series, rng: np.random.Generator) -> pl.Series:
    """For each time one that lies one to 200 days before it."""
    back = rng.integers(86_400, 200 * 86_400, len(times)) * 1_000_000
    return times - pl.Series(back).cast(pl.Duration("us"))
