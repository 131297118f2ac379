"""Who is one customer, in plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hypothesis import strategies as st

from profile_pipelines_tests.strategies import Identified

Partition = dict[int, tuple[frozenset[int], bool]]
"""By record: the records of its profile (none: no profile), and whether it is held apart."""
Group = frozenset[int]


@dataclass(frozen=True)
class Rules:
    """By identifier, strongest first: values a profile, profiles a value; records a profile."""

    per_profile: tuple[int | None, ...] = (1, None, None)
    profiles: tuple[int | None, ...] = (None, None, None)
    cluster: int = 100


def identity_rules() -> st.SearchStrategy[Rules]:
    """Limits of three identifiers; most often those that hold unless declared."""
    limit = st.none() | st.integers(1, 3)
    return st.builds(
        Rules,
        st.tuples(st.sampled_from([1, 1, 1, 2, None]), limit, limit),
        st.tuples(st.none(), limit, limit),
        st.sampled_from([2, 3, 4, 100, 100]),
    )


def expected_partition(
    records: Mapping[int, Identified], rules: Rules, of: Mapping[int, int] | None = None
) -> Partition:
    """Each record's profile, as docs/adr/0019 tells it, by sets and loops.

    Where a record has several values of an identifier, those beside the first are `records` of
    their own with one value each, and `of` says whose they are.
    """
    of = of or {}
    whose = {number: of.get(number, number) for number in records}
    groups = {
        frozenset(n for n, each in whose.items() if each == number) for number in whose.values()
    }
    placed: set[int] = set()
    strongest: dict[int, tuple[int, bool, str]] = {}
    for stage in range(3):
        links = _links(records, rules, stage, groups, placed)
        for component in _connected(links):
            groups -= component
            groups.add(frozenset().union(*component))
        for group, values in links.items():
            for number in group:
                value = records[number][stage]
                if value in values:
                    own = (stage, number in of, value)
                    strongest[whose[number]] = min(own, strongest.get(whose[number], own))
            placed |= group if values else frozenset()
    found: Partition = {}
    for group in groups:
        if not group & placed:
            found.update(dict.fromkeys(group, (frozenset(), True)))
        elif len(group - set(of)) <= rules.cluster:
            found.update(dict.fromkeys(group, (group, False)))
        else:
            apart = {n: strongest[whose[n]][::2] for n in group}
            sizes = Counter(apart[number] for number in group - set(of))
            for number in group:
                own = apart[number]
                alike = frozenset(n for n in group if apart[n] == own)
                found[number] = (alike if sizes[own] <= rules.cluster else frozenset(), True)
    return found


def shared_values(records: Mapping[int, Identified], partition: Partition) -> list[int]:
    """By identifier how many values are borne in several profiles, or outside of any."""
    counts: list[int] = []
    for stage in range(3):
        where: dict[str, set[frozenset[int]]] = {}
        for number, record in records.items():
            value = record[stage]
            if value is not None:
                where.setdefault(value, set()).add(partition[number][0])
        counts.append(sum(len(each) > 1 or frozenset() in each for each in where.values()))
    return counts


def _links(
    records: Mapping[int, Identified],
    rules: Rules,
    stage: int,
    groups: set[Group],
    placed: set[int],
) -> dict[Group, set[str]]:
    """By group the values of an identifier that join it to others."""
    links = {
        group: {value for n in group if (value := records[n][stage]) is not None}
        for group in groups
    }

    def exceeds(joined: Iterable[Group]) -> bool:
        each = list(joined)
        for limited, limit in enumerate(rules.per_profile[: stage + 1]):
            if limit is None:
                continue
            own = [{records[n][limited] for n in group} - {None} for group in each]
            if len(set().union(*own)) > max(limit, *map(len, own)):
                return True
        return False

    if stage == 0:
        return links
    most = rules.profiles[stage]
    for value in set().union(*links.values()):
        bearing = [group for group, values in links.items() if value in values]
        known = [group for group in bearing if group & placed]
        if exceeds(bearing) or (most is not None and len(known) > most):
            for group in bearing:
                links[group] = links[group] - {value}
    for component in [each for each in _connected(links) if exceeds(each)]:
        torn: set[Group] = set()
        for limited, limit in enumerate(rules.per_profile[:stage]):
            if limit is None:
                continue
            for group in component:
                if any(records[n][limited] for n in group):
                    continue
                reached = {
                    records[n][limited]
                    for other in component
                    if links[other] & links[group]
                    for n in other
                } - {None}
                if len(reached) > limit:
                    torn.add(group)
        for group in torn:
            links[group] = set()
    for component in [each for each in _connected(links) if exceeds(each)]:
        for group in component:
            links[group] = set()
    return links


def _connected(links: Mapping[Group, set[str]]) -> list[set[Group]]:
    components: list[tuple[set[Group], set[str]]] = []
    for group, own in links.items():
        members, values = {group}, set(own)
        apart: list[tuple[set[Group], set[str]]] = []
        for component in components:
            if component[1] & values:
                members |= component[0]
                values |= component[1]
            else:
                apart.append(component)
        components = [*apart, (members, values)]
    return [members for members, _ in components]
