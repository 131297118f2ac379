"""What the assets of one process share: the workspace, a watcher, and what has been done."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

import dagster as dg

from profile_pipelines.errors import Conflict, LakeError, MachineError, for_people, said_of
from profile_pipelines.progress import RunProgress, Unwatched
from profile_pipelines.report import RunReport

if TYPE_CHECKING:
    from profile_pipelines.system_steps import Outcome, ReadStep
    from profile_pipelines.workspace import Standing, Workspace

NOW_TAG = "profile_pipelines/now"
"""Run tag: an ISO 8601 date and time with offset that stands for the present in the run."""
FULL_TAG = "profile_pipelines/full"
"""Run tag: `true` reads the sources whole instead of what changed."""

APPROVE_TAG = "profile_pipelines/approve"
"""Run tag: the id of an earlier run; what it set aside is approved, and let through by this run."""


class Session:
    """The resource `session` of all assets; it opens the workspace when one of them asks for it.

    Results go into `report` as objects: in process, a run's caller reads them there.
    """

    def __init__(
        self, open_workspace: Callable[[], Workspace], progress: RunProgress | None = None
    ) -> None:
        self._open_workspace = open_workspace
        self.progress: RunProgress = progress or Unwatched()
        self.report = RunReport(datetime.now(UTC))
        self.read_before: dict[str, Outcome] = {}
        """What was read before the run's assets came to it, by step."""

    @cached_property
    def workspace(self) -> Workspace:
        """The workspace of a run, opened once."""
        return self._open_workspace()

    @cached_property
    def current(self) -> Standing:
        """The workspace for sensors, whose process outlives what lake and ledger are: called, it
        gives the one of this moment."""
        from profile_pipelines.workspace import Standing

        return Standing(self._open_workspace)

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Tell the watcher about a step; what it appends to the list is told at the end.

        Errors leave as from `failing`.
        """
        self.progress.step_started(name)
        details: list[str] = []
        try:
            with self.failing(name):
                yield details
        except dg.Failure as failure:
            said = str(failure.description).removeprefix(f"{name}: ")
            self.progress.step_finished(name, said)
            raise
        self.progress.step_finished(name, ", ".join(details))

    def read(self, step: ReadStep) -> Outcome:
        """What the step brings, or has brought. What it came to is for the caller to look at."""
        from profile_pipelines.system_steps import read_step

        before = self.read_before.get(step.name)
        return read_step(step, self.progress) if before is None else before

    def waiting(self, name: str, context: dg.AssetExecutionContext) -> Callable[[str], None]:
        """Whom to tell that a step waits for another run: the watcher, and Dagster's log."""

        def waits(said: str) -> None:
            self.progress.waiting(name, said)
            context.log.info(said)

        return waits

    def tell_clock(self, context: dg.AssetExecutionContext, now: datetime) -> dict[str, str]:
        """Where the clock was put back, what to tell people of that: in Dagster's log, and as
        metadata of the asset."""
        told = self.workspace.ledger.clock.seen().told(now)
        if told:
            context.log.warning(told)
        return {"clock": told} if told else {}

    @contextmanager
    def failing(self, name: str) -> Iterator[None]:
        """Any error leaves as dagster.Failure, and stands in the report.

        With its message when that is meant for people, else with the lines of code that it passed,
        since its message may hold values of customers.
        """
        try:
            yield
        except dg.Failure as failure:
            self.report.errors[name] = str(failure.description)
            raise
        except BaseException as error:  # a panic of a library isn't an Exception
            told = for_people(error)
            if told is None and not isinstance(error, Exception):
                raise
            said = self.report.errors[name] = said_of(error)
            of_stores = isinstance(told, LakeError | MachineError)
            self.report.stores_failed |= of_stores and not isinstance(told, Conflict)
            if told is not None:
                raise dg.Failure(said, allow_retries=True) from None
            lines = "".join(traceback.format_tb(error.__traceback__))
            raise dg.Failure(said, {"code": dg.MetadataValue.text(lines)}) from None


def now_of(tags: Mapping[str, str]) -> datetime:
    """The moment that stands for the present in a run with these tags: theirs, else the clock's.

    Raises dagster.Failure for a text that isn't a date and time with offset.
    """
    if NOW_TAG not in tags:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(tags[NOW_TAG])
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise dg.Failure(
            f"the run tag {NOW_TAG} must be a date and time with offset, for example "
            "2026-01-31T09:00:00+01:00",
            allow_retries=False,
        )
    return moment.astimezone(UTC)


def reads_in_full(tags: Mapping[str, str]) -> bool:
    """Whether a run with these tags reads its sources whole.

    Raises dagster.Failure for anything but `true` and `false`.
    """
    told = tags.get(FULL_TAG, "false").strip().lower()
    if told not in ("true", "false"):
        raise dg.Failure(f"the run tag {FULL_TAG} must be true or false", allow_retries=False)
    return told == "true"


def queued_runs(instance: dg.DagsterInstance, tag: str, name: str) -> list[dg.DagsterRun]:
    """The runs that a sensor or schedule asked for, by the daemon's tag, and that haven't begun:
    they'll see all that there is by now."""
    waiting = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED], tags={tag: name})
    return list(instance.get_runs(waiting))
