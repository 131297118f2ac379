"""Shows a profile with its receipts and its history, and what belongs to no profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from profile_pipelines.cli.output import (
    NOTHING,
    joined,
    short_run,
    spell,
    spell_ago,
    spell_count,
    spell_many,
    spell_time,
    stdout,
    styled,
    table,
)
from profile_pipelines.profiles.receipts import Contribution, Receipt
from profile_pipelines.profiles.view import Change, ProfileView, Value

_WIDE = 96
"""Signs a line that show the time of day, too, when a source changed a value."""


def print_profile(view: ProfileView, timezone: str) -> None:
    """Identifiers, one row a contribution (the winner first, then what lost), audiences."""
    console = stdout()
    moment = "" if view.as_of is None else f" as of {spell_time(view.as_of, timezone)}"
    heading = styled(f"Profile {view.profile_id}{moment}", "bold")
    console.print(heading, styled(f"(times of {timezone})", "dim"))
    for name, spellings in view.identifiers.items():
        if spellings:
            told = [spell(each) for each in spellings]
            if len(told) > 1:
                # the first is used: people see why
                told = [
                    f"{text} ({each.system or NOTHING}, {spell_changed(at, timezone)})"
                    for text, each in zip(told, view.known_values[name], strict=True)
                    for at in [each.record_updated_at]
                ]
            console.print(f"  {name}: {joined(told)}")
    console.print()
    rows = table("attribute", "~value", "from", "changed there", "synced", "run")
    without: list[str] = []
    stale_gaps: list[str] = []
    for name, value in view.values.items():
        if name in view.not_kept:
            continue
        if value.value is None and not value.receipt.losers:
            (stale_gaps if value.stale else without).append(name)
            continue
        add_value(rows, name, value, timezone)
    console.print(rows)
    gaps = {"no value": without, "no value known (stale)": stale_gaps}
    for title, names in {**gaps, "history no longer kept (keep_history)": view.not_kept}.items():
        if names:
            console.print(styled(f"{title}: ", "dim"), ", ".join(names), sep="")
    console.print()
    console.print(styled("audiences: ", "dim"), joined(view.audiences), sep="")
    if view.held_in:
        console.print(styled("held in:   ", "yellow"), joined(view.held_in), sep="")


def add_value(rows: Any, name: str, value: Value, timezone: str) -> None:
    """Add a value's rows: the winner, then the others that decided, then what lost."""
    # of values that were combined, the one that came out stands first
    winners = sorted(value.receipt.winners, key=lambda each: each.value != value.value)
    losers = value.receipt.losers
    shown = styled(spell(value.value, timezone), "bold")
    age = spell_ago(value.age)
    synced = styled(f"{age}, stale", "yellow") if value.stale else age
    if winners:
        rows.add_row(name, shown, *_of(winners[0], value.receipt, timezone, synced))
    else:
        speaks = next((each for each in losers if each.outvoted_by), None)
        whose = f"{speaks.system} {spell(speaks.outvoted_by)}" if speaks else NOTHING
        rows.add_row(name, shown, whose, NOTHING, synced, NOTHING)
    others = [("and", each) for each in winners[1:]] + [("lost:", each) for each in losers]
    rule = f"  {value.receipt.rule.partition(':')[0]}"
    for index, (word, each) in enumerate(others):
        if each.invalid:
            told = f"invalid: {each.invalid}"
        elif word == "lost:" and each.value == value.value:
            told = "agrees"
        else:
            told = f"{word} {spell(each.value, timezone)}"
        cells = _of(each, value.receipt, timezone, "")
        rows.add_row(rule if index == 0 else "", told, *cells, style="dim")


def contested(value: Value) -> bool:
    """Whether a system has something else to say."""
    return any(each.value != value.value for each in value.receipt.losers)


def _of(given: Contribution, receipt: Receipt, timezone: str, synced: Any) -> tuple[Any, ...]:
    changed, run = spell_changed(given.changed_at, timezone), short_run(given.run_id)
    return origin(given, (*receipt.winners, *receipt.losers)), changed, synced, run


def origin(given: Contribution, beside: Sequence[Contribution]) -> str:
    """Where a value comes from: the system, and which of its records or how many, if several
    have a say."""
    if given.records > 1:
        return f"{given.system}, {given.records} records"
    several = given.outvoted_by or sum(each.system == given.system for each in beside) > 1
    if given.record and several:
        return f"{given.system} {spell(given.record)}"
    return given.system


def spell_changed(moment: datetime | None, timezone: str) -> str:
    """When a source changed a value; on a narrow screen only the day."""
    spelled = spell_time(moment, timezone)
    return spelled if stdout().width >= _WIDE else spelled.partition(" ")[0]


def print_history(changes: Sequence[Change], timezone: str) -> None:
    """One row a changed attribute, the newest change first."""
    console = stdout()
    console.print()
    rows = table("recorded", "attribute", "~became", "~from", "run", title="History")
    for change in changes:
        moment, run = spell_time(change.recorded_at, timezone), short_run(change.run_id)
        if change.created or change.removed:
            rows.add_row(
                moment, styled("created" if change.created else "removed", "bold"), "", "", run
            )
            moment, run = "", ""
        for name, (value, systems) in change.values.items():
            rows.add_row(moment, name, spell(value, timezone), joined(systems), run)
            moment, run = "", ""
    console.print(rows)


def print_shared(rows: Sequence[Mapping[str, Any]]) -> None:
    """One row a value that joins nobody."""
    console = stdout()
    if not rows:
        console.print("No identifier fits several customers")
        return
    shown = table("identifier", "~value", "#profiles", "#records")
    for row in rows:
        counts = spell_count(row["profiles"]), spell_count(row["records"])
        shown.add_row(row["identifier"], spell(row["value"]), *counts)
    console.print(shown)
    console.print()
    total = f"{spell_many(len(rows), 'value')} of several customers; they join nobody"
    console.print(styled(f"{total} (--records lists who is held apart by it)", "dim"))


def print_held_apart(rows: Sequence[Mapping[str, Any]], identifiers: Sequence[str]) -> None:
    """One row a record that is held apart."""
    console = stdout()
    if not rows:
        console.print("No record is held apart")
        return
    shown = table("system.sync", "~record", "profile", *(f"~{name}" for name in identifiers))
    for row in rows:
        profile = "none" if row["profile_id"] is None else str(row["profile_id"])
        values = (NOTHING if row[name] is None else spell(row[name]) for name in identifiers)
        shown.add_row(f"{row['system']}.{row['sync']}", spell(row["record_key"]), profile, *values)
    console.print(shown)
    console.print()
    total = f"{spell_many(len(rows), 'record')} that fit several customers, or too many"
    console.print(styled(total, "dim"))
