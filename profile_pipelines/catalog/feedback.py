"""What becomes of a channel's messages, as its provider or the mail servers tell it: bounces,
complaints, deliveries.

How each provider signs is told, with its documentation, in `webhooks.feedback_signatures`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self, cast

from pydantic import BeforeValidator, Field, model_validator

from profile_pipelines.catalog.declaration import Declaration, Duration, Secret, Text, WebAddress

_Tolerance = Annotated[Duration, Field(gt=timedelta(0), le=timedelta(days=7))]


def _as_list(value: object) -> object:
    return cast(object, value) if isinstance(value, list) else [value]


class SoftBounces(Declaration):
    """From how many soft bounces on an address is suppressed."""

    after: int = Field(default=5, ge=1, le=100)
    """How many messages in a row that couldn't be delivered for the time being."""
    within: Annotated[Duration, Field(gt=timedelta(0), le=timedelta(days=366))] = timedelta(days=30)
    """The span in which they lie; older ones no longer count."""


class _Feedback(Declaration):
    """What all of them have."""

    soft: SoftBounces = SoftBounces()
    """From how many soft bounces on an address is suppressed."""


class SesFeedback(_Feedback):
    """Amazon SES, through an SNS topic that posts to the receiver."""

    provider: Literal["ses"]
    topic: str = Field(
        pattern=r"^arn:aws[a-z-]*:sns:[a-z]{2}(-[a-z]+)+-\d+:\d{12}:[A-Za-z0-9_.-]{1,256}$",
        examples=["arn:aws:sns:eu-central-1:123456789012:ses-feedback"],
    )
    """The topic's ARN; what comes of others is refused."""
    endpoint: WebAddress | None = None
    """Another address of SNS, such as one inside your own network; by default that of the topic's
    region. Certificates and confirmations are asked for there and nowhere else."""
    tolerance: _Tolerance = timedelta(hours=1)
    """How far the time of signing may lie from now; SNS tries for an hour with the same one."""

    @property
    def region(self) -> str:
        """The topic's region, such as eu-central-1."""
        return self.topic.split(":")[3]


class SendGridFeedback(_Feedback):
    """SendGrid's Event Webhook, signed."""

    provider: Literal["sendgrid"]
    public_key: Annotated[
        list[Text], BeforeValidator(_as_list, json_schema_input_type=Text | list[Text])
    ] = Field(min_length=1, examples=[{"env": "SENDGRID_PUBLIC_KEY"}])
    """The verification key of the signed Event Webhook; several while it is being replaced."""
    tolerance: _Tolerance = timedelta(minutes=5)
    """How far the time of signing may lie from now, either way."""


class PostmarkFeedback(_Feedback):
    """Postmark's webhooks, which don't sign: they bring a login, or a header with a token."""

    provider: Literal["postmark"]
    username: Text | None = None
    """The name in basic authentication."""
    password: Secret | None = None
    """The password in basic authentication."""
    header: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]+$", examples=["X-Token"])
    """The header that has the token."""
    token: Secret | None = None
    """What stands in the header."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        login = (self.username is not None, self.password is not None)
        header = (self.header is not None, self.token is not None)
        if (all(login), all(header)) not in ((True, False), (False, True)) or (
            any(login) and any(header)
        ):
            raise ValueError("needs username and password, or header and token")
        return self


class MailgunFeedback(_Feedback):
    """Mailgun's webhooks, which sign a time and a token that is used once."""

    provider: Literal["mailgun"]
    signing_key: Annotated[
        list[Secret], BeforeValidator(_as_list, json_schema_input_type=Secret | list[Secret])
    ] = Field(min_length=1, examples=[{"env": "MAILGUN_SIGNING_KEY"}])
    """The HTTP webhook signing key; several while it is being replaced."""
    tolerance: _Tolerance = timedelta(minutes=5)
    """How far the time of signing may lie from now, either way."""


class MailboxFeedback(_Feedback):
    """The mails that servers send back, in a mailbox that each run reads."""

    provider: Literal["mailbox"]
    path: str = Field(min_length=1, examples=["/var/mail/bounces/Maildir"])
    """A Maildir, an mbox file, or a folder of `.eml` files. Nothing in it is moved or deleted."""


Feedback = Annotated[
    SesFeedback | SendGridFeedback | PostmarkFeedback | MailgunFeedback | MailboxFeedback,
    Field(discriminator="provider"),
]
