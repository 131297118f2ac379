"""The endpoint: POST /webhooks/{system}. What it answers holds neither secrets nor personal data.

200 once what the events name is in the inbox for good; 400 no JSON; 401 not signed as it should
be; 404 no such system; 408 too slow; 413 too big; 503 try again later.
"""

from __future__ import annotations

import asyncio
from asyncio import QueueFull
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.catalog.webhooks import Webhook
from profile_pipelines.errors import ProfilePipelinesError
from profile_pipelines.ledger.inbox import RECEIVED, Inbox, Named
from profile_pipelines.sources.json_records import parse
from profile_pipelines.webhooks.events import named_by
from profile_pipelines.webhooks.signatures import Delivery, Refused, verify
from profile_pipelines.webhooks.writer import Writer

MAX_BYTES = 1024 * 1024
"""The largest body that is read."""
_BODY_SECONDS = 10
_STORE_SECONDS = 10
STATUS_OF = {"too big": 413, "too slow": 408, "no JSON": 400}

Clock = Callable[[], datetime]


def create_app(
    catalogue: Catalogue,
    open_inbox: Callable[[], Inbox],
    *,
    max_bytes: int = MAX_BYTES,
    clock: Clock = lambda: datetime.now(UTC),
    more: Sequence[BaseRoute] = (),
) -> Starlette:
    """The ASGI application for all systems of the catalogue that declare a webhook.

    `more` are routes that it serves beside them. The inbox is opened at start-up, which
    raises SourceError when a secret isn't set, and asked for again before each commit.
    """
    webhooks = {
        name: system.webhook
        for name, system in catalogue.systems.items()
        if system.webhook is not None
    }

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        check_secrets(catalogue)
        await asyncio.to_thread(open_inbox)  # tells at once where that can't be
        writer = app.state.writer = Writer(open_inbox)
        task = asyncio.create_task(writer.run())
        try:
            yield
        finally:
            task.cancel()
            await writer.flush(clock())

    async def receive(request: Request) -> Response:
        system = request.path_params["system"]
        webhook = webhooks.get(system)
        if webhook is None:
            return answer(404, "no such webhook")
        writer: Writer = request.app.state.writer
        now = clock()
        try:
            body = await read_body(request, max_bytes)
            named, without = _accept(catalogue, system, webhook, request, body, now)
        except Refused as refused:
            writer.refuse((system, refused.outcome))
            return answer(STATUS_OF.get(refused.outcome, 401), refused.outcome)
        except ClientDisconnect:
            return answer(400, "cut off")
        # 200 also where an event lacks its record's key: the sender can't mend it, and would
        # only switch the webhook off
        outcomes = [(system, RECEIVED if named else "not wanted")]
        outcomes += [(system, "no record named")] * without
        try:
            async with asyncio.timeout(_STORE_SECONDS):
                await writer.store(named, outcomes, now)
        except (ProfilePipelinesError, SQLAlchemyError, QueueFull, TimeoutError):
            return answer(503, "try again later", {"Retry-After": "10"})
        return answer(200, "received")

    async def health(request: Request) -> Response:
        return answer(200, "ready")

    return Starlette(
        routes=[
            Route("/webhooks/{system}", receive, methods=["POST"]),
            Route("/health", health),
            *more,
        ],
        lifespan=lifespan,
    )


def check_secrets(catalogue: Catalogue) -> None:
    """Raises SourceError when the secret of a webhook isn't set."""
    for system in catalogue.systems.values():
        if system.webhook is not None:
            _secrets(system.webhook)


def _accept(
    catalogue: Catalogue,
    system: str,
    webhook: Webhook,
    request: Request,
    body: bytes,
    now: datetime,
) -> tuple[list[Named], int]:
    headers = {name.lower(): value for name, value in request.headers.items()}
    delivery = Delivery(request.method, str(request.url), headers, body)
    signed = verify(webhook.signature, _secrets(webhook), delivery, now)
    try:
        content: Any = parse(body)
    except ValueError:
        raise Refused("no JSON") from None
    return named_by(catalogue.systems[system], webhook, delivery, content, signed)


def _secrets(webhook: Webhook) -> list[str]:
    return [resolve(secret) for secret in webhook.secret]


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body. Raises Refused for one that is too big, as soon as that shows, or slow."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared[:20]) > max_bytes:
        raise Refused("too big")
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > max_bytes:
                    raise Refused("too big")
                chunks.append(chunk)
    except TimeoutError:
        raise Refused("too slow") from None
    return b"".join(chunks)


def answer(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"status": text}, status, headers)
