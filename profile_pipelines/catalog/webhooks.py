"""Webhooks: how a system signs what it sends, and which events name which records.

How each vendor signs is told, with its documentation, in `profile_pipelines.webhooks.signatures`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self, cast

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from profile_pipelines.catalog.declaration import Declaration, Duration, Name, Secret, Text

_FIVE_MINUTES = timedelta(minutes=5)
Tolerance = Annotated[Duration, Field(gt=timedelta(0))]


class StripeSignature(Declaration):
    """`Stripe-Signature: t=…,v1=…` over the time and the body."""

    type: Literal["stripe"]
    tolerance: Tolerance = _FIVE_MINUTES
    """How far the time of signing may lie from now, either way."""


class ShopifySignature(Declaration):
    """`X-Shopify-Hmac-SHA256` over the body; nothing tells when it was signed."""

    type: Literal["shopify"]


class HubSpotSignature(Declaration):
    """`X-HubSpot-Signature-v3` over method, address, body and time."""

    type: Literal["hubspot"]
    tolerance: Tolerance = _FIVE_MINUTES
    url: Text | None = None
    """The address that HubSpot calls, which it signs; needed behind a proxy."""


class HmacSignature(Declaration):
    """An HMAC in a header, over the body or over what `signed` says."""

    type: Literal["hmac"]
    header: str = Field(examples=["X-Signature"])
    """The header with the signature."""
    algorithm: Literal["sha256", "sha512", "sha1"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    """What stands before the signature in the header, such as `sha256=`."""
    timestamp_header: str | None = None
    """The header with the time of signing: seconds or milliseconds since 1970, or ISO 8601."""
    signed: str | None = None
    """What is signed, of {timestamp} and {body}. Default: {body}, or {timestamp}.{body}."""
    tolerance: Tolerance = _FIVE_MINUTES

    @field_validator("signed")
    @classmethod
    def _signs_the_body(cls, signed: str | None, info: ValidationInfo) -> str | None:
        if signed is None:
            return None
        if signed.count("{body}") != 1:
            raise ValueError("must hold {body} once")
        timed = info.data.get("timestamp_header", ...)  # absent where it has a mistake
        if timed is not ... and ("{timestamp}" in signed) != (timed is not None):
            raise ValueError("must hold {timestamp} exactly when timestamp_header is given")
        return signed


Signature = Annotated[
    StripeSignature | ShopifySignature | HubSpotSignature | HmacSignature,
    Field(discriminator="type"),
]


class WebhookEvent(Declaration):
    """Which records of a sync the events of some types name."""

    types: list[str] = Field(min_length=1, examples=[["customer.updated"]])
    """The types, also with a final `*`: `customer.subscription.*`."""
    where: dict[str, str | int | bool] = {}
    """Only events with these values, by their paths in the event."""
    sync: Name
    """The sync whose records they name."""
    id: str | None = None
    """Path in the event of the record's key: what stands in the sync's `key`."""
    record: str | None = None
    """Path in the event of the whole record, which is taken as it is; `.` for all of the event."""
    deleted: bool = False
    """The record named is gone."""

    @model_validator(mode="after")
    def _names_a_record(self) -> Self:
        if self.id is None and (self.record is None or self.deleted):
            raise ValueError("needs id, the path of the record's key in the event")
        if self.deleted and self.record is not None:
            raise ValueError("a record that is gone has no record to take; keep deleted or record")
        return self


def _as_list(value: object) -> object:
    return cast(object, value) if isinstance(value, list) else [value]


def _as_mapping(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


class Webhook(Declaration):
    """What the system sends by itself as soon as something changes."""

    signature: Annotated[
        Signature, BeforeValidator(_as_mapping, json_schema_input_type=str | Signature)
    ] = Field(examples=["stripe"])
    """How it is signed: `stripe`, `shopify`, `hubspot`, or a mapping such as `{type: hmac, …}`."""
    secret: Annotated[
        list[Secret], BeforeValidator(_as_list, json_schema_input_type=Secret | list[Secret])
    ] = Field(min_length=1, examples=[{"env": "BILLING_WEBHOOK_SECRET"}])
    """The secret it signs with; several while it is being replaced."""
    event_type: str | None = None
    """Path of the event's type; by default where the vendor has it, else `type`."""
    event_type_header: str | None = None
    """The header with the event's type, where it doesn't stand in the event."""
    event_id: str | None = None
    """Path of what tells the events apart; by default where the vendor has it."""
    event_time: str | None = None
    """Path of the event's time: ISO 8601, or seconds or milliseconds since 1970; by default where
    the vendor has it."""
    events: list[WebhookEvent] = Field(min_length=1)
    """Which events name which records; the first that fits counts."""

    @model_validator(mode="after")
    def _one_type(self) -> Self:
        if self.event_type is not None and self.event_type_header is not None:
            raise ValueError("the event's type stands in one place; keep one of the two")
        return self
