"""A receiver behind a real server on loopback, over SQLite or PostgreSQL."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
import uvicorn
from pydantic import TypeAdapter
from starlette.applications import Starlette

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.consent.unsubscribe_links import UnsubscribeLinks
from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.inbox import Inbox, Waiting
from profile_pipelines.ledger.unsubscribes import Unsubscribes
from profile_pipelines.webhooks.receiver import create_app
from profile_pipelines.webhooks.server import Connection, Limits, settings
from profile_pipelines.webhooks.unsubscribe import unsubscribe_route
from profile_pipelines_tests.webhooks.senders import ENVIRONMENT, NOW, Post, catalogue

LINKS = UnsubscribeLinks("https://mail.example.org", "k" * 32)


@dataclass
class Receiver:
    """A running receiver; its clock stands still unless a test moves it."""

    ledger_url: str
    now: datetime = NOW
    url: str = ""
    ledger: Ledger = field(init=False)
    inbox: Inbox = field(init=False)
    unsubscribes: Unsubscribes = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.ledger_url)
        self.inbox, self.unsubscribes = self.ledger.inbox, self.ledger.unsubscribes

    def post(self, post: Post) -> httpx.Response:
        return httpx.post(
            f"{self.url}/webhooks/{post.system}", content=post.body, headers=dict(post.headers)
        )

    def waiting(self, system: str) -> list[Waiting]:
        return self.inbox.waiting(system, "people", 1000)

    def keys(self, system: str) -> list[str | None]:
        return [row.key for row in self.waiting(system)]

    def counts(self, system: str) -> dict[str, int]:
        return self.inbox.status([system])[0].counts

    def later(self, **by: float) -> None:
        self.now += timedelta(**by)

    @contextmanager
    def serving(self, limits: Limits | None = None) -> Iterator[None]:
        """The server, up when the block begins and down at its end."""
        declared = TypeAdapter(Catalogue).validate_python(catalogue())
        app = create_app(
            declared,
            lambda: self.inbox,
            max_bytes=10_000,
            clock=lambda: self.now,
            more=[unsubscribe_route(LINKS, lambda: self.ledger, lambda: self.now)],
        )
        with served(app, limits or Limits()) as self.url:
            yield


@contextmanager
def served(app: Starlette, limits: Limits) -> Iterator[str]:
    """The application behind the receiver's server; its address."""

    class Limited(Connection):
        pass

    Limited.limits = limits
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        config = uvicorn.Config(app, **settings(Limited) | {"log_level": "critical"})
        server = uvicorn.Server(config)
        thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True
        )
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(params=["sqlite", "postgresql"])
def receiver(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Receiver]:
    """A receiver over each of the ledger's databases."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    urls: dict[str, Callable[[], str]] = {
        "sqlite": lambda: f"sqlite:///{tmp_path / 'ledger.db'}",
        "postgresql": lambda: request.getfixturevalue("postgres_url"),
    }
    made = Receiver(urls[request.param]())
    with made.serving():
        yield made
