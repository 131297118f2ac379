"""The rules that held at past moments: how values were merged then, of whom, and how long they
counted as fresh.

They are kept in the state of the profiles table, beside the values that were merged by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from profile_pipelines.catalog.models import Attribute, Catalogue
from profile_pipelines.catalog.survivorship import WinnerKey, winner_keys
from profile_pipelines.engine.columns import ColumnType
from profile_pipelines.lake import Lake, Pinned

RULES = "rules"
"""The key in the state: by attribute, its rules, the oldest first, each with the run's `now`."""
_AT, _SYNCS, _RECORDS = "at", "syncs", "records"


def kept_rules(
    known: Mapping[str, list[dict[str, Any]]], catalogue: Catalogue, now: datetime
) -> dict[str, list[dict[str, Any]]]:
    """The rules that are known, and those of the catalogue where they are others from now on."""
    rules = {name: list(each) for name, each in known.items()}
    for name, attribute in catalogue.attributes.items():
        rule: dict[str, Any] = {
            "merge": attribute.merge,
            "sources": attribute.sources,
            "fresh_within": attribute.fresh_within.total_seconds(),
            "consent": attribute.consent,
            _SYNCS: [
                [system, sync]
                for system, declared in catalogue.systems.items()
                for sync, each in declared.syncs.items()
                if name in each.attributes
            ],
        }
        records = {
            f"{system}/{sync}": [[key.column, key.type, list(key.words)] for key in keys]
            for system, sync in rule[_SYNCS]
            if (keys := winner_keys(catalogue.systems[system].syncs[sync], catalogue.attributes))
            is not None
        }
        if records:
            rule[_RECORDS] = records
        own = rules.setdefault(name, [])
        if not own or {**own[-1], _AT: None} != {**rule, _AT: None}:
            own.append({_AT: now.isoformat(), **rule})
    return rules


def catalogue_then(catalogue: Catalogue, state: Mapping[str, Any], moment: datetime) -> Catalogue:
    """The catalogue with the rules by which its attributes were merged at a moment.

    Of a moment before any rule was kept: the first.
    """
    attributes = {
        name: _then(attribute, rule) if (rule := _rule(state, name, moment)) else attribute
        for name, attribute in catalogue.attributes.items()
    }
    return replace(catalogue, attributes=attributes)


def syncs_then(
    catalogue: Catalogue, state: Mapping[str, Any], name: str, moment: datetime | None
) -> list[tuple[str, str]]:
    """The (system, sync) that gave an attribute at a moment; None stands for now."""
    rule = None if moment is None else _rule(state, name, moment)
    if rule is not None:
        return [(system, sync) for system, sync in rule[_SYNCS]]
    return [
        (system, sync)
        for system, declared in catalogue.systems.items()
        for sync, each in declared.syncs.items()
        if name in each.attributes
    ]


def winner_then(
    catalogue: Catalogue,
    state: Mapping[str, Any],
    name: str,
    place: tuple[str, str],
    moment: datetime | None,
) -> tuple[WinnerKey, ...] | None:
    """What decided at a moment which record of a sync gives an attribute; None where it was the
    newest with a value. None as the moment stands for now."""
    rule = None if moment is None else _rule(state, name, moment)
    if rule is not None:
        keys = rule.get(_RECORDS, {}).get("/".join(place))
        if keys is None:
            return None
        return tuple(WinnerKey(column, kind, tuple(words)) for column, kind, words in keys)
    system, sync = place
    return winner_keys(catalogue.systems[system].syncs[sync], catalogue.attributes)


def all_provenance(lake: Lake, catalogue: Catalogue) -> Pinned:
    """The profiles with both kinds of provenance, by whichever rule a row was merged."""
    table = lake.profiles(catalogue)
    columns: dict[str, ColumnType] = {**table.columns}
    for name in catalogue.attributes:
        columns |= {f"{name}__source": "code", f"{name}__sources": "integer"}
    return lake.table(table.name, table.key, columns).pin()


def systems_in(row: Mapping[str, Any], name: str, codes: Mapping[str, int]) -> tuple[str, ...]:
    """The systems that decided an attribute, as a row of the profiles says."""
    one, several = row.get(f"{name}__source"), row.get(f"{name}__sources") or 0
    return tuple(system for system, code in codes.items() if code == one or several & (1 << code))


def _rule(state: Mapping[str, Any], name: str, moment: datetime) -> dict[str, Any] | None:
    own: list[dict[str, Any]] = state.get(RULES, {}).get(name, [])
    held = [rule for rule in own if datetime.fromisoformat(rule[_AT]) <= moment]
    return held[-1] if held else next(iter(own), None)


def _then(attribute: Attribute, rule: Mapping[str, Any]) -> Attribute:
    return attribute.model_copy(
        update={
            "merge": rule["merge"],
            "sources": rule["sources"],
            "fresh_within": timedelta(seconds=rule["fresh_within"]),
            "consent": rule["consent"],
        }
    )
