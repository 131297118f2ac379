"""Webhooks: the endpoint that takes what the systems send by themselves.

`profile_pipelines.webhooks:app` is an ASGI application over the places that the environment
names, for servers of one's own: `uvicorn profile_pipelines.webhooks:app`.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from profile_pipelines.catalog.load import load_catalogue
    from profile_pipelines.ledger import Ledger
    from profile_pipelines.webhooks.receiver import create_app
    from profile_pipelines.webhooks.unsubscribe import declared_routes
    from profile_pipelines.workspace import Places

    places = Places.from_environment()
    catalogue = load_catalogue(places.catalogue)
    ledger = Ledger(places.ledger)
    more = declared_routes(lambda: ledger.unsubscribes)
    return create_app(catalogue, lambda: ledger.inbox, more=more)
