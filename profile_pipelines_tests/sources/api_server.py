"""A real HTTP server on loopback whose answers a test lays out beforehand."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

Answer = Callable[[Request], Response]


class Api:
    """Answers each path by `answers[path]`, or by the next of its `faults` while there are any."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.answers: dict[str, Answer] = {}
        self.faults: list[Answer] = []
        self.requests: list[Request] = []
        self.bodies: list[Any] = []

    async def handle(self, request: Request) -> Response:
        self.requests.append(request)
        content = await request.body()
        request.state.body = _body(content)
        self.bodies.append(request.state.body)
        answer = self.faults.pop(0) if self.faults else self.answers[request.url.path]
        if answer is hang:
            # until the client gives up
            while (await request.receive())["type"] != "http.disconnect":
                pass
        return answer(request)

    def queries(self) -> list[dict[str, str]]:
        """The parameters of the requests so far, in order."""
        return [dict(request.query_params) for request in self.requests]


def _body(content: bytes) -> Any:
    """JSON, or a form, or nothing."""
    if not content:
        return None
    if content.startswith(b"{"):
        return json.loads(content)
    return dict(parse_qsl(content.decode()))


def answer(body: Any, status: int = 200, **headers: str) -> Answer:
    """JSON, or text as it stands."""
    content = body if isinstance(body, str) else json.dumps(body)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: Response(content, status, names, "application/json")


def redirect(url: str) -> Answer:
    return lambda request: RedirectResponse(url)


def cut(request: Request) -> Response:
    """Promises more bytes than come before the connection ends."""

    async def body() -> AsyncIterator[bytes]:
        yield b'[{"id": 1}'
        raise ConnectionAbortedError

    return StreamingResponse(body(), headers={"content-length": "1000"})


def hang(request: Request) -> Response:
    """Nothing, for as long as the client waits."""
    return Response()


@contextmanager
def serving() -> Iterator[Api]:
    """A server on a free port, up when the block begins and down at its end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        api = Api(listener.getsockname()[1])
        app = Starlette(routes=[Route("/{path:path}", api.handle, methods=["GET", "POST"])])
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True
        )
        thread.start()
        try:
            yield api
        finally:
            server.should_exit = True
            thread.join()
