"""A profile as JSON has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from profile_pipelines.profiles.view import Change, ProfileView, Value


def profile_document(view: ProfileView, history: Sequence[Change] | None) -> dict[str, Any]:
    """Identifiers (the value that is used first), attributes with receipts, audiences, the
    attributes of which `keep_history` has left nothing of that moment; and the history where it is
    given."""
    document: dict[str, Any] = {
        "profile_id": view.profile_id,
        "as_of": view.as_of,
        "identifiers": view.identifiers,
        "known_values": view.known_values,
        "attributes": {name: value_document(value) for name, value in view.values.items()},
        "audiences": view.audiences,
        "held_in": view.held_in,
        "not_kept": view.not_kept,
    }
    if history is not None:
        document["history"] = [change_document(each) for each in history]
    return document


def value_document(value: Value) -> dict[str, Any]:
    """A value with its receipt and freshness."""
    return {
        "value": value.value,
        "stale": value.stale,
        "age_seconds": value.age,
        "fresh_within_seconds": value.fresh_within,
        "rule": value.receipt.rule,
        "winners": value.receipt.winners,
        "losers": value.receipt.losers,
    }


def change_document(change: Change) -> dict[str, Any]:
    """A change, with the new values and their systems."""
    return {
        "recorded_at": change.recorded_at,
        "run_id": change.run_id,
        "created": change.created,
        "removed": change.removed,
        "values": {
            name: {"value": value, "from": systems}
            for name, (value, systems) in change.values.items()
        },
    }
