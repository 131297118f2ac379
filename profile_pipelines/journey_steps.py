"""What is done with the journeys of a workspace: they are moved on, looked at and replayed, and
their messages are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from profile_pipelines.catalog.plan import find_declared
from profile_pipelines.errors import NotFound
from profile_pipelines.pipeline import again, in_turn
from profile_pipelines.workspace import Workspace

if TYPE_CHECKING:
    from profile_pipelines.catalog.journeys import Journey
    from profile_pipelines.channels.dispatch import DispatchResult
    from profile_pipelines.channels.eligibility import Eligibility, Preview, Recheck
    from profile_pipelines.journeys.difference import JourneyDifference
    from profile_pipelines.journeys.explain import Explanation
    from profile_pipelines.journeys.facts import Facts
    from profile_pipelines.journeys.history import StepDay
    from profile_pipelines.journeys.simulate import SimulatedTick
    from profile_pipelines.journeys.status import JourneyStatus
    from profile_pipelines.journeys.tick import TickResult
    from profile_pipelines.ledger.outbox import Claimed

_Looked = TypeVar("_Looked")


def tick_journey(
    workspace: Workspace,
    name: str,
    *,
    now: datetime,
    dry: bool = False,
    run_id: str = "tick",
    waits: Callable[[str], None] | None = None,
) -> TickResult:
    """Move one journey to the present, again when another run was faster; `dry` writes nothing.
    While another run is at it, `waits` is told so.

    Raises UnknownName when the catalogue declares none such, Held when the other run didn't end.
    """
    workspace.check_lake(now=now)
    from profile_pipelines.journeys.tick import tick

    _journey(workspace, name)
    if not dry:
        workspace.ledger.clock.look(now)

    def ticked() -> TickResult:
        enrolments = workspace.ledger.enrolments
        done = again(lambda: tick(_facts(workspace, now), enrolments, name, run_id=run_id, dry=dry))
        # the lake knows that there are these enrolments and messages before any is sent
        workspace.pairing.advance(now=now, always=done.wrote and not dry)
        return done

    def alone() -> TickResult:
        with workspace.ledger.holds.holding(f"journey {name}"):
            return ticked()

    return ticked() if dry else in_turn(workspace, alone, waits)


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
    from profile_pipelines.identity.former import ids_of_customers
    from profile_pipelines.journeys.explain import explanations
    from profile_pipelines.profiles.lookup import find_profiles

    catalogue, lake, ledger = workspace.catalogue, workspace.lake, workspace.ledger
    journey = _journey(workspace, name)
    found = ids_of_customers(catalogue, lake, find_profiles(catalogue, lake, identifier))
    return explanations(_facts(workspace, now), ledger.enrolments, ledger.outbox, journey, found)


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
    declared = find_declared("template", template, catalogue.templates)
    found = find_profiles(catalogue, workspace.lake, identifier)[:1]
    own = catalogue.settings.timezone_attribute
    names = declared.variables | ({own} if own else set())
    values = values_of(catalogue, workspace.lake, found, names)[found[0]]
    return Rendering(declared, now).rendered(
        values, catalogue.settings.zone_of(values), journey="preview", unsubscribe_url=None
    )


def _facts(workspace: Workspace, now: datetime) -> Facts:
    """What journeys go by at a moment, or later in the same step."""
    from profile_pipelines.journeys.facts import Facts

    ledger, present = workspace.ledger, now.astimezone(UTC)
    return Facts(
        workspace.catalogue, workspace.lake, ledger.coverage(), present, ledger.clock.seen()
    )


def _journey(workspace: Workspace, name: str) -> Journey:
    return find_declared("journey", name, workspace.catalogue.journeys)


def dispatch(
    workspace: Workspace,
    *,
    clock: Callable[[], datetime],
    progress: Callable[[int], None] | None = None,
    waits: Callable[[str], None] | None = None,
) -> DispatchResult:
    """Send what is due in the outbox; `clock` tells the present (aware). While another run looks
    at messages, `waits` is told so."""
    workspace.check_lake(now=clock())
    # links bear the ledger's mark: one at which it knows of all profiles that there are
    workspace.pairing.advance(now=clock())
    from profile_pipelines.channels.dispatch import Dispatch
    from profile_pipelines.journeys.recheck import not_wanted

    ledger = workspace.ledger
    ledger.clock.look(clock())
    facts = _facts(workspace, clock())
    eligibility = _eligibility(
        workspace,
        lambda claimed, now: not_wanted(replace(facts, now=now), ledger.enrolments, claimed),
    )

    def alone(look: Callable[[], _Looked]) -> _Looked:
        def held() -> _Looked:
            with ledger.holds.holding("outbox"):
                return look()

        return in_turn(workspace, held, waits)

    sent = Dispatch(
        workspace.catalogue,
        ledger.outbox,
        eligibility,
        workspace.places.outbox,
        clock=clock,
        alone=alone,
        progress=progress,
        told=lambda: workspace.pairing.advance(now=clock(), always=True),
    ).run()
    ledger.clock.look(clock())  # the last by which anything was noted
    return sent


def preview_decided(
    workspace: Workspace, tick: TickResult, *, now: datetime, sample: int = 3
) -> Preview:
    """What would become of the messages of a dry tick at this moment, and some of them."""

    from profile_pipelines.journeys.recheck import not_wanted

    facts, enrolments = _facts(workspace, now), workspace.ledger.enrolments
    asked = {each.message_id for each in tick.decided}

    def not_wanted_any_more(claimed: Sequence[Claimed], now: datetime) -> dict[str, str]:
        """The tick has looked at whether those that it decides make sense."""
        before = [each for each in claimed if each.message_id not in asked]
        return not_wanted(facts, enrolments, before)

    return _eligibility(workspace, not_wanted_any_more).preview(tick.decided, sample, now)


def _eligibility(workspace: Workspace, recheck: Recheck) -> Eligibility:
    from profile_pipelines.channels.eligibility import Eligibility
    from profile_pipelines.consent.unsubscribe_links import UnsubscribeLinks

    links = UnsubscribeLinks.from_environment()
    catalogue, lake, pairing = workspace.catalogue, workspace.lake, workspace.pairing
    return Eligibility(catalogue, lake, workspace.ledger, recheck, links, lambda: pairing.mark)
