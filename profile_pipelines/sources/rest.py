"""HTTP APIs that answer with JSON, declared in YAML alone.

Values come as text. `since` is handed to the API by the sync's `cursor`, a second early, as
some APIs leave out the bound itself and most know only whole seconds; without a `cursor` an
incremental read brings everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time
from threading import Event as Flag
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from profile_pipelines.catalog.connections import RestConnection
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.errors import MissingField, SourceError
from profile_pipelines.sources.event_log import Event, read_events
from profile_pipelines.sources.json_columns import batches
from profile_pipelines.sources.json_records import flattened
from profile_pipelines.sources.json_shape import sampled
from profile_pipelines.sources.reading import ReadRequest
from profile_pipelines.sources.rest_clock import EPOCH, Clock, Written
from profile_pipelines.sources.rest_request import Call, call

if TYPE_CHECKING:
    import pyarrow as pa

    from profile_pipelines.sources.rate_limit import RateLimiter
    from profile_pipelines.sources.rest_client import RestClient
    from profile_pipelines.sources.rest_deleted import Deleted

_FIRST_WAIT = 0.5


class RestSource:
    """An endpoint of an HTTP API, page by page.

    `first_wait` is the pause before the first retry in seconds; every further one doubles it.
    `clock` tells when a read begins, which ends the last of the windows by time.
    """

    def __init__(
        self,
        where: str,
        connection: RestConnection,
        sync: Sync,
        *,
        first_wait: float = _FIRST_WAIT,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.where = where
        self.connection = connection
        self.sync = sync
        self.first_wait = first_wait
        self.clock = clock
        self.zone = sync.zone or connection.zone
        self.base_url = resolve(connection.base_url)
        self._given_up = Flag()
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SourceError(f"{where}: base_url must look like https://api.example.com/v1")
        also = (each.path for each in (sync.events, sync.full_read) if each is not None)
        for path in (sync.path or "", *also):
            if "://" in path or path.startswith("//"):
                raise SourceError(f"{where}: path must be relative to base_url, without a host")

    @property
    def place(self) -> str:
        """What is read, for people."""
        return urlsplit(self.base_url).netloc.rpartition("@")[2]

    def cancel(self) -> None:
        """Ask for nothing more; from another thread."""
        self._given_up.set()

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        # a few records need no bulk job
        whole = request.keys is None and request.since is None and request.limit is None
        if request.keys is None:
            pages, seen = self._pages(request.since, request.fields, whole=whole), request.seen
        else:
            pages, seen = self._records(request.keys, request.fields), None
        try:
            counted = _counted(pages, request)
            if request.keys is None and not (whole and self.sync.full_read is not None):
                # what another request brings may look otherwise
                counted = sampled(counted, request.shape)
            yield from batches(counted, request.fields, seen, limit=request.limit)
        except RecursionError:
            raise SourceError(f"{self.where}: the answer is nested too deeply") from None

    def events(self, since: datetime) -> list[Event]:
        """What the system's event log has of the time from `since` on, in no order."""
        log = self.sync.events
        if log is None:
            raise SourceError(f"{self.where}: `events` doesn't say where events are listed")
        with self._client() as client:
            paging = log.paging or self.connection.paging
            return read_events(self.where, client, log, paging, self.zone, since)

    def deleted(self, since: datetime | None, resume: str | None) -> Deleted:
        """What the API's `deleted_list` has: since then, or since it was read up to `resume`.

        Raises TokenForgotten where it doesn't go on from there any more.
        """
        from profile_pipelines.sources.rest_deleted import read_deleted

        listed = self.sync.deleted_list
        if listed is None:
            raise SourceError(f"{self.where}: `deleted_list` doesn't say what is asked")
        paging = listed.paging or self.connection.paging
        with self._client() as client:
            return read_deleted(self.where, client, listed, paging, self.zone, since, resume)

    def change_mark(self) -> str | None:
        """None: what makes an answer new differs from API to API."""
        return None

    def has_newer(self, since: datetime) -> bool | None:
        """None, as for `change_mark`."""
        return None

    def inspect(self) -> dict[str, str]:
        """The paths in the first page's records."""
        fields = self.sync.mapped_fields
        while True:
            try:
                return flattened(next(iter(self._pages(None, fields)), []))
            except MissingField as error:
                # an API that is told what to give refuses all of it for one field
                if error.field not in fields:
                    raise
                fields = tuple(field for field in fields if field != error.field)

    def _records(self, keys: tuple[str, ...], fields: tuple[str, ...]) -> Iterator[list[Any]]:
        from profile_pipelines.sources.one_record import records

        if self.sync.one is None:
            raise SourceError(f"{self.where}: `one` doesn't say where one record is read")
        with self._client() as client:
            yield from records(self.where, client, self.sync, self.sync.one, keys, fields)

    def _pages(
        self, since: datetime | None, fields: tuple[str, ...], *, whole: bool = False
    ) -> Iterator[list[Any]]:
        sync = self.sync.for_full_read() if whole else self.sync
        with self._client(sync) as client:
            if sync.window is not None:
                yield from self._windows(client, since, fields)
                return
            asked = self._call(sync, since, fields)
            if sync.bulk is not None:
                from profile_pipelines.sources.rest_bulk import bulk_pages

                yield from bulk_pages(self.where, client, sync.bulk, asked)
            else:
                paging = sync.paging or self.connection.paging
                yield from client.pages(asked, sync.records, paging)

    @contextmanager
    def _client(self, sync: Sync | None = None) -> Iterator[RestClient]:
        # costs imports that other questions do without
        from profile_pipelines.sources.rest_client import RestClient

        client = RestClient(
            self.where,
            self.connection,
            self.base_url,
            self._limiters(sync or self.sync),
            self.first_wait,
            self._given_up,
        )
        try:
            yield client
        finally:
            client.close()

    def _windows(
        self, client: RestClient, since: datetime | None, fields: tuple[str, ...]
    ) -> Iterator[list[Any]]:
        from profile_pipelines.sources.rest_window import Windows

        cursor, window = self.sync.cursor, self.sync.window
        paging = self.sync.paging or self.connection.paging
        if cursor is None or window is None or self.sync.updated_at is None:
            raise SourceError(f"{self.where}: a window needs a cursor and updated_at")

        def ask(start: Written, end: Written | None) -> Any:
            asked = call(self.where, self.sync, cursor, start, end, fields=fields)
            return client.pages(asked, self.sync.records, paging)

        clock = Clock(cursor.format, self.zone)
        windows = Windows(self.where, window, clock, self.sync.updated_at.field, ask)
        begins = since or self._start() or EPOCH
        return windows.pages(begins, self.clock(), early=since is not None)

    def _call(self, sync: Sync, since: datetime | None, fields: tuple[str, ...]) -> Call:
        cursor = sync.cursor
        if cursor is None:
            return call(self.where, sync, fields=fields)
        clock = Clock(cursor.format, self.zone)
        if since is not None:
            text = clock.written(since, early=True)
        else:
            start = self._start()
            text = None if start is None else clock.written(start)
        return call(self.where, sync, cursor, text, fields=fields)

    def _start(self) -> datetime | None:
        day = self.sync.cursor.start if self.sync.cursor is not None else None
        return None if day is None else datetime.combine(day, time(), ZoneInfo(self.zone))

    def _limiters(self, sync: Sync) -> list[RateLimiter]:
        limits = (
            (self.connection.rate_limit, self.base_url),
            (sync.rate_limit, f"{self.base_url} {sync.path}"),
        )
        if not any(limit for limit, _ in limits):
            return []
        from profile_pipelines.sources.rate_limit import RateLimiter

        wait = self._given_up.wait
        return [RateLimiter(limit, key, sleep=wait) for limit, key in limits if limit is not None]


def _counted(pages: Iterator[list[Any]], request: ReadRequest) -> Iterator[list[Any]]:
    for page in pages:
        request.counts.pages += 1
        yield page
