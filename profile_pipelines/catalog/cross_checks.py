"""What must fit together across the catalogue's declarations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from profile_pipelines.catalog.aggregate_checks import aggregate_mistakes
from profile_pipelines.catalog.channel_checks import channel_mistakes
from profile_pipelines.catalog.conditions import KEYWORDS
from profile_pipelines.catalog.convert_checks import control_mistakes, convert_mistakes
from profile_pipelines.catalog.destination_checks import destination_mistakes
from profile_pipelines.catalog.draft import Draft, Kind
from profile_pipelines.catalog.durations import format_duration
from profile_pipelines.catalog.journey_checks import condition_mistakes, journey_mistakes
from profile_pipelines.catalog.mistakes import Path, did_you_mean
from profile_pipelines.catalog.models import Attribute, Identifier
from profile_pipelines.catalog.plan import audience_cycle
from profile_pipelines.catalog.schedules import longest_gap
from profile_pipelines.catalog.survivorship_checks import survivorship_mistakes
from profile_pipelines.catalog.sync_checks import sync_mistakes
from profile_pipelines.catalog.systems import System
from profile_pipelines.catalog.webhook_checks import webhook_mistakes

_NEEDED: tuple[tuple[Kind, str, str], ...] = (
    ("identifier", "identifiers.yaml", "declares no identifier; records are matched by them"),
    ("attribute", "attributes.yaml", "declares no attribute; declare at least one"),
    ("system", "sources", "declares no system; write a file for each system into this folder"),
)
MAX_SYSTEMS = 61
"""The lake keeps the systems that gave a value as bits of one number, beside a built-in one."""
_KEPT_NAMES = frozenset([
    *KEYWORDS, "profile_id", "record_id", "record_key", "updated_at", "quarantine", "changed",
    "seq", "recorded_at", "run_id", "removed", "system", "sync", "member", "held", "held_apart",
    "shared_identifiers", "further_of", "deleted", "ordinal", "previous_profile_id",
])  # fmt: skip

_KEPT_SYSTEMS = frozenset(
    {"identities", "profiles", "audiences", "journeys", "destinations", "outbox", "unsubscribes"}
)
"""What is made of the systems, or built in, stands under these names in Dagster and in the lake."""


def cross_check(draft: Draft) -> None:
    """Add to the draft every mistake that shows only when its declarations are seen together."""
    _check_whole(draft)
    for name, attribute in draft.also_salvaged("attribute", draft.attributes).items():
        _check_attribute(draft, name, attribute)
    for name, system in draft.also_salvaged("system", draft.systems).items():
        _check_system(draft, name, system)
    _check_audiences(draft)
    for path, text in channel_mistakes(draft):
        draft.report("channels", "", path, text)
    for name, journey in draft.also_salvaged("journey", draft.journeys).items():
        for path, text in journey_mistakes(draft, journey):
            draft.report("journey", name, path, text)
    for name, destination in draft.also_salvaged("destination", draft.destinations).items():
        for path, text in destination_mistakes(draft, destination):
            draft.report("destination", name, path, text)


def _check_whole(draft: Draft) -> None:
    for kind, file, text in _NEEDED:
        if kind not in draft.unread and not draft.declared(kind):
            draft.missing(file, text)
    for name in draft.declared("system")[MAX_SYSTEMS:]:
        draft.report("system", name, ("system",), f"at most {MAX_SYSTEMS} systems can be declared")
    for name, identifier in list(draft.identifiers.items())[:1]:
        if identifier.profiles is not None:
            text = "is for weaker identifiers: the first one tells the profiles apart"
            draft.report("identifier", name, ("profiles",), text)
    for name, identifier in draft.identifiers.items():
        for path, text in _trust_mistakes(draft, name, identifier):
            draft.report("identifier", name, path, text)
    zone = draft.settings.timezone_attribute
    if zone is not None:
        at = ("timezone_attribute",)
        if draft.is_unknown("attribute", zone):
            hint = did_you_mean(zone, draft.declared("attribute"))
            draft.report("settings", "", at, f"unknown attribute {zone}{hint}")
        elif zone in draft.attributes and draft.attributes[zone].type != "string":
            text = f"needs a string; the type of {zone} is {draft.attributes[zone].type}"
            draft.report("settings", "", at, text)


def _trust_mistakes(draft: Draft, name: str, identifier: Identifier) -> Iterator[tuple[Path, str]]:
    for index, system in enumerate(identifier.sources):
        at = ("sources", index)
        if draft.is_unknown("system", system):
            hint = did_you_mean(system, draft.declared("system"), all_of="there are")
            yield at, f"unknown system {system}{hint}"
        elif system in identifier.sources[:index]:
            yield at, f"names {system} twice; keep the place that it should have"
        elif system in draft.systems and not any(
            name in sync.identifiers for sync in draft.systems[system].syncs.values()
        ):
            todo = f"map it in sources/{system}.yaml or take {system} out here"
            yield at, f"system {system} maps no field to {name}; {todo}"


def _check_attribute(draft: Draft, name: str, attribute: Attribute) -> None:
    def report(path: tuple[str | int, ...], text: str) -> None:
        draft.report("attribute", name, path, text)

    if name in _KEPT_NAMES or name.startswith("id_"):
        report((), "is a name that the lake and conditions keep for themselves; choose another")
    if ("identifier", name) in draft.places:
        report((), "is the name of an identifier, too; choose another for one of them")
    for index, system in enumerate(attribute.sources):
        at = ("sources", index)
        if draft.is_unknown("system", system):
            hint = did_you_mean(system, draft.declared("system"), all_of="there are")
            report(at, f"unknown system {system}{hint}")
        elif system in draft.systems and not _schedules(draft.systems[system], name):
            todo = f"map it in sources/{system}.yaml or take {system} out here"
            report(at, f"system {system} maps no field to {name}; {todo}")
    for system, count in Counter(attribute.sources).items():
        if count > 1:
            report(("sources",), f"names {system} twice; keep the place that it should have")
    by_default = attribute.consent is not None  # then that is the mistake
    if attribute.merge == "most_restrictive" and attribute.type != "boolean" and not by_default:
        report(("merge",), f"most_restrictive needs a boolean; its type is {attribute.type}")
    if attribute.merge in ("min", "max") and attribute.type in ("boolean", "list"):
        report(("merge",), f"{attribute.merge} needs values in order; its type is {attribute.type}")
    if attribute.ordered and attribute.type != "list":
        report(("ordered",), f"is for lists; its type is {attribute.type}")
    if attribute.consent is not None and attribute.type != "boolean":
        report(("consent",), f"a consent is a boolean, true or false; its type is {attribute.type}")
    gap = _gap_at_truth(draft, name, attribute)
    if gap is not None and attribute.fresh_within < gap:
        text = (
            f"is tighter than the schedule: {attribute.sources[0]}, the source of truth, syncs "
            f"it with gaps of up to {format_duration(gap)}; allow at least that, or sync more often"
        )
        report(("fresh_within",), text)


def _gap_at_truth(draft: Draft, name: str, attribute: Attribute) -> timedelta | None:
    system = draft.systems.get(attribute.sources[0])
    try:
        return min(map(longest_gap, _schedules(system, name)), default=None) if system else None
    except ValueError:
        return None


def _schedules(system: System, attribute: str) -> list[str]:
    return [
        sync.attributes[attribute].schedule or sync.schedule
        for sync in system.syncs.values()
        if attribute in sync.attributes
    ]


def _check_system(draft: Draft, name: str, system: System) -> None:
    if name in _KEPT_SYSTEMS:
        text = "is the name of what is made of the systems, or built in; choose another"
        draft.report("system", name, ("system",), text)
    mapped: dict[str, str] = {}
    for sync_name, sync in system.syncs.items():
        at = ("syncs", sync_name)
        for path, text in (*sync_mistakes(system.connection, sync), *control_mistakes(sync)):
            draft.report("system", name, (*at, *path), text)
        for path, text in (
            *aggregate_mistakes(sync, draft.attributes, name),
            *survivorship_mistakes(sync, draft.attributes),
        ):
            draft.report("system", name, (*at, *path), text)
        for child in sync.fields:
            if child in _KEPT_NAMES or child.startswith("id_"):
                text = "is a name that the lake keeps for itself; choose another"
                draft.report("system", name, (*at, "fields", child), text)
        for identifier in sync.identifiers:
            if draft.is_unknown("identifier", identifier):
                known = draft.declared("identifier")
                hint = did_you_mean(identifier, known, all_of="there are")
                text = f"unknown identifier{hint or '; declare it in identifiers.yaml'}"
                draft.report("system", name, (*at, "identifiers", identifier), text)
        for attribute in sync.attributes:
            text = _mapping_mistake(draft, name, attribute, mapped)
            if text:
                draft.report("system", name, (*at, "attributes", attribute), text)
            elif attribute in draft.attributes and not sync.is_aggregating:
                declared = draft.attributes[attribute]
                for path, text in convert_mistakes(sync.attributes[attribute], declared):
                    place = (*at, "attributes", attribute, *path)
                    draft.report("system", name, place, text)
            mapped.setdefault(attribute, sync_name)
    for path, text in webhook_mistakes(system):
        draft.report("system", name, path, text)


def _mapping_mistake(
    draft: Draft, system: str, attribute: str, mapped: dict[str, str]
) -> str | None:
    if draft.is_unknown("attribute", attribute):
        hint = did_you_mean(attribute, draft.declared("attribute"))
        return f"unknown attribute{hint or '; declare it in attributes.yaml'}"
    if attribute in mapped:
        return f"sync {mapped[attribute]} maps this attribute already; keep one"
    if attribute in draft.attributes and system not in draft.attributes[attribute].sources:
        return f"the attribute doesn't list {system} among its sources; add it there, or leave out"
    return None


def _check_audiences(draft: Draft) -> None:
    for name, audience in draft.also_salvaged("audience", draft.audiences).items():
        for path, text in condition_mistakes(draft, audience.where):
            draft.report("audience", name, ("where", *path), text)
    rest = dict(draft.audiences)
    while cycle := audience_cycle(rest):
        around = " → ".join(cycle)
        text = f"the audience depends on itself: {around}; take one of these references out"
        draft.report("audience", cycle[0], ("where",), text)
        rest.pop(cycle[0])
