"""An aggregating sync: its children are landed, then the customers whose children moved.

The customers' cursor is the children's commit up to which they were computed, and is committed
with them. A run that is killed between the two commits leaves children that moved after that
cursor; the next run computes their customers. The guard watches both: the children for deletions
and a source that is empty or went back, the customers for values emptied and changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa

from profile_pipelines.catalog.aggregates import CHILDLESS, attribute_of
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.table import Rows
from profile_pipelines.landing.aggregates import aggregate_of, aggregated
from profile_pipelines.landing.attempt import Attempt
from profile_pipelines.landing.children import (
    children_catalogue,
    children_table,
    customers_catalogue,
)
from profile_pipelines.landing.cursors import Cursors, moved
from profile_pipelines.landing.extraction import Landing, Progress
from profile_pipelines.landing.holding import all_together
from profile_pipelines.landing.quarantine import quarantined_by_attribute
from profile_pipelines.landing.result import Reasons, SyncResult
from profile_pipelines.ledger import WHOLE_SYNC, Excess, Ledger, SetAside
from profile_pipelines.ledger.ledger import AttributeEntry
from profile_pipelines.sources import BATCH_ROWS, ReadRequest
from profile_pipelines.sources.files_read import FileMark


def land_aggregates(
    landing: Landing,
    ledger: Ledger,
    waiting: list[SetAside],
    *,
    asked_full: bool,
    progress: Progress | None,
) -> SyncResult:
    """Read the children, and bring the customers' attributes up to date.

    An attribute that a field set aside would decide is set aside, too. When all of the children
    are, no customer is computed.
    """
    children = children_of(landing)
    read = Attempt(
        children,
        ledger,
        _of_children(waiting),
        asked_full=asked_full,
        progress=progress,
        covered=landing.chosen,
    ).result()
    after = children.pinned.table.pin()
    held = _held_by_fields(landing, read.set_aside)
    if held and moved(landing.catalogue, landing.system, landing.name, landing.pinned):
        held = all_together(held)
    chosen = tuple(a for a in landing.chosen if a not in held and WHOLE_SYNC not in held)
    customers = replace(landing, chosen=chosen, now=children.now)
    computed = compute_customers(customers, ledger, waiting, after)
    return replace(
        computed,
        full=read.full,
        rows_read=read.rows_read,
        bad_records=read.bad_records,
        attributes=_entries(landing, read, computed, quarantined_by_attribute(landing.lake, after)),
        set_aside={**computed.set_aside, **held},
        drift=read.drift,
        ahead=read.ahead,
        unread=read.unread,
        repeated=read.repeated,
        left_out=read.left_out,
        dialects=read.dialects,
        kept_out=read.kept_out,
    )


def children_of(landing: Landing) -> Landing:
    """What is landed of the children themselves, and where."""
    system, name = landing.system, landing.name
    pinned = children_table(landing.catalogue, landing.lake, system, name).pin()
    view = children_catalogue(landing.catalogue, system, name)
    return replace(
        landing,
        catalogue=view,
        pinned=pinned,
        chosen=tuple(view.systems[system].syncs[name].attributes),
        now=max(landing.now, pinned.committed_at or landing.now),
    )


def compute_customers(
    landing: Landing, ledger: Ledger, waiting: list[SetAside], children: Pinned
) -> SyncResult:
    """Bring up to date the customers whose children moved."""
    catalogue, lake, system, name = landing.catalogue, landing.lake, landing.system, landing.name

    def cursors(customers: Landing) -> _Computed:
        # by the catalogue that says how they are computed
        return _Computed(replace(customers, catalogue=catalogue, chosen=landing.chosen), children)

    reached = cursors(landing)
    if reached.at_the_end:
        lying = quarantined_by_attribute(lake, landing.pinned)
        entries = {a: AttributeEntry(in_quarantine=lying.get(a, 0)) for a in landing.chosen}
        return SyncResult(system, name, full=False, attributes=entries)
    rows = aggregated(
        catalogue,
        landing.declared,
        landing.chosen,
        children,
        landing.pinned,
        since=reached.commit,
        now=landing.now,
    )
    beside = [c for c in landing.declared.order_columns if attribute_of(c) in landing.chosen]
    beside.append(CHILDLESS)
    result = Attempt(
        replace(
            landing,
            catalogue=customers_catalogue(catalogue, system, name),
            chosen=(*landing.chosen, *beside),
        ),
        ledger,
        # a whole read of the children is none of the customers
        [replace(each, full=False) for each in waiting if not _fields_of(each)],
        asked_full=False,
        source=_Customers(lake, rows),
        cursors=cursors,
    ).result()
    entries = {name: each for name, each in result.attributes.items() if name not in beside}
    return replace(result, attributes=entries)


class _Computed(Cursors):
    """Up to which commit of the children each attribute was computed, and by which rules."""

    def __init__(self, landing: Landing, children: Pinned) -> None:
        super().__init__(
            landing.catalogue, landing.system, landing.name, landing.chosen, landing.pinned
        )
        self._now = landing.now
        self._seq = children.seq

    @property
    def commit(self) -> int:
        """The commit after which a child has moved; 0 where all customers are to be computed."""
        seqs = (
            0
            if cursor is None or aggregate_of(self._declared, name).moves_with_the_clock
            else cursor["children"]
            for name, cursor in zip(self._chosen, self._valid(), strict=True)
        )
        return min(seqs, default=self._seq)

    @property
    def at_the_end(self) -> bool:
        """Whether nothing can be different."""
        return self.commit >= self._seq

    def since(self) -> datetime | None:
        """Not all of them, so that customers that aren't computed stay as they are; unless they
        are customers by another identifier now."""
        return None if self.moved else self._now

    def oldest(self) -> None:
        """The children's times don't tell how far the customers are."""

    def newest(self) -> None:
        """As little as `oldest`."""

    def after(
        self,
        brought: Sequence[str],
        mark: str | None,
        latest: datetime | None,
        files: Collection[FileMark] = (),
        *,
        whole: bool,
    ) -> dict[str, Any]:
        """The state to commit, once `brought` was computed."""
        computed = {
            name: {"mapping": mapping, "children": self._seq}
            for name, mapping in self._mappings.items()
            if name in brought
        }
        return {"cursors": {**self._stored, **computed}}


@dataclass(frozen=True)
class _Customers:
    """The customers, as if a system had them."""

    lake: Lake
    rows: Rows

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        table = self.lake.engine.query(self.rows.sql, self.rows.relations)
        yield from table.select(list(request.fields)).to_batches(max_chunksize=BATCH_ROWS)

    def change_mark(self) -> str | None:
        return None

    def has_newer(self, since: datetime) -> bool | None:
        return None

    def inspect(self) -> dict[str, str]:
        return {}


def _held_by_fields(landing: Landing, held: Reasons) -> Reasons:
    """The attributes that the children's fields set aside, with the fields named as the reason."""
    found: Reasons = {WHOLE_SYNC: held[WHOLE_SYNC]} if WHOLE_SYNC in held else {}
    for name in landing.chosen:
        uses = sorted(aggregate_of(landing.declared, name).uses & held.keys())
        by_kind: dict[str, list[tuple[str, Excess]]] = {}
        for each in uses:
            for excess in held[each]:
                by_kind.setdefault(excess.kind, []).append((each, excess))
        if by_kind:
            found[name] = tuple(map(_together, by_kind.values()))
    return found


def _together(held: list[tuple[str, Excess]]) -> Excess:
    worst = max((excess for _, excess in held), key=lambda excess: excess.count)
    if worst.kind == "missing":
        return replace(worst, detail="; ".join(excess.detail for _, excess in held))
    return replace(worst, detail=", ".join(name for name, _ in held))


def _fields_of(waiting: SetAside) -> list[str]:
    """The children's fields that set an attribute aside, if that is what did."""
    invalid = waiting.excess.kind == "invalid" and waiting.excess.detail
    return waiting.excess.detail.split(", ") if invalid else []


def _of_children(waiting: list[SetAside]) -> list[SetAside]:
    """What waits of the children themselves: all of them, or fields."""
    whole = [each for each in waiting if each.attribute == WHOLE_SYNC]
    return whole + [replace(each, attribute=name) for each in waiting for name in _fields_of(each)]


def _entries(
    landing: Landing, read: SyncResult, computed: SyncResult, lying: Mapping[str, int]
) -> dict[str, AttributeEntry]:
    """What was found of each attribute, and of the children's fields that it uses."""
    here = quarantined_by_attribute(landing.lake, landing.pinned)
    entries: dict[str, AttributeEntry] = {}
    for name in landing.chosen:
        uses = sorted(aggregate_of(landing.declared, name).uses & read.attributes.keys())
        parts = [read.attributes[field] for field in uses]
        own = computed.attributes.get(name)
        if own is None:
            own = AttributeEntry(set_aside=True, in_quarantine=here.get(name, 0))
        reasons = Counter(own.reasons)
        for part in parts:
            reasons.update(part.reasons)
        entries[name] = AttributeEntry(
            own.values_read,
            own.invalid + sum(part.invalid for part in parts),
            dict(reasons),
            own.set_aside,
            own.in_quarantine + sum(lying.get(field, 0) for field in uses),
        )
    return entries
