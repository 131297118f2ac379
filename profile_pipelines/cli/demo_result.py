"""Shows what the demo's run brought."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
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
from profile_pipelines.profiles.view import Change, ProfileView
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
        sample = changed_profiles(workspace, report.run_ids, _PROFILES)
    if sample:
        console.print(styled("Some profiles" if first else "Some that changed", "bold underline"))
    views = [customers.profile(f"profile {each}", now=report.now) for each in sample]
    for view in views:
        changes = [] if first else customers.history(f"profile {view.profile_id}")
        _print_sample(view, _changed_in(changes, report.run_ids), timezone)
    _print_next(folder, views[0] if views else None)


def _attributes(customers: Customers, report: RunReport) -> Any:
    sources: dict[str, list[Any]] = {}
    for each in customers.freshness(now=report.now):
        sources.setdefault(each.attribute, []).append(each)
    rows = table("attribute", "#filled", "~synced (source of truth first)", "#fresh within", "")
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


def _changed_in(changes: Sequence[Change], run_ids: Sequence[str]) -> dict[str, Any]:
    """The attributes that the runs changed, with the values of before (None: no value)."""
    before: dict[str, Any] = {}
    for number, change in enumerate(changes):
        if change.run_id not in run_ids or change.created:
            continue
        older = changes[number + 1 :]
        for name in change.values:
            values = (each.values[name][0] for each in older if name in each.values)
            before[name] = next(values, None)
    return before


def _print_sample(view: ProfileView, before: Mapping[str, Any], timezone: str) -> None:
    """What changed comes first, then the values about which systems differ."""
    console = stdout()
    known = joined(spell(each) for spellings in view.identifiers.values() for each in spellings)
    console.print(styled(f"Profile {view.profile_id}", "bold"), styled(f"({known})", "dim"))
    for name in list(before)[:_VALUES]:
        old, new = (spell(v, timezone) for v in (before[name], view.values[name].value))
        console.print(f"  {name}: {old} →", styled(new, "bold green"))
    if len(before) > _VALUES:
        console.print(f"  and {len(before) - _VALUES} more")
    rows = table("attribute", "~value", "from", "changed there", "synced", "run")
    told = sorted(
        (item for item in view.values.items() if item[1].value is not None),
        key=lambda item: (
            item[0] not in before,
            not contested(item[1]),
            -len(item[1].receipt.losers) - len(item[1].receipt.winners),
        ),
    )
    for name, value in told[:_VALUES]:
        add_value(rows, name, value, timezone)
    console.print(rows)
    console.print(styled("audiences: ", "dim"), joined(view.audiences), sep="")
    console.print()


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
        "journey status renewal_reminder": "who was reminded, who left",
        "demo follow": "one customer, let go",
        "quarantine": "what failed validation",
        "demo change": "renewals, consents …",
        "demo": "… picks up just that",
        "demo up": "Dagster's web UI",
        "init my_catalog": "your own systems",
    }
    for command, why in steps.items():
        console.print(f"  profile-pipelines {command:<41}", styled(f"# {why}", "dim"))
