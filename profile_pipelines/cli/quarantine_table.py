"""Shows the quarantine: how many values failed for which reason, and some of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from profile_pipelines.cli.output import spell, spell_count, stdout, styled, table

_LONGEST = 32


def print_quarantine(rows: Sequence[Mapping[str, Any]], limit: int) -> None:
    """One row a reason, with `limit` records of each below it."""
    groups: dict[tuple[str, str, str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        where = row["system"], row["sync"], row["attribute"] or "", row["reason"]
        groups[where].append(row)
    shown = table("system.sync", "attribute", "reason", "#values", "record", "value there")
    for (system, sync, attribute, reason), found in groups.items():
        shown.add_row(
            f"{system}.{sync}", attribute or "whole record", reason, spell_count(len(found))
        )
        for row in found[:limit]:
            value = spell(row["value"])
            value = value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…"
            shown.add_row("", "", "", "", spell(row["record_key"]), value, style="dim")
    console = stdout()
    console.print(shown)
    total = (
        f"{spell_count(len(rows))} values in quarantine; each leaves it when its source is right"
    )
    console.print(styled(f"\n{total}", "dim"))
