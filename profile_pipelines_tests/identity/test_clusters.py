"""Clusters and the profile ids that they keep, against plain Python."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from profile_pipelines.identity.clusters import Limits, cluster
from profile_pipelines.identity.profile_ids import assign_profiles
from profile_pipelines_tests.identity.model import (
    Partition,
    Rules,
    expected_partition,
    identity_rules,
    shared_values,
)
from profile_pipelines_tests.strategies import Identified, identified_records

NAMES = ["id_strong", "id_weak", "id_other"]


def _clustered(
    records: list[Identified], rules: Rules, of: dict[int, int] | None = None
) -> tuple[Partition, list[int]]:
    columns = {
        name: pl.Series([record[n] for record in records], dtype=pl.String)
        for n, name in enumerate(NAMES)
    }
    limits = Limits(rules.per_profile, rules.profiles, rules.cluster)
    rows_of = np.array([(of or {}).get(n, n) for n in range(len(records))], np.int64)
    labels, held, shared = cluster(pl.DataFrame(columns), NAMES, limits, rows_of if of else None)
    found = {
        number: (
            frozenset(np.flatnonzero(labels == label).tolist()) if label >= 0 else frozenset(),
            bool(apart),
        )
        for number, (label, apart) in enumerate(zip(labels, held, strict=True))
    }
    marked = [
        len({record[n] for record, mark in zip(records, shared, strict=True) if mark >> n & 1})
        for n in range(3)
    ]
    return found, marked


@settings(max_examples=400, deadline=None)
@given(identified_records(), identity_rules())
def test_clusters_are_those_of_plain_python(records: list[Identified], rules: Rules) -> None:
    """Records that share an identifier are one, as far as the limits go; what is shared is told."""
    expected = expected_partition(dict(enumerate(records)), rules)
    assert _clustered(records, rules) == (
        expected,
        shared_values(dict(enumerate(records)), expected),
    )


@settings(max_examples=200, deadline=None)
@given(identified_records(), identity_rules(), st.data())
def test_records_with_several_values_are_joined_by_each(
    records: list[Identified], rules: Rules, data: st.DataObject
) -> None:
    """A further value of a record joins as its first does, and counts as no record of its own."""
    of: dict[int, int] = {}
    rows = list(records)
    for number in data.draw(st.lists(st.integers(0, max(len(records) - 1, 0)), max_size=4)):
        if number < len(records):
            of[len(rows)] = number
            stage = data.draw(st.integers(0, 2))
            value = data.draw(st.sampled_from(["x1", "w1", "w2", "s1", "s2", "o1"]))
            rows.append(Identified(*(value if n == stage else None for n in range(3))))
    expected = expected_partition(dict(enumerate(rows)), rules, of)
    assert _clustered(rows, rules, of) == (expected, shared_values(dict(enumerate(rows)), expected))


@settings(max_examples=100, deadline=None)
@given(
    identified_records().flatmap(lambda r: st.tuples(st.just(r), st.permutations(range(len(r))))),
    identity_rules(),
)
def test_the_order_of_records_decides_nothing(
    drawn: tuple[list[Identified], list[int]], rules: Rules
) -> None:
    """Whatever comes first, the clusters are the same."""
    records, order = drawn
    shuffled, _ = _clustered([records[n] for n in order], rules)
    straight, _ = _clustered(records, rules)
    for position, (members, held) in shuffled.items():
        assert (frozenset(order[n] for n in members), held) == straight[order[position]]


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
