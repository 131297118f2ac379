"""The target for each kind of destination, and the name of its place."""

from __future__ import annotations

import hashlib
from pathlib import Path

from profile_pipelines.activation.target import Target
from profile_pipelines.catalog.destinations import (
    CsvFiles,
    DeltaTable,
    Destination,
    ParquetFiles,
    SqlTable,
)
from profile_pipelines.catalog.models import Catalogue

_NO_PLACE = frozenset({
    "secret", "api_key", "token", "access_token", "client_id", "client_secret", "refresh_token",
    "token_url", "headers", "rate_limit", "retries", "timeout", "allow_private", "keep_changes",
    "calling_code",
})  # fmt: skip
"""What may change while a destination stays where it is."""


def place_of(destination: Destination) -> str:
    """A digest that is another one when the destination is at another place."""
    place = destination.to.model_dump_json(exclude=set(_NO_PLACE))
    return hashlib.sha256(place.encode()).hexdigest()[:32]


def open_target(catalogue: Catalogue, destination: Destination, exports: Path) -> Target:
    """The destination's target; files go below `exports` unless it names a folder.

    Raises DestinationError when it can't be reached or a secret isn't set.
    """
    name, to = destination.destination, destination.to
    match to:
        case CsvFiles() | ParquetFiles() | DeltaTable():
            folder = Path(to.folder) if to.folder else exports / name
            return _files(name, to, folder)
        case SqlTable():
            from profile_pipelines.activation.sql_table import SqlTarget

            return SqlTarget(catalogue, destination, to)
        case _:
            raise NotImplementedError


def _files(name: str, to: CsvFiles | ParquetFiles | DeltaTable, folder: Path) -> Target:
    match to:
        case CsvFiles():
            from profile_pipelines.activation.csv_files import CsvTarget

            return CsvTarget(name, folder, to.keep_changes)
        case _:
            raise NotImplementedError
