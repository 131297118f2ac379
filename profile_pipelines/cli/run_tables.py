"""Shows what a run did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from profile_pipelines.cli.destination_tables import deliveries_table
from profile_pipelines.cli.journey_tables import (
    dispatch_document,
    journey_document,
    journeys_table,
    print_dispatch,
)
from profile_pipelines.cli.output import spell_count, stdout, styled, table
from profile_pipelines.report import RunReport

if TYPE_CHECKING:
    from profile_pipelines.landing import SyncResult
    from profile_pipelines.ledger import Excess


def report_document(report: RunReport) -> dict[str, Any]:
    """The report as JSON has it."""
    return {
        "now": report.now,
        "ok": report.ok,
        "wrote_anything": report.wrote_anything,
        "syncs": [
            {
                "system": each.system,
                "sync": each.sync,
                "full": each.full,
                "rows_read": each.rows_read,
                "changed": each.changed,
                "deleted": each.deleted,
                "quarantined": each.quarantined,
                "bad_records": each.bad_records,
                "attributes": each.attributes,
                "set_aside": [
                    {"attribute": attribute or None, **vars(reason), "says": str(reason)}
                    for attribute, reasons in each.set_aside.items()
                    for reason in reasons
                ],
                "drift": each.drift,
                "ahead": each.ahead,
                "repeated": each.repeated,
            }
            for each in report.syncs
        ],
        "named": report.named,
        "identities": report.identities,
        "profiles": report.profiles,
        "audiences": [
            {"audience": each.name, "wrote": each.wrote, "counts": each.counts}
            for each in report.audiences
        ],
        "deliveries": report.deliveries,
        "journeys": [journey_document(each) for each in report.journeys],
        "outbox": None if report.dispatch is None else dispatch_document(report.dispatch),
        "set_aside": [{"system": s, "attribute": a} for s, a in report.set_aside],
        "errors": report.errors,
        "run_ids": report.run_ids,
    }


def print_report(report: RunReport) -> None:
    """Syncs, profiles, audiences, then what went wrong."""
    console = stdout()
    if report.syncs:
        console.print(_syncs(report))
        console.print()
    for each in report.named:
        told = f"{each.system}.{each.sync}: {spell_count(each.events)} events, "
        changes = f"{spell_count(each.changed)} records changed, {spell_count(each.deleted)} gone"
        console.print(told + changes, soft_wrap=True)
    if report.profiles is not None:
        _print_profiles(report)
    if report.audiences:
        console.print(_audiences(report))
        console.print()
    if report.deliveries:
        console.print(deliveries_table(report.deliveries))
        console.print()
    if report.journeys:
        console.print(journeys_table(report.journeys))
        console.print()
    if report.dispatch is not None and report.dispatch.counts:
        print_dispatch(report.dispatch)
        console.print()
    for each in report.syncs:
        _print_findings(each, report.run_ids[0] if report.run_ids else "")
    for step, message in report.errors.items():
        said = message.removeprefix(f"{step}: ")
        console.print(styled(f"failed: {step}: ", "bold red"), said, sep="", soft_wrap=True)
    if report.ok and not report.wrote_anything:
        console.print("Nothing has changed: nothing was written.")


def _print_findings(result: SyncResult, run_id: str) -> None:
    """What was set aside and why, and what has changed about the source itself."""
    from profile_pipelines.landing.result import about_keys

    where = f"{result.system}.{result.sync}"
    reasons = list(_reasons(result))
    lines = [("set aside: ", f"{place}: {reason}") for place, reason in reasons]
    kinds = {reason.kind for _, reason in reasons}
    if "missing" in kinds:
        lost = "a field that is missing: correct the mapping in the catalogue, or the source"
        lines.append(("", f"{lost}; the last good values stay"))
    if kinds - {"missing"}:
        quarantine = f"see profile-pipelines quarantine {result.system}"
        lines.append(("", f"the last good values stay ({quarantine}); let it through with"))
        lines.append(("", f"  profile-pipelines approve {run_id}"))
    lines += [("schema: ", f"{where}: {line}") for line in result.drift]
    if result.ahead:
        ahead = (
            f"{spell_count(result.ahead)} records bear a time in the future, which counts as now"
        )
        lines.append(("clock: ", f"{where}: {ahead}"))
    if keys := about_keys(result.repeated, result.rows_read):
        lines.append(("key: ", f"{where}: {keys}"))
    for label, text in lines:
        stdout().print(styled(label, "yellow"), text, sep="", soft_wrap=True)


def _reasons(result: SyncResult) -> Iterator[tuple[str, Excess]]:
    for attribute, reasons in result.set_aside.items():
        place = f"{result.system}.{attribute or result.sync}"
        for reason in reasons:
            yield place, reason


def _syncs(report: RunReport) -> Any:
    rows = table("system", "sync", "read", "#rows", "#changed", "#deleted", "#quarantined")
    last = ""
    for each in report.syncs:
        quarantined = spell_count(each.quarantined)
        rows.add_row(
            "" if each.system == last else each.system,
            each.sync,
            "all" if each.full else "changes",
            spell_count(each.rows_read),
            spell_count(each.changed),
            spell_count(each.deleted),
            styled(quarantined, "yellow") if each.quarantined else quarantined,
        )
        last = each.system
    return rows


def _print_profiles(report: RunReport) -> None:
    console = stdout()
    found, identities = report.profiles, report.identities
    assert found is not None
    moves = ", ".join(
        f"{spell_count(count)} {word}"
        for count, word in ((found.created, "new"), (found.changed, "changed"),
                            (found.removed, "removed"))
    )  # fmt: skip
    records = f" from {spell_count(identities.records)} records" if identities else ""
    console.print(
        styled(f"{spell_count(found.profiles)} profiles", "bold"), f"{records}: {moves}", sep=""
    )
    if identities is not None and identities.held_apart:
        apart = f"{spell_count(identities.held_apart)} records are held apart"
        console.print(styled(f"{apart}: too many of them share an identifier", "yellow"))
    console.print()


def _audiences(report: RunReport) -> Any:
    rows = table("audience", "#members", "#entered", "#exited", "#held", "~held by")
    for each in report.audiences:
        counts = each.counts
        held = spell_count(counts.held)
        reasons = {**counts.held_by, **counts.held_in}
        rows.add_row(
            each.name,
            styled(spell_count(counts.members), "bold"),
            spell_count(counts.entered),
            spell_count(counts.exited),
            styled(held, "yellow") if counts.held else held,
            ", ".join(f"{name} {spell_count(n)}" for name, n in reasons.items() if n),
        )
    return rows
