"""Clusters of records that share identifiers, and the profile ids that they keep or get.

Pure functions over frames with `record_id` and one `id_<identifier>` column per identifier,
strongest first. A cluster larger than the cap is never merged silently: its records are joined
by each one's strongest identifier alone, and where even that exceeds the cap they get no
profile. Both are marked `held_apart`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.compute as pc

Labels = npt.NDArray[np.int64]


class Assigned(NamedTuple):
    """Which record belongs to which profile."""

    profile_ids: Labels
    """One for each record; 0: none."""
    next_profile_id: int
    """The next id to give."""
    profiles: int
    """How many profiles there are."""


def cluster(records: pl.DataFrame, identifiers: Sequence[str], cap: int) -> tuple[Labels, Labels]:
    """A cluster label for each record (-1: without a profile), and 1 where it is held apart.

    Records must have at least one identifier each.
    """
    codes, total = _value_codes(records, identifiers)
    strongest = _first_known(codes)
    labels = _components(codes, total)[strongest]
    held = np.zeros(len(labels), dtype=np.int64)
    oversized = np.bincount(labels)[labels] > cap if len(labels) else held.astype(bool)
    if oversized.any():
        held[oversized] = 1
        apart = strongest[oversized]
        alone = np.bincount(apart)[apart] > cap
        labels[oversized] = np.where(alone, -1, apart + total)
    return labels, held


def assign_profiles(
    record_ids: Labels, labels: Labels, known: Labels, next_profile_id: int
) -> Assigned:
    """A profile id for each record.

    `known` has each record's profile id so far (0: none). A known id stays with the cluster that
    holds the least record number among its records; a cluster keeps the least of its ids. New
    ids follow the clusters' least record numbers, so that a repeated run gives the same.
    """
    if len(record_ids) == 0:
        return Assigned(np.zeros(0, dtype=np.int64), next_profile_id, 0)
    order = np.argsort(record_ids, kind="stable")
    in_order, known_in_order = labels[order], known[order]
    # One number per cluster, in the order of the clusters' least record numbers.
    first = _first_positions(in_order)
    rank = np.cumsum(first == np.arange(len(order))) - 1
    clusters = rank[first]
    owned = np.full(int(rank[-1]) + 1, np.iinfo(np.int64).max, dtype=np.int64)
    claims = (known_in_order > 0) & (_first_positions(known_in_order) == np.arange(len(order)))
    np.minimum.at(owned, clusters[claims], known_in_order[claims])
    unlabelled = in_order < 0
    if unlabelled.any():
        owned[clusters[unlabelled][0]] = 0
    fresh = np.flatnonzero(owned == np.iinfo(np.int64).max)
    owned[fresh] = next_profile_id + np.arange(len(fresh))
    result = np.empty(len(order), dtype=np.int64)
    result[order] = owned[clusters]
    profiles = len(owned) - int(unlabelled.any())
    return Assigned(result, next_profile_id + len(fresh), profiles)


def _first_positions(values: Labels) -> Labels:
    """For each value the position at which it stands first. Without sorting: values are small."""
    shifted = values - values.min()
    positions = np.empty(int(shifted.max()) + 1, dtype=np.int64)
    positions[shifted[::-1]] = np.arange(len(values))[::-1]
    return positions[shifted]


def _value_codes(records: pl.DataFrame, identifiers: Sequence[str]) -> tuple[list[Labels], int]:
    """Per identifier a number for each record's value (-1: none); numbers are never shared."""
    codes: list[Labels] = []
    total = 0
    for name in identifiers:
        numbers, values = _numbered(records[name])
        codes.append(np.where(numbers < 0, -1, numbers + total))
        total += values
    return codes, total


def _numbered(texts: pl.Series) -> tuple[Labels, int]:
    """A number for each distinct text (-1: null), and how many there are.

    Numbers of 64-bit digests are several times quicker to find than of texts; they are taken
    only when it turns out that no two texts share one.
    """
    texts = texts.rechunk()  # else each text that is looked up is sought in all chunks
    digests = texts.hash().to_arrow()
    encoded = digests.dictionary_encode()
    numbers = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    if len(numbers) and not (texts.eq_missing(texts.gather(_first_positions(numbers)))).all():
        encoded = texts.to_arrow().dictionary_encode()
        numbers = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
        return numbers.astype(np.int64), len(encoded.dictionary)
    return np.where(texts.is_null().to_numpy(), -1, numbers), len(encoded.dictionary)


def _first_known(codes: Sequence[Labels]) -> Labels:
    """Each record's strongest identifier value."""
    result = codes[0].copy()
    for column in codes[1:]:
        result = np.where(result < 0, column, result)
    return result


def _components(codes: Sequence[Labels], total: int) -> Labels:
    """The component of every identifier value; values are linked where a record has both."""
    if len(codes) == 1:
        return np.arange(total, dtype=np.int64)
    previous = codes[0]
    left: list[Labels] = []
    right: list[Labels] = []
    for column in codes[1:]:
        both = (previous >= 0) & (column >= 0)
        left.append(previous[both])
        right.append(column[both])
        previous = np.where(previous < 0, column, previous)
    sources, targets = np.concatenate(left), np.concatenate(right)
    if len(sources) == 0:
        return np.arange(total, dtype=np.int64)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    weights = np.ones(len(sources), dtype=np.int8)
    graph = coo_array((weights, (sources, targets)), shape=(total, total))
    _, components = connected_components(graph, directed=False)
    return components.astype(np.int64)
