"""The channels over which messages go out: mail, webhooks, text messages and chats, files."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from typing import Annotated, Literal, cast
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field

from profile_pipelines.catalog.connections import Rate
from profile_pipelines.catalog.declaration import Declaration, Duration, Name, Secret, Text


class QuietHours(Declaration):
    """From a time of day until another, in the catalogue's time zone; it may go over midnight."""

    start: time
    end: time

    @classmethod
    def read(cls, value: object) -> object:
        """Let `21:00 to 08:00` stand for start and end."""
        if isinstance(value, dict | QuietHours):
            return cast(object, value)
        match = re.fullmatch(r"\s*(\d\d?):(\d\d)\s+to\s+(\d\d?):(\d\d)\s*", str(value))
        try:
            if match is None:
                raise ValueError
            hours = [time(int(match[1]), int(match[2])), time(int(match[3]), int(match[4]))]
        except ValueError:
            raise ValueError("must be two times of day, for example 21:00 to 08:00") from None
        if hours[0] == hours[1]:
            raise ValueError("begin and end at the same time; leave quiet hours out instead")
        return {"start": hours[0], "end": hours[1]}

    def until(self, now: datetime, timezone: ZoneInfo) -> datetime | None:
        """When the quiet hours end in which `now` lies; None when it lies outside them.

        An end that a change to summer time leaves out is the moment after the gap.
        """
        local = now.astimezone(timezone)
        clock = local.time().replace(tzinfo=None)
        over_midnight = self.end < self.start
        quiet = (
            clock >= self.start or clock < self.end
            if over_midnight
            else self.start <= clock < self.end
        )
        if not quiet:
            return None
        day = local.date()
        if over_midnight and clock >= self.start:
            day += timedelta(days=1)
        return datetime.combine(day, self.end, timezone).astimezone(now.tzinfo)


Quiet = Annotated[QuietHours, BeforeValidator(QuietHours.read, json_schema_input_type=str)]


class MessageLimits(Declaration):
    """What keeps customers from too many messages, and from those at night."""

    cap: Rate | None = None
    """At most so many messages for one customer, such as `3 per 7 days`."""
    quiet_hours: Quiet | None = None
    """When nothing is sent, such as `21:00 to 08:00`, in the catalogue's time zone."""


class _Channel(MessageLimits):
    """What all channels have."""

    consent: Name | None = None
    """The purpose that a customer must have consented to, where the journey names none."""
    rate_limit: Rate | None = None
    """At most so many messages for all customers, such as `100 per second`."""
    attempts: int = Field(default=8, ge=1, le=50)
    """How often a message is tried; each wait is twice as long as the one before."""
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
    sender: str = Field(alias="from", examples=["Example <hello@example.com>"])
    """The address in From."""
    reply_to: str | None = None
    timeout: Duration = timedelta(seconds=30)


class WebhookChannel(_Channel):
    """A signed POST of JSON, with an Idempotency-Key."""

    type: Literal["webhook"]
    to: Name | None = None
    """The identifier or attribute that holds the customer's address."""
    url: Text
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
