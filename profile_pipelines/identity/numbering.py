"""Numbers for the distinct values of a column, which are quicker to compare than texts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.compute as pc

Labels = npt.NDArray[np.int64]


def numbered(texts: pl.Series) -> tuple[Labels, int]:
    """A number for each distinct text (-1: null), and how many there are.

    Numbers of 64-bit digests are several times quicker to find than of texts; they are taken
    only when it turns out that no two texts share one.
    """
    texts = texts.rechunk()  # else each text that is looked up is sought in all chunks
    digests = texts.hash().to_arrow()
    encoded = digests.dictionary_encode()
    numbers = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    if len(numbers) and not (texts.eq_missing(texts.gather(first_positions(numbers)))).all():
        encoded = texts.to_arrow().dictionary_encode()
        numbers = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
        return numbers.astype(np.int64), len(encoded.dictionary)
    return np.where(texts.is_null().to_numpy(), -1, numbers), len(encoded.dictionary)


def first_positions(values: Labels) -> Labels:
    """For each value the position at which it stands first. Without sorting: values are small."""
    shifted = values - values.min()
    positions = np.empty(int(shifted.max()) + 1, dtype=np.int64)
    positions[shifted[::-1]] = np.arange(len(values))[::-1]
    return positions[shifted]
