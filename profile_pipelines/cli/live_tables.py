"""Shows a live check."""

from __future__ import annotations

from profile_pipelines.cli.output import (
    NOTHING,
    spell,
    spell_count,
    spell_many,
    spell_share,
    stdout,
    styled,
    table,
)
from profile_pipelines.live_report import LiveField, LiveReport, LiveSync


def print_live(report: LiveReport) -> None:
    """Per sync its mapped fields, per identifier the match rates, then the problems."""
    console = stdout()
    for each in report.syncs:
        _print_sync(each)
    matches = table("identifier", "system", "#values", "#elsewhere", "~of which in")
    for rate in report.matches:
        matches.add_row(
            rate.identifier,
            rate.system,
            spell_count(rate.values),
            spell_share(rate.matched),
            ", ".join(f"{name} {spell_share(share)}" for name, share in rate.by_system.items())
            or "no other system has it",
        )
    if report.matches:
        console.print(styled("Identifiers that other systems have too", "bold"))
        console.print(matches)
        if not all(each.whole for each in report.syncs):
            console.print(
                styled("Of samples: raise --sample (0: all records) for a fair match rate.", "dim")
            )
        console.print()
    for line in report.untold:
        console.print(styled(line, "yellow"), soft_wrap=True)
    for line in report.unset_later:
        console.print(styled(f"for a run: {line}", "yellow"), soft_wrap=True)
    problems = [*report.failed, *report.missing, *report.broken]
    if problems:
        console.print(styled(f"{spell_many(len(problems), 'problem')}:", "bold red"))
        console.print("\n".join(problems), soft_wrap=True)
    elif not report.untold:
        console.print(styled("Every mapped field is there.", "green"))


def _print_sync(each: LiveSync) -> None:
    console = stdout()
    read = f"{'all' if each.whole else 'the first'} {spell_count(each.records)} records"
    console.print(
        styled(f"{each.system}.{each.sync}", "bold"),
        styled("can't be read", "red") if each.problem else styled(read, "dim"),
    )
    if each.fields:
        fields = table("mapped to", "~field", "~type", "#filled", "#invalid", "~like")
        for found in each.fields:
            fields.add_row(
                found.name,
                found.field,
                _type(found),
                spell_share(found.filled),
                styled(spell_count(found.invalid), "yellow") if found.invalid else "0",
                " ".join(dict.fromkeys(map(spell, found.samples))) or NOTHING,
            )
        console.print(fields)
    for line in each.dialects:
        console.print(styled(f"CSV: {line}", "dim"), soft_wrap=True)
    for line in each.drift:
        console.print(styled(f"since the last sync: {line}", "yellow"), soft_wrap=True)
    if each.keys:
        console.print(styled(each.keys, "yellow"), soft_wrap=True)
    if each.late:
        console.print(styled(each.late, "yellow"), soft_wrap=True)
    console.print()


def _type(found: LiveField):
    if found.exists is False:
        return styled("missing", "bold red")
    return found.type or ("not in the sample" if found.exists is None else "unknown")
