"""One customer's journey in the demo: reminded, confirmed in billing, let go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from profile_pipelines import journey_steps, pipeline
from profile_pipelines.cli.journey_tables import print_explanation
from profile_pipelines.cli.output import stdout, styled
from profile_pipelines.demo.changes import confirm_renewal, open_renewals
from profile_pipelines.errors import NotFound
from profile_pipelines.report import RunReport
from profile_pipelines.workspace import Workspace

JOURNEY = "renewal_reminder"


def tell_story(
    workspace: Workspace,
    folder: Path,
    run: Callable[[list[pipeline.DueSync]], RunReport],
    *,
    now: datetime,
) -> RunReport:
    """Let one reminded customer confirm the renewal, sync billing, and show what follows.

    Raises NotFound when nobody in the journey has been reminded and could still confirm.
    """
    console, timezone = stdout(), workspace.catalogue.settings.timezone
    subscription, customer = _reminded(workspace, folder, now)
    console.print(styled("A customer was reminded of the contract's end", "bold underline"))
    found = journey_steps.explain_journey(workspace, JOURNEY, customer, now=now)
    print_explanation(JOURNEY, found[:1], timezone)
    confirm_renewal(folder, subscription, now)
    console.print(
        styled("\nThe customer confirms the renewal in billing; billing is synced", "bold")
    )
    syncs = workspace.catalogue.systems["billing"].syncs
    report = run(
        [pipeline.DueSync("billing", name, tuple(each.attributes)) for name, each in syncs.items()]
    )
    console.print(styled("\nThe customer has left, and gets no more reminders", "bold underline"))
    found = journey_steps.explain_journey(workspace, JOURNEY, customer, now=now)
    print_explanation(JOURNEY, found[:1], timezone)
    return report


def _reminded(workspace: Workspace, folder: Path, now: datetime) -> tuple[str, str]:
    for subscription, customer in open_renewals(folder, now):
        try:
            found = journey_steps.explain_journey(workspace, JOURNEY, customer, now=now)
        except NotFound:
            continue
        if (
            len(found) == 1
            and found[0].state == "active"
            and found[0].exit_now is False
            and any(each["state"] == "sent" for each in found[0].messages)
        ):
            return subscription, customer
    raise NotFound(
        f"nobody in {JOURNEY} waits to confirm; `profile-pipelines demo` brings customers in, and "
        "`profile-pipelines demo reset` begins anew"
    )
