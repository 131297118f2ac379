"""When an event happened, by each vendor's own word."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from profile_pipelines.catalog.systems import System
from profile_pipelines.webhooks.events import named_by
from profile_pipelines.webhooks.signatures import Delivery, Signed

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("signature", "where", "event", "happened_at"),
    [
        ("stripe", {}, {"created": int(AT.timestamp())}, AT),
        ("hubspot", {}, {"occurredAt": int(AT.timestamp() * 1000)}, AT),
        ("shopify", {}, {}, AT),
        ("stripe", {"event_time": "at"}, {"at": "2026-03-01T13:00:00+01:00"}, AT),
        ("stripe", {"event_time": "at"}, {"at": "2026-03-01T12:00:00Z"}, AT),
        ("stripe", {}, {}, None),
        ("stripe", {}, {"created": "1e999"}, None),
        ("stripe", {"event_time": "at"}, {"at": "2026-03-01T12:00:00"}, None),
        ("stripe", {"event_time": "at"}, {"at": "yesterday"}, None),
    ],
)
def test_an_event_tells_when_it_happened(
    signature: str, where: dict[str, Any], event: dict[str, Any], happened_at: datetime | None
) -> None:
    """As seconds, milliseconds or ISO 8601; what can't be read is no time."""
    event_type = {"stripe": "type", "hubspot": "subscriptionType"}.get(signature, "topic")
    system = System.model_validate(
        {
            "system": "crm",
            "kind": "crm",
            "connection": {"type": "rest", "base_url": "https://crm.example.com"},
            "syncs": {
                "people": {
                    "path": "/people",
                    "key": "id",
                    "identifiers": {"customer_no": "id"},
                    "attributes": {},
                }
            },
            "webhook": {
                "signature": signature,
                "secret": {"env": "SECRET"},
                "events": [{"types": ["gone"], "sync": "people", "id": "key", "deleted": True}],
                **where,
            },
        }
    )
    assert system.webhook is not None
    headers = {"x-shopify-topic": "gone", "x-shopify-triggered-at": AT.isoformat()}
    delivery = Delivery("POST", "https://hook.example.com", headers, b"")
    body = {event_type: "gone", "key": "1", "id": "e1", **event}
    [[named], without] = named_by(system, system.webhook, delivery, body, Signed("", once=False))
    assert (named.key, named.happened_at, without) == ("1", happened_at, 0)
