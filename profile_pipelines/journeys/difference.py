"""How a journey's declaration differs from the version that was launched last."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from profile_pipelines.catalog.journeys import Journey
from profile_pipelines.journeys.definition import definition_of, read_definition
from profile_pipelines.journeys.program import describe, program
from profile_pipelines.ledger.enrolments import Enrolments


@dataclass(frozen=True)
class JourneyDifference:
    """`version` 0: it was never launched."""

    journey: str
    version: int
    changed: bool
    keys: list[str] = field(default_factory=list[str])
    """The keys of the journey, but for its steps, that are others."""
    steps: dict[str, str] = field(default_factory=dict[str, str])
    """By path: what is another about the step."""
    enrolments: int = 0
    """Who is active in older versions, and stays there."""


def difference_of(journey: Journey, enrolments: Enrolments) -> JourneyDifference:
    """What launching the journey as it is declared now would change."""
    name = journey.journey
    versions = enrolments.versions(name)
    active = sum(row[-1] for row in enrolments.standing(name) if row[2] == "active")
    text, fingerprint = definition_of(journey)
    if not versions:
        return JourneyDifference(name, 0, False)
    last = versions[-1]
    if last.fingerprint == fingerprint:
        return JourneyDifference(name, last.version, False, enrolments=active)
    old, new = json.loads(last.definition), json.loads(text)
    keys = sorted(k for k in {*old, *new} - {"steps"} if old.get(k) != new.get(k))
    before = {node.path: node.step for node in program(read_definition(last.definition))}
    after = {node.path: node.step for node in program(read_definition(text))}
    steps: dict[str, str] = {}
    for path in sorted({*before, *after}):
        if path not in after:
            steps[path] = f"is gone: {describe(before[path])}"
        elif path not in before:
            steps[path] = f"is new: {describe(after[path])}"
        elif before[path] != after[path]:
            steps[path] = f"was: {describe(before[path])}; is: {describe(after[path])}"
    return JourneyDifference(name, last.version, True, keys, steps, active)
