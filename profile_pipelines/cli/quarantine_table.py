"""Shows the quarantine: how many values failed for which reason, or each of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from profile_pipelines.cli.output import (
    NOTHING,
    joined,
    spell,
    spell_count,
    spell_many,
    spell_time,
    stdout,
    styled,
    table,
)

_EXAMPLES = 3
_LONGEST = 40
_WHOLE = "whole record"


def print_summary(rows: Sequence[Mapping[str, Any]]) -> None:
    """One row a reason, with some of the values."""
    groups: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for row in rows:
        where = row["system"], row["sync"], row["attribute"] or "", row["reason"]
        groups[where].append(spell(row["value"]))
    shown = table("system", "sync", "attribute", "~reason", "#values", "~such as")
    last = ("", "")
    for (system, sync, attribute, reason), values in groups.items():
        same_system, same_sync = system == last[0], (system, sync) == last
        examples = list(dict.fromkeys(values))[:_EXAMPLES]
        shown.add_row(
            "" if same_system else system,
            "" if same_sync else sync,
            attribute or _WHOLE,
            reason,
            spell_count(len(values)),
            styled(joined(map(_cut, examples)) if attribute else NOTHING, "dim"),
        )
        last = (system, sync)
    console = stdout()
    console.print(shown)
    console.print()
    total = f"{spell_many(len(rows), 'value')}; each leaves when its source is corrected"
    console.print(styled(f"{total} (--records lists them)", "dim"))


def print_records(rows: Sequence[Mapping[str, Any]], timezone: str) -> None:
    """One row a value."""
    shown = table("system.sync", "~record", "attribute", "~reason", "~value there", "changed there")
    for row in rows:
        shown.add_row(
            f"{row['system']}.{row['sync']}",
            spell(row["record_key"]),
            row["attribute"] or _WHOLE,
            row["reason"],
            _cut(spell(row["value"])),
            spell_time(row["source_updated_at"], timezone),
        )
    stdout().print(shown)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
