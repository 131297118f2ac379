"""Where one customer is in a journey: since when, what comes next and when, what would end it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from profile_pipelines.catalog.journeys import Journey, Moment
from profile_pipelines.catalog.local_time import NEVER
from profile_pipelines.journeys.clock import due_at
from profile_pipelines.journeys.definition import read_definition
from profile_pipelines.journeys.facts import Facts
from profile_pipelines.journeys.program import END, Node, describe, program
from profile_pipelines.ledger.enrolments import Enrolments
from profile_pipelines.ledger.outbox import Outbox


@dataclass(frozen=True)
class Explanation:
    """One enrolment of one profile."""

    profile_id: int
    state: str
    """active, completed or exited."""
    version: int
    holdout: bool
    entered_at: datetime
    step: str
    arrived_at: datetime
    """Since when it is at the step, or when it ended."""
    reason: str | None
    """Why it ended."""
    converted_at: datetime | None
    next: str | None
    """What comes next; None when it has ended."""
    due_at: datetime | None
    """When that comes, where the clock alone decides."""
    exit_now: bool | None
    """Whether what ends it holds by now's facts; None where a value that decides is stale."""
    exits: list[str]
    """What would end it, in words."""
    messages: list[dict[str, Any]]


def explanations(
    facts: Facts,
    enrolments: Enrolments,
    outbox: Outbox,
    journey: Journey,
    profile_ids: Sequence[int],
) -> list[Explanation]:
    """The profiles' enrolments, the last one first; none when they never were in the journey."""
    definitions = {
        each.version: read_definition(each.definition)
        for each in enrolments.versions.of(journey.journey)
    }
    sent = outbox.messages(journey=journey.journey, profile_ids=profile_ids)
    found: list[Explanation] = []
    for row in enrolments.of_profiles(journey.journey, profile_ids):
        declared = definitions[row["version"]]
        active = row["state"] == "active"
        nodes = {node.path: node for node in program(declared)}
        node = nodes.get(row["step"])
        fact = next(facts.of(declared, [row["profile_id"]]).iter_rows(named=True), {})
        zone = ZoneInfo(fact.get("zone", facts.catalogue.settings.timezone))
        arrived = facts.seen.counted(row["arrived_at"], facts.now)
        due = _due(node, fact, arrived, zone) if active and node else None
        follows = nodes.get(node.next) if node is not None else None
        upcoming = describe(follows.step) if follows is not None else "the journey's end"
        found.append(
            Explanation(
                profile_id=row["profile_id"],
                state=row["state"],
                version=row["version"],
                holdout=row["holdout"],
                entered_at=row["entered_at"],
                step=f"{node.path} {describe(node.step)}" if node else END,
                arrived_at=row["ended_at"] or row["arrived_at"],
                reason=row["reason"],
                converted_at=row["converted_at"],
                next=upcoming if active else None,
                due_at=due,
                exit_now=fact.get("withdrawn") or fact.get("exit when", False),
                exits=_exits(declared),
                messages=[each for each in sent if each["enrolment"] == row["id"]],
            )
        )
    return found


def _due(
    node: Node, fact: Mapping[str, Any], arrived: datetime, timezone: ZoneInfo
) -> datetime | None:
    wait = node.step.wait
    if wait is None:
        return None
    value = None
    if isinstance(wait.until, Moment) and wait.until.attribute is not None:
        value = fact.get(wait.until.attribute)
    found = due_at(wait, value, arrived, timezone)
    return None if found == NEVER else found


def _exits(journey: Journey) -> list[str]:
    exits: list[str] = []
    if journey.exit_when is not None:
        condition = journey.exit_when.model_dump(mode="json", exclude_none=True)
        # as the catalogue writes it, without the outer braces
        text = yaml.safe_dump(condition, default_flow_style=True, sort_keys=False, width=9999)
        exits.append(text.strip()[1:-1])
    if journey.leave_with_consent:
        exits.append(f"the consent to {journey.consent} is withdrawn")
    if journey.leave_with_audience and journey.audience is not None:
        exits.append(f"no member of {journey.audience} any more")
    elif journey.leave_with_audience:
        exits.append("what they entered by no longer holds")
    return exits
