"""Pages of records over HTTP by dlt's REST client: authentication, retries, whole answers only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from dlt.common.configuration.specs.runtime_configuration import RuntimeConfiguration
from dlt.sources.helpers.requests.retry import Client
from dlt.sources.helpers.rest_client.auth import APIKeyAuth, BearerTokenAuth, HttpBasicAuth
from dlt.sources.helpers.rest_client.client import RESTClient
from requests.auth import AuthBase

from profile_pipelines.catalog.connections import (
    ApiKeyAuth,
    Auth,
    BasicAuth,
    BearerAuth,
    Paging,
    RestConnection,
)
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.errors import NoSuchRecord, SourceError, SourceUnreachable
from profile_pipelines.sources.json_records import ABSENT, getter, parse
from profile_pipelines.sources.rest_paging import paginator, refuse_other_host

_PASSING = (408, 425, 429, *range(500, 600))
_LONGEST_WAIT = 300.0
_HINTS = {
    401: "the API doesn't accept the credentials; check `auth` and the variable it names",
    403: "the credentials may not read this; ask for access or a wider scope",
    404: "there is nothing at this path; check `base_url` and `path`",
}


def pages(
    where: str,
    connection: RestConnection,
    base_url: str,
    *,
    path: str,
    params: dict[str, Any],
    records: str | None,
    paging: Paging,
    first_wait: float,
    single: bool = False,
) -> Iterator[list[Any]]:
    """The records of each page; `single` takes the answer for one record.

    Passing faults (429, 5xx, timeouts, cut connections) are tried again `connection.retries`
    times, after `first_wait` seconds and twice as long each time, or as Retry-After says; then
    SourceUnreachable. Everything else that isn't a whole JSON answer raises SourceError.
    """
    session = Client(
        request_timeout=connection.timeout.total_seconds(),
        raise_for_status=False,
        status_codes=_PASSING,
        exceptions=_CUT,
        request_max_attempts=connection.retries + 1,
        request_backoff_factor=first_wait,
        request_max_retry_delay=_LONGEST_WAIT,
        session_attrs={"max_redirects": 5},
    ).session
    client = _Client(
        base_url,
        headers={
            "Accept": "application/json",
            "User-Agent": "profile-pipelines",
            **{name: resolve(value) for name, value in connection.headers.items()},
        },
        auth=_auth(connection.auth),
        session=session,
        config=RuntimeConfiguration(),
    )
    client.where, client.records, client.single = where, records, single
    try:
        yield from client.paginate(
            path,
            params=params,
            paginator=paginator(where, paging, base_url),
            data_selector="$",
            hooks={"response": [client.check]},
        )
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else "a fault"
        raise SourceUnreachable(
            f"{where}: the API answered with {status}, {connection.retries + 1} times; "
            "try again later"
        ) from None
    except _CUT as error:
        raise SourceUnreachable(
            f"{where}: no whole answer from {_host(base_url)} in {connection.retries + 1} "
            f"attempts ({type(error).__name__})"
        ) from None
    except requests.RequestException as error:
        raise SourceError(
            f"{where}: can't ask {_host(base_url)} ({type(error).__name__})"
        ) from None
    finally:
        session.close()


_CUT = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)


class _Client(RESTClient):
    """Parses each answer once, with exact numbers, and takes the records from it."""

    where: str
    records: str | None
    single: bool

    def check(self, response: requests.Response, *_: Any, **__: Any) -> None:
        """Runs on every answer before anything is made of it, redirects included."""
        try:
            self._check(response)
        except Exception:
            response.close()
            raise

    def _check(self, response: requests.Response) -> None:
        if response.is_redirect:
            target = urljoin(response.url, response.headers["location"])
            refuse_other_host(self.where, self.base_url, target, "redirect's target")
            return
        status = response.status_code
        if status in _PASSING:
            raise requests.HTTPError(f"status {status}", response=response)
        if status in (404, 410) and self.single:
            raise NoSuchRecord(f"{self.where}: the API hasn't got this record ({status})")
        if status >= 300:
            hint = _HINTS.get(status, "the API refuses the request; check `path` and `params`")
            raise SourceError(f"{self.where}: the API answered with {status}: {hint}")
        try:
            answer = parse(response.content)
        except ValueError:
            raise SourceError(
                f"{self.where}: the answer isn't whole JSON "
                f"({len(response.content)} bytes); check `base_url` and `path`"
            ) from None
        # the paginators ask for it again
        response.json = lambda **_: answer

    def extract_response(self, response: requests.Response, data_selector: Any) -> list[Any]:
        answer = response.json()
        found = answer if self.records is None else getter(self.records)(answer)
        if self.single and isinstance(found, dict):
            return [found]
        if not isinstance(found, list):
            raise SourceError(f"{self.where}: {self._no_list(answer, found)}")
        if not all(isinstance(record, dict) for record in found):
            raise SourceError(f"{self.where}: the answer's list holds more than JSON objects")
        return found

    def _no_list(self, answer: Any, found: Any) -> str:
        lists = [k for k, v in answer.items() if isinstance(v, list)] if found is answer else []
        if self.records is None:
            where = f"; set `records: {lists[0]}`" if lists else "; set `records`"
            return f"the answer isn't a list of records{where}"
        state = "nothing" if found is ABSENT else "no list"
        return f"the answer has {state} at `records: {self.records}`"


def _auth(auth: Auth | None) -> AuthBase | None:
    match auth:
        case None:
            return None
        case BearerAuth():
            return BearerTokenAuth(token=resolve(auth.token))
        case BasicAuth():
            password = resolve(auth.password) if auth.password is not None else ""
            return HttpBasicAuth(username=resolve(auth.username), password=password)
        case ApiKeyAuth():
            return APIKeyAuth(name=auth.name, api_key=resolve(auth.key), location=auth.location)


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the API"
