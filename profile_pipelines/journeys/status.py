"""How a journey stands: each step in numbers, now, today and in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, time
from zoneinfo import ZoneInfo

from profile_pipelines.catalog.journeys import Journey
from profile_pipelines.journeys.program import END, describe, program
from profile_pipelines.journeys.tick import ENTRY
from profile_pipelines.ledger.enrolments import Enrolments
from profile_pipelines.ledger.outbox import KEPT_BACK, Outbox


@dataclass
class StepStatus:
    """One step. `waiting` is who is there now; all else counts since the launch."""

    path: str
    title: str
    entered: int = 0
    entered_today: int = 0
    waiting: int = 0
    exited: int = 0
    mapped: int = 0
    """Who was taken over from here by a newer version."""
    converted: int = 0
    late: int = 0
    """Who came here when the customer's moment was over."""
    messages: dict[str, int] = field(default_factory=dict[str, int])
    """By outbox state: the step's messages."""
    skipped: dict[str, int] = field(default_factory=dict[str, int])
    """By reason: what was decided not to be sent, or not sent at its moment."""


@dataclass
class JourneyStatus:
    """A journey in numbers."""

    journey: str
    version: int
    ticked_at: datetime | None
    active: int
    completed: int
    exited: dict[str, int]
    """By reason."""
    converted: int
    held: int
    """At the last tick: who stayed since a value that decides is stale."""
    entered_today: int
    turned_away: dict[str, int]
    """By reason: who wasn't let in when they came, since the launch."""
    watched: dict[str, int]
    """By reason: of those, who enters once that is over while they are members still."""
    steps: list[StepStatus]
    kept_back: int = 0
    """How many of its messages wait for `outbox settle`, since some may have been sent already."""


def status_of(
    journey: Journey, enrolments: Enrolments, outbox: Outbox, *, now: datetime, timezone: ZoneInfo
) -> JourneyStatus:
    """The journey's numbers; today is the day of `now` in the time zone.

    Steps of older versions that the journey hasn't got any more are told as `(an older step)`.
    """
    name = journey.journey
    midnight = datetime.combine(now.astimezone(timezone).date(), time(0), timezone)
    steps = {node.path: StepStatus(node.path, _title(node.path, describe(node.step)))
             for node in program(journey)}  # fmt: skip

    def at(path: str) -> StepStatus:
        return steps.setdefault(path, StepStatus(path, _title(path, "(an older step)")))

    turned_away: Counter[str] = Counter()
    for each in enrolments.passages.totals(name):
        if each.step == ENTRY:
            if each.event == "turned_away":
                turned_away[each.reason] += each.count
            continue
        step = at(each.step)
        if each.event == "entered":
            step.entered += each.count
        elif each.event == "exited":
            step.exited += each.count
        elif each.event == "late":
            step.late += each.count
        elif each.event == "mapped":
            step.mapped += each.count
        elif each.event == "converted":
            step.converted += each.count
        elif each.event == "skipped":
            step.skipped[each.reason] = step.skipped.get(each.reason, 0) + each.count
    today = 0
    for each in enrolments.passages.totals(name, midnight):
        if each.event == "entered" and each.step == ENTRY:
            today += each.count
        elif each.event == "entered":
            at(each.step).entered_today += each.count
    kept_back = 0
    for message in outbox.counts(name):
        step = at(message.step)
        kept_back += message.count if message.reason == KEPT_BACK else 0
        step.messages[message.state] = step.messages.get(message.state, 0) + message.count
        if message.state == "skipped":
            reason = message.reason or ""
            step.skipped[reason] = step.skipped.get(reason, 0) + message.count
    exited: Counter[str] = Counter()
    active = completed = converted = 0
    for _, path, state, reason, is_converted, count in enrolments.standing(name):
        converted += count if is_converted else 0
        if state == "active":
            active += count
            at(path).waiting += count
        elif path == END and state == "completed":
            completed += count
        else:
            exited[reason or ""] += count
    versions = enrolments.versions.of(name)
    tick = enrolments.tick(name)
    return JourneyStatus(
        name, versions[-1].version if versions else 0, tick.at, active, completed, dict(exited),
        converted, tick.held, today, dict(turned_away), enrolments.watched.counts(name),
        in_order(steps.values()), kept_back,
    )  # fmt: skip


def in_order(steps: Iterable[StepStatus]) -> list[StepStatus]:
    """By path, as numbers."""
    return sorted(steps, key=lambda each: [int(part) for part in each.path.split(".")])


def _title(path: str, text: str) -> str:
    return f"{'  ' * (path.count('.') // 2)}{path} {text}"
