"""What must fit together between the journeys and the rest of the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterator

from profile_pipelines.catalog.channel_checks import consent_mistake
from profile_pipelines.catalog.conditions import Condition, attributes_of, check_condition
from profile_pipelines.catalog.draft import Draft
from profile_pipelines.catalog.journeys import Journey, Moment, Step, path_of, steps_of
from profile_pipelines.catalog.mistakes import Path, did_you_mean


def journey_mistakes(draft: Draft, journey: Journey) -> Iterator[tuple[Path, str]]:
    """Path below the journey and text of every mistake."""
    if journey.audience is not None and draft.is_unknown("audience", journey.audience):
        hint = did_you_mean(journey.audience, draft.declared("audience"), all_of="there are")
        yield ("audience",), f"unknown audience {journey.audience}{hint}"
    for key in ("enter_when", "exit_when", "goal"):
        condition = getattr(journey, key)
        if condition is not None:
            yield from _condition(draft, condition, (key,))
    if journey.consent is not None:
        wrong = consent_mistake(draft, journey.consent)
        if wrong:
            yield ("consent",), wrong
    elif journey.leave_with_consent:
        yield ("leave_with_consent",), "needs a consent; write for example consent: email"
    for path, step in steps_of(journey):
        yield from _step(draft, step, path)
    yield from _mapping(journey)


def _mapping(journey: Journey) -> Iterator[tuple[Path, str]]:
    if journey.mapping is None:
        return
    known = [*(path_of(path) for path, _ in steps_of(journey)), "end"]
    for old, new in journey.mapping.steps.items():
        below = ("mapping", "steps", old)
        if not re.fullmatch(r"\d+(\.\d+\.\d+)*", old):
            yield below, f"{old} is no step's path; journey diff tells them, such as 1 or 2.0.0"
        elif new not in known:
            yield below, f"there is no step {new} here; there are {', '.join(known)}"


def _step(draft: Draft, step: Step, path: Path) -> Iterator[tuple[Path, str]]:
    if step.send is not None:
        channels = draft.channels.channels
        if step.send.channel not in channels and "channels" not in draft.unread:
            hint = did_you_mean(step.send.channel, channels, all_of="there are")
            text = f"unknown channel {step.send.channel}{hint or '; declare it in channels.yaml'}"
            yield (*path, "send", "channel"), text
        if step.send.template not in draft.template_names:
            hint = did_you_mean(step.send.template, draft.template_names, all_of="there are")
            todo = f"; write templates/{step.send.template}.txt"
            text = f"unknown template {step.send.template}{hint or todo}"
            yield (*path, "send", "template"), text
    until = step.wait.until if step.wait is not None else None
    if isinstance(until, Condition):
        yield from _condition(draft, until, (*path, "wait", "until"))
    elif isinstance(until, Moment) and until.attribute is not None:
        name = until.attribute
        if draft.is_unknown("attribute", name):
            hint = did_you_mean(name, draft.declared("attribute"))
            yield (*path, "wait", "until"), f"unknown attribute {name}{hint}"
        elif name in draft.attributes and draft.attributes[name].type != "date":
            text = f"needs a date; the type of {name} is {draft.attributes[name].type}"
            yield (*path, "wait", "until"), text
    for number, arm in enumerate(step.branch or ()):
        if arm.when is not None:
            yield from _condition(draft, arm.when, (*path, "branch", number, "when"))


def _condition(draft: Draft, condition: Condition, path: Path) -> Iterator[tuple[Path, str]]:
    for name in attributes_of(condition):
        if draft.is_flawed("attribute", name, draft.attributes):
            return
    for below, text in check_condition(condition, draft.attributes, draft.declared("audience")):
        yield (*path, *below), text
