"""The last gate before the network: rate limits, and which addresses may be reached.

The address is that of the connection that was really made, so that neither a name that
resolves elsewhere nor a redirect nor a link leads into the private network. A proxy that the
environment names (`HTTPS_PROXY`) is trusted: it then decides what it connects to.
"""

from __future__ import annotations

from email.utils import mktime_tz, parsedate_tz
from ipaddress import IPv6Address, ip_address
from socket import socket
from time import time
from typing import Any

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from profile_pipelines.errors import SourceError
from profile_pipelines.sources.rate_limit import RateLimiter


class GuardedAdapter(HTTPAdapter):
    """Waits for the limiters, then sends to an allowed address.

    `allow_private` says whether private, loopback, link-local and other addresses that aren't
    on the public internet are allowed: for all hosts or for those that are named.
    """

    def __init__(
        self, where: str, allow_private: bool | list[str], limiters: list[RateLimiter]
    ) -> None:
        self._where = where
        self._allow_private = allow_private
        self._limiters = limiters
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = _pools(self._refuse_private)

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


def _pools(check: Any) -> dict[str, Any]:
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket:
            connected = super()._new_conn()
            check(self.host, connected)
            return connected

    class Secure(HTTPSConnection):
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
