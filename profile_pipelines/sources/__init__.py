"""Reading business systems: SQL databases, HTTP APIs and files as Arrow batches."""

from __future__ import annotations

from profile_pipelines.catalog.connections import (
    CustomConnection,
    FilesConnection,
    RestConnection,
    SqlConnection,
)
from profile_pipelines.catalog.systems import Sync, System
from profile_pipelines.sources.reading import BATCH_ROWS, ReadRequest, Source

__all__ = ["BATCH_ROWS", "ReadRequest", "Source", "open_limited", "open_source"]


def open_limited(system: System, sync: Sync) -> Source:
    """As `open_source`, within the time that the catalogue gives the sync from now on.

    Whatever is asked beyond that raises `SourceUnreachable`.
    """
    from profile_pipelines.sources.time_limit import TimeLimited

    where = f"{system.system}.{_name(system, sync)}"
    return TimeLimited(where, system, sync, open_source(system, sync))


def open_source(system: System, sync: Sync) -> Source:
    """The sync's table, endpoint or file set, ready for reading; nothing is contacted yet.

    Raises `SourceError` for a declaration that can't be read or a missing secret.
    """
    where = f"{system.system}.{_name(system, sync)}"
    # each kind's libraries cost up to a second of imports
    from profile_pipelines.sources.nested import NestedColumns

    match system.connection:
        case SqlConnection():
            from profile_pipelines.sources.sql import SqlSource

            return NestedColumns(where, sync, SqlSource(where, system.connection, sync))
        case RestConnection():
            from profile_pipelines.sources.rest import RestSource

            return RestSource(where, system.connection, sync)
        case FilesConnection():
            from profile_pipelines.sources.files import FilesSource

            files = FilesSource(where, system.connection, sync)
            return NestedColumns(where, sync, files) if files.format == "csv" else files
        case CustomConnection():
            from profile_pipelines.sources.custom import CustomSource

            return CustomSource(where, system.connection, sync)


def _name(system: System, sync: Sync) -> str:
    return next((name for name, declared in system.syncs.items() if declared == sync), "?")
