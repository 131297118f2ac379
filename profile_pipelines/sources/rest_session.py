"""A session that tries again what may pass: 429, 5xx, timeouts, cut connections, throttling."""

from __future__ import annotations

from threading import Event
from typing import Any

import requests

from profile_pipelines.sources.rest_adapter import GuardedAdapter, retry_after

PASSING = (408, 425, 429, *range(500, 600))
"""The statuses after which the same request may succeed."""
_LONGEST_WAIT = 300.0
_REDIRECTS = 5


class Throttled(requests.HTTPError):
    """The API wants less, and says so in an answer whose status is 200."""


CUT = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
"""What is raised where no whole answer came."""


class Session(requests.Session):
    """Sends through the adapter, up to `attempts` times, `timeout` seconds each.

    The first pause is `first_wait` seconds, each further one twice as long, unless the answer
    has a Retry-After; none is longer than five minutes. The last fault is raised as it is. Once
    `given_up` is set, by another thread, nothing is sent and no pause goes on.
    """

    def __init__(
        self,
        adapter: GuardedAdapter,
        *,
        timeout: float,
        attempts: int,
        first_wait: float,
        given_up: Event | None = None,
    ) -> None:
        super().__init__()
        self.max_redirects = _REDIRECTS
        self.mount("http://", adapter)
        self.mount("https://", adapter)
        self._timeout, self._attempts, self._first_wait = timeout, attempts, first_wait
        self._given_up = given_up or Event()

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        options.setdefault("timeout", self._timeout)
        attempt = 1
        while True:
            if self._given_up.is_set():
                raise requests.ConnectionError("nobody wants the answer any more")
            try:
                return super().send(request, **options)
            except (requests.HTTPError, *CUT) as error:
                if attempt == self._attempts:
                    raise
                pause = self._first_wait * 2 ** (attempt - 1)
                if isinstance(error, requests.HTTPError) and error.response is not None:
                    pause = retry_after(error.response.headers.get("Retry-After", "")) or pause
                self._given_up.wait(min(pause, _LONGEST_WAIT))
                attempt += 1
