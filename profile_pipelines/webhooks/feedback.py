"""The endpoint at which providers tell what became of messages: POST /feedback/{channel}.

200 once it is in the ledger for good, and with it what follows: an address that bounced or
complained gets nothing from that moment on. Answers hold neither secrets nor personal data; they
are those of the receiver's other endpoint.
"""

from __future__ import annotations

import asyncio
from asyncio import QueueFull
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from profile_pipelines.catalog.declaration import Secret
from profile_pipelines.catalog.feedback import (
    Feedback,
    MailboxFeedback,
    MailgunFeedback,
    PostmarkFeedback,
    SendGridFeedback,
    SesFeedback,
)
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.secrets import resolve, variables_of
from profile_pipelines.consent.soft_bounces import soft_rules
from profile_pipelines.errors import ProfilePipelinesError
from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.feedback import TokenUsed
from profile_pipelines.ledger.inbox import RECEIVED
from profile_pipelines.webhooks.feedback_events import read_events
from profile_pipelines.webhooks.feedback_signatures import (
    SnsTopic,
    Told,
    Unavailable,
    mailgun,
    postmark,
    public_key,
    sendgrid,
)
from profile_pipelines.webhooks.receiver import MAX_BYTES, STATUS_OF, answer, read_body
from profile_pipelines.webhooks.signatures import Delivery, Refused
from profile_pipelines.webhooks.writer import Writer

_LATER = {"Retry-After": "10"}
REPEATED, NOT_WANTED, UNREADABLE = "repeated", "not wanted", "unreadable"


def told_to(catalogue: Catalogue) -> dict[str, Feedback]:
    """By channel: the feedback that is posted to the receiver."""
    return {
        name: channel.feedback
        for name, channel in catalogue.channels.items()
        if channel.feedback is not None and not isinstance(channel.feedback, MailboxFeedback)
    }


def counted_as(channel: str) -> str:
    """Under which name the receiver counts what comes for a channel, beside the systems."""
    return f"feedback/{channel}"


def feedback_route(
    catalogue: Catalogue,
    ledger: Callable[[], Ledger],
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    max_bytes: int = MAX_BYTES,
) -> Route:
    """The route. Proof is checked, and the ledger asked, in a thread."""
    declared = told_to(catalogue)
    topics = {
        name: SnsTopic(each) for name, each in declared.items() if isinstance(each, SesFeedback)
    }
    rules = soft_rules(catalogue)

    def take(channel: str, delivery: Delivery, now: datetime) -> list[str]:
        """Keep what is told; how the receiver counts it."""
        feedback = declared[channel]
        told = _proven(feedback, topics.get(channel), delivery, now)
        if told.confirms:
            return ["subscription confirmed"]
        if told.ended:
            return ["subscription ended"]
        purpose = catalogue.channels[channel].consent
        assert not isinstance(feedback, MailboxFeedback)
        read = read_events(feedback.provider, told.events, purpose)
        try:
            found = ledger().feedback.record(
                channel, read.reports, read.unread, rules=rules, now=now, token=told.token
            )
        except TokenUsed:
            raise Refused("token used before") from None
        outcomes = [RECEIVED] * sum(found.new.values()) + [REPEATED] * found.repeated
        return [*outcomes, *[UNREADABLE] * found.unread, *[NOT_WANTED] * read.not_wanted]

    async def receive(request: Request) -> Response:
        channel = request.path_params["channel"]
        if channel not in declared:
            return answer(404, "no such channel")
        writer: Writer = request.app.state.writer
        now = clock()
        try:
            body = await read_body(request, max_bytes)
            headers = {name.lower(): value for name, value in request.headers.items()}
            delivery = Delivery(request.method, str(request.url), headers, body)
            outcomes = await asyncio.to_thread(take, channel, delivery, now)
            await writer.store([], [(counted_as(channel), each) for each in outcomes], now)
        except Refused as refused:
            writer.refuse((counted_as(channel), refused.outcome))
            return answer(STATUS_OF.get(refused.outcome, 401), refused.outcome)
        except ClientDisconnect:
            return answer(400, "cut off")
        except (ProfilePipelinesError, SQLAlchemyError, QueueFull, Unavailable):
            return answer(503, "try again later", _LATER)
        return answer(200, "received")

    return Route("/feedback/{channel}", receive, methods=["POST"])


def declared_feedback(catalogue: Catalogue, ledger: Callable[[], Ledger]) -> list[Route]:
    """The route where a channel's provider posts feedback; else none.

    Raises SourceError when a secret isn't set, ProfilePipelinesError for one that is none, or
    where the ledger's addresses are hashed with another key.
    """
    declared = told_to(catalogue)
    for name, feedback in declared.items():
        for variable, _ in variables_of(feedback, name):
            resolve(Secret(env=variable))
        if isinstance(feedback, SendGridFeedback):
            for text in feedback.public_key:
                try:
                    public_key(text)
                except ValueError:
                    raise ProfilePipelinesError(
                        f"channel {name}: feedback: public_key isn't the verification key of a "
                        "signed Event Webhook (base64)"
                    ) from None
    if not declared:
        return []
    ledger().suppressions.mark("")
    return [feedback_route(catalogue, ledger)]


def _proven(feedback: Feedback, topic: SnsTopic | None, delivery: Delivery, now: datetime) -> Told:
    match feedback:
        case SesFeedback():
            assert topic is not None
            return topic.told(delivery, now)
        case SendGridFeedback():
            return sendgrid(feedback, delivery, now)
        case PostmarkFeedback():
            return postmark(feedback, delivery)
        case MailgunFeedback():
            return mailgun(feedback, delivery, now)
        case MailboxFeedback():
            raise AssertionError("nothing is posted for a mailbox")
