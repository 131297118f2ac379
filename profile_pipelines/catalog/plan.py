"""Questions that several steps ask of a catalogue: who maps what, how often, in which order."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import TypeVar

from profile_pipelines.catalog.conditions import audiences_of
from profile_pipelines.catalog.convert_steps import NumberStep
from profile_pipelines.catalog.mistakes import did_you_mean
from profile_pipelines.catalog.models import Audience, Catalogue
from profile_pipelines.catalog.systems import SourceField, Sync
from profile_pipelines.errors import UnknownName

_Declaration = TypeVar("_Declaration")


def find_declared(kind: str, name: str, among: Mapping[str, _Declaration]) -> _Declaration:
    """What of a kind is declared under a name. Raises UnknownName, with what comes near to it."""
    if name not in among:
        hint = did_you_mean(name, sorted(among), all_of="there are")
        raise UnknownName(f"the catalogue declares no {kind} {name}{hint}")
    return among[name]


def sync_of(catalogue: Catalogue, system: str, attribute: str) -> tuple[str, SourceField]:
    """The sync of the system that maps the attribute, and the field that it maps.

    Raises UnknownName when the system isn't declared or doesn't map the attribute.
    """
    for name, sync in find_declared("system", system, catalogue.systems).syncs.items():
        if attribute in sync.attributes:
            return name, sync.attributes[attribute]
    raise UnknownName(f"system {system} maps no field to {attribute}")


def schedule_of(catalogue: Catalogue, system: str, attribute: str) -> str:
    """The cron schedule by which the system syncs the attribute, in the catalogue's time zone."""
    name, field = sync_of(catalogue, system, attribute)
    return field.schedule or catalogue.systems[system].syncs[name].schedule


def cadences_of(sync: Sync) -> dict[str, list[str]]:
    """The sync's attributes by their cron schedule."""
    cadences: dict[str, list[str]] = {}
    for attribute, field in sync.attributes.items():
        cadences.setdefault(field.schedule or sync.schedule, []).append(attribute)
    return cadences


def number_fields(catalogue: Catalogue, sync: Sync) -> dict[str, bool]:
    """The sync's fields that only attributes of numbers take; true for those that all of them
    take as they stand, without `convert`. Where a step reads how the number is written, it stays
    as it is."""
    found: dict[str, bool] = {}
    others = {each.field for each in sync.controls}
    for name, each in sync.attributes.items():
        reads_numbers = any(isinstance(step, NumberStep) for step in each.convert)
        if catalogue.attributes[name].type in ("integer", "decimal") and not reads_numbers:
            found[each.field] = found.get(each.field, True) and not each.convert
        else:
            others.add(each.field)
    return {field: plain for field, plain in found.items() if field not in others}


def is_incremental(sync: Sync) -> bool:
    """Whether the sync reads changes only: as declared, or else when it has `updated_at`."""
    if sync.mode is None:
        return sync.updated_at is not None
    return sync.mode != "full"


def audience_order(audiences: Mapping[str, Audience]) -> list[str]:
    """The audiences' names, each after the audiences that its condition refers to.

    Raises graphlib.CycleError, which names the cycle, when there is none (never in a loaded
    catalogue).
    """
    graph = {
        name: sorted(audiences_of(audience.where) & audiences.keys())
        for name, audience in sorted(audiences.items())
    }
    return list(TopologicalSorter(graph).static_order())


def audience_cycle(audiences: Mapping[str, Audience]) -> list[str]:
    """The names along one cycle of audiences, first and last the same; empty without a cycle."""
    try:
        audience_order(audiences)
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []
