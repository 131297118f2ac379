"""The last gate before the network: rate limits, and which addresses may be reached.

The address is that of the connection that was really made, so that neither a name that
resolves elsewhere nor a redirect nor a link leads into the private network. A proxy that the
environment names (`HTTPS_PROXY`) is trusted: it then decides what it connects to.
"""

from __future__ import annotations

import io
from email.utils import mktime_tz, parsedate_tz
from http.client import HTTPResponse
from ipaddress import IPv6Address, ip_address
from socket import socket
from time import monotonic, time
from typing import Any

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from profile_pipelines.errors import SourceError
from profile_pipelines.sources.rate_limit import RateLimiter

SLOWEST = 10
"""Bytes a second below which an answer isn't waited for, unless declared otherwise."""


class TooSlowError(TimeoutError):
    """An answer drips."""


class GuardedAdapter(HTTPAdapter):
    """Waits for the limiters, then sends to an allowed address.

    `allow_private` says whether private, loopback, link-local and other addresses that aren't
    on the public internet are allowed: for all hosts or for those that are named. An answer of
    fewer than `min_bytes_per_second`, over the length of the request's timeout, is cut.
    """

    def __init__(
        self,
        where: str,
        allow_private: bool | list[str],
        limiters: list[RateLimiter],
        *,
        min_bytes_per_second: int = SLOWEST,
    ) -> None:
        self._where = where
        self._slowest = min_bytes_per_second
        self._allow_private = allow_private
        self._limiters = limiters
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = _pools(self._refuse_private, self._slowest)

    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        for limiter in self._limiters:
            limiter.wait()
        response = super().send(request, *args, **options)
        if response.status_code == 429:
            seconds = retry_after(response.headers.get("Retry-After", ""))
            for limiter in self._limiters:
                limiter.pause(seconds)
        return response

    def _refuse_private(self, host: str, connected: socket) -> None:
        allowed = self._allow_private
        if allowed is True or (allowed is not False and host in allowed):
            return
        if is_private(connected.getpeername()[0]):
            connected.close()
            raise SourceError(
                f"{self._where}: {host} is at a private address, where nothing is sent; if "
                f"that's right, write `allow_private: [{host}]` into the connection"
            )


def is_private(address: str) -> bool:
    """Whether an address isn't one of the public internet's."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found.sixtofour or found
    return not found.is_global or found.is_multicast


class _Metered(io.RawIOBase):
    """A connection's bytes, as long as there are enough of them."""

    def __init__(self, raw: io.RawIOBase, seconds: float, slowest: int) -> None:
        super().__init__()
        self._raw, self._seconds, self._slowest = raw, seconds, slowest
        self._since: float | None = None
        self._came = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        count = self._raw.readinto(buffer)
        now = monotonic()
        since = self._since
        if since is None:
            # how long the first bytes take is the timeout's affair
            self._since = now
        else:
            self._came += count or 0
            took = now - since
            if count and took >= self._seconds:
                if self._came < self._slowest * took:
                    raise TooSlowError(f"fewer than {self._slowest} bytes a second in {took:.3g} s")
                self._since, self._came = now, 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def _metered(slowest: int) -> type[HTTPResponse]:
    class Metered(HTTPResponse):
        def __init__(self, sock: socket, *args: Any, **options: Any) -> None:
            super().__init__(sock, *args, **options)
            seconds = sock.gettimeout()
            if seconds and slowest:
                raw: Any = self.fp.detach()  # pyright: ignore[reportAttributeAccessIssue]
                self.fp = io.BufferedReader(_Metered(raw, seconds, slowest))

    return Metered


def _pools(check: Any, slowest: int) -> dict[str, Any]:
    response = _metered(slowest)

    class Plain(HTTPConnection):
        response_class = response  # pyright: ignore[reportAssignmentType]

        def _new_conn(self) -> socket:
            connected = super()._new_conn()
            check(self.host, connected)
            return connected

    class Secure(HTTPSConnection):
        response_class = response  # pyright: ignore[reportAssignmentType]

        def _new_conn(self) -> socket:
            connected = super()._new_conn()
            check(self.host, connected)
            return connected

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain  # pyright: ignore[reportAssignmentType]

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure  # pyright: ignore[reportAssignmentType]

    return {"http": PlainPool, "https": SecurePool}


def retry_after(text: str) -> float:
    """The seconds that a Retry-After header asks for, as a number or a date; 0 without any."""
    if text.strip().isdecimal():
        return float(text)
    moment = parsedate_tz(text)
    return 0.0 if moment is None else max(0.0, mktime_tz(moment) - time())
