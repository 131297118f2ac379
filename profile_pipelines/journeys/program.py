"""A journey's steps as a list in which nothing leads back, and the questions that they ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from profile_pipelines.catalog.conditions import Condition
from profile_pipelines.catalog.journeys import Journey, Moment, Step
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.periods import Period, format_period
from profile_pipelines.catalog.send_times import WEEKDAYS

END = "end"
"""Where those are who have been through all steps."""


@dataclass(frozen=True)
class Node:
    """A step with its place. `path` counts from 0: `2.1.0` is the first step of the second way of
    the third step."""

    path: str
    step: Step
    next: str
    """The path of what follows, or END."""
    ways: tuple[str, ...] = ()
    """Where each way of a branch or split leads; a way without steps leads to `next`."""


def program(journey: Journey) -> list[Node]:
    """All steps, each before those that it leads to."""
    return list(_nodes(journey.steps, "", END))


def _nodes(steps: list[Step], prefix: str, after: str) -> Iterator[Node]:
    for index, step in enumerate(steps):
        path = f"{prefix}{index}"
        follows = f"{prefix}{index + 1}" if index + 1 < len(steps) else after
        arms = [arm.steps for arm in step.branch or ()] or [way.then for way in step.split or ()]
        ways = tuple(
            f"{path}.{number}.0" if inner else follows for number, inner in enumerate(arms)
        )
        yield Node(path, step, follows, ways)
        for number, inner in enumerate(arms):
            yield from _nodes(inner, f"{path}.{number}.", follows)


def describe(step: Step) -> str:
    """A step in a few words."""
    if step.send is not None:
        return f"send {step.send.template} by {step.send.channel}"
    if step.wait is not None:
        until = step.wait.until
        if isinstance(until, Moment):
            return f"wait until {spell_moment(until)}"
        return (
            "wait until a condition holds"
            if until is not None
            else f"wait {_spell(step.wait.for_)}"
        )
    return "branch" if step.branch is not None else "split"


def _spell(length: Period | None) -> str:
    return "" if length is None else format_period(length)


def spell_moment(moment: Moment) -> str:
    """A moment as the catalogue writes it."""
    if moment.attribute is None:
        day = f"{WEEKDAYS[moment.weekday]} " if moment.weekday is not None else ""
        return f"{day}{moment.at:%H:%M}"
    sign = "-" if moment.days + (moment.minutes or 0) < 0 else "+"
    offset = f" {sign} {abs(moment.days)} days" if moment.days else ""
    if moment.minutes:
        count = abs(moment.minutes)
        hours = count % 60 == 0
        offset = f" {sign} {count // 60 if hours else count} {'hours' if hours else 'minutes'}"
    timed = moment.at.hour or moment.at.minute or moment.midnight
    return f"{moment.attribute}{offset}" + (f" at {moment.at:%H:%M}" if timed else "")


def questions(journey: Journey, nodes: list[Node]) -> dict[str, Condition]:
    """The conditions that decide the journey, by the column that has the answer.

    `exit when`, `goal reached`, `when <path> <way>` of branches, `until <path>` of waits;
    `date <path>` asks whether the date or timestamp that is waited for is there, and fresh;
    `member now` whether one who entered by a condition stays.
    """
    asked: dict[str, Condition] = {}
    if journey.exit_when is not None:
        asked["exit when"] = journey.exit_when
    if journey.goal is not None:
        asked["goal reached"] = journey.goal
    for node in nodes:
        for number, arm in enumerate(node.step.branch or ()):
            if arm.when is not None:
                asked[f"when {node.path} {number}"] = arm.when
        until = node.step.wait.until if node.step.wait is not None else None
        if isinstance(until, Condition):
            asked[f"until {node.path}"] = until
        elif isinstance(until, Moment) and until.attribute is not None:
            present = {until.attribute: {"present": True}}
            asked[f"date {node.path}"] = Condition.model_validate(present)
    if journey.enter_when is not None and journey.leave_with_audience:
        asked["member now"] = journey.enter_when
    return asked


def withdrawal(catalogue: Catalogue, journey: Journey) -> dict[str, Condition]:
    """`withdrawn`, for a journey that is left with its consent: whether it was taken back.

    Never given isn't taken back: then messages are skipped.
    """
    if not journey.leave_with_consent:
        return {}
    consents = [name for name, a in catalogue.attributes.items() if a.consent == journey.consent]
    if not consents:
        return {}
    tests = [{name: {"is": False}} for name in consents]
    return {"withdrawn": Condition.model_validate({"any": tests})}


def dates(nodes: list[Node]) -> list[str]:
    """The date and timestamp attributes that are waited for."""
    return sorted(
        {
            node.step.wait.until.attribute
            for node in nodes
            if node.step.wait is not None
            and isinstance(node.step.wait.until, Moment)
            and node.step.wait.until.attribute is not None
        }
    )
