"""Where audiences are delivered: one asset for each destination."""

import dagster as dg

from profile_pipelines.catalog.destinations import Destination
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.orchestration.derived import PROFILES, audience_key
from profile_pipelines.orchestration.session import Session, now_of
from profile_pipelines.orchestration.systems import owners

POOL = "destinations"
"""One run at a time delivers."""


def destination_key(name: str) -> dg.AssetKey:
    """The asset of a destination."""
    return dg.AssetKey(["destinations", name])


def destination_assets(catalogue: Catalogue) -> list[dg.AssetsDefinition]:
    """Each destination, after its audience."""
    return [_destination(each) for each in catalogue.destinations.values()]


def _destination(destination: Destination) -> dg.AssetsDefinition:
    name = destination.destination

    @dg.asset(
        key=destination_key(name),
        deps=[PROFILES, audience_key(destination.audience)],
        group_name="destinations",
        kinds={destination.to.type.partition("_")[0]},
        owners=owners(destination.owner),
        pool=POOL,
        required_resource_keys={"session"},
        description=destination.description or None,
        metadata={"consent": destination.consent, "columns": ", ".join(destination.told)},
    )
    def deliver(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from profile_pipelines.destination_steps import deliver
        from profile_pipelines.errors import DestinationError

        session: Session = context.resources.session
        with session.step(f"destinations.{name}") as details:
            result = deliver(
                session.workspace,
                name,
                clock=lambda: now_of(context.run.tags),
                waits=session.waiting(f"destinations.{name}", context),
            )
            session.report.deliveries.append(result)
            details += [
                f"{result.added:,} added",
                f"{result.changed:,} changed",
                f"{result.removed:,} removed",
            ]
            if result.refused:
                details.append(f"{result.refused:,} refused")
            if result.error:
                raise DestinationError(result.error)
        return dg.MaterializeResult(metadata=result.numbers)

    return deliver
