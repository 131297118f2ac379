"""Vendors: requests signed as each of them does, written down anew from their documentation."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECRETS = {"stripe": "whsec_new", "shopify": "shpss_1", "hubspot": "client-secret", "hmac": "key"}
HUBSPOT_URL = "https://hooks.example.com/webhooks/hubspot?from=%2Fcrm"


@dataclass(frozen=True)
class Post:
    """A request to a system's webhook."""

    system: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def with_body(self, body: bytes) -> Post:
        return replace(self, body=body)


def _sha256(secret: str, text: bytes) -> bytes:
    return hmac.new(secret.encode(), text, hashlib.sha256).digest()


def stripe(record: str, event: str = "evt_1", *, at: datetime = NOW, secret: str = "") -> Post:
    """An event about a subscription."""
    content = {
        "id": event,
        "type": "customer.subscription.updated",
        "data": {"object": {"id": record, "customer": {"email": "secret@example.com"}}},
    }
    body = json.dumps(content).encode()
    time = str(int(at.timestamp()))
    digest = _sha256(secret or SECRETS["stripe"], time.encode() + b"." + body).hex()
    return Post("stripe", body, {"Stripe-Signature": f"t={time},v1={'0' * 64},v1={digest},v0=x"})


def shopify(
    record: str, event: str = "b54557e4", *, secret: str = "", topic: str = "customers/update"
) -> Post:
    """A customer as it stands after the change."""
    body = json.dumps(
        {"id": int(record), "email": "secret@example.com", "note": "not mapped", "tags": "vip"}
    ).encode()
    digest = base64.b64encode(_sha256(secret or SECRETS["shopify"], body)).decode()
    headers = {
        "X-Shopify-Topic": topic,
        "X-Shopify-Hmac-SHA256": digest,
        "X-Shopify-Webhook-Id": event,
    }
    return Post("shopify", body, headers)


def hubspot(*records: str, event: int = 1, at: datetime = NOW, secret: str = "") -> Post:
    """A batch of events."""
    content = [
        {
            "eventId": event,
            "subscriptionId": 12,
            "portalId": 33,
            "occurredAt": 1772452800000,
            "subscriptionType": "contact.propertyChange",
            "attemptNumber": 0,
            "objectId": int(record),
            "propertyName": "tier",
        }
        for record in records
    ]
    body = json.dumps(content).encode()
    time = str(int(at.timestamp() * 1000))
    signed_url = HUBSPOT_URL.replace("%2F", "/")
    signed = b"POST" + signed_url.encode() + body + time.encode()
    digest = base64.b64encode(_sha256(secret or SECRETS["hubspot"], signed)).decode()
    return Post(
        "hubspot", body, {"X-HubSpot-Signature-v3": digest, "X-HubSpot-Request-Timestamp": time}
    )


def generic(record: str, *, at: datetime = NOW, secret: str = "") -> Post:
    """A ticket that changed; the time is signed with it."""
    body = json.dumps({"type": "ticket.updated", "ticket": {"id": record}}).encode()
    time = at.isoformat()
    digest = hmac.new((secret or SECRETS["hmac"]).encode(), digestmod=hashlib.sha512)
    digest.update(f"{time}:".encode() + body)
    headers = {"X-Signature": f"sha512={digest.hexdigest()}", "X-Signed-At": time}
    return Post("generic", body, headers)


def thin(record: str) -> Post:
    """An event without id or time, alike each time."""
    body = json.dumps({"type": "changed", "id": record}).encode()
    return Post("thin", body, {"X-Hub": _sha256(SECRETS["hmac"], body).hex()})


def catalogue() -> dict[str, Any]:
    """Systems that send such requests."""

    def system(name: str, webhook: dict[str, Any], **sync: Any) -> dict[str, Any]:
        return {
            "system": name,
            "kind": "crm",
            "connection": {"type": "rest", "allow_private": True, "base_url": "http://127.0.0.1:1"},
            "syncs": {
                "people": {
                    "path": "/people",
                    "one": "/people/{id}",
                    "key": "id",
                    "identifiers": {"email": "email"},
                    "attributes": {"tier": "tags"},
                    **sync,
                }
            },
            "webhook": webhook,
        }

    def secret(name: str) -> dict[str, str]:
        return {"env": f"{name.upper()}_SECRET"}

    webhooks: dict[str, dict[str, Any]] = {
        "stripe": {
            "signature": "stripe",
            "secret": [secret("old"), secret("stripe")],
            "events": [
                {"types": ["customer.subscription.*"], "sync": "people", "id": "data.object.id"}
            ],
        },
        "shopify": {
            "signature": "shopify",
            "secret": secret("shopify"),
            "events": [
                {"types": ["customers/update"], "sync": "people", "record": "."},
                {"types": ["customers/delete"], "sync": "people", "id": "id", "deleted": True},
            ],
        },
        "hubspot": {
            "signature": {"type": "hubspot", "url": HUBSPOT_URL},
            "secret": secret("hubspot"),
            "events": [
                {
                    "types": ["contact.propertyChange"],
                    "where": {"portalId": 33},
                    "sync": "people",
                    "id": "objectId",
                }
            ],
        },
        "generic": {
            "signature": {
                "type": "hmac",
                "header": "X-Signature",
                "algorithm": "sha512",
                "prefix": "sha512=",
                "timestamp_header": "X-Signed-At",
                "signed": "{timestamp}:{body}",
            },
            "secret": secret("hmac"),
            "events": [{"types": ["ticket.updated"], "sync": "people", "id": "ticket.id"}],
        },
        "thin": {
            "signature": {"type": "hmac", "header": "X-Hub"},
            "secret": secret("hmac"),
            "events": [{"types": ["changed"], "sync": "people", "id": "id"}],
        },
    }
    names = list(webhooks)
    return {
        "identifiers": {"email": {"normalise": ["email"]}},
        "attributes": {"tier": {"type": "string", "sources": names, "fresh_within": "24h"}},
        "systems": {name: system(name, webhook) for name, webhook in webhooks.items()},
    }


ENVIRONMENT = {
    "OLD_SECRET": "whsec_old",
    **{f"{name.upper()}_SECRET": secret for name, secret in SECRETS.items()},
}
