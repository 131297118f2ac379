"""What must fit together between the channels and the rest of the catalogue."""

from __future__ import annotations

from collections.abc import Iterator

from profile_pipelines.catalog.channels import SmtpChannel, WebhookChannel
from profile_pipelines.catalog.draft import Draft
from profile_pipelines.catalog.mistakes import Path, did_you_mean


def channel_mistakes(draft: Draft) -> Iterator[tuple[Path, str]]:
    """Path in `channels.yaml` and text of every mistake."""
    for name, channel in draft.channels.channels.items():
        at: Path = ("channels", name)
        if channel.to is not None:
            yield from _told(draft, channel.to, (*at, "to"), text_only=True)
        if isinstance(channel, WebhookChannel):
            for index, told in enumerate(channel.attributes):
                yield from _told(draft, told, (*at, "attributes", index))
        if isinstance(channel, SmtpChannel) and "\n" in f"{channel.sender}{channel.reply_to}":
            yield (*at, "from"), "an address is one line"
        if channel.consent is not None:
            wrong = consent_mistake(draft, channel.consent)
            if wrong:
                yield (*at, "consent"), wrong


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
