"""Clusters in plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from profile_pipelines_tests.strategies import Identified

Partition = dict[int, tuple[frozenset[int], bool]]
"""By record: the records of its profile (none: no profile), and whether it is held apart."""


def expected_partition(records: Mapping[int, Identified], cap: int) -> Partition:
    """Each record's profile by naive union of records that share any identifier.

    A cluster above the cap falls apart into the records of each strongest identifier; a part that
    still exceeds it has no profile.
    """
    found: Partition = {}
    for cluster in _connected(records):
        if len(cluster) <= cap:
            found.update(dict.fromkeys(cluster, (frozenset(cluster), False)))
            continue
        sizes = Counter(_strongest(records[number]) for number in cluster)
        for number in cluster:
            own = _strongest(records[number])
            alike = frozenset(n for n in cluster if _strongest(records[n]) == own)
            found[number] = (alike if sizes[own] <= cap else frozenset(), True)
    return found


def _strongest(record: Identified) -> tuple[int, str]:
    return next((kind, value) for kind, value in enumerate(record) if value is not None)


def _connected(records: Mapping[int, Identified]) -> list[set[int]]:
    clusters: list[tuple[set[int], set[tuple[int, str]]]] = []
    for number, record in records.items():
        members, values = {number}, {(k, v) for k, v in enumerate(record) if v is not None}
        apart: list[tuple[set[int], set[tuple[int, str]]]] = []
        for cluster in clusters:
            if cluster[1] & values:
                members |= cluster[0]
                values |= cluster[1]
            else:
                apart.append(cluster)
        clusters = [*apart, (members, values)]
    return [members for members, _ in clusters]
