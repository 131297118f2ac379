"""What happened in a journey on each of the last days."""

from __future__ import annotations

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
    found: dict[tuple[date, str | None], StepDay] = {
        (day, None): StepDay(day, None) for day in dates
    }

    def at(number: int, step: str | None) -> StepDay:
        return found.setdefault((dates[number], step), StepDay(dates[number], step))

    def count(number: int, step: str, event: str, many: int) -> None:
        for each in (at(number, step), at(number, None)):
            setattr(each, event, getattr(each, event) + many)

    for number, step, event, many in enrolments.passed_by_day(journey, midnights):
        if step == ENTRY and event == "entered":
            at(number, None).entered += many
        elif event == "entered":
            at(number, step).entered += many
        elif event in ("exited", "converted", "skipped"):
            count(number, step, event, many)
    for number, step, state, many in outbox.ended_by_day(journey, midnights):
        if state in ("sent", "skipped", "failed"):
            count(number, step, state, many)
    return sorted(found.values(), key=_order)


def _order(each: StepDay) -> tuple[date, list[int]]:
    return each.day, [int(part) for part in each.step.split(".")] if each.step else []
