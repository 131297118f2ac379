"""The channels over which messages go out: mail, webhooks, text messages and chats, files."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from profile_pipelines.catalog.caps import MessageCap
from profile_pipelines.catalog.connections import Rate
from profile_pipelines.catalog.declaration import (
    Declaration,
    Duration,
    Name,
    Secret,
    Text,
    WebAddress,
)
from profile_pipelines.catalog.email_addresses import named_address
from profile_pipelines.catalog.feedback import Feedback
from profile_pipelines.catalog.send_times import OpenHours, Quiet


def _address(text: str) -> str:
    named_address(text)
    return text


_Address = Annotated[str, AfterValidator(_address)]


class MessageLimits(Declaration):
    """What keeps customers from too many messages, and from those at night."""

    cap: MessageCap | None = None
    """At most so many messages for one customer, such as `3 per 7 days`."""
    quiet_hours: Quiet | None = None
    """When nothing is sent, such as `21:00 to 08:00`, by the customer's clock."""
    window: OpenHours | None = None
    """When alone messages are sent, such as `mon-fri 09:00-17:00`, by the customer's clock."""


class _Channel(MessageLimits):
    """What all channels have."""

    consent: Name | None = None
    """The purpose that a customer must have consented to, where the journey names none."""
    rate_limit: Rate | None = None
    """At most so many messages for all customers, such as `100 per second`."""
    attempts: int = Field(default=8, ge=1, le=50)
    """How often a message is tried; each wait is twice as long as the one before."""
    feedback: Feedback | None = Field(
        default=None, examples=[{"provider": "mailgun", "signing_key": {"env": "MAILGUN_KEY"}}]
    )
    """Who tells what became of the messages: bounces and complaints suppress addresses."""
    description: str = ""


class SmtpChannel(_Channel):
    """Mail through an SMTP server. A message whose fate is unknown isn't sent again."""

    type: Literal["smtp"]
    to: Name = Field(examples=["email"])
    """The identifier or attribute that holds the customer's address."""
    host: Text
    port: int = Field(default=587, gt=0, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    """How the connection is encrypted; `tls` from the start (port 465)."""
    username: Text | None = None
    password: Secret | None = None
    sender: _Address = Field(alias="from", examples=["Example <hello@example.com>"])
    """The address in From."""
    reply_to: _Address | None = None
    """Where answers go."""
    return_path: _Address | None = None
    """Where mail servers send back what they can't deliver; by default to the address in From."""
    timeout: Duration = timedelta(seconds=30)


class WebhookChannel(_Channel):
    """A signed POST of JSON, with an Idempotency-Key."""

    type: Literal["webhook"]
    to: Name | None = None
    """The identifier or attribute that holds the customer's address."""
    url: WebAddress
    secret: Secret
    """Signs each call: HMAC-SHA256 of `<timestamp>.<body>`, in the header Webhook-Signature."""
    headers: dict[str, Text] = {}
    attributes: list[Name] = []
    """The attributes and identifiers that the call tells, beside the address and the texts."""
    concurrency: int = Field(default=16, ge=1, le=256)
    """How many calls are made at a time."""
    allow_private: bool | list[str] = False
    """Whether the address may be private or loopback; or only these hosts may."""
    timeout: Duration = timedelta(seconds=30)


class AppriseChannel(_Channel):
    """Text messages, push and chats, through the services that Apprise knows."""

    type: Literal["apprise"]
    to: Name | None = None
    """The identifier or attribute that holds the customer's address."""
    url: Text
    """The service's Apprise URL, as an environment variable where it holds a key; `{to}` in it
    stands for the customer's address."""


class FileChannel(_Channel):
    """One file a message, in a folder: to look at, or for another program to take away."""

    type: Literal["file"]
    to: Name | None = None
    """The identifier or attribute that holds the customer's address."""
    folder: str | None = None
    """Where the files go; by default `outbox/<channel>` beside the lake."""


Channel = Annotated[
    SmtpChannel | WebhookChannel | AppriseChannel | FileChannel, Field(discriminator="type")
]


class Channels(Declaration):
    """`channels.yaml`: the channels by name, and what holds for all of them together."""

    limits: MessageLimits = MessageLimits()
    """What holds over all channels together."""
    channels: dict[Name, Channel] = {}
