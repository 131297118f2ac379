"""What must fit together between the channels and the rest of the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from profile_pipelines.catalog.channels import SmtpChannel, WebhookChannel
from profile_pipelines.catalog.draft import Draft
from profile_pipelines.catalog.journeys import Journey, steps_of
from profile_pipelines.catalog.mistakes import Path, did_you_mean
from profile_pipelines.catalog.send_times import Window, next_allowed

_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)
"""What is open in the two weeks from any day is so in all."""


def channel_mistakes(draft: Draft) -> Iterator[tuple[Path, str]]:
    """Path in `channels.yaml` and text of every mistake."""
    for name, channel in draft.channels.channels.items():
        at: Path = ("channels", name)
        if channel.to is not None:
            yield from _told(draft, channel.to, (*at, "to"), text_only=True)
        if isinstance(channel, WebhookChannel):
            for index, told in enumerate(channel.attributes):
                yield from _told(draft, told, (*at, "attributes", index))
        if isinstance(channel, SmtpChannel) and "\n" in (
            f"{channel.sender}{channel.reply_to}{channel.return_path}"
        ):
            yield (*at, "from"), "an address is one line"
        if channel.feedback is not None and channel.to is None:
            yield (*at, "feedback"), "is about addresses; say which in `to`"
        never = _never(draft, name)
        if never:
            yield (*at, *(["window"] if channel.window else [])), never
        if channel.consent is not None:
            wrong = consent_mistake(draft, channel.consent)
            if wrong:
                yield (*at, "consent"), wrong


def _never(draft: Draft, name: str, own: Window | None = None) -> str | None:
    """What is wrong where a channel, and a journey's own window, never let a message through."""
    channel = draft.channels.channels.get(name)
    limits = [draft.channels.limits, *([channel] if channel is not None else [])]
    quiet = [each.quiet_hours for each in limits if each.quiet_hours]
    windows = [*(each.window for each in limits if each.window), *([own] if own else [])]
    if not windows or next_allowed(_SOME_DAY, ZoneInfo("UTC"), quiet, windows) is not None:
        return None
    return f"never lets a message go out over {name}, with the other windows and quiet hours"


def window_mistakes(draft: Draft, journey: Journey) -> Iterator[tuple[Path, str]]:
    """Path below the journey and text, where its window lets nothing out over a channel."""
    if journey.window is not None:
        names = {step.send.channel for _, step in steps_of(journey) if step.send is not None}
        for name in sorted(names & set(draft.channels.channels)):
            wrong = _never(draft, name, journey.window)
            if wrong:
                yield ("window",), wrong


def consent_mistake(draft: Draft, purpose: str) -> str | None:
    """What is wrong with a consent that is asked for: no attribute holds it."""
    if "attribute" in draft.unread or len(draft.declared("attribute")) > len(draft.attributes):
        return None
    known = sorted({each.consent for each in draft.attributes.values() if each.consent})
    if purpose in known:
        return None
    hint = did_you_mean(purpose, known, all_of="there are consents for")
    return f"no attribute holds the consent {purpose} (`consent: {purpose}`){hint}"


def _told(
    draft: Draft, name: str, path: Path, *, text_only: bool = False
) -> Iterator[tuple[Path, str]]:
    if name in draft.identifiers:
        return
    if draft.is_unknown("attribute", name) and draft.is_unknown("identifier", name):
        known = [*draft.declared("identifier"), *draft.declared("attribute")]
        hint = did_you_mean(name, known)
        yield path, f"unknown identifier or attribute {name}{hint}"
    elif text_only and name in draft.attributes and draft.attributes[name].type != "string":
        text = f"an address is a string; the type of {name} is {draft.attributes[name].type}"
        yield path, text
