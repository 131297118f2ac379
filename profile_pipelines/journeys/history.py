"""What happened in a journey on each of the last days."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from profile_pipelines.journeys.tick import ENTRY
from profile_pipelines.ledger.enrolments import Enrolments
from profile_pipelines.ledger.outbox import Outbox


@dataclass
class StepDay:
    """One step on one day; the step None is the whole journey."""

    day: date
    step: str | None
    entered: int = 0
    sent: int = 0
    skipped: int = 0
    failed: int = 0
    exited: int = 0
    converted: int = 0


_COUNTED = ("entered", "sent", "skipped", "failed", "exited", "converted")


def last_days(
    journey: str,
    enrolments: Enrolments,
    outbox: Outbox,
    days: int,
    *,
    now: datetime,
    timezone: ZoneInfo,
) -> list[StepDay]:
    """The last days, the day of `now` included: each as a whole, then its steps where anything
    happened. Days begin at midnight in the time zone."""
    today = now.astimezone(timezone).date()
    dates = [today - timedelta(days=back) for back in reversed(range(days))]
    midnights = [
        datetime.combine(each, time(0), timezone) for each in [*dates, today + timedelta(days=1)]
    ]
    counts: Counter[tuple[date, str | None, str]] = Counter()
    for number, step, event, many in enrolments.passages.by_day(journey, midnights):
        if step != ENTRY:
            counts[dates[number], step, event] += many
        if step == ENTRY or event != "entered":
            counts[dates[number], None, event] += many
    for number, step, state, many in outbox.ended_by_day(journey, midnights):
        counts[dates[number], step, state] += many
        counts[dates[number], None, state] += many
    places = {(day, None) for day in dates} | {
        (day, step) for day, step, event in counts if event in _COUNTED
    }
    return [
        StepDay(day, step, **{event: counts[day, step, event] for event in _COUNTED})
        for day, step in sorted(places, key=_order)
    ]


def _order(place: tuple[date, str | None]) -> tuple[date, list[int]]:
    day, step = place
    return day, [int(part) for part in step.split(".")] if step else []
