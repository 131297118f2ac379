"""Shows what a preview found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from profile_pipelines.audiences.evaluate import Counts
from profile_pipelines.catalog.models import Audience
from profile_pipelines.cli.output import joined, spell, spell_count, stdout, styled, table

_COLUMNS = 4


def print_preview(
    audience: Audience,
    counts: Counts,
    sample: Sequence[Mapping[str, Any]],
    identifiers: Sequence[str],
    timezone: str,
    stored: bool,
) -> None:
    """Numbers, then what is stale and missing, then some members with the deciding values."""
    console = stdout()
    console.print(styled(audience.audience, "bold"), styled("(preview, nothing written)", "dim"))
    if audience.description:
        console.print(audience.description)
    console.print()
    numbers = table("#members", "#entered", "#exited", "#held", "#of profiles")
    moves = [spell_count(counts.entered), spell_count(counts.exited)] if stored else ["–", "–"]
    held = spell_count(counts.held)
    numbers.add_row(
        styled(spell_count(counts.members), "bold"),
        *moves,
        styled(held, "yellow") if counts.held else held,
        spell_count(counts.profiles),
    )
    console.print(numbers)
    if stored:
        console.print(styled("entered and exited since the last evaluation", "dim"))
    console.print()
    told = table("attribute", "#no value", "#stale", "#held by it")
    for name in counts.missing:
        told.add_row(
            name,
            spell_count(counts.missing[name]),
            spell_count(counts.stale.get(name, 0)),
            spell_count(counts.held_by.get(name, 0)),
        )
    for name, held_there in counts.held_in.items():
        told.add_row(f"in audience {name}", "", "", spell_count(held_there))
    console.print(told)
    if sample:
        console.print()
        _print_sample(sample, identifiers[:1], list(counts.missing), timezone)


def _print_sample(
    sample: Sequence[Mapping[str, Any]],
    identifiers: Sequence[str],
    attributes: Sequence[str],
    timezone: str,
) -> None:
    """A column for each deciding value, or one for all when they are many."""
    many = len(attributes) > _COLUMNS
    headings = ["~deciding values"] if many else [f"~{name}" for name in attributes]
    rows = table("#profile", *(f"~{name}" for name in identifiers), *headings, title="Some members")
    for each in sample:
        values = [spell(each[name], timezone) for name in attributes]
        if many:
            told = [f"{name} {value}" for name, value in zip(attributes, values, strict=True)]
            values = ["; ".join(told)]
        spellings = [joined(map(spell, each.get(name, ()))) for name in identifiers]
        rows.add_row(str(each["profile_id"]), *spellings, *values)
    stdout().print(rows)
