"""Clusters and the profile ids that they keep, against plain Python."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from profile_pipelines.identity.clusters import assign_profiles, cluster
from profile_pipelines_tests.identity.model import Partition, expected_partition
from profile_pipelines_tests.strategies import Identified, identified_records

NAMES = ["id_strong", "id_weak", "id_other"]


def _clustered(records: list[Identified], cap: int) -> Partition:
    columns = {
        name: pl.Series([record[n] for record in records], dtype=pl.String)
        for n, name in enumerate(NAMES)
    }
    labels, held = cluster(pl.DataFrame(columns), NAMES, cap)
    return {
        number: (
            frozenset(np.flatnonzero(labels == label).tolist()) if label >= 0 else frozenset(),
            bool(apart),
        )
        for number, (label, apart) in enumerate(zip(labels, held, strict=True))
    }


@settings(max_examples=200, deadline=None)
@given(identified_records(), st.integers(2, 15))
def test_clusters_are_those_of_a_naive_union(records: list[Identified], cap: int) -> None:
    """Records that share an identifier, directly or not, are one; above the cap they fall apart."""
    assert _clustered(records, cap) == expected_partition(dict(enumerate(records)), cap)


@settings(max_examples=100, deadline=None)
@given(
    identified_records().flatmap(lambda r: st.tuples(st.just(r), st.permutations(range(len(r)))))
)
def test_the_order_of_records_decides_nothing(
    drawn: tuple[list[Identified], list[int]],
) -> None:
    """Whatever comes first, the clusters are the same."""
    records, order = drawn
    shuffled = _clustered([records[n] for n in order], 4)
    for position, (members, held) in shuffled.items():
        expected = expected_partition(dict(enumerate(records)), 4)[order[position]]
        assert (frozenset(order[n] for n in members), held) == expected


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 4), st.integers(0, 5)), max_size=10))
def test_profile_ids_are_kept_and_never_shared(records: list[tuple[int, int]]) -> None:
    """Every cluster gets one id; it keeps the least of those that no older record took away."""
    labels = np.array([label for label, _ in records], np.int64)
    known = np.array([profile for _, profile in records], np.int64)
    numbers = np.arange(len(records), dtype=np.int64) + 100
    given_ids, next_id, profiles = assign_profiles(numbers, labels, known, 6)
    by_label = {int(label): set(given_ids[labels == label].tolist()) for label in labels}
    assert all(len(ids) == 1 for ids in by_label.values())
    assert by_label.pop(-1, {0}) == {0}
    ids = [next(iter(each)) for each in by_label.values()]
    assert len(set(ids)) == len(ids) == profiles
    assert all(0 < each < next_id for each in ids)
    owners = {
        profile: int(labels[np.flatnonzero(known == profile)[0]])
        for profile in {int(each) for each in known}
        if profile
    }
    for label, (own,) in ((label, tuple(ids)) for label, ids in by_label.items()):
        claims = [profile for profile, owner in owners.items() if owner == label]
        assert own == min(claims) if claims else own >= 6


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=10).flatmap(
        lambda r: st.tuples(st.just(r), st.permutations(range(len(r))))
    )
)
def test_the_order_of_records_gives_the_same_ids(
    drawn: tuple[list[tuple[int, int]], list[int]],
) -> None:
    """A repeated run gives the same ids, in whatever order it meets the records."""
    records, order = drawn
    labels = np.array([label for label, _ in records], np.int64)
    known = np.array([profile for _, profile in records], np.int64)
    numbers = np.arange(len(records), dtype=np.int64) * 7
    there = np.array(order, np.int64)
    ids, *rest = assign_profiles(numbers, labels, known, 6)
    shuffled, *same = assign_profiles(numbers[there], labels[there], known[there], 6)
    assert shuffled.tolist() == ids[there].tolist()
    assert same == rest
