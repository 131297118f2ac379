"""Webhooks: the endpoint that takes what the systems send by themselves.

`profile_pipelines.webhooks:app` is an ASGI application over the places that the environment
names, for servers of one's own: `uvicorn profile_pipelines.webhooks:app`.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from profile_pipelines.webhooks.feedback import declared_feedback
    from profile_pipelines.webhooks.receiver import create_app
    from profile_pipelines.webhooks.unsubscribe import declared_routes
    from profile_pipelines.workspace import Places, Standing, Workspace

    places = Places.from_environment()
    catalogue = Workspace(places).catalogue
    current = Standing(lambda: Workspace(places, catalogue))
    more = [
        *declared_routes(lambda: current().ledger),
        *declared_feedback(catalogue, lambda: current().ledger),
    ]
    current()
    return create_app(catalogue, lambda: current().ledger.inbox, more=more)
