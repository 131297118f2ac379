"""A catalogue's Dagster definitions."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import dagster as dg

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.orchestration.derived import derived_assets
from profile_pipelines.orchestration.destinations import destination_assets
from profile_pipelines.orchestration.journeys import journey_assets
from profile_pipelines.orchestration.lost_runs import executor
from profile_pipelines.orchestration.schedules import compact_lake, schedules
from profile_pipelines.orchestration.sensors import sensors
from profile_pipelines.orchestration.session import Session
from profile_pipelines.orchestration.systems import system_assets, system_checks
from profile_pipelines.orchestration.webhooks import webhook_assets
from profile_pipelines.workspace import Places

if TYPE_CHECKING:
    from profile_pipelines.workspace import Workspace


def definitions_at(places: Places) -> dg.Definitions:
    """The definitions of the catalogue at the given places; lake and ledger aren't opened yet.

    Raises CatalogueError with all mistakes of the catalogue.
    """
    from profile_pipelines.catalog.load import load_catalogue

    def open_workspace() -> "Workspace":
        from profile_pipelines.workspace import Workspace

        return Workspace(places, catalogue)

    catalogue = load_catalogue(places.catalogue)
    return build_definitions(catalogue, open_workspace)


def build_definitions(
    catalogue: Catalogue,
    open_workspace: "Callable[[], Workspace]",
    *,
    session: Session | None = None,
) -> dg.Definitions:
    """All assets, checks, schedules and sensors of a catalogue."""
    return dg.Definitions(
        assets=[
            *(system_assets(catalogue, name) for name in catalogue.systems),
            *webhook_assets(catalogue),
            *derived_assets(catalogue),
            *destination_assets(catalogue),
            *journey_assets(catalogue),
        ],
        asset_checks=[system_checks(catalogue, name) for name in catalogue.systems],
        jobs=[compact_lake],
        schedules=schedules(catalogue),
        sensors=sensors(catalogue),
        resources={"session": session or Session(open_workspace)},
        executor=executor,
    )
