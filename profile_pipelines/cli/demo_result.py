"""Shows what the demo's run brought."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from profile_pipelines.cli.options import DEMO_FOLDER
from profile_pipelines.cli.output import (
    joined,
    spell,
    spell_ago,
    spell_duration,
    spell_share,
    stdout,
    styled,
    table,
)
from profile_pipelines.cli.profile_tables import add_value, contested
from profile_pipelines.cli.run_tables import print_report, report_document
from profile_pipelines.cli.session import CATALOG, LAKE, LEDGER
from profile_pipelines.profiles.view import ProfileView
from profile_pipelines.reading import Customers
from profile_pipelines.report import RunReport
from profile_pipelines.samples import changed_profiles
from profile_pipelines.workspace import Workspace

_PROFILES, _VALUES = 3, 5


def document(workspace: Workspace, report: RunReport) -> dict[str, Any]:
    """The result as JSON has it."""
    return {**report_document(report), "filled": Customers(workspace).filled()}


def print_result(workspace: Workspace, report: RunReport, folder: Path, *, first: bool) -> None:
    """The run's report, the attributes, some profiles with receipts, and what to do next."""
    console = stdout()
    console.print()
    print_report(report)
    if report.profiles is None:
        return
    customers = Customers(workspace)
    timezone = workspace.catalogue.settings.timezone
    sample: Sequence[int] = ()
    if first:
        console.print(_attributes(customers, report))
        console.print()
        sample = _some_members(customers)
    elif report.wrote_anything:
        changed = changed_profiles(workspace, report.run_ids, _PROFILES)
        sample = list(changed)
        console.print(styled("Some profiles that changed", "bold"))
        for profile_id, names in changed.items():
            console.print(f"  profile {profile_id}: {joined(names) if names else 'new'}")
        console.print()
    views = [customers.profile(f"profile {each}", now=report.now) for each in sample]
    for view in views:
        _print_sample(view, timezone)
    _print_next(folder, views[0] if views else None)


def _attributes(customers: Customers, report: RunReport) -> Any:
    sources: dict[str, list[Any]] = {}
    for each in customers.freshness(now=report.now):
        sources.setdefault(each.attribute, []).append(each)
    rows = table("attribute", "#filled", "synced (source of truth first)", "#fresh within", "")
    for name, share in customers.filled().items():
        found = sources[name]
        stale = any(each.stale for each in found)
        rows.add_row(
            name,
            spell_share(share),
            ", ".join(f"{each.system} {spell_ago(each.age)}" for each in found),
            spell_duration(found[0].fresh_within),
            styled("stale", "yellow") if stale else styled("fresh", "green"),
        )
    return rows


def _some_members(customers: Customers) -> list[int]:
    """Profiles of different audiences, so that they have something to tell."""
    found: list[int] = []
    for name in customers.workspace.catalogue.audiences:
        rows = customers.members(name).to_arrow().to_pylist()
        ids = sorted(r["profile_id"] for r in rows if r["member"] and r["profile_id"] not in found)
        found += ids[:1]
    return found[:_PROFILES]


def _print_sample(view: ProfileView, timezone: str) -> None:
    """The values about which systems had something different to say come first."""
    console = stdout()
    known = joined(spell(each) for spellings in view.identifiers.values() for each in spellings)
    console.print(styled(f"Profile {view.profile_id}", "bold"), styled(f"({known})", "dim"))
    rows = table("attribute", "value", "from", "changed there", "synced", "run")
    told = sorted(
        (item for item in view.values.items() if item[1].value is not None),
        key=lambda item: (
            not contested(item[1]),
            -len(item[1].receipt.losers) - len(item[1].receipt.winners),
        ),
    )
    for name, value in told[:_VALUES]:
        add_value(rows, name, value, timezone)
    console.print(rows)
    console.print(styled("audiences: ", "dim"), joined(view.audiences), sep="", end="\n\n")


def _print_next(folder: Path, example: ProfileView | None) -> None:
    console = stdout()
    console.print(styled("What to do next", "bold"))
    for name in (CATALOG, LAKE, LEDGER):
        if os.environ.get(name):
            console.print(f"  unset {name}   # it names something else than the demo")
    if folder != DEMO_FOLDER:
        console.print(f"  export PROFILE_PIPELINES_DEMO={folder}", soft_wrap=True)
    spellings = [v for values in (example.identifiers if example else {}).values() for v in values]
    steps = {
        f"profile show {spellings[0] if spellings else 'C-000123'}": "all values with receipts",
        "audience preview contract_ends_in_30_days": "who is in, who is held",
        "quarantine": "what failed validation",
        "demo change": "renewals, consents …",
        "demo": "… picks up just that",
        "demo up": "Dagster's web UI",
        "init my_catalog": "your own systems",
    }
    for command, why in steps.items():
        console.print(f"  profile-pipelines {command:<41}", styled(f"# {why}", "dim"))
