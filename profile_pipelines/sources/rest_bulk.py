"""Bulk jobs: a request starts one, it is asked after until it's done, its result is downloaded.

A result is downloaded whole into a temporary file before any of it is read, so that a cut
connection can be tried again and memory holds a few records only.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from tempfile import TemporaryFile
from time import monotonic
from typing import IO, Any

from profile_pipelines.catalog.rest_requests import BulkJob, BulkResult
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.errors import SourceError, SourceUnreachable
from profile_pipelines.sources.json_records import ABSENT, as_text, getter, parse
from profile_pipelines.sources.rest_answers import says_nothing
from profile_pipelines.sources.rest_client import RestClient
from profile_pipelines.sources.rest_paging import paginator
from profile_pipelines.sources.rest_request import Call, call, filled, query

_PAGE = 1000
_LONGEST_LINE = 16 * 2**20


def bulk_pages(
    where: str,
    client: RestClient,
    bulk: BulkJob,
    start: Call,
) -> Iterator[list[Any]]:
    """The records of the job's result, some at a time.

    Raises SourceError for a job that isn't taken or fails, SourceUnreachable for one that
    isn't done in time.
    """
    answer = client.ask(start)
    refused = bulk.errors and getter(bulk.errors)(answer)
    if refused and isinstance(refused, list):
        raise SourceError(
            f"{where}: the API doesn't start the job ({len(refused)} reasons at "
            f"{bulk.errors!r}); is another one running, or the query wrong?"
        )
    job = as_text(getter(bulk.job)(answer))
    if not job:
        raise SourceError(f"{where}: the answer has no job at {bulk.job!r}")
    done = _done(where, client, bulk, job)
    result = bulk.result
    if result.url is not None:
        url = getter(result.url)(done)
        if url is ABSENT:
            raise SourceError(
                f"{where}: the job is done, and its answer has nothing at {result.url!r}, where "
                "the result's address should be; check `url` of `result`"
            )
        url = as_text(url)
        files = _at_url(client, url) if url else iter(())
    else:
        files = _at_path(where, client, result, job)
    records = (
        _csv_records(where, files, start.fields)
        if result.format == "csv"
        else _json_lines(where, files, result)
    )
    yield from _in_pages(records)


def _done(where: str, client: RestClient, bulk: BulkJob, job: str) -> Any:
    """The poll's answer once the job is done."""
    poll, asked = bulk.poll, call(where, bulk.poll, job=job)
    deadline = monotonic() + poll.timeout.total_seconds()
    while True:
        answer = client.ask(asked)
        state = as_text(getter(poll.state)(answer))
        if state in poll.done:
            return answer
        if not state or state in poll.failed:
            # states are the vendor's own words
            raise SourceError(f"{where}: the job ended as {state or 'nothing'}; no records came")
        if monotonic() >= deadline:
            raise SourceUnreachable(
                f"{where}: the job wasn't done in {poll.timeout}; try again later, or allow more "
                "(`timeout` of `poll`)"
            )
        client.wait(poll.every.total_seconds())


def _at_url(client: RestClient, url: str) -> Iterator[IO[bytes]]:
    with TemporaryFile() as file:
        response = client.download_from(url, file)
        if not says_nothing(response, file.tell()):
            file.seek(0)
            yield file


def _at_path(where: str, client: RestClient, result: BulkResult, job: str) -> Iterator[IO[bytes]]:
    """Each page of the result, one after the other."""
    from requests import Request

    words = {"{job}": job}
    path = (result.path or "").replace("{job}", job)
    headers = {name: resolve(value) for name, value in result.headers.items()}
    pages = paginator(where, result.paging, client.base_url)
    request = Request(url=path, params=query(filled(result.params, words)))
    with TemporaryFile() as file:
        while True:
            asked = Call(request.url, "GET", dict(request.params), headers)  # pyright: ignore
            response = client.download(asked, file)
            if not says_nothing(response, file.tell()):
                file.seek(0)
                yield file
            pages.update_state(response, [])
            pages.update_request(request)
            if not pages.has_next_page:
                return


def _csv_records(
    where: str, files: Iterator[IO[bytes]], fields: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Each page may bear the header or not; an empty cell is missing."""
    header: list[str] | None = None
    for part, file in enumerate(files, 1):
        text = io.TextIOWrapper(file, "utf-8-sig", newline="")
        lines = csv.reader(text, strict=True)
        rows: Iterator[list[str]] = lines
        try:
            first = next(lines, None)
            if first is None:
                raise SourceError(
                    f"{where}: part {part} of the result is empty, without even a header; try again"
                )
            if header is None:
                header = first
                if fields and not any(_holds(header, field) for field in fields):
                    raise SourceError(
                        f"{where}: the result isn't the table that was asked for: its first line "
                        "names none of the mapped fields; check `query` and `result`"
                    )
            elif first != header:
                rows = chain([first], rows)
            for row in rows:
                if len(row) != len(header):
                    raise SourceError(
                        f"{where}: line {lines.line_num} in part {part} of the result isn't as "
                        f"long as its header: {len(row)} columns, not {len(header)}"
                    )
                yield {name: cell or None for name, cell in zip(header, row, strict=True)}
        except (csv.Error, UnicodeDecodeError):
            raise SourceError(
                f"{where}: part {part} of the result isn't whole CSV in UTF-8, after line "
                f"{lines.line_num}"
            ) from None
        finally:
            text.detach()


def _holds(header: Sequence[str], field: str) -> bool:
    """Whether a column is the field, or the JSON that its path leads into."""
    return any(field == name or field.startswith((f"{name}.", f"{name}[")) for name in header)


def _json_lines(
    where: str, files: Iterator[IO[bytes]], result: BulkResult
) -> Iterator[dict[str, Any]]:
    records = (
        record for part, file in enumerate(files, 1) for record in _objects(where, part, file)
    )
    return _families(where, records, result.parent) if result.parent else records


def _objects(where: str, part: int, file: IO[bytes]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(iter(partial(file.readline, _LONGEST_LINE + 1), b""), 1):
        at = f"{where}: line {number} in part {part} of the result"
        if len(line) > _LONGEST_LINE:
            raise SourceError(f"{at} is longer than 16 MB")
        if not line.strip():
            continue
        try:
            record = parse(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise SourceError(f"{at} isn't a whole JSON object")
        yield record


def _families(
    where: str, records: Iterator[dict[str, Any]], parent: str
) -> Iterator[dict[str, Any]]:
    """The lines without a parent, each with its children, which follow it, in a list."""
    family: dict[str, Any] | None = None
    members: dict[Any, dict[str, Any]] = {}
    for record in records:
        above = record.get(parent)
        if above is None:
            if family is not None:
                yield family
            family, members = record, {}
        elif above in members:
            members[above].setdefault("children", []).append(record)
        else:
            raise SourceError(
                f"{where}: a line of the result comes apart from its parent; ask the API to "
                "group them (Shopify's groupObjects)"
            )
        if "id" in record:
            members[record["id"]] = record
    if family is not None:
        yield family


def _in_pages(records: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    page: list[dict[str, Any]] = []
    for record in records:
        page.append(record)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page
