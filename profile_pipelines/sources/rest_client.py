"""Requests over HTTP by dlt's REST client: authentication, retries, bounded and whole answers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

import requests
from dlt.common.configuration.specs.runtime_configuration import RuntimeConfiguration
from dlt.sources.helpers.requests.retry import Client
from dlt.sources.helpers.rest_client.client import PageData, RESTClient

from profile_pipelines.catalog.connections import Paging, RestConnection
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.errors import NoSuchRecord, SourceError, SourceUnreachable
from profile_pipelines.sources.json_records import ABSENT, getter, parse
from profile_pipelines.sources.rate_limit import RateLimiter
from profile_pipelines.sources.rest_adapter import GuardedAdapter
from profile_pipelines.sources.rest_auth import authentication
from profile_pipelines.sources.rest_paging import paginator, refuse_other_host
from profile_pipelines.sources.rest_refusals import refusal
from profile_pipelines.sources.rest_request import Call

_PASSING = (408, 425, 429, *range(500, 600))
_LONGEST_WAIT = 300.0
_CHUNK = 64 * 1024
_HINTS = {
    401: "the API doesn't accept the credentials; check `auth` and the variable it names",
    403: "the credentials may not read this; ask for access or a wider scope",
    404: "there is nothing at this path; check `base_url` and `path`",
}
_THROTTLED = {"THROTTLED", "RATE_LIMITED"}
_DENIED = {"ACCESS_DENIED", "FORBIDDEN", "PERMISSION_DENIED", "UNAUTHENTICATED", "UNAUTHORIZED"}


class Throttled(requests.HTTPError):
    """The API wants less, and says so in an answer whose status is 200."""


_CUT = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)


class RestClient:
    """One connection's session, for one read.

    Passing faults (429, 5xx, timeouts, cut connections) are tried again `connection.retries`
    times, after `first_wait` seconds and twice as long each time, or as Retry-After says; then
    SourceUnreachable. Everything else that isn't a whole JSON answer raises SourceError.
    """

    def __init__(
        self,
        where: str,
        connection: RestConnection,
        base_url: str,
        limiters: list[RateLimiter],
        first_wait: float,
    ) -> None:
        self.where = where
        self.connection = connection
        self.base_url = base_url
        self._session = Client(
            request_timeout=connection.timeout.total_seconds(),
            raise_for_status=False,
            status_codes=_PASSING,
            exceptions=(*_CUT, Throttled),
            request_max_attempts=connection.retries + 1,
            request_backoff_factor=first_wait,
            request_max_retry_delay=_LONGEST_WAIT,
            session_attrs={"max_redirects": 5},
        ).session
        adapter = GuardedAdapter(where, connection.allow_private, limiters)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._client = _Client(
            base_url,
            headers={
                "Accept": "application/json",
                "User-Agent": "profile-pipelines",
                **{name: resolve(value) for name, value in connection.headers.items()},
            },
            auth=authentication(where, connection.auth, base_url, self._fetch_token),
            session=self._session,
            config=RuntimeConfiguration(),
        )
        self._client.where = where

    def close(self) -> None:
        self._session.close()

    def pages(
        self, asked: Call, records: str | None, paging: Paging, *, single: bool = False
    ) -> Iterator[PageData[dict[str, Any]]]:
        """The records of each page, with the answer and the paginator that they came by.

        `single` takes the answer for one record; NoSuchRecord when the API hasn't got it.
        """
        self._client.records, self._client.single = records, single
        with self._faults(self.base_url):
            yield from self._client.paginate(
                asked.path,
                method=asked.method,  # pyright: ignore[reportArgumentType]
                params=dict(asked.params),
                headers=asked.headers,
                json=asked.body,
                paginator=paginator(self.where, paging, self.base_url),
                data_selector="$",
                hooks={
                    "response": [
                        self._checker(graphql=asked.graphql, single=single, fields=asked.fields)
                    ]
                },
            )

    def ask(self, asked: Call) -> Any:
        """One answer, as JSON."""
        with self._faults(self.base_url):
            return self._client.request(
                asked.path,
                method=asked.method,  # pyright: ignore[reportArgumentType]
                params=asked.params,
                headers=asked.headers,
                json=asked.body,
                hooks={"response": [self._checker(graphql=asked.graphql, fields=asked.fields)]},
            ).json()

    def download(self, asked: Call, into: IO[bytes]) -> requests.Response:
        """One result of any size, whole, into a file that is emptied before each attempt."""
        with self._faults(self.base_url):
            return self._client.request(
                asked.path,
                params=asked.params,
                headers={"Accept": "*/*", **asked.headers},
                hooks={"response": [self._checker(into=into)]},
            )

    def download_from(self, url: str, into: IO[bytes]) -> None:
        """A result at an address of its own, such as a signed one: no secret goes there."""
        host = urlsplit(url).hostname
        if _origin(url) != _origin(self.base_url) and host not in self.connection.hosts:
            raise SourceError(
                f"{self.where}: the result is on another host ({host}); list it in `hosts` of "
                "the connection if that's right"
            )
        with self._faults(url):
            check = self._checker(into=into, hosts=self.connection.hosts)
            headers = {"User-Agent": "profile-pipelines"}
            self._session.get(url, headers=headers, hooks={"response": [check]})

    def _fetch_token(self, url: str, **form: Any) -> requests.Response:
        """The answer of a token or login request; nothing of what was sent is ever shown."""
        refused = "the login is refused; check the credentials in `auth` and what it names"
        hints: dict[int, str] = dict.fromkeys((200, 400, 401, 403), refused)
        with self._faults(url):
            check = self._checker(hints=hints, graphql="query" in (form.get("json") or {}))
            headers = {"Accept": "application/json", "User-Agent": "profile-pipelines"}
            return self._session.post(url, headers=headers, hooks={"response": [check]}, **form)

    def _checker(
        self,
        *,
        graphql: bool = False,
        single: bool = False,
        hints: dict[int, str] | None = None,
        into: IO[bytes] | None = None,
        hosts: list[str] | None = None,
        fields: tuple[str, ...] = (),
    ) -> Callable[..., None]:
        limit = self.connection.max_answer if into is None else self.connection.max_download
        check = _Check(
            self.where,
            self.base_url,
            limit,
            graphql,
            single,
            {**_HINTS, **(hints or {})},
            into,
            hosts,
            fields,
        )
        return partial(_checked, check)

    @contextmanager
    def _faults(self, url: str) -> Iterator[None]:
        host = urlsplit(url).hostname or "the API"
        attempts = f"{self.connection.retries + 1} times"
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
        except _CUT as error:
            raise SourceUnreachable(
                f"{self.where}: no whole answer from {host} in {self.connection.retries + 1} "
                f"attempts ({type(error).__name__})"
            ) from None
        except requests.RequestException as error:
            raise SourceError(f"{self.where}: can't ask {host} ({type(error).__name__})") from None


@dataclass(frozen=True)
class _Check:
    """What is looked at in every answer before anything is made of it, redirects included."""

    where: str
    base_url: str
    limit: int
    graphql: bool
    single: bool
    hints: dict[int, str]
    into: IO[bytes] | None
    hosts: list[str] | None
    fields: tuple[str, ...]

    def __call__(self, response: requests.Response) -> None:
        passes = response.ok and not response.is_redirect
        content = _bounded(self.where, response, self.limit, self.into if passes else None)
        if response.is_redirect:
            target = urljoin(response.url, response.headers["location"])
            if urlsplit(target).hostname not in (self.hosts or ()):
                refuse_other_host(self.where, self.base_url, target, "redirect's target")
            return
        status = response.status_code
        if status in _PASSING:
            raise requests.HTTPError(f"status {status}", response=response)
        if status in (404, 410) and self.single:
            raise NoSuchRecord(f"{self.where}: the API hasn't got this record ({status})")
        if status >= 300:
            hint = self.hints.get(
                status, "the API refuses the request; check `path`, `params` and `body`"
            )
            raise refusal(self.where, status, content, hint, self.fields)
        answer = {} if self.into is not None else self._parsed(content)
        if self.graphql:
            refuse_errors(self.where, response, answer, self.hints.get(status))
        # the paginators ask for it again
        response.json = lambda **_: answer

    def _parsed(self, content: bytes) -> Any:
        try:
            return parse(content)
        except ValueError:
            raise SourceError(
                f"{self.where}: the answer isn't whole JSON ({len(content)} bytes); check "
                "`base_url` and `path`"
            ) from None


def _checked(check: _Check, response: requests.Response, *_: Any, **__: Any) -> None:
    try:
        check(response)
    except Exception:
        response.close()
        raise


def _bounded(where: str, response: requests.Response, limit: int, into: IO[bytes] | None) -> bytes:
    """Read the answer, unpacked, up to `limit` bytes: into the file, if there is one."""
    size, chunks = 0, list[bytes]()
    if into is not None:
        into.seek(0)
        into.truncate()
    for chunk in response.iter_content(_CHUNK):
        size += len(chunk)
        if size > limit:
            key = "max_answer" if into is None else "max_download"
            raise SourceError(
                f"{where}: the answer is larger than {limit // 2**20} MB (`{key}`); ask for "
                "smaller pages, or allow more"
            )
        if into is None:
            chunks.append(chunk)
        else:
            into.write(chunk)
    content = b"".join(chunks)
    # what requests would have done, without a bound
    response._content, response._content_consumed = content, True  # pyright: ignore
    return content


def refuse_errors(
    where: str, response: requests.Response, answer: Any, hint: str | None = None
) -> None:
    """GraphQL answers with status 200 also when it fails: throttled ones are tried again."""
    errors = answer.get("errors") if isinstance(answer, dict) else None
    if not errors:
        return
    found = (
        [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    )
    codes = {code for error in found for code in _codes(error)}
    if codes & _THROTTLED:
        response.headers["Retry-After"] = str(_pause(where, answer))
        raise Throttled("throttled", response=response)
    # the messages may quote values; codes and field paths don't
    fields = {
        ".".join(str(step) for step in error["path"] if isinstance(step, str))
        for error in found
        if isinstance(error.get("path"), list)
    }
    named = ", ".join(sorted({*codes, *fields})[:10]) or "no code given"
    hint = hint or (_HINTS[403] if codes & _DENIED else "check `graphql`")
    raise SourceError(f"{where}: the API answers the query with errors ({named}): {hint}")


def _codes(error: dict[str, Any]) -> Iterator[str]:
    extensions = error.get("extensions")
    for code in (error.get("type"), extensions.get("code") if isinstance(extensions, dict) else 0):
        if isinstance(code, str) and re.fullmatch(r"[A-Za-z_]{1,60}", code):
            yield code.upper()
    if str(error.get("message")).strip().lower() == "throttled":
        yield "THROTTLED"


def _pause(where: str, answer: Any) -> int:
    """Seconds until a query by cost can be paid; 0 where the API doesn't say."""
    cost: Any = getter("extensions.cost")(answer)
    requested, held, refill, most = (
        getter(path)(cost)
        for path in (
            "requestedQueryCost",
            "throttleStatus.currentlyAvailable",
            "throttleStatus.restoreRate",
            "throttleStatus.maximumAvailable",
        )
    )
    if not all(isinstance(value, int | Decimal) for value in (requested, held, refill)):
        return 0
    if isinstance(most, int | Decimal) and requested > most:
        raise SourceError(
            f"{where}: the query costs more than the API ever allows at once ({requested} of "
            f"{most}); ask for smaller pages"
        )
    return max(0, math.ceil((requested - held) / refill)) if refill else 0


class _Client(RESTClient):
    """Takes the records from answers that were parsed when they were checked."""

    where: str
    records: str | None
    single: bool

    def extract_response(self, response: requests.Response, data_selector: Any) -> list[Any]:
        answer = response.json()
        found = answer if self.records is None else getter(self.records)(answer)
        if self.single and isinstance(found, dict):
            return [found]
        if self.single and found is None:
            # GraphQL's way to say so
            raise NoSuchRecord(f"{self.where}: the API hasn't got this record")
        if not isinstance(found, list):
            raise SourceError(f"{self.where}: {self._no_list(answer, found)}")
        if not all(isinstance(record, dict) for record in found):
            raise SourceError(f"{self.where}: the answer's list holds more than JSON objects")
        return found

    def _no_list(self, answer: Any, found: Any) -> str:
        if self.records is None:
            entries = answer.items() if isinstance(answer, dict) else ()
            lists = [key for key, value in entries if isinstance(value, list)]
            where = f"; set `records: {lists[0]}`" if lists else "; set `records`"
            return f"the answer isn't a list of records{where}"
        state = "nothing" if found is ABSENT else "no list"
        return f"the answer has {state} at `records: {self.records}`"


def _origin(url: str) -> tuple[str, str]:
    return urlsplit(url)[:2]
