"""HTTP APIs that answer with JSON, declared in YAML alone.

Values come as text. `since` is handed to the API by the sync's `cursor`, a second early, as
some APIs leave out the bound itself and most know only whole seconds; without a `cursor` an
incremental read brings everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from profile_pipelines.catalog.connections import RestConnection
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.errors import SourceError
from profile_pipelines.sources.json_records import batches, flattened
from profile_pipelines.sources.reading import ReadRequest

if TYPE_CHECKING:
    import pyarrow as pa

_FIRST_WAIT = 0.5
_OVERLAP = timedelta(seconds=1)


class RestSource:
    """An endpoint of an HTTP API, page by page.

    `first_wait` is the pause before the first retry in seconds; every further one doubles it.
    """

    def __init__(
        self, where: str, connection: RestConnection, sync: Sync, *, first_wait: float = _FIRST_WAIT
    ) -> None:
        self.where = where
        self.connection = connection
        self.sync = sync
        self.first_wait = first_wait
        self.base_url = resolve(connection.base_url)
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SourceError(f"{where}: base_url must look like https://api.example.com/v1")
        if "://" in (sync.path or "") or (sync.path or "").startswith("//"):
            raise SourceError(f"{where}: path must be relative to base_url, without a host")

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch]:
        if request.keys is not None:
            return batches(self._records(request.keys), request.fields)
        return batches(
            self._pages(request.since), request.fields, request.seen, limit=request.limit
        )

    def change_mark(self) -> str | None:
        """None: what makes an answer new differs from API to API."""
        return None

    def has_newer(self, since: datetime) -> bool | None:
        """None, as for `change_mark`."""
        return None

    def inspect(self) -> dict[str, str]:
        """The paths in the first page's records."""
        return flattened(next(iter(self._pages(None)), []))

    def _records(self, keys: tuple[str, ...]) -> Iterator[list[Any]]:
        from profile_pipelines.sources.one_record import records

        if self.sync.one is None:
            raise SourceError(f"{self.where}: `one` doesn't say where one record is read")
        return records(
            self.where,
            self.connection,
            self.base_url,
            self.sync.one,
            keys,
            first_wait=self.first_wait,
        )

    def _pages(self, since: datetime | None) -> Iterator[list[Any]]:
        # dlt costs most of a second of imports
        from profile_pipelines.sources.rest_client import pages

        params: dict[str, Any] = {
            name: str(value).lower() if isinstance(value, bool) else value
            for name, value in self.sync.params.items()
        }
        if since is not None and self.sync.cursor is not None:
            params[self.sync.cursor.param] = _written(since, self.sync.cursor.format)
        return pages(
            self.where,
            self.connection,
            self.base_url,
            path=self.sync.path or "",
            params=params,
            records=self.sync.records,
            paging=self.sync.paging or self.connection.paging,
            first_wait=self.first_wait,
        )


def _written(since: datetime, form: str) -> str:
    early = since.astimezone(UTC).replace(microsecond=0) - _OVERLAP
    match form:
        case "epoch":
            return str(int(early.timestamp()))
        case "epoch_ms":
            return str(int(early.timestamp()) * 1000)
        case _:
            return early.strftime("%Y-%m-%dT%H:%M:%SZ")
