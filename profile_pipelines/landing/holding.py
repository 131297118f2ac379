"""What of a read is set aside: by what was read, and by what it would do to what is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from profile_pipelines.catalog.aggregates import attribute_of
from profile_pipelines.engine import Written
from profile_pipelines.landing import drift
from profile_pipelines.landing.extraction import Landing, write
from profile_pipelines.landing.guard import (
    Guard,
    Known,
    Losses,
    count_losses,
    count_losses_in_all,
    went_back,
)
from profile_pipelines.landing.regained import not_regained
from profile_pipelines.landing.result import Reasons
from profile_pipelines.landing.spool import Spool
from profile_pipelines.landing.unique import Marks
from profile_pipelines.ledger import WHOLE_SYNC, Excess

if TYPE_CHECKING:
    import pyarrow as pa

    from profile_pipelines.validation.records import Findings


class Holding:
    """Collects in `held` what is set aside, and why. `at_least` are the values that are known."""

    def __init__(
        self,
        landing: Landing,
        guard: Guard,
        known: Known,
        *,
        moved: bool = False,
        rekeyed: bool = False,
    ) -> None:
        self.landing = landing
        self.guard = guard
        self.known = known
        self.moved = moved
        self.rekeyed = rekeyed
        self.at_least: dict[str, int] = landing.pinned.state.get("values", {})
        self.held: Reasons = {}

    def unusable(self, findings: Findings, seen: set[str], rows: int) -> None:
        """Attributes that are so as they were read: invalid, or absent from JSON."""
        landing, records = self.landing, max(rows, self.known.records)
        for a in landing.chosen:
            self._hold(a, self.guard.invalid(a, findings.invalid(a), records))
        if seen:
            living, read = self.known.living, findings.rows
            gone = drift.unseen(landing.declared, landing.chosen, seen, read, self.at_least, living)
            self.held |= {a: (each,) for a, each in gone.items()}

    def vanished(self) -> None:
        """All of a source that comes back with no record at all."""
        self._hold(WHOLE_SYNC, self.guard.vanished(self.known))

    def gone_back(self, spool: Spool, newest: datetime, latest: datetime) -> None:
        """All of a source of which a whole read shows records older than before."""
        if self.guard.approves(WHOLE_SYNC, "backwards"):
            return
        older = went_back(self.landing.lake, self.landing.pinned, {"incoming": spool.relation()})
        if older:
            said = f"the source's newest change is of {latest:%Y-%m-%d %H:%M:%S} UTC"
            before = f"{newest:%Y-%m-%d %H:%M:%S} UTC was read before"
            living = self.known.living
            excess = Excess("backwards", older, living, 0.0, f"{said}, but {before}")
            self._hold(WHOLE_SYNC, [excess])

    def together(self, absent: Mapping[str, Excess]) -> None:
        """All of a sync whose records have other keys, once anything of it is set aside: no record
        that is known stays, so that no value of one could."""
        reasons = {**{name: (each,) for name, each in absent.items()}, **self.held}
        self._hold(WHOLE_SYNC, [*all_together(reasons).get(WHOLE_SYNC, ())])

    def written(
        self, spool: Spool, shared: Marks, *, absent: bool, gone: pa.Table | None
    ) -> Written | None:
        """What is ready to be committed, without what has to be set aside."""
        landing, pinned, known, held = self.landing, self.landing.pinned, self.known, self.held
        while WHOLE_SYNC not in held:
            brought = [a for a in landing.chosen if attribute_of(a) not in held]
            written = write(landing, spool, brought, known, shared, absent=absent, gone=gone)
            if written is None or not self.guard.may_exceed(written, brought, known, self.at_least):
                return written
            losses = self._losses(written, brought)
            self.at_least = {**self.at_least, **losses.values}
            excesses = self.guard.excesses(losses, brought, known)
            if not excesses:
                return written
            pinned.discard(written)
            held |= {a: tuple(each) for a, each in excesses.items()}
            if self.rekeyed:
                self.together({})
        return None

    def _losses(self, written: Written, brought: Sequence[str]) -> Losses:
        landing = self.landing
        if self.rekeyed:
            fewer = count_losses_in_all(landing.lake, landing.pinned, written, brought)
            others = not_regained(landing.catalogue, landing.lake, landing.pinned, written)
            if others <= fewer.deleted:
                return fewer
            return replace(fewer, deleted=others, of_others=True)
        return count_losses(
            landing.lake,
            landing.pinned,
            written,
            brought,
            landing.sets,
            identifiers=landing.identifiers,
            moved=self.moved,
        )

    def _hold(self, attribute: str, excesses: list[Excess]) -> None:
        if excesses:
            self.held[attribute] = tuple(excesses)


def all_together(held: Reasons) -> Reasons:
    """What is set aside, and with it all of the sync, by the greatest reason of each kind."""
    if not held or WHOLE_SYNC in held:
        return held
    reasons = sorted((each for found in held.values() for each in found), key=_count)
    return {WHOLE_SYNC: tuple({each.kind: each for each in reasons}.values()), **held}


def _count(excess: Excess) -> int:
    return excess.count
