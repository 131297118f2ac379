"""Requests to the services: tried again while a fault may pass, bounded, told in our words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from profile_pipelines.catalog.connections import RateLimit
from profile_pipelines.catalog.declaration import Text
from profile_pipelines.catalog.destinations import ApiTarget
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.errors import DestinationError, SourceError
from profile_pipelines.sources.rate_limit import RateLimiter
from profile_pipelines.sources.rest_adapter import GuardedAdapter, retry_after
from profile_pipelines.sources.rest_session import CUT, PASSING, Session

FIRST_WAIT = 1.0
"""The seconds before a request is tried again; twice as long each further time."""
_PATIENCE = 60.0
"""The longest pause, in seconds, that a run takes; for a longer one it ends, and the next waits."""
_MAX_ANSWER = 16 * 2**20
_HINTS = {
    401: "refuses the credentials; check them",
    403: "doesn't allow this to these credentials; check what they may do",
    404: "knows no such address; check the numbers and the url in `to`",
    413: "finds a batch too large; set a smaller batch_size",
}


class BatchRefusedError(Exception):
    """A service won't take a batch, perhaps for one of its customers; `reason` is a code."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True)
class Answer:
    """A status and what came with it as JSON; an empty mapping where that is none."""

    status: int
    body: Mapping[str, Any]


class Api:
    """One service's session.

    Passing faults (429, 5xx, timeouts, cut connections) are tried again as the destination
    declares, then end as DestinationError; so do missing rights. 400 and 422 are answers.
    """

    def __init__(
        self,
        name: str,
        target: ApiTarget,
        url: Text,
        *,
        auth: Callable[[Api], AuthBase] | None = None,
        headers: Mapping[str, Text] | None = None,
    ) -> None:
        self.where = f"destination {name}"
        self._limits = _limiters(self.where, target.rate_limit)
        try:
            self.base_url = resolve(url).rstrip("/")
            self._headers = {
                "Accept": "application/json",
                "User-Agent": "profile-pipelines",
                **{key: resolve(value) for key, value in (headers or {}).items()},
            }
            self._session = Session(
                GuardedAdapter(self.where, target.allow_private, self._limits),
                timeout=target.timeout.total_seconds(),
                attempts=target.retries + 1,
                first_wait=FIRST_WAIT,
            )
            self._attempts = target.retries + 1
            self._auth = auth(self) if auth else None
        except SourceError as error:
            raise DestinationError(f"{self.where}: {error}") from None

    def close(self) -> None:
        """End the connections."""
        self._session.close()

    def post(self, path: str, body: object, **more: Any) -> Answer:
        """POST JSON."""
        return self.call("POST", path, data=as_json(body), **more)

    def call(
        self,
        method: str,
        path: str,
        *,
        data: bytes | Mapping[str, str],
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One answer: of a status below 300, or 400 or 422."""
        kind = {"Content-Type": "application/json"} if isinstance(data, bytes) else {}
        request = requests.Request(
            method,
            f"{self.base_url}{path}",
            headers={**self._headers, **kind, **(headers or {})},
            params=dict(params or {}),
            data=data,
            auth=self._auth,
        )
        return self._ask(request)

    def fetch_token(self, url: str, **form: Any) -> requests.Response:
        """What a token endpoint answers."""
        request = requests.Request("POST", url, headers={"Accept": "application/json"}, **form)
        answer = self._ask(request)
        if answer.status >= 300:
            raise DestinationError(
                f"{self.where}: the login is refused; check the credentials in `to`"
            )
        response = requests.Response()
        response.status_code = answer.status
        response.json = lambda **options: dict(answer.body)
        return response

    def _ask(self, request: requests.Request) -> Answer:
        content = b""

        def read(response: requests.Response, **options: Any) -> requests.Response:
            nonlocal content
            content = self._read(response)
            return response

        request.hooks = {"response": [read]}
        host = urlsplit(request.url).hostname or "the service"
        try:
            prepared = self._session.prepare_request(request)
            settings = self._session.merge_environment_settings(
                prepared.url or "", {}, True, None, None
            )
            response = self._session.send(prepared, allow_redirects=False, **settings)
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "a fault"
            raise DestinationError(
                f"{self.where}: {host} answered with {status}, {self._attempts} times; the next "
                "run goes on from here"
            ) from None
        except CUT as error:
            raise DestinationError(
                f"{self.where}: no whole answer from {host} in {self._attempts} attempts "
                f"({type(error).__name__}); the next run goes on from here"
            ) from None
        except requests.RequestException as error:
            raise DestinationError(
                f"{self.where}: can't ask {host} ({type(error).__name__})"
            ) from None
        except SourceError as error:  # a private address, or a login without a token
            raise DestinationError(str(error)) from None
        status = response.status_code
        if status >= 300 and status not in (400, 422):
            hint = _HINTS.get(status, f"answered with {status}")
            raise DestinationError(f"{self.where}: {host} {hint}")
        try:
            found: object = json.loads(content)
        except ValueError:
            found = {}
        return Answer(status, found if isinstance(found, dict) else {})

    def _read(self, response: requests.Response) -> bytes:
        """The whole answer. Raises HTTPError for a fault that may pass soon."""
        if response.status_code in PASSING:
            after = retry_after(response.headers.get("Retry-After", ""))
            if after > _PATIENCE:
                raise DestinationError(
                    f"{self.where}: the service asked for a pause of {after:,.0f} seconds; the "
                    "next run after it goes on from here",
                    after,
                )
            raise requests.HTTPError(response=response)
        found = bytearray()
        for part in response.iter_content(64 * 1024):
            found += part
            if len(found) > _MAX_ANSWER:
                raise DestinationError(f"{self.where}: an answer is too large")
        return bytes(found)


def as_json(body: object) -> bytes:
    """The bytes of a JSON document; the same whenever the same is said."""
    from profile_pipelines.catalog.spelling import json_text

    return json_text(body, compact=True).encode()


def _limiters(where: str, limit: RateLimit | None) -> list[RateLimiter]:
    return [RateLimiter(limit, where)] if limit is not None else []
