"""Bulk jobs: a request starts one, it is asked after until it's done, its result is downloaded.

A result is downloaded whole into a temporary file before any of it is read, so that a cut
connection can be tried again and memory holds a few records only.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import chain
from tempfile import TemporaryFile
from time import monotonic, sleep
from typing import IO, Any

from profile_pipelines.catalog.rest_requests import BulkJob, BulkResult
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.errors import SourceError, SourceUnreachable
from profile_pipelines.sources.json_records import as_text, getter, parse
from profile_pipelines.sources.rest_client import RestClient
from profile_pipelines.sources.rest_paging import paginator
from profile_pipelines.sources.rest_request import Call, call, filled

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
        url = as_text(getter(result.url)(done))
        files = _at_url(client, url) if url else iter(())
    else:
        files = _at_path(where, client, result, job)
    read = _csv_records if result.format == "csv" else _json_lines
    yield from _in_pages(read(where, files, result))


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
        sleep(poll.every.total_seconds())


def _at_url(client: RestClient, url: str) -> Iterator[IO[bytes]]:
    with TemporaryFile() as file:
        client.download_from(url, file)
        file.seek(0)
        yield file


def _at_path(where: str, client: RestClient, result: BulkResult, job: str) -> Iterator[IO[bytes]]:
    """Each page of the result, one after the other."""
    from requests import Request

    words = {"{job}": job}
    path = (result.path or "").replace("{job}", job)
    headers = {name: resolve(value) for name, value in result.headers.items()}
    pages = paginator(where, result.paging, client.base_url)
    request = Request(url=path, params=filled(result.params, words))
    with TemporaryFile() as file:
        while True:
            asked = Call(request.url, "GET", dict(request.params), headers)  # pyright: ignore
            response = client.download(asked, file)
            file.seek(0)
            yield file
            pages.update_state(response, [])
            pages.update_request(request)
            if not pages.has_next_page:
                return


def _csv_records(
    where: str, files: Iterator[IO[bytes]], result: BulkResult
) -> Iterator[dict[str, Any]]:
    """Each page may bear the header or not; an empty cell is missing."""
    header: list[str] | None = None
    for file in files:
        text = io.TextIOWrapper(file, "utf-8-sig", newline="")
        try:
            rows = csv.reader(text, strict=True)
            first = next(rows, None)
            if first is None:
                raise SourceError(f"{where}: a part of the result is empty, without even a header")
            if header is None:
                header = first
            elif first != header:
                rows = chain([first], rows)
            for row in rows:
                if len(row) != len(header):
                    raise SourceError(f"{where}: a row of the result isn't as long as its header")
                yield {name: cell or None for name, cell in zip(header, row, strict=True)}
        except (csv.Error, UnicodeDecodeError):
            raise SourceError(f"{where}: the result isn't whole CSV") from None
        finally:
            text.detach()


def _json_lines(
    where: str, files: Iterator[IO[bytes]], result: BulkResult
) -> Iterator[dict[str, Any]]:
    records = (record for file in files for record in _objects(where, file))
    return _families(where, records, result.parent) if result.parent else records


def _objects(where: str, file: IO[bytes]) -> Iterator[dict[str, Any]]:
    while line := file.readline(_LONGEST_LINE + 1):
        if len(line) > _LONGEST_LINE:
            raise SourceError(f"{where}: a line of the result is longer than 16 MB")
        if not line.strip():
            continue
        try:
            record = parse(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise SourceError(f"{where}: a line of the result isn't a whole JSON object")
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
