"""Which profile id each cluster of records keeps or gets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from profile_pipelines.identity.numbering import Labels, first_positions


class Assigned(NamedTuple):
    """Which record belongs to which profile."""

    profile_ids: Labels
    """One for each record; 0: none."""
    next_profile_id: int
    """The next id to give."""
    profiles: int
    """How many profiles there are."""


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
    first = first_positions(in_order)
    rank = np.cumsum(first == np.arange(len(order))) - 1
    clusters = rank[first]
    owned = np.full(int(rank[-1]) + 1, np.iinfo(np.int64).max, dtype=np.int64)
    claims = (known_in_order > 0) & (first_positions(known_in_order) == np.arange(len(order)))
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
