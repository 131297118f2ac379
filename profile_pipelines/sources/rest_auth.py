"""Authentication of REST requests: fixed credentials, and tokens that are fetched and renewed."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from requests import PreparedRequest, Response
from requests.auth import AuthBase, HTTPBasicAuth

from profile_pipelines.catalog.connections import (
    ApiKeyAuth,
    Auth,
    BasicAuth,
    BearerAuth,
    LoginAuth,
    OAuth2Auth,
)
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.errors import SourceError
from profile_pipelines.sources.json_records import as_text, getter
from profile_pipelines.sources.rest_request import filled, joined

Fetch = Callable[..., Response]
"""Posts to an address and gives the answer, which is JSON; raises SourceError."""
Grant = Callable[[], tuple[str, float | None]]
"""A new token, and for how many seconds it's good, if that's known."""

_EARLY = 30.0
"""Seconds before its end at which a token is renewed."""


def authentication(where: str, auth: Auth | None, base_url: str, fetch: Fetch) -> AuthBase | None:
    """What puts the declared credentials into each request."""
    match auth:
        case None:
            return None
        case BearerAuth():
            return HeaderAuth("Authorization", f"Bearer {resolve(auth.token)}")
        case BasicAuth():
            password = resolve(auth.password) if auth.password is not None else ""
            # as bytes, or requests would take them for Latin-1
            return HTTPBasicAuth(resolve(auth.username).encode(), password.encode())
        case ApiKeyAuth():
            kind = HeaderAuth if auth.location == "header" else QueryAuth
            return kind(auth.name, resolve(auth.key))
        case OAuth2Auth():
            return TokenAuth(_oauth2(where, auth, fetch))
        case LoginAuth():
            grant = _login(where, auth, joined(base_url, auth.path), fetch)
            return TokenAuth(grant, auth.header, auth.prefix)


class HeaderAuth(AuthBase):
    """A credential in a header."""

    def __init__(self, name: str, value: str) -> None:
        self._name, self._value = name, value

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers[self._name] = self._value
        return request


class QueryAuth(HeaderAuth):
    """A credential in the address."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.prepare_url(request.url or "", {self._name: self._value})
        return request


class TokenAuth(AuthBase):
    """Fetches a token when one is needed, before it expires, and once when it's refused.

    A token that is refused right after it was fetched isn't fetched again: the refusal stands.
    """

    def __init__(
        self, grant: Grant, header: str = "Authorization", prefix: str = "Bearer "
    ) -> None:
        self._grant = grant
        self._header, self._prefix = header, prefix
        self._token: str | None = None
        self._ends: float | None = None
        self._accepted = True

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        if self._token is None or (self._ends is not None and monotonic() >= self._ends):
            self._renew()
        self._put(request)
        request.register_hook("response", self._answered)
        return request

    def forget(self) -> None:
        """Fetch another token for the next request."""
        self._token = None

    def _renew(self) -> None:
        self._token, good_for = self._grant()
        self._ends = None if good_for is None else monotonic() + max(good_for - _EARLY, 0)

    def _put(self, request: PreparedRequest) -> None:
        request.headers[self._header] = f"{self._prefix}{self._token}"

    def _answered(self, response: Response, **options: Any) -> Response:
        if response.status_code != 401:
            self._accepted = True
            return response
        if not self._accepted:
            return response
        self._accepted = False
        response.close()
        self._renew()
        # the very request, since it may be sent once more after a passing fault
        self._put(response.request)
        again = response.connection.send(response.request, **options)  # pyright: ignore
        self._accepted = again.status_code != 401
        again.request = response.request
        return again


def _oauth2(where: str, auth: OAuth2Auth, fetch: Fetch) -> Grant:
    client_id = resolve(auth.client_id)
    client_secret = None if auth.client_secret is None else resolve(auth.client_secret)
    form = {"grant_type": "client_credentials"}
    if auth.refresh_token is not None:
        form = {"grant_type": "refresh_token", "refresh_token": resolve(auth.refresh_token)}
    if auth.scope is not None:
        form["scope"] = auth.scope
    form |= {name: resolve(value) for name, value in auth.params.items()}
    sent: dict[str, Any] = {"data": form}
    if auth.client_auth == "basic":
        sent["auth"] = (client_id, client_secret or "")
    else:
        form["client_id"] = client_id
        if client_secret is not None:
            form["client_secret"] = client_secret
    url = resolve(auth.url)

    def grant() -> tuple[str, float | None]:
        answer = fetch(url, **sent).json()
        token = _token(where, answer, "access_token")
        # some servers give a new refresh token each time, and take the old one no more
        if auth.refresh_token is not None and isinstance(answer.get("refresh_token"), str):
            form["refresh_token"] = answer["refresh_token"]
        seconds = as_text(answer.get("expires_in"))
        return token, float(seconds) if seconds and seconds.isdecimal() else None

    return grant


def _login(where: str, auth: LoginAuth, url: str, fetch: Fetch) -> Grant:
    body = filled(auth.body, {})

    def grant() -> tuple[str, float | None]:
        answer = fetch(url, json=body)
        if auth.found_at is not None:
            return _token(where, answer.json(), auth.found_at), None
        found = answer.headers.get(auth.found_header or "")
        if not found:
            raise SourceError(
                f"{where}: the login's answer has no header {auth.found_header}; check the "
                "credentials, and `auth`"
            )
        return found, None

    return grant


def _token(where: str, answer: Any, path: str) -> str:
    token = as_text(getter(path)(answer))
    if not token:
        raise SourceError(
            f"{where}: the login's answer has no token at {path!r}; check the credentials, and "
            "`auth`"
        )
    return token
