"""Identity and merge in plain Python, over versions of records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.profiles.receipts import decide
from profile_pipelines.validation.one_identifier import normalise_one
from profile_pipelines_tests.strategies import Update

Records = frozenset[tuple[str, str]]
"""The (system, key) of a profile's records."""

_IDENTIFIERS = {"customer_no": "no", "email": "email"}


def expected_profiles(
    catalogue: Catalogue, updates: Iterable[Update]
) -> dict[Records, dict[str, tuple[Any, tuple[str, ...]]]]:
    """By its records each profile's attributes: value and the systems that decided it."""
    newest: dict[tuple[str, str], Update] = {}
    for update in updates:
        place = (update.system, update.key)
        if place not in newest or newest[place].minute < update.minute:
            newest[place] = update
    living = {
        place: update
        for place, update in newest.items()
        if update.values["gone"] is None and _identifiers(catalogue, update.values)
    }
    return {
        records: _merged(catalogue, [living[place] for place in records])
        for records in _connected({p: _identifiers(catalogue, u.values) for p, u in living.items()})
    }


def _identifiers(catalogue: Catalogue, values: Mapping[str, str | None]) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for name, field in _IDENTIFIERS.items():
        text = values[field]
        normal = None if text is None else normalise_one(text, catalogue.identifiers[name])
        if normal is not None:
            found.add((name, normal))
    return found


def _connected(identifiers: Mapping[tuple[str, str], set[tuple[str, str]]]) -> list[Records]:
    groups: list[tuple[set[tuple[str, str]], set[tuple[str, str]]]] = []
    for place, own in identifiers.items():
        places, values = {place}, set(own)
        apart: list[tuple[set[tuple[str, str]], set[tuple[str, str]]]] = []
        for group in groups:
            if group[1] & values:
                places |= group[0]
                values |= group[1]
            else:
                apart.append(group)
        groups = [*apart, (places, values)]
    return [frozenset(places) for places, _ in groups]


def _merged(
    catalogue: Catalogue, records: Sequence[Update]
) -> dict[str, tuple[Any, tuple[str, ...]]]:
    merged: dict[str, tuple[Any, tuple[str, ...]]] = {}
    for name, attribute in catalogue.attributes.items():
        given: dict[str, list[tuple[Any, datetime | None]]] = {}
        for update in records:
            value = parsed(attribute.type, update.values[name])
            given.setdefault(update.system, []).append((value, update.changed))
        merged[name] = decide(attribute, given)
    return merged


def parsed(kind: str, text: str | None) -> Any:
    """A source's text in the attribute's type; of the spellings that the strategies make."""
    if text is None:
        return None
    match kind:
        case "boolean":
            return text.lower() in ("yes", "true", "1")
        case "integer":
            return int(text)
        case "decimal":
            return Decimal(text).quantize(Decimal("0.0001"))
        case "date":
            return date.fromisoformat(text)
        case "timestamp":
            return datetime.fromisoformat(text)
        case "list":
            return json.loads(text) if text.startswith("[") else text.split(",")
        case _:
            return text
