"""One run over a destination: removals first, then additions, batch by batch.

Whatever line a run is lost at, the next one brings the destination to the same state: the ledger
knows whom a batch was about before it was sent, and a batch that comes twice counts once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from profile_pipelines.activation.plan import NO_DIGEST, Plan, planned
from profile_pipelines.activation.target import Batch, Target
from profile_pipelines.catalog.destinations import Destination
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.consent.permission import Unsubscribed, without_consent
from profile_pipelines.errors import DestinationError
from profile_pipelines.lake import Lake
from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.deliveries import Operation

if TYPE_CHECKING:
    import polars as pl

_LOOKED_AT = timedelta(seconds=30)
"""How long ago a customer's consent may have been read when they are sent."""
_LONGEST_PAUSE = timedelta(days=1)
"""How long a destination is let alone at its word, at most; what says more was noted by a clock
that was ahead."""
_LOOK = 5_000
"""How many customers' consents are read together, at least."""


@dataclass
class DeliveryResult:
    """What a run did, or (in a dry run) would do; in customers."""

    destination: str
    members: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    refused: int = 0
    """Whom the destination wouldn't take, or give up, in this run."""
    waiting: int = 0
    """Who was refused before and isn't tried again yet."""
    staying: int = 0
    """Who stays as they are, though a stale value leaves open whether they should be there."""
    held: int = 0
    """Members who aren't delivered, since it is open whether they still are members."""
    without_consent: int = 0
    without_key: int = 0
    """Members whom the destination couldn't know: they haven't got the identifier."""
    error: str | None = None
    """Why the run ended early."""

    @property
    def wrote(self) -> bool:
        """Whether anything at the destination is another."""
        return bool(self.added or self.changed or self.removed)

    @property
    def numbers(self) -> dict[str, int]:
        """The counts by name."""
        told = asdict(self)
        return {name: told[name] for name in told if name not in ("destination", "error")}


class Delivery:
    """Delivers to one destination. `open_target` is called when there is something to do."""

    def __init__(
        self,
        catalogue: Catalogue,
        lake: Lake,
        ledger: Ledger,
        destination: Destination,
        place: str,
        open_target: Callable[[], Target],
        *,
        clock: Callable[[], datetime],
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._lake = lake
        self._deliveries = ledger.deliveries
        self._coverage = ledger.coverage()
        self._unsubscribed = Unsubscribed(catalogue, lake, ledger)
        self._destination = destination
        self._name = destination.destination
        self._place = place
        self._open_target = open_target
        self._clock = clock
        self._progress = progress
        self._result = DeliveryResult(self._name)
        self._done = 0
        self._by = ""

    def preview(self) -> DeliveryResult:
        """What a run would do now; nothing is written and nobody is asked."""
        plan = self._plan(self._deliveries.rows(self._name))
        self._result.added = plan.new
        self._result.changed = len(plan.add) - plan.new
        self._result.removed = len(plan.remove)
        return self._result

    def run(self) -> DeliveryResult:
        """Bring the destination to the present. `error` says why it couldn't be, or not wholly.

        Raises Held while another run is at it.
        """
        return self._run(self._deliver)

    def empty(self) -> DeliveryResult:
        """Remove everybody whom the destination holds, or may hold; otherwise like `run`."""
        return self._run(self._empty)

    def erase(self, profile_ids: Collection[int]) -> DeliveryResult:
        """Remove customers, and every trace of them that we keep; otherwise like `run`.

        Who was refused counts as `refused`, and is still there.
        """
        return self._run(lambda target: self._erase(target, set(profile_ids)), whole=False)

    def _run(self, work: Callable[[Target], None], *, whole: bool = True) -> DeliveryResult:
        result, deliveries = self._result, self._deliveries
        self._check_place()
        self._by = deliveries.runs.take(self._name, self._place)
        not_before = deliveries.runs.standing(self._name).not_before
        error: str | None = "the run was lost"
        counts: Mapping[str, int] | None = None
        try:
            now = self._clock()
            if not_before is not None and now < not_before <= now + _LONGEST_PAUSE:
                raise DestinationError(
                    f"destination {self._name} asked for no request before {not_before:%H:%M} UTC"
                )
            not_before = None
            target = self._open_target()
            try:
                work(target)
            finally:
                target.close()
            error, counts = None, result.numbers if whole else None
        except DestinationError as found:
            error = result.error = str(found)
            if found.after:
                pause = min(timedelta(seconds=found.after), _LONGEST_PAUSE)
                not_before = self._clock() + pause
        finally:
            deliveries.runs.release(
                self._name, self._by, now=self._clock(), counts=counts, error=error,
                not_before=not_before,
            )  # fmt: skip
        return result

    def _check_place(self) -> None:
        """Who is held at a former place would be forgotten there. Raises DestinationError."""
        former = self._deliveries.runs.place(self._name)
        if former in (None, self._place) or self._deliveries.rows(self._name).is_empty():
            return
        raise DestinationError(
            f"destination {self._name} has moved to another place, and customers are delivered at "
            "its former one: declare the new place under a new name; to empty the former one, "
            f"put it back and run `profile-pipelines destination empty {self._name}`"
        )

    def _plan(self, standing: pl.DataFrame) -> Plan:
        plan = planned(
            self._catalogue, self._lake, self._coverage, self._unsubscribed, self._destination,
            standing, now=self._clock(),
        )  # fmt: skip
        result = self._result
        result.members, result.waiting, result.staying = plan.members, plan.waiting, plan.staying
        result.held, result.without_key = plan.held, plan.without_key
        result.without_consent = plan.without_consent
        return plan

    def _deliver(self, target: Target) -> None:
        import polars as pl

        standing = self._deliveries.rows(self._name)
        if target.is_empty() and not standing.is_empty():
            self._deliveries.reset(self._name, self._by)
            standing = standing.clear()
        plan = self._plan(standing)
        sizes = dict(standing.group_by("batch").len().drop_nulls().iter_rows())
        if plan.drop:
            self._deliveries.drop(self._name, self._by, plan.drop)
        at_once = self._at_once(target)
        stuck: set[int] = set()
        for batch_id, rows in _batches(self._name, plan.remove, sizes, at_once, self._clock()):
            refused = self._send(target, "remove", batch_id, rows)
            self._result.removed += len(rows) - len(refused)
            stuck |= set(refused)
        new = set(_new(plan.add, standing))
        add = plan.add.filter(~pl.col("profile_id").is_in(sorted(stuck)))
        batches = deque(_batches(self._name, add, sizes, at_once, self._clock()))
        while batches:
            self._add_some(target, batches, new)
        target.tidy(self._clock())

    def _empty(self, target: Target) -> None:
        standing = self._deliveries.rows(self._name)
        self._remove_all(target, standing)

    def _erase(self, target: Target, profile_ids: set[int]) -> None:
        standing = self._deliveries.rows(self._name)
        is_theirs = standing["profile_id"].is_in(sorted(profile_ids))
        theirs, others = standing.filter(is_theirs), standing.filter(~is_theirs)
        # what another customer keeps there, by the same key, isn't taken away
        shared = theirs["key"].is_in(others["key"].implode())
        self._remove_all(target, theirs.filter(~shared))
        target.erase(profile_ids)

    def _remove_all(self, target: Target, standing: pl.DataFrame) -> None:
        import polars as pl

        there = pl.col("digest").is_not_null() | pl.col("operation").is_not_null()
        rows = standing.filter(there).select(
            "profile_id",
            "key",
            pl.lit(NO_DIGEST).alias("digest"),
            pl.lit(None, pl.String()).alias("batch"),
        )
        at_once = self._at_once(target)
        for batch_id, part in _batches(self._name, rows, {}, at_once, self._clock()):
            refused = self._send(target, "remove", batch_id, part)
            self._result.removed += len(part) - len(refused)
        refused_before = standing.filter(~there)["profile_id"].to_list()
        self._deliveries.drop(self._name, self._by, refused_before)

    def _at_once(self, target: Target) -> int | None:
        sizes = (target.at_once, self._destination.batch_size)
        return min((each for each in sizes if each is not None), default=None)

    def _add_some(
        self, target: Target, batches: deque[tuple[str, pl.DataFrame]], new: set[int]
    ) -> None:
        """Read the consents of the next batches again, then send those while they are fresh."""
        looked: list[int] = []
        for _, rows in batches:
            looked += rows["profile_id"].to_list()
            if len(looked) >= _LOOK:
                break
        at = self._clock()
        missing = set(
            without_consent(
                self._catalogue, self._lake, self._coverage, self._unsubscribed,
                self._destination.consent, looked, now=at,
            )
        )  # fmt: skip
        left = len(looked)
        while left:
            batch_id, rows = batches.popleft()
            left -= len(rows)
            ids = set(rows["profile_id"].to_list())
            # a click counts from that moment on
            out = ids & (missing | self._unsubscribed.of(self._destination.consent))
            if out:
                self._result.without_consent += len(out)
                rows = rows.filter(~rows["profile_id"].is_in(sorted(out)))
                batch_id = _new_id(self._name, at)
            if rows.is_empty():
                continue
            refused = self._send(target, "add", batch_id, rows)
            fresh = len((ids - out - set(refused)) & new)
            self._result.added += fresh
            self._result.changed += len(rows) - len(refused) - fresh
            if self._clock() - at > _LOOKED_AT:
                return

    def _send(
        self, target: Target, operation: Operation, batch_id: str, rows: pl.DataFrame
    ) -> Mapping[int, str]:
        """One batch: write down, send, settle. Whom it refused, and why."""
        self._deliveries.begin(
            self._name, self._by, batch_id, operation,
            rows.select("profile_id", "key", "digest").iter_rows(), now=self._clock(),
        )  # fmt: skip
        batch = Batch(batch_id, rows.drop("digest", "batch"))
        refused = target.add(batch) if operation == "add" else target.remove(batch)
        self._deliveries.settle(self._name, self._by, batch_id, refused, now=self._clock())
        self._result.refused += len(refused)
        self._done += len(rows)
        if self._progress is not None:
            self._progress(self._done)
        return refused


def _new(add: pl.DataFrame, standing: pl.DataFrame) -> list[int]:
    """Whom the destination doesn't hold under this key, as far as is known."""
    import polars as pl

    held = standing.filter(pl.col("digest").is_not_null() | (pl.col("operation") == "add"))
    return add.join(held, on=["profile_id", "key"], how="anti")["profile_id"].to_list()


def _batches(
    name: str, rows: pl.DataFrame, sizes: Mapping[str, int], at_once: int | None, now: datetime
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Batches with their ids. One that may have been sent, and is the same still, keeps its id."""
    import polars as pl

    begun = rows.filter(pl.col("batch").is_not_null())
    whole: list[str] = [
        batch
        for batch, count in begun.group_by("batch").len().sort("batch").iter_rows()
        if sizes.get(batch) == count
    ]
    for batch in whole:
        yield batch, begun.filter(pl.col("batch") == batch)
    rest = rows.filter(~pl.col("batch").fill_null("").is_in(whole))
    for part in rest.iter_slices(at_once or max(len(rest), 1)):
        if not part.is_empty():
            yield _new_id(name, now), part


def _new_id(name: str, now: datetime) -> str:
    return f"{name}-{now:%Y%m%dT%H%M%SZ}-{uuid4().hex[:12]}"
