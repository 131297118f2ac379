"""The pages at which customers unsubscribe: /unsubscribe/{token}.

GET only asks, since mail scanners follow every link; POST does it, from the page's button or by
a mailbox's one click (RFC 8058). 200 is answered only once the ledger has it for good. The page
that says so has a button for those who didn't mean it, which takes it back (`?again=yes`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from profile_pipelines.consent.unsubscribe_links import Asked, UnsubscribeLinks
from profile_pipelines.errors import ProfilePipelinesError
from profile_pipelines.ledger import Ledger

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex"><title>Unsubscribe</title>
<main style="max-width:32rem;margin:4rem auto;padding:0 1rem;font:1.1rem sans-serif">
<h1>Unsubscribe</h1>{content}</main></html>
"""
_ASK = (
    "<p>Do you want to get no more of these messages?</p>"
    '<form method="post"><button type="submit">Unsubscribe</button></form>'
)
_DONE = (
    "<p>Done. You'll get no more of these messages.</p>"
    '<form method="post" action="?again=yes">'
    '<button type="submit">I still want them</button></form>'
)
_AGAIN = "<p>Done. You'll get these messages as before.</p>"
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "form-action 'self'; frame-ancestors 'none'",
}


def unsubscribe_route(
    links: UnsubscribeLinks,
    ledger: Callable[[], Ledger],
    clock: Callable[[], datetime],
) -> Route:
    """The route. The ledger is asked in a thread, so that it holds up nobody else."""

    def act(asked: Asked, again: bool) -> bool:
        """Do what is asked; whether that says anything of anybody known."""
        found, now = ledger(), clock()
        # an opt-out is never older than what was noted before, whatever became of the clock
        now = found.clock.seen().not_before(now)
        mark = asked.mark
        is_known = mark is None or found.pair.knows_profile(asked.profile_id, *mark)
        address, purpose = asked.address, asked.purpose
        if again:
            said = {"by": "the customer", "because": "by the link's page"}
            if address is not None:
                found.suppressions.restore(address, purpose, **said, at=now)
            if is_known:
                found.unsubscribes.restore(asked.profile_id, purpose, **said, now=now)
        else:
            if address is not None:
                found.suppressions.unsubscribe(address, purpose, now=now)
            if is_known:
                found.unsubscribes.add(asked.profile_id, purpose, now=now)
        return is_known or address is not None

    async def answer(request: Request) -> Response:
        found = links.read(request.path_params["token"])
        if found is None:
            return _page(404, "<p>This link isn't complete. Copy the whole of it.</p>")
        if request.method != "POST":
            return _page(200, _ASK)
        again = request.query_params.get("again") == "yes"
        try:
            if not await asyncio.to_thread(act, found, again):
                return _page(404, "<p>This link is too old. Please write to us instead.</p>")
        except (ProfilePipelinesError, SQLAlchemyError):
            return _page(503, "<p>That didn't work. Please try again in a minute.</p>")
        return _page(200, _AGAIN if again else _DONE)

    return Route("/unsubscribe/{token}", answer, methods=["GET", "POST"])


def declared_routes(ledger: Callable[[], Ledger]) -> list[Route]:
    """The route where the environment sets unsubscribe links up; else none.

    Raises ChannelError when it does so only in part.
    """
    links = UnsubscribeLinks.from_environment()
    if links is None:
        return []
    return [unsubscribe_route(links, ledger, lambda: datetime.now(UTC))]


def _page(status: int, content: str) -> Response:
    return HTMLResponse(_PAGE.format(content=content), status, _HEADERS)
