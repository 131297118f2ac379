"""What must fit together between the journeys and the rest of the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterator

from profile_pipelines.catalog.channel_checks import consent_mistake, window_mistakes
from profile_pipelines.catalog.conditions import Condition, check_condition
from profile_pipelines.catalog.draft import Draft
from profile_pipelines.catalog.journeys import Journey, Moment, Step, path_of, purposes_of, steps_of
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
        sends = [send for _, send, _ in purposes_of(journey, transactional=False)]
        only_transactional = not sends and any(purposes_of(journey, transactional=True))
        wrong = None if only_transactional else consent_mistake(draft, journey.consent)
        if wrong:
            yield ("consent",), wrong
    elif journey.leave_with_consent:
        yield ("leave_with_consent",), "needs a consent; write for example consent: email"
    for path, step in steps_of(journey):
        yield from _step(draft, step, path)
    yield from _purposes(draft, journey)
    yield from window_mistakes(draft, journey)
    yield from _mapping(journey)


def _purposes(draft: Draft, journey: Journey) -> Iterator[tuple[Path, str]]:
    """A transactional message needs a purpose that no marketing message has."""
    for path, send, _ in purposes_of(journey, transactional=False):
        wrong = consent_mistake(draft, send.consent) if send.consent is not None else None
        if wrong:
            yield (*path, "send", "consent"), wrong
    for path, send, purpose in purposes_of(journey, transactional=True):
        if purpose is None:
            text = "a transactional message needs a purpose of its own; write consent: orders"
            yield (*path, "send", "transactional"), text
            continue
        if other := _marketing(draft, purpose):
            key = "consent" if send.consent is not None else "transactional"
            text = (
                f"a transactional message needs a purpose of its own; {purpose} is also that of "
                f"messages of the journey {other}, which aren't transactional"
            )
            yield (*path, "send", key), text


def _marketing(draft: Draft, purpose: str) -> str | None:
    """A journey of which a message that isn't transactional has the purpose."""
    channels = draft.channels.channels
    for name, journey in draft.journeys.items():
        for _, send, own in purposes_of(journey, transactional=False):
            channel = channels.get(send.channel)
            if purpose == (own or (channel.consent if channel else None)):
                return name
    return None


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
        channels = draft.channel_names
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
        elif name in draft.attributes:
            kind = draft.attributes[name].type
            if kind not in ("date", "timestamp"):
                text = f"needs a date or a timestamp; the type of {name} is {kind}"
                yield (*path, "wait", "until"), text
            elif kind == "date" and until.minutes is not None:
                text = f"{name} is a date, which has no hours; write for example {name} - 1 day"
                yield (*path, "wait", "until"), text
    for number, arm in enumerate(step.branch or ()):
        if arm.when is not None:
            yield from _condition(draft, arm.when, (*path, "branch", number, "when"))


def _condition(draft: Draft, condition: Condition, path: Path) -> Iterator[tuple[Path, str]]:
    yield from (((*path, *below), text) for below, text in condition_mistakes(draft, condition))


def condition_mistakes(draft: Draft, condition: Condition) -> Iterator[tuple[Path, str]]:
    """What doesn't fit the catalogue, except about what has mistakes of its own."""
    found = check_condition(condition, draft.attributes, draft.declared("audience"))
    for path, text in found:
        named = {step for step in path if isinstance(step, str)}
        unknown = text.startswith("unknown ")
        if unknown and path[-1] in ("in_audience", "not_in_audience"):
            flawed = "audience" in draft.unread
        else:
            flawed = "attribute" in draft.unread if unknown else False
            flawed |= any(draft.is_flawed("attribute", n, draft.attributes) for n in named)
        if not flawed:
            yield path, text
