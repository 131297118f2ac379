"""What a run reads of each system, and how several systems are read side by side.

A system's own syncs take turns, so that it isn't asked twice at once; another system doesn't wait
for it, however long it takes. What a step brought, or why it failed, is kept until the run's
report and Dagster are told, in the order that the catalogue has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock, Thread

from profile_pipelines.errors import said_of
from profile_pipelines.landing import SyncResult
from profile_pipelines.landing.extraction import Progress
from profile_pipelines.landing.named import NamedResult
from profile_pipelines.pipeline import DueSync, sync_attributes, sync_named_records
from profile_pipelines.progress import HowFar, RunProgress
from profile_pipelines.sources.time_limit import Stop
from profile_pipelines.workspace import Workspace

_LOOK = 0.2
"""Seconds after which whoever waits for the systems looks whether it was interrupted."""
_ENDING = 5.0
"""Seconds that an interrupted run gives to what it is committing."""


@dataclass
class Outcome:
    """What a step brought, and the error with which it ended."""

    synced: SyncResult | None = None
    named: list[NamedResult] = field(default_factory=list[NamedResult])
    error: BaseException | None = None

    def check(self) -> None:
        """Raise the error, if there is one."""
        if self.error is not None:
            raise self.error

    @property
    def in_words(self) -> str:
        """What it brought, in a few words."""
        if self.synced is None:
            return f"{sum(each.rows_read for each in self.named):,} records read"
        changed = self.synced.changed + self.synced.deleted
        return f"{self.synced.rows_read:,} rows read, {changed:,} changed"


@dataclass(frozen=True)
class ReadStep:
    """A part of what is read of a system, by the name under which it is told. `read` adds to the
    outcome what it brings, and raises what is wrong."""

    name: str
    read: Callable[[Outcome, Progress], None]


def sync_steps(
    open_workspace: Callable[[], Workspace],
    system: str,
    selected: Mapping[str, Sequence[str]],
    *,
    now: datetime,
    run_id: str,
    full: bool,
) -> dict[str, ReadStep]:
    """The steps of a system's syncs, by sync; `selected` are their attributes."""

    def step(due: DueSync) -> ReadStep:
        def read(into: Outcome, progress: Progress) -> None:
            into.synced = sync_attributes(
                open_workspace(), due, now=now, run_id=run_id, full=full, progress=progress
            )

        return ReadStep(f"{due.system}.{due.sync}", read)

    return {
        sync: step(DueSync(system, sync, tuple(attributes)))
        for sync, attributes in selected.items()
    }


def events_step(
    open_workspace: Callable[[], Workspace], system: str, sync: str, *, now: datetime, run_id: str
) -> ReadStep:
    """The records that events of the sync named."""

    def read(into: Outcome, _: Progress) -> None:
        workspace = open_workspace()
        # as many as wait now, and no more: events may come faster than they are read
        left = workspace.ledger.inbox.syncs_waiting().get((system, sync), 0)
        while left > 0:
            result = sync_named_records(workspace, system, sync, now=now, run_id=run_id)
            if not result.events:
                break
            left -= result.events
            into.named.append(result)

    return ReadStep(f"{system}.{sync} (events)", read)


def read_step(step: ReadStep, progress: RunProgress) -> Outcome:
    """Read it, and tell the watcher. Raises KeyboardInterrupt alone."""
    progress.step_started(step.name)
    outcome = Outcome()

    def tell(so_far: HowFar) -> None:
        progress.read(step.name, so_far)

    try:
        step.read(outcome, tell)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic of a library isn't an Exception
        outcome.error = error
        progress.step_finished(step.name, said_of(error).removeprefix(f"{step.name}: "))
    else:
        progress.step_finished(step.name, outcome.in_words)
    return outcome


def read_side_by_side(
    systems: Iterable[Collection[ReadStep]], progress: RunProgress, *, at_once: int
) -> dict[str, Outcome]:
    """Read the steps of each system in turn, and so many systems at once; the outcomes by step.

    Raises KeyboardInterrupt when that comes meanwhile: whoever waits for a source lets go of it,
    and what is being committed gets a few seconds to end.
    """
    waiting = deque(steps for steps in systems if steps)
    outcomes: dict[str, Outcome] = {}
    stop, told = Stop(), _OneAtATime(progress)

    def work() -> None:
        stop.heeded()
        while not stop.asked:
            try:
                steps = waiting.popleft()
            except IndexError:
                return
            for step in steps:
                if stop.asked:
                    return
                try:
                    outcomes[step.name] = read_step(step, told)
                except KeyboardInterrupt:
                    return

    threads = [
        Thread(target=work, name=f"systems {number}", daemon=True)
        for number in range(min(at_once, len(waiting)))
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                # a signal that another thread gets wakes nobody who waits without end
                thread.join(_LOOK)
    except BaseException:
        stop()
        for thread in threads:
            thread.join(_ENDING)
        raise
    return outcomes


class _OneAtATime:
    """A watcher that several threads tell."""

    def __init__(self, progress: RunProgress) -> None:
        self._progress = progress
        self._lock = Lock()

    def step_started(self, name: str) -> None:
        with self._lock:
            self._progress.step_started(name)

    def read(self, name: str, so_far: HowFar) -> None:
        with self._lock:
            self._progress.read(name, so_far)

    def waiting(self, name: str, detail: str) -> None:
        with self._lock:
            self._progress.waiting(name, detail)

    def step_finished(self, name: str, detail: str) -> None:
        with self._lock:
            self._progress.step_finished(name, detail)
