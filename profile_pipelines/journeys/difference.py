"""How a journey's declaration differs from the version that was launched last."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace

from profile_pipelines.catalog.journeys import Journey
from profile_pipelines.journeys.definition import definition_of, read_definition
from profile_pipelines.journeys.program import describe, program
from profile_pipelines.ledger.enrolments import Enrolments


@dataclass(frozen=True)
class StepMapping:
    """What `mapping` does to a step of an older version."""

    old: str
    """Its path there."""
    new: str
    enrolments: int
    known: bool
    """Whether the older version has the step."""


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
    mapped_from: int | None = None
    """The version that `mapping` takes enrolments over from."""
    mapping: list[StepMapping] = field(default_factory=list[StepMapping])


def difference_of(journey: Journey, enrolments: Enrolments) -> JourneyDifference:
    """What launching the journey as it is declared now would change."""
    name = journey.journey
    versions = enrolments.versions.of(name)
    active: Counter[tuple[int, str]] = Counter()
    for version, step, state, _, _, count in enrolments.standing(name):
        if state == "active":
            active[version, step] += count
    text, fingerprint = definition_of(journey)
    if not versions:
        return JourneyDifference(name, 0, False)
    last = versions[-1]
    changed = last.fingerprint != fingerprint
    current = last.version + 1 if changed else last.version
    definitions = {each.version: read_definition(each.definition) for each in versions}
    mapped_from, mapping = _mapping(journey, definitions, active, current)
    staying = sum(count for (version, _), count in active.items() if changed or version != current)
    staying -= sum(each.enrolments for each in mapping)
    found = JourneyDifference(
        name, last.version, changed, enrolments=staying, mapped_from=mapped_from, mapping=mapping
    )
    if not changed:
        return found
    old, new = json.loads(last.definition), json.loads(text)
    keys = sorted(k for k in {*old, *new} - {"steps"} if old.get(k) != new.get(k))
    before = {node.path: node.step for node in program(definitions[last.version])}
    after = {node.path: node.step for node in program(read_definition(text))}
    steps: dict[str, str] = {}
    for path in sorted({*before, *after}):
        if path not in after:
            steps[path] = f"is gone: {describe(before[path])}"
        elif path not in before:
            steps[path] = f"is new: {describe(after[path])}"
        elif before[path] != after[path]:
            steps[path] = f"was: {describe(before[path])}; is: {describe(after[path])}"
    return replace(found, keys=keys, steps=steps)


def _mapping(
    journey: Journey,
    definitions: dict[int, Journey],
    active: Counter[tuple[int, str]],
    current: int,
) -> tuple[int | None, list[StepMapping]]:
    mapping = journey.mapping
    if mapping is None or mapping.version >= current:
        return (None if mapping is None else mapping.version), []
    older = definitions.get(mapping.version)
    steps = {node.path for node in program(older)} if older is not None else set[str]()
    return mapping.version, [
        StepMapping(old, new, active[mapping.version, old], old in steps)
        for old, new in mapping.steps.items()
    ]
