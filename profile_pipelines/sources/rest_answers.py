"""What is looked at in an answer of an HTTP API: size, status, JSON, GraphQL errors."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import IO, Any
from urllib.parse import urljoin

import requests

from profile_pipelines.errors import NoSuchRecord, SourceError
from profile_pipelines.sources.json_records import getter, parse
from profile_pipelines.sources.origins import host_of
from profile_pipelines.sources.rest_paging import refuse_other_host
from profile_pipelines.sources.rest_refusals import refusal
from profile_pipelines.sources.rest_session import PASSING, Throttled

_CHUNK = 64 * 1024
HINTS = {
    401: "the API doesn't accept the credentials; check `auth` and the variable it names",
    403: "the credentials may not read this; ask for access or a wider scope",
    404: "there is nothing at this path; check `base_url` and `path`",
}
_THROTTLED = {"THROTTLED", "RATE_LIMITED"}
_SIGNED_OUT = {"FORBIDDEN", "UNAUTHENTICATED", "UNAUTHORIZED", "EXPIREDSIGNATUREERROR"}
"""Apollo's and Vendure's codes, and that of Saleor, whose tokens last five minutes:
https://docs.saleor.io/upgrade-guides/3-1-to-3-2"""
_DENIED = {*_SIGNED_OUT, "ACCESS_DENIED", "PERMISSION_DENIED", "PERMISSIONDENIED"}


class SignedOutError(SourceError):
    """A GraphQL API takes the token no more, or never did, and says so with status 200."""


@dataclass(frozen=True)
class Check:
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

    def __call__(self, response: requests.Response, *_: Any, **__: Any) -> None:
        try:
            self._look_at(response)
        except Exception:
            response.close()
            raise

    def _look_at(self, response: requests.Response) -> None:
        passes = response.ok and not response.is_redirect
        content = _bounded(self.where, response, self.limit, self.into if passes else None)
        if response.is_redirect:
            target = urljoin(response.url, response.headers["location"])
            if host_of(target) not in (self.hosts or ()):
                refuse_other_host(self.where, self.base_url, target, "redirect's target")
            return
        status = response.status_code
        if status in PASSING:
            raise requests.HTTPError(f"status {status}", response=response)
        if status in (404, 410) and self.single:
            raise NoSuchRecord(f"{self.where}: the API hasn't got this record ({status})")
        if status >= 300:
            hint = self.hints.get(
                status, "the API refuses the request; check `path`, `params` and `body`"
            )
            raise refusal(self.where, status, content, hint, self.fields)
        answer = {} if self.into is not None else self._parsed(response, content)
        if self.graphql:
            _refuse_errors(self.where, response, answer, self.hints.get(status))
        # the paginators ask for it again
        response.json = lambda **_: answer

    def _parsed(self, response: requests.Response, content: bytes) -> Any:
        if says_nothing(response, len(content)):
            if self.single:
                raise SourceError(
                    f"{self.where}: the answer for a record is empty ({response.status_code}), "
                    "which doesn't say that it's gone, as 404 and 410 do; check `one`"
                )
            return None
        try:
            return parse(content)
        except ValueError:
            raise SourceError(f"{self.where}: {_no_json(content)}") from None


def says_nothing(response: requests.Response, size: int) -> bool:
    """Whether a good answer is an empty one, and meant so: 204, or no content of no type.

    One that says it's JSON, and has nothing, was cut.
    """
    if response.status_code in (204, 205):
        return True
    return not size and not response.headers.get("Content-Type", "").strip()


def _no_json(content: bytes) -> str:
    if content.lstrip().startswith(b"<"):
        return (
            "the answer is a web page or XML, not whole JSON; is there a login or a proxy before "
            "the API? Check `base_url`, `path` and `auth`"
        )
    return f"the answer isn't whole JSON ({len(content)} bytes); check `base_url` and `path`"


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


def _refuse_errors(
    where: str, response: requests.Response, answer: Any, hint: str | None = None
) -> None:
    """GraphQL answers with status 200 also when it fails: throttled ones are tried again."""
    errors = answer.get("errors") if isinstance(answer, dict) else None
    if not errors:
        if not isinstance(answer, dict) or answer.get("data") is None:
            raise SourceError(
                f"{where}: the answer has neither data nor errors, as GraphQL's do; check `path`"
            )
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
    signed_out = hint is None and codes & _SIGNED_OUT
    hint = hint or (HINTS[403] if codes & _DENIED else "check `graphql`")
    text = f"{where}: the API answers the query with errors ({named}): {hint}"
    raise SignedOutError(text) if signed_out else SourceError(text)


def _codes(error: dict[str, Any]) -> Iterator[str]:
    for path in ("type", "extensions.code", "extensions.exception.code"):
        code = getter(path)(error)
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
