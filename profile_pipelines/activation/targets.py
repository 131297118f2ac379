"""The target for each kind of destination, and the name of its place."""

from __future__ import annotations

import hashlib
from pathlib import Path

from profile_pipelines.activation.target import Target
from profile_pipelines.catalog.destinations import (
    Braze,
    CsvFiles,
    CustomerIo,
    DeltaTable,
    Destination,
    GoogleCustomerMatch,
    HubSpotList,
    MetaAudience,
    ParquetFiles,
    SqlTable,
    WebhookTarget,
)
from profile_pipelines.catalog.models import Catalogue

_NO_PLACE = frozenset({
    "secret", "api_key", "token", "access_token", "client_id", "client_secret", "refresh_token",
    "login_url", "headers", "rate_limit", "retries", "timeout", "allow_private", "keep_changes",
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
            return _files(name, to, Path(to.folder) if to.folder else exports / name)
        case SqlTable():
            from profile_pipelines.activation.sql_table import SqlTarget

            return SqlTarget(catalogue, destination, to)
        case WebhookTarget():
            from profile_pipelines.activation.webhook import WebhookService

            return WebhookService(name, to)
        case Braze():
            from profile_pipelines.activation.braze import BrazeService

            return BrazeService(destination, to)
        case CustomerIo():
            from profile_pipelines.activation.customer_io import CustomerIoService

            return CustomerIoService(name, to)
        case HubSpotList():
            from profile_pipelines.activation.hubspot import HubSpotService

            return HubSpotService(name, to)
        case MetaAudience():
            from profile_pipelines.activation.meta import MetaService

            return MetaService(destination, to)
        case GoogleCustomerMatch():
            from profile_pipelines.activation.google import GoogleService

            return GoogleService(destination, to)


def _files(name: str, to: CsvFiles | ParquetFiles | DeltaTable, folder: Path) -> Target:
    match to:
        case CsvFiles():
            from profile_pipelines.activation.csv_files import CsvTarget

            return CsvTarget(name, folder, to.keep_changes)
        case ParquetFiles():
            from profile_pipelines.activation.parquet_files import ParquetTarget

            return ParquetTarget(name, folder, to.keep_changes)
        case DeltaTable():
            from profile_pipelines.activation.delta_table import DeltaTarget

            return DeltaTarget(name, folder, to.keep_changes)
