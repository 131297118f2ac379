"""What is done with the audiences: each journey, and the outbox that sends what they decide."""

from collections import Counter

import dagster as dg

from profile_pipelines.catalog.conditions import audiences_of
from profile_pipelines.catalog.journeys import Journey
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.orchestration.derived import PROFILES, audience_key, derived_keys
from profile_pipelines.orchestration.destinations import destination_key
from profile_pipelines.orchestration.session import Session, now_of
from profile_pipelines.orchestration.systems import RETRIES_TAG, owners

OUTBOX = dg.AssetKey("outbox")
NOTHING_IN_DOUBT = "nothing_in_doubt"
NOTHING_KEPT_BACK = "nothing_kept_back"
POOL = "journeys"
"""One run at a time moves enrolments and sends."""
_BAR = 24


def journey_key(name: str) -> dg.AssetKey:
    """The asset of a journey."""
    return dg.AssetKey(["journeys", name])


def downstream_keys(catalogue: Catalogue) -> list[dg.AssetKey]:
    """All that is made of the attributes, to the deliveries and messages that go out."""
    keys = [
        *derived_keys(catalogue),
        *map(destination_key, catalogue.destinations),
        *map(journey_key, catalogue.journeys),
    ]
    return [*keys, OUTBOX] if catalogue.channels else keys


def journey_assets(catalogue: Catalogue) -> list[dg.AssetsDefinition]:
    """Each journey, and the outbox where there are channels."""
    journeys = [_journey(each) for each in catalogue.journeys.values()]
    return [*journeys, _outbox(catalogue)] if catalogue.channels else journeys


def _journey(journey: Journey) -> dg.AssetsDefinition:
    name = journey.journey

    @dg.asset(
        key=journey_key(name),
        deps=[PROFILES, *map(audience_key, sorted(_entered_by(journey)))],
        group_name="journeys",
        kinds={"journey"},
        owners=owners(journey.owner),
        pool=POOL,
        required_resource_keys={"session"},
        description=journey.description or None,
    )
    def tick(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from profile_pipelines.journey_steps import journey_status, tick_journey

        session: Session = context.resources.session
        now = now_of(context.run.tags)
        with session.step(f"journeys.{name}") as details:
            run_id, waits = context.run.run_id, session.waiting(f"journeys.{name}", context)
            result = tick_journey(session.workspace, name, now=now, run_id=run_id, waits=waits)
            details += [
                f"{result.active:,} active",
                f"{result.entered:,} entered",
                f"{result.exited:,} exited",
                f"{result.messages:,} messages",
            ]
            if result.held:
                details.append(f"{result.held:,} held")
            status = journey_status(session.workspace, name, now=now)
        session.report.journeys.append(result)
        return dg.MaterializeResult(
            metadata={
                "funnel": dg.MetadataValue.md(funnel([(s.title, s.entered) for s in status.steps])),
                "active": result.active,
                "entered": result.entered,
                "moved": result.moved,
                "exited": result.exited,
                "completed": result.completed,
                "converted": result.converted,
                "messages": result.messages,
                "held": result.held,
                **session.tell_clock(context, now),
            }
        )

    return tick


def _entered_by(journey: Journey) -> set[str]:
    if journey.audience is not None:
        return {journey.audience}
    return set(audiences_of(journey.enter_when)) if journey.enter_when is not None else set()


def _outbox(catalogue: Catalogue) -> dg.AssetsDefinition:
    @dg.asset(
        key=OUTBOX,
        deps=list(map(journey_key, catalogue.journeys)),
        group_name="journeys",
        kinds={"messages"},
        pool=POOL,
        required_resource_keys={"session"},
        description="Sends what the journeys decided, after a last look at each customer.",
        check_specs=[
            dg.AssetCheckSpec(
                NOTHING_IN_DOUBT,
                asset=OUTBOX,
                blocking=True,
                description=(
                    "Fails, and the run with it, while messages are in doubt: they may have "
                    "arrived, but whoever sent them was lost before the receipt. "
                    "`profile-pipelines outbox settle` lists them."
                ),
            ),
            dg.AssetCheckSpec(
                NOTHING_KEPT_BACK,
                asset=OUTBOX,
                blocking=True,
                description=(
                    "Fails, and the run with it, while messages are kept back: lake and ledger "
                    "were put back or accepted as they are, and some may have been sent already. "
                    "`profile-pipelines outbox settle` lists them, and lets them go."
                ),
            ),
        ],
    )
    def outbox(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from profile_pipelines.consent.bounces import read_declared
        from profile_pipelines.errors import ChannelError
        from profile_pipelines.journey_steps import dispatch

        session: Session = context.resources.session
        workspace = session.workspace
        with session.step("outbox") as details:
            # first, so that what came back by now keeps back what goes out
            bounces, unread = read_declared(
                workspace.catalogue, workspace.ledger, now=now_of(context.run.tags)
            )
            session.report.bounces = bounces
            result = dispatch(
                workspace,
                clock=lambda: now_of(context.run.tags),
                waits=session.waiting("outbox", context),
            )
            session.report.dispatch = result
            details += [f"{result.total('sent'):,} sent", f"{result.total('skipped'):,} skipped"]
            if unread or result.errors:
                raise ChannelError("; ".join([*unread, *result.errors.values()]))
            standing = Counter[str]()
            for each in workspace.ledger.outbox.counts():
                standing[each.state] += each.count
        if result.needs_a_word:
            # to send again would bring the same
            context.instance.add_run_tags(context.run.run_id, {RETRIES_TAG: "0"})
        return dg.MaterializeResult(
            check_results=[
                dg.AssetCheckResult(
                    check_name=NOTHING_IN_DOUBT,
                    passed=not result.in_doubt,
                    description=result.needs_a_word.get("In doubt"),
                    metadata={"in doubt": result.in_doubt},
                ),
                dg.AssetCheckResult(
                    check_name=NOTHING_KEPT_BACK,
                    passed=not result.kept_back,
                    description=result.needs_a_word.get("Kept back"),
                    metadata={"kept back": result.kept_back},
                ),
            ],
            metadata={
                "sent": result.total("sent"),
                "skipped": result.total("skipped"),
                "waiting": standing["pending"],
                "failed in all": standing["failed"],
                "in doubt": result.in_doubt,
                "kept back": result.kept_back,
                "bounce mails": sum(each.mails for each in bounces),
                "bounce mails unproven or unreadable": sum(
                    len(each.unproven) + len(each.unreadable) for each in bounces
                ),
                **{
                    f"{channel}: {state}{f' ({reason})' if reason else ''}": count
                    for (channel, state, reason), count in sorted(
                        result.counts.items(),
                        key=lambda item: (item[0][0], item[0][1], str(item[0][2])),
                    )
                },
                **session.tell_clock(context, now_of(context.run.tags)),
            },
        )

    return outbox


def funnel(steps: list[tuple[str, int]]) -> str:
    """Bars of how many came to each step, as Markdown."""
    top = max((count for _, count in steps), default=0) or 1
    width = max((len(title) for title, _ in steps), default=0)
    lines = [
        f"{title:<{width}}  {'█' * round(_BAR * count / top):<{_BAR}}  {count:,}"
        for title, count in steps
    ]
    return "```\n" + "\n".join(lines) + "\n```"
