"""What stands before each API of the demo: credentials and a rate limit."""

from __future__ import annotations

import base64
import binascii
import math
import secrets
import time
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request


class Gate:
    """Lets a request pass when one of `credentials` is right and the window has room left.

    A credential is the whole of the Authorization header: `Bearer key`, or `user:password`
    for basic authentication. At most `requests` pass in each `seconds`; the others get 429
    and a Retry-After in whole seconds.
    """

    def __init__(
        self,
        credentials: list[str],
        requests: int,
        seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._credentials = credentials
        self._requests = requests
        self._seconds = seconds
        self._clock = clock
        self._window = -math.inf
        self._passed = 0

    def check(self, request: Request) -> None:
        """Raise HTTPException 401 or 429 for a request that may not pass."""
        given = _credential(request.headers.get("authorization", ""))
        if not any(secrets.compare_digest(given, known.encode()) for known in self._credentials):
            raise HTTPException(401, "Invalid credentials", {"WWW-Authenticate": "Basic"})
        now = self._clock()
        if now - self._window >= self._seconds:
            self._window, self._passed = now, 0
        if self._passed >= self._requests:
            wait = max(1, math.ceil(self._window + self._seconds - now))
            raise HTTPException(429, "Too many requests", {"Retry-After": str(wait)})
        self._passed += 1


def _credential(header: str) -> bytes:
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return b""
    return f"{scheme.title()} {value}".encode()
