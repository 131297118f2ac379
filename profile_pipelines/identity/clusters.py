"""Which records are one customer, by the identifiers that they share, as far as their limits go.

A *group* is a set of records that belong together. Identifier by identifier, strongest first, a
value joins the groups that bear it, unless they would then have more different values of a
limited identifier than a profile may have: two customer numbers, say, that share a mailbox. Such
a value is shared: it joins nobody. A record that no value joins to anything has no profile, since
it fits several customers. Nothing depends on the order of the records. docs/adr/0019 says why.

Pure functions over frames with one `id_<identifier>` column per identifier, strongest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.identity.numbering import Labels, numbered

Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Limits:
    """How far identifiers join records; one entry for each identifier, strongest first."""

    per_profile: tuple[int | None, ...]
    """How many different values one profile may have; None: any number."""
    profiles: tuple[int | None, ...]
    """How many profiles a value may join, which stronger identifiers tell apart; None: any."""
    cluster: int
    """How many records one profile may have."""

    @classmethod
    def of(cls, catalogue: Catalogue, former: int = 0) -> Limits:
        """The catalogue's limits; `former` identifiers, which it has no more, have none."""
        declared = list(catalogue.identifiers.values())
        return cls(
            (*catalogue.values_per_profile.values(), *[None] * former),
            (*(each.profiles for each in declared), *[None] * former),
            catalogue.settings.max_cluster,
        )


class Clustered(NamedTuple):
    """What the identifiers make of each record."""

    labels: Labels
    """Its cluster; -1: none, since it has no value that belongs to one customer alone."""
    held: Marks
    """Whether it is held apart: it has no cluster, or its cluster was too large."""
    shared: Labels
    """Bit k: its k-th identifier's value, strongest first, is also borne by a record that is in
    another cluster, or in none."""


def cluster(
    records: pl.DataFrame,
    identifiers: Sequence[str],
    limits: Limits,
    rows_of: Labels | None = None,
) -> Clustered:
    """The cluster of each record. Records must have at least one identifier each.

    A record with several values of an identifier has a row for each of them; then `rows_of` has
    for each row the position of its record's first.
    """
    numbers = [numbered(records[name]) for name in identifiers]
    stages = _Stages(numbers, len(records), limits, rows_of)
    for stage in range(len(identifiers)):
        stages.join(stage)
    return stages.clustered(rows_of, [records[name] for name in identifiers])


class _Stages:
    """The groups as they grow from identifier to identifier."""

    def __init__(
        self,
        numbers: Sequence[tuple[Labels, int]],
        records: int,
        limits: Limits,
        rows_of: Labels | None,
    ) -> None:
        self.values = [codes for codes, _ in numbers]
        """Per identifier the number of each record's value; -1: none."""
        self.distinct = [count for _, count in numbers]
        self.limits = limits
        self.several_rows = rows_of is not None
        """Whether there are records of several rows, which belong together from the start."""
        self.groups: Labels = (
            np.arange(records, dtype=np.int64) if rows_of is None else rows_of.copy()
        )
        """Each record's group: the number of one of its records."""
        self.placed: Marks = np.zeros(records, dtype=np.bool_)
        """By group: whether a value joins its records."""
        self.joining: list[Labels] = []
        """Per identifier the rows that their value joins."""
        self.borne_by_group: dict[int, tuple[Labels, Marks]] = {}
        """While one identifier joins: by limited identifier one value of each group (-1: none),
        and whether the group has several."""

    def join(self, stage: int) -> None:
        """Join the groups by their values of one identifier."""
        rows = np.flatnonzero(self.values[stage] >= 0)
        if stage:
            shared = self._shared(stage, rows)
            if shared.any():
                rows = rows[~shared[self.values[stage][rows]]]
        components, linked = self._components(stage, rows)
        for unlinked in (self._fits_several, self._everything) if stage else ():
            # a value that is linked to no other joins as much as `_shared` has looked at
            over = self._exceeds(stage, rows[linked], components[linked])
            if not over.any():
                break
            kept = ~unlinked(stage, rows, over[components])
            rows = rows[kept]
            components, linked = self._components(stage, rows)
        groups = self.groups[rows]
        one = np.empty(self.distinct[stage], dtype=np.int64)
        one[components] = groups
        into = one[components]
        self.placed[into] = True
        if stage or self.several_rows:
            self._move(groups, into)
        else:  # each group is one row as yet
            self.groups[rows] = into
        self.joining.append(rows)
        self.borne_by_group.clear()

    def _move(self, groups: Labels, into: Labels) -> None:
        """Make each of the groups a part of another one. Most are where they belong already."""
        differs = groups != into
        moving = groups[differs]
        moves = np.zeros(len(self.groups), dtype=np.bool_)
        moves[moving] = True
        goal = np.empty(len(self.groups), dtype=np.int64)
        goal[moving] = into[differs]
        rows = np.flatnonzero(moves[self.groups])
        self.groups[rows] = goal[self.groups[rows]]

    def clustered(self, rows_of: Labels | None, texts: Sequence[pl.Series]) -> Clustered:
        """The clusters, once all identifiers have joined what they join."""
        labels = self.groups.copy()
        labels[~self.placed[self.groups]] = -1
        held = labels < 0
        own = None if rows_of is None else rows_of == np.arange(len(rows_of))
        large = np.bincount(self.groups, weights=own) > self.limits.cluster
        if large.any():
            rows = np.flatnonzero((labels >= 0) & large[self.groups])
            held[rows] = True
            apart = self._strongest(rows_of, texts)[rows]
            alone = np.bincount(apart, weights=None if own is None else own[rows])
            too_many = alone[apart] > self.limits.cluster
            labels[rows] = np.where(too_many, -1, apart + len(labels))
        shared = np.zeros(len(labels), dtype=np.int64)
        for stage, codes in enumerate(self.values):
            rows = np.flatnonzero(codes >= 0)
            borne, clusters = codes[rows], labels[rows]
            several = _several(borne, clusters, self.distinct[stage])
            several[borne[clusters < 0]] = True
            if several.any():
                shared[rows] |= several[borne].astype(np.int64) << stage
        return Clustered(labels, held, shared)

    def _strongest(self, rows_of: Labels | None, texts: Sequence[pl.Series]) -> Labels:
        """Each record's strongest value that joins it (-1: none); no two identifiers share a
        number. It counts for all rows of the record: of several values of one identifier the
        record's first, else the least."""
        strongest = np.full(len(self.groups), -1, dtype=np.int64)
        parts: list[pl.DataFrame] = []
        for stage, joining in enumerate(self.joining):
            rows = joining[strongest[joining] < 0]
            strongest[rows] = self.values[stage][rows] + sum(self.distinct[:stage])
            if rows_of is not None:
                part = {"record": rows_of[rows], "later": rows_of[rows] != rows, "row": rows}
                text = texts[stage].gather(rows)
                parts.append(pl.DataFrame(part).with_columns(text=text, at=stage))
        if rows_of is None:
            return strongest
        chosen = (
            pl.concat(parts)
            .sort("record", "at", "later", "text")
            .unique("record", keep="first", maintain_order=True)
        )
        found = np.full(len(rows_of), -1, dtype=np.int64)
        found[chosen["record"].to_numpy()] = strongest[chosen["row"].to_numpy()]
        return found[rows_of]

    def _shared(self, stage: int, rows: Labels) -> Marks:
        """By value of the identifier: whether it would join too much."""
        values = self.values[stage][rows]
        shared = self._exceeds(stage, rows, values)
        most = self.limits.profiles[stage]
        if most is not None:
            known = self.placed[self.groups[rows]]
            joins = pl.DataFrame({"value": values[known], "group": self.groups[rows[known]]})
            many = joins.group_by("value").agg(pl.col("group").n_unique())
            shared[many.filter(pl.col("group") > most)["value"].to_numpy()] = True
        return shared

    def _components(self, stage: int, rows: Labels) -> tuple[Labels, Labels]:
        """For each row the component of its value, values being linked where a group has both;
        and the positions of those whose value is linked to another."""
        values, groups = self.values[stage][rows], self.groups[rows]
        one = np.empty(len(self.groups), dtype=np.int64)
        one[groups] = values
        others = one[groups] != values
        if not others.any():
            return values, np.zeros(0, dtype=np.int64)
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        # only of the values that are linked at all, which are few beside all others
        pairs = np.concatenate([one[groups[others]], values[others]])
        nodes, ends = np.unique(pairs, return_inverse=True)
        half = len(pairs) // 2
        weights = np.ones(half, dtype=np.int8)
        graph = coo_array((weights, (ends[:half], ends[half:])), shape=(len(nodes), len(nodes)))
        _, found = connected_components(graph, directed=False)
        component = np.arange(self.distinct[stage], dtype=np.int64)
        first = np.empty(len(nodes), dtype=np.int64)
        first[found] = nodes
        component[nodes] = first[found]
        is_linked = np.zeros(self.distinct[stage], dtype=np.bool_)
        is_linked[nodes] = True
        return component[values], np.flatnonzero(is_linked[values])

    def _exceeds(self, stage: int, rows: Labels, labels: Labels) -> Marks:
        """By label: whether the groups of its rows have, together, more different values of a
        limited identifier than a profile may have, and more than any one of them has alone."""
        exceeds = np.zeros(self.distinct[stage], dtype=np.bool_)
        for limited in self._limited(stage + 1) if len(rows) else ():
            one, mixed = self._one_value(limited)
            groups = self.groups[rows]
            found = one[groups]
            has = found >= 0
            several = _several(labels[has], found[has], len(exceeds))
            several[labels[mixed[groups]]] = True
            if not several.any():
                continue
            # only what has several values at all is counted exactly
            some = several[labels]
            touched = pl.DataFrame({"label": labels[some], "group": self.groups[rows[some]]})
            borne = self._borne(limited, touched["group"].to_numpy())
            each = touched.unique().join(borne, on="group")
            counts = each.group_by("label").agg(pl.col("value").n_unique(), pl.col("own").max())
            limit = self.limits.per_profile[limited]
            over = counts.filter((pl.col("value") > limit) & (pl.col("value") > pl.col("own")))
            exceeds[over["label"].to_numpy()] = True
        return exceeds

    def _one_value(self, limited: int) -> tuple[Labels, Marks]:
        """By group one value of a limited identifier (-1: none), and whether it has several."""
        if limited not in self.borne_by_group:
            bearing = np.flatnonzero(self.values[limited] >= 0)
            values, groups = self.values[limited][bearing], self.groups[bearing]
            one = np.full(len(self.groups), -1, dtype=np.int64)
            one[groups] = values
            mixed = np.zeros(len(one), dtype=np.bool_)
            mixed[groups[one[groups] != values]] = True
            self.borne_by_group[limited] = one, mixed
        return self.borne_by_group[limited]

    def _borne(self, limited: int, groups: Labels) -> pl.DataFrame:
        """`group` and `value`: which values of an identifier some groups have; `own`: how many."""
        wanted = np.zeros(len(self.groups), dtype=np.bool_)
        wanted[groups] = True
        bearing = np.flatnonzero((self.values[limited] >= 0) & wanted[self.groups])
        frame = pl.DataFrame(
            {"group": self.groups[bearing], "value": self.values[limited][bearing]}
        ).unique()
        return frame.with_columns(pl.len().over("group").alias("own"))

    def _fits_several(self, stage: int, rows: Labels, within: Marks) -> Marks:
        """Which rows are those of groups that fit several customers: without a value of a stronger
        limited identifier, they bear values of groups that have too many of them together."""
        result = np.zeros(len(rows), dtype=np.bool_)
        inside = pl.DataFrame(
            {"value": self.values[stage][rows[within]], "group": self.groups[rows[within]]}
        ).unique()
        for limited in self._limited(stage):
            borne = self._borne(limited, inside["group"].to_numpy())
            customers = inside.join(borne.select("group", customer="value"), on="group")
            reached = inside.join(borne, on="group", how="anti").join(
                customers.select("value", "customer").unique(), on="value"
            )
            limit = self.limits.per_profile[limited]
            several = reached.group_by("group").agg(pl.col("customer").n_unique())
            torn = np.zeros(len(self.groups), dtype=np.bool_)
            torn[several.filter(pl.col("customer") > limit)["group"].to_numpy()] = True
            result |= torn[self.groups[rows]] & within
        return result

    def _everything(self, stage: int, rows: Labels, within: Marks) -> Marks:
        """All links of the components that still join too much."""
        return within

    def _limited(self, stage: int) -> list[int]:
        """The identifiers before a stage that have a limit."""
        limits = enumerate(self.limits.per_profile[:stage])
        return [number for number, limit in limits if limit is not None]


def _several(keys: Labels, values: Labels, size: int) -> Marks:
    """By key, of `size`: whether it stands beside different values."""
    one = np.empty(size, dtype=np.int64)
    one[keys] = values
    result = np.zeros(size, dtype=np.bool_)
    result[keys[one[keys] != values]] = True
    return result
