"""Requests over HTTP: authentication, pages, downloads; faults told in the source's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from socket import gaierror
from ssl import SSLError
from threading import Event
from typing import IO, Any
from urllib.parse import urlsplit

import requests
import urllib3
from urllib3.exceptions import NameResolutionError

from profile_pipelines.catalog.connections import Paging, RestConnection
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.errors import SourceError, SourceUnreachable
from profile_pipelines.sources.origins import host_of, same_origin
from profile_pipelines.sources.rate_limit import RateLimiter
from profile_pipelines.sources.rest_adapter import GuardedAdapter, TooSlowError
from profile_pipelines.sources.rest_answers import HINTS, Check, SignedOutError
from profile_pipelines.sources.rest_auth import TokenAuth, authentication
from profile_pipelines.sources.rest_paging import paginator
from profile_pipelines.sources.rest_records import records_of
from profile_pipelines.sources.rest_request import Call, joined
from profile_pipelines.sources.rest_session import CUT, Session, Throttled


class Page(list[dict[str, Any]]):
    """The records of one page, the answer that they came in, and whether another one follows."""

    def __init__(self, records: list[dict[str, Any]], answer: Any, more: bool) -> None:
        super().__init__(records)
        self.answer = answer
        self.more = more


class RestClient:
    """One connection's session, for one read.

    Passing faults (429, 5xx, timeouts, cut connections) are tried again `connection.retries`
    times, after `first_wait` seconds and twice as long each time, or as Retry-After says; then
    SourceUnreachable. Everything else that isn't a whole JSON answer raises SourceError. Once
    `given_up` is set, by another thread, nothing more is asked.
    """

    def __init__(
        self,
        where: str,
        connection: RestConnection,
        base_url: str,
        limiters: list[RateLimiter],
        first_wait: float,
        given_up: Event,
    ) -> None:
        self.where = where
        self.connection = connection
        self.base_url = base_url
        self._given_up = given_up
        self._session = Session(
            GuardedAdapter(
                where,
                connection.allow_private,
                limiters,
                min_bytes_per_second=connection.min_bytes_per_second,
            ),
            timeout=connection.timeout.total_seconds(),
            attempts=connection.retries + 1,
            first_wait=first_wait,
            given_up=given_up,
        )
        self._headers = {
            "Accept": "application/json",
            "User-Agent": "profile-pipelines",
            **{name: resolve(value) for name, value in connection.headers.items()},
        }
        self._auth = authentication(where, connection.auth, base_url, self._fetch_token)

    def wait(self, seconds: float) -> None:
        """A pause between two requests, unless nobody wants an answer any more."""
        self._given_up.wait(seconds)

    def close(self) -> None:
        self._session.close()

    def pages(
        self, asked: Call, records: str | None, paging: Paging, *, single: bool = False
    ) -> Iterator[Page]:
        """The records of each page.

        `single` takes the answer for one record; NoSuchRecord when the API hasn't got it.
        """
        check = self._checker(asked, single=single)
        request = self._request(asked, check)
        pages = paginator(check.where, paging, self.base_url)
        pages.init_request(request)
        before: list[dict[str, Any]] = []
        nothing_new = 0
        with self._faults(self.base_url):
            for number in count(1):
                response = self._send(request)
                answer = response.json()
                at = check.where if number == 1 else f"{check.where}: page {number}"
                found = records_of(at, answer, records, single=single)
                nothing_new = 0 if found and found != before else nothing_new + 1
                before = found or before
                pages.update_state(response, found)
                pages.update_request(request)
                yield Page(found, answer, pages.has_next_page)
                if not pages.has_next_page:
                    return
                if nothing_new >= self.connection.max_empty_pages:
                    raise SourceError(
                        f"{at}: the {nothing_new} last pages brought nothing new, and the API says "
                        "that more follow; check `paging`, or allow more (`max_empty_pages` of the "
                        "connection)"
                    )

    def ask(self, asked: Call) -> Any:
        """One answer, as JSON."""
        with self._faults(self.base_url):
            return self._send(self._request(asked, self._checker(asked))).json()

    def download(self, asked: Call, into: IO[bytes]) -> requests.Response:
        """One result of any size, whole, into a file that is emptied before each attempt."""
        request = self._request(asked, self._checker(asked, into=into))
        request.headers = {**request.headers, "Accept": "*/*", **asked.headers}
        with self._faults(self.base_url):
            return self._send(request)

    def download_from(self, url: str, into: IO[bytes]) -> requests.Response:
        """A result at an address of its own, such as a signed one: no secret goes there."""
        host = host_of(url)
        if not same_origin(url, self.base_url) and host not in self.connection.hosts:
            raise SourceError(
                f"{self.where}: the result is on another host ({host}); list it in `hosts` of "
                "the connection if that's right"
            )
        with self._faults(url):
            check = self._checker(into=into, hosts=self.connection.hosts)
            headers = {"User-Agent": "profile-pipelines"}
            return self._session.get(url, headers=headers, hooks={"response": [check]})

    def _fetch_token(self, url: str, **form: Any) -> requests.Response:
        """The answer of a token or login request; nothing of what was sent is ever shown."""
        refused = "the login is refused; check the credentials in `auth` and what it names"
        hints: dict[int, str] = dict.fromkeys((200, 400, 401, 403), refused)
        with self._faults(url):
            check = self._checker(hints=hints, graphql="query" in (form.get("json") or {}))
            headers = {"Accept": "application/json", "User-Agent": "profile-pipelines"}
            return self._session.post(url, headers=headers, hooks={"response": [check]}, **form)

    def _request(self, asked: Call, check: Check) -> requests.Request:
        return requests.Request(
            asked.method,
            joined(self.base_url, asked.path),
            headers={**self._headers, **asked.headers},
            params=dict(asked.params),
            json=asked.body,
            auth=self._auth,
            hooks={"response": [check]},
        )

    def _send(self, request: requests.Request) -> requests.Response:
        try:
            return self._send_as_it_is(request)
        except SignedOutError:
            if not isinstance(self._auth, TokenAuth):
                raise
            self._auth.forget()
            return self._send_as_it_is(request)

    def _send_as_it_is(self, request: requests.Request) -> requests.Response:
        prepared = self._session.prepare_request(request)
        settings = self._session.merge_environment_settings(
            prepared.url or "", {}, None, None, None
        )
        return self._session.send(prepared, **settings)

    def _checker(
        self,
        asked: Call | None = None,
        *,
        graphql: bool = False,
        single: bool = False,
        hints: dict[int, str] | None = None,
        into: IO[bytes] | None = None,
        hosts: list[str] | None = None,
    ) -> Check:
        return Check(
            self.where if asked is None else f"{self.where}: {asked.shown or asked.path}",
            self.base_url,
            self.connection.max_answer if into is None else self.connection.max_download,
            graphql if asked is None else asked.graphql,
            single,
            {**HINTS, **(hints or {})},
            into,
            hosts,
            () if asked is None else asked.fields,
        )

    @contextmanager
    def _faults(self, url: str) -> Iterator[None]:
        host = urlsplit(url).netloc.rpartition("@")[2] or "the API"
        tries = self.connection.retries + 1
        attempts = "once" if tries == 1 else f"{tries} times"
        try:
            yield
        except Throttled:
            raise SourceUnreachable(
                f"{self.where}: the API was throttling {attempts}; try again later"
            ) from None
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "a fault"
            raise SourceUnreachable(
                f"{self.where}: the API answered with {status}, {attempts}; try again later"
            ) from None
        except CUT as error:
            raise SourceUnreachable(
                f"{self.where}: no whole answer from {host}, asked {attempts}: "
                f"{_why(error, self.connection.timeout)}"
            ) from None
        except requests.RequestException as error:
            raise SourceError(f"{self.where}: can't ask {host} ({type(error).__name__})") from None


def _why(error: BaseException, timeout: timedelta) -> str:
    """What stands at the beginning of a chain of errors, in words where it's usual."""
    first: object = error
    waited = f"{timeout.total_seconds():g} s (`timeout`)"
    while True:
        match first:
            case gaierror() | NameResolutionError():
                return "no host of this name is known"
            case ConnectionRefusedError():
                return "the connection is refused"
            case SSLError():
                return "no secure connection can be made"
            case urllib3.exceptions.MaxRetryError() if first.reason is not None:
                first = first.reason
            case TooSlowError():
                return f"{first} (`min_bytes_per_second`)"
            case urllib3.exceptions.ConnectTimeoutError() if first.args and not isinstance(
                first, urllib3.exceptions.NewConnectionError
            ):
                return f"no connection was made within {waited}"
            case BaseException() if first.__cause__ or first.__context__:
                first = first.__cause__ or first.__context__
            case TimeoutError() | urllib3.exceptions.ReadTimeoutError():
                return f"nothing more came within {waited}"
            case _:
                return type(error).__name__
