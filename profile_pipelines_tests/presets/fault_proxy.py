"""A real HTTP proxy on loopback, between a source and a vendor's server, that makes faults.

It passes the Host header on, so that links in the server's answers lead through it again. A fault
happens to the requests whose numbers (from 1) are named; the others pass untouched.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Answer:
    """What the server said: to be changed by a fault before it goes on."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body
        self.missing = 0
        """Bytes that are promised but never sent, before the connection is cut."""

    def change(self, make: Callable[[Any], Any]) -> None:
        """Put another JSON document in place of this one."""
        self.body = json.dumps(make(json.loads(self.body))).encode()


Fault = Callable[[Answer, list[Answer], str | None], "Answer | None"]
"""Makes of an answer another; also given are those before, and where a page's records stand.
None: nothing is ever answered."""


def status(code: int, **headers: str) -> Fault:
    """The vendor's gateway answers instead."""
    found = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return lambda answer, before, records: Answer(code, found, b"{}")


def silence(answer: Answer, before: list[Answer], records: str | None) -> Answer | None:
    """No answer at all, until the client gives up."""
    return None


def cut(answer: Answer, before: list[Answer], records: str | None) -> Answer | None:
    """The connection ends in the middle of the answer."""
    half = Answer(answer.status, answer.headers, answer.body[: len(answer.body) // 2])
    half.missing = len(answer.body) - len(half.body)
    return half


def empty(answer: Answer, before: list[Answer], records: str | None) -> Answer | None:
    """200 with nothing in it."""
    return Answer(200, answer.headers, b"")


def reordered(answer: Answer, before: list[Answer], records: str | None) -> Answer | None:
    """The page's records in another order."""
    answer.change(lambda document: _with_records(document, records, lambda found: found[::-1]))
    return answer


def overlapping(answer: Answer, before: list[Answer], records: str | None) -> Answer | None:
    """The page before once more, ahead of this one's records: something was inserted meanwhile."""
    earlier = records_of(json.loads(before[-1].body), records) if before else []
    answer.change(lambda document: _with_records(document, records, lambda found: earlier + found))
    return answer


def repeated(answer: Answer, before: list[Answer], records: str | None) -> Answer | None:
    """The page before in place of this one."""
    return before[-1] if before else answer


def renamed(answer: Answer, before: list[Answer], records: str | None) -> Answer | None:
    """The list of records under another name, or wrapped where it was the whole answer."""

    def rename(document: Any) -> Any:
        if records is None:
            return {"results": document}
        above, _, name = records.rpartition(".")
        at = records_of(document, above or None)
        at[f"new_{name}"] = at.pop(name)
        return document

    answer.change(rename)
    return answer


def records_of(document: Any, path: str | None) -> Any:
    """A page's records: at a dotted path of the answer, or the answer itself."""
    for step in path.split(".") if path is not None else ():
        document = document[step]
    return document


def _with_records(document: Any, path: str | None, make: Callable[[list[Any]], list[Any]]) -> Any:
    if path is None:
        return make(document)
    above, _, name = path.rpartition(".")
    at = records_of(document, above or None)
    at[name] = make(at[name])
    return document


class Proxy:
    """The proxy's address, and the fault that it makes for now."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.stop()

    def make(self, fault: Fault, records: str | None, at: Collection[int] | None = None) -> None:
        """Make the fault at the requests `at`, counted from now (None: at every one)."""
        self.fault, self.records, self.at = fault, records, at
        self.count = self.faults = 0
        self.before: list[Answer] = []

    def stop(self) -> None:
        """Let everything pass from now on."""
        self.make(lambda answer, before, records: answer, None, ())

    def next(self, answer: Answer) -> Answer | None:
        """What becomes of the server's next answer."""
        self.count += 1
        before, self.before = self.before, [*self.before, _copy(answer)]
        if self.at is not None and self.count not in self.at:
            return answer
        self.faults += 1
        return self.fault(answer, before, self.records)


def _copy(answer: Answer) -> Answer:
    return Answer(answer.status, answer.headers, answer.body)


@contextmanager
def proxying(port: int) -> Iterator[Proxy]:
    """A proxy before the server at this port of loopback, up until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            upstream.request(
                self.command, self.path, self.rfile.read(length) or None, dict(self.headers)
            )
            found = upstream.getresponse()
            hop = ("content-length", "transfer-encoding", "connection", "date", "server")
            kept = [(k, v) for k, v in found.getheaders() if k.lower() not in hop]
            answer = proxy.next(Answer(found.status, kept, found.read()))
            upstream.close()
            self.close_connection = True
            if answer is None:
                ended.wait(30)
                return
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body) + answer.missing))
            self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(answer.body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Quiet."""

    ended = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        proxy = Proxy(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            ended.set()
            server.shutdown()
            thread.join()
