"""Whoever is slow, silent, too large or too many holds up nobody else; over real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from profile_pipelines.webhooks.server import Limits
from profile_pipelines_tests.webhooks import senders
from profile_pipelines_tests.webhooks.conftest import LINKS, Receiver, served

_PATIENCE = 20
_HEAD = b"POST /webhooks/stripe HTTP/1.1\r\nHost: hooks.example.com\r\n"
_SLOW = {
    "says nothing": b"",
    "leaves the head unfinished": _HEAD + b"X-Padding: ",
    "leaves the body unfinished": _HEAD + b"Content-Length: 100\r\n\r\n{",
    "leaves a chunk unfinished": _HEAD + b"Transfer-Encoding: chunked\r\n\r\n50\r\n{",
    "leaves a body unfinished that nobody reads": (
        b"POST /health HTTP/1.1\r\nHost: hooks.example.com\r\nContent-Length: 9\r\n\r\n{"
    ),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    for name, value in senders.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return Receiver(f"sqlite:///{tmp_path / 'ledger.db'}")


@contextmanager
def connected(url: str, sent: bytes = b"") -> Iterator[socket.socket]:
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as connection:
        connection.sendall(sent)
        yield connection


def ends(connection: socket.socket) -> bytes:
    """What came until the other side ended the connection; TimeoutError when it doesn't."""
    came = b""
    with suppress(ConnectionError):
        while part := connection.recv(65536):
            came += part
    return came


def send_on(connection: socket.socket, part: bytes) -> None:
    for _ in range(100_000):
        connection.sendall(part)


@pytest.mark.parametrize("sent", _SLOW.values(), ids=_SLOW)
def test_whoever_stops_in_the_middle_is_cut_off(place: Receiver, sent: bytes) -> None:
    """A connection without a whole request ends by itself, and meanwhile others are served."""
    limits = Limits(head=0.3, exchange=0.3)
    with place.serving(limits), ExitStack() as opened:
        slow = [opened.enter_context(connected(place.url, sent)) for _ in range(20)]
        assert place.post(senders.stripe("42")).status_code == 200
        for each in slow:
            assert b"received" not in ends(each)
    assert place.keys("stripe") == ["42"]


def test_a_byte_now_and_then_gains_no_time(place: Receiver) -> None:
    """Who goes on sending a head byte by byte is cut off when the time of one head is over."""
    with place.serving(Limits(head=0.3)), connected(place.url, _HEAD) as connection:
        connection.settimeout(0.02)
        for _ in range(1000):
            try:
                connection.sendall(b"x")
                if not connection.recv(1):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("still connected")


def test_who_doesnt_read_the_answer_is_cut_off() -> None:
    """An answer that isn't taken ends with the connection, and whoever made it goes on."""
    ended = threading.Event()
    size = 100 * 2**20

    async def answer(request: Request) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            try:
                for _ in range(size // 2**16):
                    yield bytes(2**16)
            finally:
                ended.set()

        return StreamingResponse(parts(), headers={"Content-Length": str(size)})

    app = Starlette(routes=[Route("/", answer)])
    asking = b"GET / HTTP/1.1\r\nHost: hooks.example.com\r\n\r\n"
    with served(app, Limits(exchange=0.5)) as url, connected(url, asking) as connection:
        assert ended.wait(_PATIENCE)
        assert len(ends(connection)) < size


def test_requests_ahead_of_their_turn_are_bounded(place: Receiver) -> None:
    """One who asks and asks without waiting for answers is cut off."""
    asking = b"GET /unsubscribe/x HTTP/1.1\r\nHost: hooks.example.com\r\n\r\n" * 100
    with place.serving(), connected(place.url) as connection:
        with pytest.raises(ConnectionError):
            send_on(connection, asking)
        assert place.post(senders.stripe("42")).status_code == 200


def test_an_endless_head_is_cut_off(place: Receiver) -> None:
    """Headers without end use no more memory than the limit."""
    line = b"X-Padding: " + b"x" * 1000 + b"\r\n"
    with place.serving(Limits(head_bytes=100_000)), connected(place.url, _HEAD) as connection:
        with pytest.raises(ConnectionError):
            send_on(connection, line)
        assert place.post(senders.stripe("42")).status_code == 200


def test_the_reason_of_a_refusal_gets_through(place: Receiver) -> None:
    """A body that is refused in the middle is taken to its end, so that the answer is read."""
    with place.serving():
        post = senders.stripe("x" * 900_000)
        assert place.post(post).status_code == 413


def test_silent_connections_make_room_for_those_that_speak(place: Receiver) -> None:
    """With more connections than are allowed, the one that has been silent for longest goes."""
    with place.serving(Limits(connections=5)), ExitStack() as opened:
        silent = [opened.enter_context(connected(place.url)) for _ in range(8)]
        assert place.post(senders.stripe("42")).status_code == 200
        assert [ends(each) for each in silent[:4]] == [b""] * 4


def test_unsubscribing_works_while_others_are_slow(place: Receiver) -> None:
    """A customer's click doesn't wait behind those who send nothing."""
    token = LINKS.link(7, "marketing", "hash").rpartition("/")[2]
    with place.serving(), ExitStack() as opened:
        for sent in list(_SLOW.values()) * 5:
            opened.enter_context(connected(place.url, sent))
        asked = f"POST /unsubscribe/{token} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
        with connected(place.url, f"{asked}Connection: close\r\n\r\n".encode()) as customer:
            assert b"Done." in ends(customer)
