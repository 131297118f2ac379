"""Shows a profile with its receipts and its history."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from profile_pipelines.cli.output import (
    NOTHING,
    joined,
    short_run,
    spell,
    spell_ago,
    spell_time,
    stdout,
    styled,
    table,
)
from profile_pipelines.profiles.receipts import Contribution
from profile_pipelines.profiles.view import Change, ProfileView, Value

_WIDE = 96
"""Signs a line that show the time of day, too, when a source changed a value."""


def print_profile(view: ProfileView, timezone: str) -> None:
    """Identifiers, one row a contribution (the winner first, then what lost), audiences."""
    console = stdout()
    moment = "" if view.as_of is None else f" as of {spell_time(view.as_of, timezone)}"
    console.print(styled(f"Profile {view.profile_id}{moment}", "bold"))
    for name, spellings in view.identifiers.items():
        if spellings:
            console.print(f"  {name}: {joined(map(spell, spellings))}")
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
    winners, losers = value.receipt.winners, value.receipt.losers
    shown = styled(spell(value.value, timezone), "bold")
    age = spell_ago(value.age)
    synced = styled(f"{age}, stale", "yellow") if value.stale else age
    if winners:
        rows.add_row(name, shown, *_of(winners[0], timezone, synced))
    else:
        rows.add_row(name, shown, NOTHING, NOTHING, synced, NOTHING)
    others = [("and", each) for each in winners[1:]] + [("lost:", each) for each in losers]
    rule = f"  {value.receipt.rule.partition(':')[0]}"
    for index, (word, each) in enumerate(others):
        if each.invalid:
            told = f"invalid: {each.invalid}"
        elif word == "lost:" and each.value == value.value:
            told = "agrees"
        else:
            told = f"{word} {spell(each.value, timezone)}"
        cells = _of(each, timezone, "")
        rows.add_row(rule if index == 0 else "", told, *cells, style="dim")


def contested(value: Value) -> bool:
    """Whether a system has something else to say."""
    return any(each.value != value.value for each in value.receipt.losers)


def _of(given: Contribution, timezone: str, synced: Any) -> tuple[Any, ...]:
    return given.system, spell_changed(given.changed_at, timezone), synced, short_run(given.run_id)


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
