"""Servers that take messages, as processes of their own: a mail server and a webhook's other end.

python -m profile_pipelines_tests.channels.sinks smtp|smtputf8|http FOLDER

prints its port. What is taken stands in FOLDER, a file a message; `orders.json` there tells the
next answers: codes, `close` (before an answer) and `hang up` (after the message was taken).
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4


@dataclass(frozen=True)
class Sink:
    """A running sink."""

    port: int
    folder: Path

    def order(self, *answers: int | str) -> None:
        """What the next messages are answered with; then they are taken."""
        (self.folder / "orders.json").write_text(json.dumps(answers))

    @property
    def taken(self) -> list[dict[str, Any]]:
        """What was taken, in order."""
        files = sorted(self.folder.glob("*.taken"), key=lambda path: path.stat().st_mtime_ns)
        return [json.loads(path.read_text()) for path in files]


@contextmanager
def sink(kind: str, folder: Path) -> Iterator[Sink]:
    """Start one and stop it at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, kind, str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield Sink(int(process.stdout.readline()), folder)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _next_order(folder: Path) -> int | str | None:
    path = folder / "orders.json"
    orders = json.loads(path.read_text()) if path.exists() else []
    if not orders:
        return None
    path.write_text(json.dumps(orders[1:]))
    return orders[0]


def _take(folder: Path, what: dict[str, Any]) -> None:
    part = folder / f"{uuid4().hex}.part"
    part.write_text(json.dumps(what))
    part.rename(part.with_suffix(".taken"))


class _Mailbox:
    """aiosmtpd's handler."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if address.startswith("nobody@"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        order = _next_order(self._folder)
        if isinstance(order, int):
            return f"{order} as ordered"
        if order != "close":
            text = envelope.content.decode()
            _take(self._folder, {"from": envelope.mail_from, "to": envelope.rcpt_tos, "mail": text})
        if order is not None:
            server.transport.abort()
        return "250 OK"


def _smtp(folder: Path, *, utf8: bool = False) -> None:
    from aiosmtpd.smtp import SMTP

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: SMTP(_Mailbox(folder), enable_SMTPUTF8=utf8), "127.0.0.1", 0
        )
        _tell(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


def _http(folder: Path) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            order = _next_order(folder)
            if not isinstance(order, int) and order != "close":
                _take(folder, {"path": self.path, "headers": dict(self.headers), "body": body})
            if isinstance(order, str):
                self.close_connection = True
                return
            self.send_response(order or 204)
            if order == 429:
                self.send_header("Retry-After", "7200")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    _tell(server.server_address[1])
    server.serve_forever()


def _tell(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    {"smtp": _smtp, "smtputf8": partial(_smtp, utf8=True), "http": _http}[sys.argv[1]](
        Path(sys.argv[2])
    )
