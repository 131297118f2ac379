"""The steps in order: what is due, syncs, identities, profiles, audiences.

The command line and Dagster call the same steps; each is idempotent and stands on what the
lake says was done, not on what ran before.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from profile_pipelines.audiences.materialise import AudienceResult, materialise
from profile_pipelines.catalog.plan import audience_order, schedule_of
from profile_pipelines.errors import Conflict, DestinationError, NotFound, UnknownName
from profile_pipelines.identity import IdentitiesResult, resolve
from profile_pipelines.landing import SyncResult, sync
from profile_pipelines.landing.extraction import Progress
from profile_pipelines.landing.named import NamedResult, sync_named
from profile_pipelines.profiles.merge import ProfilesResult, merge
from profile_pipelines.profiles.unsubscribed import land_unsubscribes
from profile_pipelines.workspace import Workspace

if TYPE_CHECKING:
    from profile_pipelines.activation.deliver import Delivery, DeliveryResult
    from profile_pipelines.catalog.destinations import Destination
    from profile_pipelines.catalog.journeys import Journey
    from profile_pipelines.channels.dispatch import DispatchResult
    from profile_pipelines.journeys.difference import JourneyDifference
    from profile_pipelines.journeys.explain import Explanation
    from profile_pipelines.journeys.history import StepDay
    from profile_pipelines.journeys.simulate import SimulatedTick
    from profile_pipelines.journeys.status import JourneyStatus
    from profile_pipelines.journeys.tick import TickResult
    from profile_pipelines.ledger.erasures import Erasure

_ATTEMPTS = 5
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class DueSync:
    """A sync with those of its attributes whose schedule has come round."""

    system: str
    sync: str
    attributes: tuple[str, ...]


def due_syncs(workspace: Workspace, now: datetime, *, everything: bool = False) -> list[DueSync]:
    """The syncs with a schedule tick since they last succeeded; with `everything`, all.

    A tick at `now` itself counts.
    """
    from croniter import croniter

    catalogue = workspace.catalogue
    coverage = workspace.ledger.coverage()
    # croniter's previous tick lies strictly before
    local = now.astimezone(ZoneInfo(catalogue.settings.timezone)) + timedelta(microseconds=1)
    due: dict[tuple[str, str], list[str]] = defaultdict(list)
    for system, declared in catalogue.systems.items():
        for name, each in declared.syncs.items():
            for attribute in each.attributes:
                covered_at = coverage.get((system, attribute))
                schedule = schedule_of(catalogue, system, attribute)
                if (
                    everything
                    or covered_at is None
                    or croniter(schedule, local).get_prev(datetime) > covered_at
                ):
                    due[system, name].append(attribute)
    return [DueSync(system, name, tuple(names)) for (system, name), names in due.items()]


def sync_attributes(
    workspace: Workspace,
    due: DueSync,
    *,
    now: datetime,
    run_id: str,
    full: bool = False,
    progress: Progress | None = None,
) -> SyncResult:
    """Run one sync, again when another run committed to the same table meanwhile."""
    return again(
        lambda: sync(
            workspace.catalogue,
            workspace.lake,
            workspace.ledger,
            due.system,
            due.sync,
            due.attributes,
            now=now,
            run_id=run_id,
            full=full,
            progress=progress,
        )
    )


def sync_named_records(
    workspace: Workspace, system: str, name: str, *, now: datetime, run_id: str
) -> NamedResult:
    """Read the records that events named, again when another run was faster."""
    return again(
        lambda: sync_named(
            workspace.catalogue,
            workspace.lake,
            workspace.ledger,
            system,
            name,
            now=now,
            run_id=run_id,
        )
    )


def resolve_identities(workspace: Workspace, *, now: datetime, run_id: str) -> IdentitiesResult:
    """Bring identities up to date, again when another run was faster."""
    return again(lambda: resolve(workspace.catalogue, workspace.lake, now=now, run_id=run_id))


def merge_profiles(workspace: Workspace, *, now: datetime, run_id: str) -> ProfilesResult:
    """Bring profiles up to date with records and unsubscriptions, again when another run was
    faster."""
    catalogue, lake = workspace.catalogue, workspace.lake
    if any(each.consent for each in catalogue.attributes.values()):
        unsubscribes = workspace.ledger.unsubscribes
        again(lambda: land_unsubscribes(lake, unsubscribes, now=now, run_id=run_id))
    return again(lambda: merge(catalogue, lake, now=now, run_id=run_id))


def evaluate_audience(
    workspace: Workspace, name: str, *, now: datetime, run_id: str
) -> AudienceResult:
    """Bring one audience up to date, again when another run was faster.

    Raises UnknownName when the catalogue declares none such.
    """
    if name not in workspace.catalogue.audiences:
        raise UnknownName(f"the catalogue declares no audience {name}")
    return again(
        lambda: materialise(
            workspace.catalogue,
            workspace.lake,
            workspace.ledger.coverage(),
            name,
            now=now,
            run_id=run_id,
        )
    )


def tick_journey(
    workspace: Workspace, name: str, *, now: datetime, dry: bool = False, run_id: str = "tick"
) -> TickResult:
    """Move one journey to the present, again when another run was faster; `dry` writes nothing.

    Raises UnknownName when the catalogue declares none such.
    """
    from profile_pipelines.journeys.tick import tick

    _journey(workspace, name)
    return again(
        lambda: tick(
            workspace.catalogue,
            workspace.lake,
            workspace.ledger.enrolments,
            workspace.ledger.coverage(),
            name,
            now=now,
            run_id=run_id,
            dry=dry,
        )
    )


def journey_status(workspace: Workspace, name: str, *, now: datetime) -> JourneyStatus:
    """How a journey stands. Raises UnknownName when the catalogue declares none such."""
    from profile_pipelines.journeys.status import status_of

    ledger = workspace.ledger
    return status_of(
        _journey(workspace, name),
        ledger.enrolments,
        ledger.outbox,
        now=now,
        timezone=ZoneInfo(workspace.catalogue.settings.timezone),
    )


def journey_days(workspace: Workspace, name: str, days: int, *, now: datetime) -> list[StepDay]:
    """What happened at each step on each of the last days. Raises UnknownName."""
    from profile_pipelines.journeys.history import last_days

    ledger = workspace.ledger
    timezone = ZoneInfo(workspace.catalogue.settings.timezone)
    journey = _journey(workspace, name).journey
    return last_days(journey, ledger.enrolments, ledger.outbox, days, now=now, timezone=timezone)


def explain_journey(
    workspace: Workspace, name: str, identifier: str, *, now: datetime
) -> list[Explanation]:
    """A customer's enrolments in a journey. Raises UnknownName, or NotFound for the identifier."""
    from profile_pipelines.journeys.explain import explanations
    from profile_pipelines.profiles.lookup import find_profiles

    catalogue, lake, ledger = workspace.catalogue, workspace.lake, workspace.ledger
    journey = _journey(workspace, name)
    return explanations(
        catalogue,
        lake,
        ledger.enrolments,
        ledger.outbox,
        ledger.coverage(),
        journey,
        find_profiles(catalogue, lake, identifier),
        now=now,
    )


def simulate_journey(
    workspace: Workspace,
    name: str,
    start: datetime,
    end: datetime,
    *,
    now: datetime,
    every: timedelta | None = timedelta(days=1),
) -> tuple[list[datetime], Iterator[SimulatedTick]]:
    """The moments at which a journey is replayed over stored history, and what happens at each.

    With `every` None it's played at each change of the profiles. It begins with the history where
    that is younger than `start`. Nothing is written. Raises UnknownName, and NotFound where there
    is no such history.
    """
    from profile_pipelines.journeys.simulate import (
        change_times,
        daily,
        history_begins,
        simulated,
    )

    catalogue, lake, ledger = workspace.catalogue, workspace.lake, workspace.ledger
    journey = _journey(workspace, name)
    timezone = ZoneInfo(catalogue.settings.timezone)
    if start >= end:
        raise NotFound("there is nothing to replay: the end lies before the start or on it")
    if end > now:
        raise NotFound(f"there is no history after {now.astimezone(timezone):%Y-%m-%d %H:%M}")
    first = history_begins(catalogue, lake)
    if first is None:
        raise NotFound("the lake holds no profiles yet, and no history to replay")
    if end <= first:
        raise NotFound(
            f"the history begins on {first.astimezone(timezone):%Y-%m-%d at %H:%M}: "
            "end later than that"
        )
    start = max(start, first)
    if every is None:
        moments = sorted({start, *change_times(catalogue, lake, start, end), end})
    else:
        moments = daily(start, end, every)
    return moments, simulated(catalogue, lake, ledger.coverage, journey, moments)


def journey_difference(workspace: Workspace, name: str) -> JourneyDifference:
    """How a journey differs from the version that was launched last. Raises UnknownName."""
    from profile_pipelines.journeys.difference import difference_of

    return difference_of(_journey(workspace, name), workspace.ledger.enrolments)


def preview_message(
    workspace: Workspace, template: str, identifier: str, *, now: datetime
) -> tuple[str, str, str | None]:
    """A template's subject, text and HTML for a customer.

    Raises UnknownName, or NotFound for the identifier.
    """
    from profile_pipelines.channels.rendering import Rendering
    from profile_pipelines.profiles.lookup import find_profiles
    from profile_pipelines.profiles.values import values_of

    catalogue = workspace.catalogue
    if template not in catalogue.templates:
        known = ", ".join(sorted(catalogue.templates)) or "none"
        raise UnknownName(f"the catalogue has no template {template}; it has {known}")
    found = find_profiles(catalogue, workspace.lake, identifier)[:1]
    names = catalogue.templates[template].variables
    values = values_of(catalogue, workspace.lake, found, names)[found[0]]
    rendering = Rendering(catalogue.templates[template], now, ZoneInfo(catalogue.settings.timezone))
    return rendering.rendered(values, journey="preview", unsubscribe_url=None)


def _journey(workspace: Workspace, name: str) -> Journey:
    journeys = workspace.catalogue.journeys
    if name not in journeys:
        known = ", ".join(sorted(journeys)) or "none"
        raise UnknownName(f"the catalogue declares no journey {name}; it has {known}")
    return journeys[name]


def dispatch(
    workspace: Workspace,
    *,
    clock: Callable[[], datetime],
    progress: Callable[[int], None] | None = None,
) -> DispatchResult:
    """Send what is due in the outbox; `clock` tells the present (aware)."""
    from profile_pipelines.channels.dispatch import Dispatch
    from profile_pipelines.journeys.recheck import not_wanted

    catalogue, lake, ledger = workspace.catalogue, workspace.lake, workspace.ledger
    coverage = ledger.coverage()
    from profile_pipelines.privacy.unsubscribe_links import UnsubscribeLinks

    links = UnsubscribeLinks.from_environment()
    return Dispatch(
        catalogue,
        lake,
        ledger.outbox,
        coverage,
        workspace.places.outbox,
        recheck=lambda claimed, now: not_wanted(
            catalogue, lake, ledger.enrolments, coverage, claimed, now
        ),
        caps={name: each.cap for name, each in catalogue.journeys.items() if each.cap},
        unsubscribes=ledger.unsubscribes,
        unsubscribing=links.link if links else lambda profile_id, purpose: None,
        clock=clock,
        progress=progress,
    ).run()


def deliver(
    workspace: Workspace,
    name: str,
    *,
    clock: Callable[[], datetime],
    dry: bool = False,
    progress: Callable[[int], None] | None = None,
) -> DeliveryResult:
    """Bring a destination to the present of its audience; `dry` only counts.

    Raises UnknownName when the catalogue declares none such, and DestinationError or Conflict
    when nothing was begun; what ended a run early is the result's `error`.
    """
    delivery = _delivery(workspace, name, clock, progress)
    return delivery.preview() if dry else delivery.run()


def empty_destination(
    workspace: Workspace, name: str, *, clock: Callable[[], datetime]
) -> DeliveryResult:
    """Remove everybody from a destination. Raises like `deliver`."""
    return _delivery(workspace, name, clock, None).empty()


def _delivery(
    workspace: Workspace,
    name: str,
    clock: Callable[[], datetime],
    progress: Callable[[int], None] | None,
) -> Delivery:
    from profile_pipelines.activation.deliver import Delivery
    from profile_pipelines.activation.targets import open_target, place_of

    catalogue, ledger = workspace.catalogue, workspace.ledger
    destination = find_destination(workspace, name)
    return Delivery(
        catalogue,
        workspace.lake,
        ledger.deliveries,
        ledger.coverage(),
        ledger.unsubscribes,
        destination,
        place_of(destination),
        lambda: open_target(catalogue, destination, workspace.places.exports),
        clock=clock,
        progress=progress,
    )


def erase_people(
    workspace: Workspace,
    profile_ids: Sequence[int],
    *,
    reference: str | None,
    by: str,
    now: datetime,
    step: Callable[[str], None] = lambda name: None,
) -> Erasure:
    """Erase the people of these profiles everywhere, the destinations included.

    Raises like `privacy.erasure.erase`. Begun again, it goes on where it ended.
    """
    from profile_pipelines.privacy.erasure import erase

    return erase(
        workspace.catalogue,
        workspace.lake,
        workspace.ledger,
        workspace.places.outbox,
        profile_ids,
        reference=reference,
        by=by,
        now=now,
        step=step,
        from_destinations=lambda ids: _removals(workspace, ids, now),
    )


def _removals(
    workspace: Workspace, profile_ids: Sequence[int], now: datetime
) -> Iterator[tuple[str, int, Callable[[], None]]]:
    """What a destination that isn't declared any more holds can't be removed: that is said."""
    declared = workspace.catalogue.destinations
    held = Counter(
        row["destination"] for row in workspace.ledger.deliveries.of_profiles(profile_ids)
    )
    for name in sorted({*declared, *held}):
        if name not in declared:
            place = f"NOT REMOVED from destination {name}, which isn't declared any more"
            yield place, held[name], lambda: None
        elif held[name] or declared[name].is_ours:
            yield (
                f"destination {name}",
                held[name],
                partial(_remove, workspace, name, profile_ids, now),
            )


def _remove(workspace: Workspace, name: str, profile_ids: Sequence[int], now: datetime) -> None:
    result = _delivery(workspace, name, lambda: now, None).erase(profile_ids)
    if result.error is None and not result.refused:
        return
    why = result.error or f"destination {name} won't give up {result.refused:,} customers"
    raise DestinationError(f"{why}; the erasure waits for it: profile-pipelines erase --resume")


def find_destination(workspace: Workspace, name: str) -> Destination:
    """A destination of the catalogue. Raises UnknownName."""
    destinations = workspace.catalogue.destinations
    if name not in destinations:
        known = ", ".join(sorted(destinations)) or "none"
        raise UnknownName(f"the catalogue declares no destination {name}; it has {known}")
    return destinations[name]


def restore_consent(
    workspace: Workspace,
    identifier: str,
    purpose: str,
    *,
    by: str,
    because: str,
    now: datetime,
) -> list[int]:
    """Take a customer's unsubscription back; the ids of the profiles for which that was done.

    From the next run on the systems decide again. Raises UnknownName for the purpose, and NotFound
    when there is no such customer or none that is unsubscribed.
    """
    from profile_pipelines.privacy.consent import Unsubscribed, check_purpose
    from profile_pipelines.profiles.lookup import find_profiles

    catalogue, lake, unsubscribes = (
        workspace.catalogue, workspace.lake, workspace.ledger.unsubscribes,
    )  # fmt: skip
    check_purpose(catalogue, purpose)
    found = find_profiles(catalogue, lake, identifier)
    unsubscribed = Unsubscribed(catalogue, lake, unsubscribes).of(purpose)
    theirs = [each for each in found if each in unsubscribed]
    if not theirs:
        raise NotFound(f"this customer isn't unsubscribed from {purpose}")
    for profile_id in theirs:
        unsubscribes.restore(profile_id, purpose, by=by, because=because, now=now)
    return theirs


def again(step: Callable[[], _Result]) -> _Result:
    """Run a step; when another run committed to its table meanwhile, read again and retry."""
    for _ in range(_ATTEMPTS - 1):
        with suppress(Conflict):
            return step()
    return step()


def audiences_in_order(workspace: Workspace) -> Iterator[str]:
    """Every audience, after those that it refers to."""
    yield from audience_order(workspace.catalogue.audiences)
