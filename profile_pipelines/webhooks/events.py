"""Which records do the events of a delivery name? No more of them is kept than the sync needs.

- Stripe: one event, its type at `type`, its id at `id`. https://docs.stripe.com/api/events/object
- Shopify: the body is the record; type and id of the delivery stand in the headers
  `X-Shopify-Topic` and `X-Shopify-Webhook-Id`, which aren't signed.
  https://shopify.dev/docs/api/webhooks/latest
- HubSpot: a list of up to 100 events, each with its `subscriptionType`. `eventId` alone isn't
  always unique, and a later attempt differs in `attemptNumber`.
  https://developers.hubspot.com/docs/api/webhooks
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from profile_pipelines.catalog.systems import Sync, System
from profile_pipelines.catalog.webhooks import Webhook, WebhookEvent
from profile_pipelines.ledger.inbox import Named
from profile_pipelines.sources.json_records import ABSENT, as_text, getter
from profile_pipelines.webhooks.signatures import Delivery, Signed

_TYPES = {"stripe": "type", "hubspot": "subscriptionType", "hmac": "type"}
_TIMES = {"stripe": "created", "hubspot": "occurredAt"}
_NUMBER = re.compile(r"\d{1,15}(\.\d+)?")
_SECONDS_END = 100_000_000_000
"""As seconds it would be the year 5138; from there on they are milliseconds."""
_HUBSPOT_EVENT = ("eventId", "subscriptionId", "portalId", "objectId", "occurredAt", "propertyName")
_LONGEST_KEY = 500


def named_by(
    system: System, webhook: Webhook, delivery: Delivery, body: Any, signed: Signed
) -> tuple[list[Named], int]:
    """The records that the delivery's events name, and how many events should name one but don't.

    Events that no rule fits name none.
    """
    named: list[Named] = []
    without = 0
    events: Sequence[Any] = body if isinstance(body, list) else [body]
    for index, event in enumerate(events):
        rule = _rule(webhook, event, _type(webhook, delivery, event))
        if rule is None:
            continue
        replay_key = _event_id(webhook, delivery, event, signed)
        if replay_key is None and signed.once:
            replay_key = f"{index} {signed.code}"
        happened_at = _event_time(webhook, delivery, event)
        found = _named(system, rule, event, replay_key, happened_at)
        if found is None:
            without += 1
        else:
            named.append(found)
    return named, without


def _named(
    system: System,
    rule: WebhookEvent,
    event: Any,
    replay_key: str | None,
    happened_at: datetime | None,
) -> Named | None:
    sync = system.syncs[rule.sync]
    record = None if rule.record is None else _at(event, rule.record)
    if rule.record is not None and not isinstance(record, dict):
        return None
    if rule.id is not None:
        text = as_text(_at(event, rule.id))
    elif sync.key is not None:
        there = {path: as_text(_at(record, path)) for path in sync.key.reads}
        text = as_text(sync.key.of(there))
    else:
        text = None
    key = _usable(text)
    if key is None:
        return None
    kept = None if record is None else _fields(sync, record)
    return Named(system.system, rule.sync, key, kept, rule.deleted, replay_key, happened_at)


def _type(webhook: Webhook, delivery: Delivery, event: Any) -> str:
    header = webhook.event_type_header
    if header is None and webhook.signature.type == "shopify":
        header = "X-Shopify-Topic"
    if header is not None and webhook.event_type is None:
        return delivery.headers.get(header.lower(), "")
    path = webhook.event_type or _TYPES[webhook.signature.type]
    return as_text(getter(path)(event)) or ""


def _event_id(webhook: Webhook, delivery: Delivery, event: Any, signed: Signed) -> str | None:
    kind = webhook.signature.type
    if webhook.event_id is not None or kind == "stripe":
        return as_text(getter(webhook.event_id or "id")(event))
    if kind == "hubspot":
        return json.dumps([as_text(getter(name)(event)) for name in _HUBSPOT_EVENT])
    if kind == "shopify" and "x-shopify-webhook-id" in delivery.headers:
        # only together with the body's own signature can it hide nothing else
        return f"{delivery.headers['x-shopify-webhook-id']} {signed.code}"
    return None


def _event_time(webhook: Webhook, delivery: Delivery, event: Any) -> datetime | None:
    """When it happened; None where nothing tells that, or nothing that can be read."""
    kind = webhook.signature.type
    path = webhook.event_time or _TIMES.get(kind)
    told = as_text(getter(path)(event)) if path is not None else None
    if path is None and kind == "shopify":
        told = delivery.headers.get("x-shopify-triggered-at")
    try:
        if told is None or not _NUMBER.fullmatch(told):
            at = datetime.fromisoformat(told or "")
            return at.astimezone(UTC) if at.tzinfo is not None else None
        seconds = float(told)
        return datetime.fromtimestamp(seconds / (1000 if seconds > _SECONDS_END else 1), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _rule(webhook: Webhook, event: Any, event_type: str) -> WebhookEvent | None:
    return next(
        (
            rule
            for rule in webhook.events
            if any(_fits(pattern, event_type) for pattern in rule.types)
            and all(
                as_text(getter(path)(event)) == as_text(wanted)
                for path, wanted in rule.where.items()
            )
        ),
        None,
    )


def _fits(pattern: str, event_type: str) -> bool:
    if pattern.endswith("*"):
        return event_type.startswith(pattern[:-1])
    return event_type == pattern


def _at(event: Any, path: str) -> Any:
    return event if path == "." else getter(path)(event)


def _usable(key: str | None) -> str | None:
    """Keys that a database can hold."""
    text = (key or "").strip()
    if not text or len(text) > _LONGEST_KEY or not text.isprintable():
        return None
    return text


def _fields(sync: Sync, record: dict[str, Any]) -> str:
    """The source fields that the sync reads, and no others, as JSON of their texts."""
    found = {path: getter(path)(record) for path in sync.mapped_fields}
    return json.dumps({path: as_text(v) for path, v in found.items() if v is not ABSENT})
