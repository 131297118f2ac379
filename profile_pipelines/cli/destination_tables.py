"""Shows destinations and what was delivered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from profile_pipelines.cli.output import (
    NOTHING,
    spell_count,
    spell_time,
    stdout,
    styled,
    table,
)

if TYPE_CHECKING:
    from profile_pipelines.activation.deliver import DeliveryResult
    from profile_pipelines.workspace import Workspace


def standing_documents(workspace: Workspace) -> list[dict[str, Any]]:
    """How each destination stands, by name, as JSON has it."""
    declared, deliveries = workspace.catalogue.destinations, workspace.ledger.deliveries
    counts = deliveries.counts()
    found: list[dict[str, Any]] = []
    for name in sorted({*declared, *counts}):
        own = counts.get(name, {})
        standing = deliveries.runs.standing(name)
        destination = declared.get(name)
        found.append(
            {
                "destination": name,
                "type": destination.to.type if destination else None,
                "audience": destination.audience if destination else None,
                "consent": destination.consent if destination else None,
                **{
                    state: sum(count for (of, _), count in own.items() if of == state)
                    for state in ("held", "unsettled", "refused")
                },
                "refusals": {str(reason): n for (of, reason), n in own.items() if of == "refused"},
                "synced_at": standing.synced_at,
                "not_before": standing.not_before,
                "error": standing.error,
                "last_run": standing.counts,
            }
        )
    return found


def print_standings(found: Sequence[Mapping[str, Any]], timezone: str) -> None:
    """A row for each destination, then what is in the way."""
    rows = table(
        "destination", "type", "~audience", "#delivered", "#unsettled", "#refused", "last delivery"
    )  # fmt: skip
    for each in found:
        numbers = [spell_count(each[name]) for name in ("held", "unsettled", "refused")]
        rows.add_row(
            each["destination"], each["type"] or NOTHING, each["audience"] or NOTHING, *numbers,
            spell_time(each["synced_at"], timezone),
        )  # fmt: skip
    stdout().print(rows)
    for each in found:
        text = None if each["type"] else f"{each['destination']} isn't declared any more"
        if trouble := each["error"] or text:
            stdout().print(styled(trouble, "red"), soft_wrap=True)


def deliveries_table(results: Sequence[DeliveryResult]) -> Any:
    """A row for each run over a destination."""
    rows = table(
        "destination", "#members", "#added", "#changed", "#removed", "#refused", "~not delivered"
    )
    for each in results:
        numbers = (each.members, each.added, each.changed, each.removed, each.refused)
        why = {
            "without consent": each.without_consent,
            "held": each.held,
            "without identifier": each.without_key,
            "refused before": each.waiting,
        }
        told = ", ".join(f"{name} {spell_count(count)}" for name, count in why.items() if count)
        rows.add_row(each.destination, *map(spell_count, numbers), told)
    return rows


def print_standing(found: Mapping[str, Any], timezone: str) -> None:
    """One destination in full."""
    console = stdout()
    console.print(styled(found["destination"], "bold"))
    declared = f"{found['type']}, audience {found['audience']}, consent {found['consent']}"
    console.print(declared if found["type"] else "not declared any more", soft_wrap=True)
    told = [
        f"{spell_count(found['held'])} delivered",
        f"{spell_count(found['unsettled'])} unsettled",
        f"{spell_count(found['refused'])} refused",
    ]
    console.print(", ".join(told))
    console.print(f"last delivery {spell_time(found['synced_at'], timezone)}")
    if found["not_before"]:
        console.print(f"no request before {spell_time(found['not_before'], timezone)}")
    if found["error"]:
        console.print(styled(found["error"], "red"), soft_wrap=True)
    if found["last_run"]:
        console.print()
        rows = table("last run", "#customers")
        for name, count in found["last_run"].items():
            rows.add_row(name.replace("_", " "), spell_count(count))
        console.print(rows)
    if found["refusals"]:
        console.print()
        rows = table("~refused, because", "#customers")
        for reason, count in sorted(found["refusals"].items(), key=lambda item: -item[1]):
            rows.add_row(reason, spell_count(count))
        console.print(rows)
