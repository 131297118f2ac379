"""Shows what a run did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from profile_pipelines.cli.consent_tables import bounces_document, print_bounces
from profile_pipelines.cli.destination_tables import deliveries_table
from profile_pipelines.cli.failures import ExitCode
from profile_pipelines.cli.journey_tables import (
    dispatch_document,
    journey_document,
    journeys_table,
    print_dispatch,
    say_what_needs_a_word,
)
from profile_pipelines.cli.output import spell_count, spell_many, stderr, stdout, styled, table
from profile_pipelines.report import RunReport

if TYPE_CHECKING:
    from profile_pipelines.landing import SyncResult
    from profile_pipelines.ledger import Excess


def report_document(report: RunReport) -> dict[str, Any]:
    """The report as JSON has it."""
    return {
        "now": report.now,
        "ok": report.ok and not report.set_anything_aside and not report.needs_a_word,
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
                "left_out": each.left_out,
                "kept_out": each.kept_out,
                "repeated": each.repeated,
                "unread": each.unread,
                "dialects": each.dialects,
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
        "bounces": [bounces_document(each) for each in report.bounces],
        "outbox": None if report.dispatch is None else dispatch_document(report.dispatch),
        "set_aside": [{"system": s, "attribute": a} for s, a in report.set_aside],
        "errors": report.errors,
        "run_ids": report.run_ids,
        "clock": report.clock or None,
    }


def print_report(report: RunReport) -> None:
    """Syncs, profiles, audiences, then what went wrong."""
    from profile_pipelines.landing.result import about_kept_out

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
    for each in report.bounces:
        if each.mails:
            print_bounces(each, listed=False)
    if report.dispatch is not None and report.dispatch.counts:
        print_dispatch(report.dispatch)
        console.print()
    if report.clock:
        console.print(styled("clock: ", "yellow"), report.clock, sep="", soft_wrap=True)
    for each in report.syncs:
        _print_findings(each, report.run_ids[0] if report.run_ids else "")
    for step, message in report.errors.items():
        said = message.removeprefix(f"{step}: ")
        console.print(styled(f"failed: {step}: ", "bold red"), said, sep="", soft_wrap=True)
    for each in [*report.syncs, *report.named]:
        if kept := about_kept_out(each.kept_out):
            where = f"{each.system}.{each.sync}"
            console.print(styled("erased: ", "yellow"), f"{where}: {kept}", sep="", soft_wrap=True)
    if report.ok and not report.wrote_anything and not report.set_anything_aside:
        console.print("Nothing has changed: nothing was written.")


def end_run(report: RunReport, *, allow_set_aside: bool = False) -> None:
    """End the command with 5 where a step failed because lake, ledger or disk can't be used; with 1
    where one failed otherwise, messages wait for a person's word, or anything was set aside and
    that isn't allowed.

    What waits and what was set aside is the last thing that is said, on stderr.
    """
    say_what_needs_a_word(report.needs_a_word)
    if report.set_anything_aside and not allow_set_aside:
        places = {
            f"{each.system}.{attribute or each.sync}"
            for each in [*report.syncs, *report.named]
            for attribute in each.set_aside
        }
        was = spell_many(len(places), "thing was", "things were")
        stdout().file.flush()
        stderr().print(
            styled("Set aside: ", "bold red"),
            f"{was} set aside: nothing of that is taken in, and what was known before stays. So "
            "the run ends with 1 (0 with --allow-set-aside); see why with `profile-pipelines "
            "approve`, then correct the source or the mapping, or let it through with "
            "`profile-pipelines approve RUN`.",
            sep="",
            soft_wrap=True,
        )  # fmt: skip
    if report.stores_failed:
        raise typer.Exit(ExitCode.STORAGE)
    if report.set_anything_aside and not allow_set_aside:
        raise typer.Exit(ExitCode.FAILURES)
    if report.needs_a_word or not report.ok:
        raise typer.Exit(ExitCode.FAILURES)


def _print_findings(result: SyncResult, run_id: str) -> None:
    """What was set aside and why, and what has changed about the source itself."""
    from profile_pipelines.landing.result import about_keys, about_left_out

    where = f"{result.system}.{result.sync}"
    reasons = list(_reasons(result))
    lines = [("set aside: ", f"{place}: {reason}") for place, reason in reasons]
    kinds = {reason.kind for _, reason in reasons}
    if "missing" in kinds:
        lost = "a field that is missing: correct the mapping in the catalogue, or the source"
        lines.append(("", f"{lost}; what was known before stays"))
    if kinds - {"missing"}:
        quarantine = f"see profile-pipelines quarantine {result.system}"
        lines.append(("", f"what was known before stays ({quarantine}); let it through with"))
        lines.append(("", f"  profile-pipelines approve {run_id}"))
    lines += [("schema: ", f"{where}: {line}") for line in result.drift]
    lines += [("CSV: ", f"{where}: {line}") for line in result.dialects]
    if result.ahead:
        ahead = (
            f"{spell_count(result.ahead)} records bear a time in the future, which counts as now"
        )
        lines.append(("clock: ", f"{where}: {ahead}"))
    lines += [
        ("unread: ", f"{where}: {name}: {spell_many(count, 'cell', 'cells')} refused: {reason}")
        for name, reasons in result.unread.items()
        for reason, count in reasons.items()
    ]
    if keys := about_keys(result.repeated, result.rows_read):
        lines.append(("key: ", f"{where}: {keys}"))
    if late := about_left_out(result.left_out):
        lines.append(("late: ", f"{where}: {late}"))
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
    if identities is not None and any(identities.shared.values()):
        values = ", ".join(f"{name} {spell_count(n)}" for name, n in identities.shared.items() if n)
        console.print(
            styled("shared: ", "yellow"),
            f"values that fit several customers, and so join nobody: {values} (`profile-pipelines "
            "profiles shared` lists them)",
            sep="",
            soft_wrap=True,
        )
    if identities is not None and identities.held_apart:
        console.print(
            styled("held apart: ", "yellow"),
            f"{spell_many(identities.held_apart, 'record')} that fit several customers, or too "
            "many (`profile-pipelines profiles shared --records` lists them)",
            sep="",
            soft_wrap=True,
        )
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
