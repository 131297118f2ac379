"""The declared paging styles.

Each stops only where the API says so: an answer that names no next page although more follow,
or leads round in a circle, raises `SourceError`, so that a part never passes for the whole.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

from requests import Request, Response

from profile_pipelines.catalog.connections import (
    CursorPaging,
    LinkPaging,
    Location,
    NoPaging,
    OffsetPaging,
    PagePaging,
    Paging,
)
from profile_pipelines.errors import SourceError
from profile_pipelines.sources.json_records import ABSENT, as_text, getter
from profile_pipelines.sources.origins import host_of, same_origin
from profile_pipelines.sources.rest_request import place


def paginator(where: str, paging: Paging, base_url: str) -> Paginator:
    """A fresh paginator, good for one pass."""
    match paging:
        case CursorPaging():
            return CursorPaginator(where, paging)
        case LinkPaging():
            return LinkPaginator(where, paging, base_url)
        case PagePaging():
            return PagePaginator(where, paging)
        case OffsetPaging():
            return OffsetPaginator(where, paging)
        case NoPaging():
            return SinglePage()


class Paginator:
    """Makes of each answer the request for the next page."""

    has_next_page = True

    def init_request(self, request: Request) -> None:
        """Make the first page's request of one that knows nothing of pages."""

    def update_state(self, response: Response, data: list[Any]) -> None:
        """Note what an answer and its records say about the next page."""
        raise NotImplementedError

    def update_request(self, request: Request) -> None:
        """Make the last page's request the next one's."""


class SinglePage(Paginator):
    """One answer is everything."""

    def update_state(self, response: Response, data: list[Any]) -> None:
        self.has_next_page = False


class _ReferencePaginator(Paginator):
    """Follows a reference (cursor or link) until the answer says that there is none."""

    def __init__(self, where: str, paging: CursorPaging | LinkPaging) -> None:
        super().__init__()
        self.where = where
        self.more, self.end = paging.more, paging.end
        self.reference: str | None = None
        self.followed: set[str] = set()

    def update_state(self, response: Response, data: list[Any]) -> None:
        answer = response.json()
        more = self._more(answer, data)
        self.reference = None if more is False else self._next(response, answer, data)
        self.has_next_page = self.reference is not None
        if self.reference is None:
            if more:
                raise SourceError(
                    f"{self.where}: the answer says that more pages follow but names none; "
                    "check `paging`"
                )
        elif self.reference in self.followed:
            raise SourceError(
                f"{self.where}: the API leads to the same page again, after "
                f"{len(self.followed) + 1} pages; check `paging`"
            )
        else:
            self.followed.add(self.reference)

    def _next(self, response: Response, answer: Any, records: list[Any]) -> str | None:
        raise NotImplementedError

    def _more(self, answer: Any, records: list[Any]) -> bool | None:
        for path, meaning in ((self.more, True), (self.end, False)):
            if path is None:
                continue
            flag = getter(path)(answer)
            if not records and (flag is ABSENT or flag is None):
                # what was left out with the list; a reference is followed all the same
                return None
            if flag not in (True, False, "true", "false"):
                raise SourceError(f"{self.where}: the answer has no flag at {path!r}")
            return (flag in (True, "true")) is meaning
        return None


class CursorPaginator(_ReferencePaginator):
    """Hands the cursor of one answer, or of its last record, to the next request."""

    def __init__(self, where: str, paging: CursorPaging) -> None:
        super().__init__(where, paging)
        self.paging = paging

    def update_request(self, request: Request) -> None:
        if self.reference is not None:
            _put(self.where, request, self.paging.location, self.paging.param, self.reference)

    def _next(self, response: Response, answer: Any, records: list[Any]) -> str | None:
        if self.paging.next is not None:
            return as_text(getter(self.paging.next)(answer)) or None
        if self.paging.next_header is not None:
            text = response.headers.get(self.paging.next_header, "").strip()
            return None if text in ("", "null") else text
        if not records:
            return None
        path = self.paging.last_record or ""
        cursor = as_text(getter(path)(records[-1]))
        if not cursor:
            raise SourceError(f"{self.where}: a page's last record has no {path!r} to go on from")
        return cursor


class LinkPaginator(_ReferencePaginator):
    """Follows the next page's address, on the same host only."""

    def __init__(self, where: str, paging: LinkPaging, base_url: str) -> None:
        super().__init__(where, paging)
        self.path = paging.next
        self.base_url = base_url

    def update_request(self, request: Request) -> None:
        if self.reference is not None:
            request.url = self.reference
            request.params = {}

    def _next(self, response: Response, answer: Any, records: list[Any]) -> str | None:
        link = as_text(getter(self.path)(answer)) if self.path is not None else None
        link = link or response.links.get("next", {}).get("url")
        if not link:
            return None
        target = urljoin(response.url, link)
        refuse_other_host(self.where, self.base_url, target, "next page")
        return target


class _NumberPaginator(Paginator):
    """Counts up by itself; the same page twice means that the API doesn't know the parameter."""

    def __init__(self, where: str, paging: PagePaging | OffsetPaging, start: int) -> None:
        super().__init__()
        self.where = where
        self.param = paging.param
        self.location: Location = paging.location
        self.total = paging.total
        self.number = start
        self.last: list[Any] | None = None

    def init_request(self, request: Request) -> None:
        self.update_request(request)

    def update_request(self, request: Request) -> None:
        _put(self.where, request, self.location, self.param, self.number)

    def update_state(self, response: Response, data: list[Any]) -> None:
        self.has_next_page = bool(data)
        if data and data == self.last:
            raise SourceError(
                f"{self.where}: the API answers with the same page for {self.param}="
                f"{self.number} as before; check `paging`"
            )
        self.last = data

    def _total(self, response: Response, records: list[Any]) -> int | None:
        """The number that the answer has at `total`; None where an empty page leaves it out."""
        if self.total is None:
            return None
        text = as_text(getter(self.total)(response.json())) or ""
        if not text and not records:
            return None
        if not text.isdecimal():
            raise SourceError(f"{self.where}: the answer has no number at {self.total!r}")
        return int(text)


class PagePaginator(_NumberPaginator):
    """Numbered pages until an empty one, or as many as the API says there are."""

    def __init__(self, where: str, paging: PagePaging) -> None:
        super().__init__(where, paging, paging.start)
        self.start = paging.start
        self.total_header = paging.total_header

    def update_state(self, response: Response, data: list[Any]) -> None:
        super().update_state(response, data)
        self.number += 1
        total = self._total(response, data)
        if self.total_header is not None:
            text = response.headers.get(self.total_header, "").strip()
            if text.isdecimal():
                total = int(text)
            elif text or data:
                raise SourceError(f"{self.where}: no number in the header {self.total_header}")
        if total is not None and self.number - self.start >= total:
            self.has_next_page = False


class OffsetPaginator(_NumberPaginator):
    """Goes on by as many records as came, until none come: an API may give less than asked.

    A total that falls tells that records went away, so that others moved up past the page that
    was asked for: then the reading goes back by as many.
    """

    def __init__(self, where: str, paging: OffsetPaging) -> None:
        super().__init__(where, paging, 0)
        self.before: int | None = None
        self.limit_param, self.limit = paging.limit_param, paging.limit

    def update_request(self, request: Request) -> None:
        super().update_request(request)
        _put(self.where, request, self.location, self.limit_param, self.limit)

    def update_state(self, response: Response, data: list[Any]) -> None:
        super().update_state(response, data)
        total = self._total(response, data)
        if total is None:
            if self.before is None:
                self.number += len(data)
                return
            total = self.before
        before, self.before = self.before, total
        if before is not None and total < before:
            self.number, self.last = max(0, self.number - (before - total)), None
        else:
            self.number += len(data)
            if self.number > total or (not data and self.number < total):
                raise SourceError(
                    f"{self.where}: the API says that there are {total} records, and gives "
                    f"{'more' if data else 'no more'} at {self.number}; check `paging`"
                )
        self.has_next_page = self.number < total


def refuse_other_host(where: str, base_url: str, target: str, what: str) -> None:
    """Raises `SourceError` unless scheme, host and port are those of `base_url`."""
    if not same_origin(base_url, target):
        host = host_of(target)
        raise SourceError(
            f"{where}: the {what} is on another host ({host}), where no secret is sent; "
            "declare that host as base_url if it's right"
        )


def _put(where: str, request: Request, location: Location, name: str, value: Any) -> None:
    sent: Any = request
    place(where, sent.params, sent.json, name, location, value)
