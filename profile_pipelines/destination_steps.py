"""What is done with the destinations of a workspace: brought to the present, or emptied."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from profile_pipelines.catalog.plan import find_declared
from profile_pipelines.pipeline import in_turn
from profile_pipelines.workspace import Workspace

if TYPE_CHECKING:
    from profile_pipelines.activation.deliver import Delivery, DeliveryResult
    from profile_pipelines.catalog.destinations import Destination


def find_destination(workspace: Workspace, name: str) -> Destination:
    """A destination of the catalogue. Raises UnknownName."""
    return find_declared("destination", name, workspace.catalogue.destinations)


def deliver(
    workspace: Workspace,
    name: str,
    *,
    clock: Callable[[], datetime],
    dry: bool = False,
    progress: Callable[[int], None] | None = None,
    waits: Callable[[str], None] | None = None,
) -> DeliveryResult:
    """Bring a destination to the present of its audience; `dry` only counts. While another run is
    at it, `waits` is told so.

    Raises UnknownName when the catalogue declares none such, and DestinationError or Conflict
    when nothing was begun; what ended a run early is the result's `error`.
    """
    if not dry:
        workspace.ledger.clock.look(clock())
    else:
        return delivery_to(workspace, name, clock, progress).preview()
    return in_turn(workspace, lambda: delivery_to(workspace, name, clock, progress).run(), waits)


def empty_destination(
    workspace: Workspace,
    name: str,
    *,
    clock: Callable[[], datetime],
    waits: Callable[[str], None] | None = None,
) -> DeliveryResult:
    """Remove everybody from a destination. Waits and raises like `deliver`."""
    return in_turn(workspace, lambda: delivery_to(workspace, name, clock, None).empty(), waits)


def delivery_to(
    workspace: Workspace,
    name: str,
    clock: Callable[[], datetime],
    progress: Callable[[int], None] | None,
) -> Delivery:
    """What brings a destination to the present, empties it or erases people there. Raises like
    `deliver`."""
    workspace.check_lake(now=clock())
    from profile_pipelines.activation.deliver import Delivery
    from profile_pipelines.activation.targets import open_target, place_of

    catalogue, ledger = workspace.catalogue, workspace.ledger
    destination = find_destination(workspace, name)
    return Delivery(
        catalogue,
        workspace.lake,
        ledger,
        destination,
        place_of(destination),
        lambda: open_target(catalogue, destination, workspace.places.exports),
        clock=clock,
        progress=progress,
    )
