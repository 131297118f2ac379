"""What of a read is set aside: by what was read, and by what it would do to what is known."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from profile_pipelines.engine import Written
from profile_pipelines.landing import drift
from profile_pipelines.landing.extraction import Landing, write
from profile_pipelines.landing.guard import Guard, Known, count_losses, went_back
from profile_pipelines.landing.result import Reasons
from profile_pipelines.landing.spool import Spool
from profile_pipelines.landing.unique import Marks
from profile_pipelines.ledger import WHOLE_SYNC, Excess

if TYPE_CHECKING:
    import pyarrow as pa

    from profile_pipelines.validation.records import Findings


class Holding:
    """Collects in `held` what is set aside, and why. `at_least` are the values that are known."""

    def __init__(self, landing: Landing, guard: Guard, known: Known) -> None:
        self.landing = landing
        self.guard = guard
        self.known = known
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

    def written(
        self, spool: Spool, shared: Marks, *, absent: bool, gone: pa.Table | None
    ) -> Written | None:
        """What is ready to be committed, without what has to be set aside."""
        landing, pinned, known, held = self.landing, self.landing.pinned, self.known, self.held
        while WHOLE_SYNC not in held:
            brought = [a for a in landing.chosen if a not in held]
            written = write(landing, spool, brought, known, shared, absent=absent, gone=gone)
            if written is None or not self.guard.may_exceed(written, brought, known, self.at_least):
                return written
            losses = count_losses(landing.lake, pinned, written, brought)
            self.at_least = {**self.at_least, **losses.values}
            excesses = self.guard.excesses(losses, brought, known)
            if not excesses:
                return written
            pinned.discard(written)
            held |= {a: tuple(each) for a, each in excesses.items()}
        return None

    def _hold(self, attribute: str, excesses: list[Excess]) -> None:
        if excesses:
            self.held[attribute] = tuple(excesses)
