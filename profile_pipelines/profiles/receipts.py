"""The receipt of every value: which source won, which lost, by which rule, since when.

Read from the change logs, so that it can be given for any past moment too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlglot import exp

from profile_pipelines.catalog.models import Attribute, Catalogue
from profile_pipelines.engine.sql import column, literal
from profile_pipelines.lake import Lake
from profile_pipelines.lake.lake import COMBINING, RECORD_BLOCK, UNSUBSCRIBES, record_block

_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Contribution:
    """What one system gives for an attribute (times in UTC).

    `changed_at` is when the source changed the record to this value, by the source's own clock;
    `synced_at` and `run_id` say when and in which run it came. `invalid` is the reason for which
    the source's value lies in quarantine; its value is then None.
    """

    system: str
    sync: str
    value: Any
    record_updated_at: datetime | None
    changed_at: datetime | None
    synced_at: datetime
    run_id: str
    invalid: str | None = None


@dataclass(frozen=True)
class Receipt:
    """The provenance of one attribute value of one profile."""

    attribute: str
    value: Any
    rule: str
    winners: tuple[Contribution, ...]
    losers: tuple[Contribution, ...]


def decide(
    attribute: Attribute, given: Mapping[str, tuple[Any, datetime | None]]
) -> tuple[Any, tuple[str, ...]]:
    """The merge rule in plain Python: the value that wins, and the systems that decided it.

    `given` has each system's value with its record's time. Systems without a value are left out.
    An unsubscription outranks all of them.
    """
    if UNSUBSCRIBES in given:
        return False, (UNSUBSCRIBES,)
    order = [
        system for system in attribute.sources if system in given and given[system][0] is not None
    ]
    if not order:
        return None, ()
    values = [given[system][0] for system in order]
    match attribute.merge:
        case "priority":
            return values[0], (order[0],)
        case "latest":
            newest = max(order, key=lambda s: (given[s][1] or _LONG_AGO, -order.index(s)))
            return given[newest][0], (newest,)
        case "most_restrictive":
            value = all(values)
        case "min":
            value = min(values)
        case "max":
            value = max(values)
    return value, tuple(order)


def explain_rule(attribute: Attribute) -> str:
    """The rule in words."""
    order = ", then ".join(attribute.sources)
    return {
        "priority": f"priority: {order}",
        "latest": f"latest change wins (equals: {order})",
        "most_restrictive": "most restrictive: any false wins",
        "min": "the least value wins",
        "max": "the greatest value wins",
    }[attribute.merge]


def receipts_of(
    catalogue: Catalogue,
    lake: Lake,
    profile_id: int,
    record_ids: Sequence[int],
    stored: Mapping[str, Any],
    codes: Mapping[str, int],
    *,
    as_of: datetime | None = None,
    names: Collection[str] | None = None,
) -> list[Receipt]:
    """A receipt for each attribute (or those named) of the profile whose records and stored row
    are given."""
    wanted = {
        name: attribute
        for name, attribute in catalogue.attributes.items()
        if names is None or name in names
    }
    contributions = _contributions(catalogue, lake, record_ids, as_of, wanted)
    receipts: list[Receipt] = []
    for name, attribute in wanted.items():
        given = contributions.get(name, {})
        winners = _winners(name, attribute, stored, codes)
        rule = explain_rule(attribute)
        if UNSUBSCRIBES in winners:
            given = given | _unsubscription(catalogue, lake, profile_id, attribute, as_of)
            rule = f"unsubscribed: outranks every system ({rule})"
        order = [system for system in (UNSUBSCRIBES, *attribute.sources) if system in given]
        receipts.append(
            Receipt(
                name,
                stored.get(name),
                rule,
                tuple(given[s] for s in order if s in winners),
                tuple(given[s] for s in order if s not in winners),
            )
        )
    return receipts


def _unsubscription(
    catalogue: Catalogue,
    lake: Lake,
    profile_id: int,
    attribute: Attribute,
    as_of: datetime | None,
) -> dict[str, Contribution]:
    # few profiles need it, and it takes what most do without: pyarrow
    from profile_pipelines.profiles.unsubscribed import last_act

    act = last_act(catalogue, lake, profile_id, attribute.consent or "", as_of=as_of)
    if act is None:
        return {}
    at, synced_at, run_id = act["acted_at"], act["recorded_at"], act["run_id"]
    return {
        UNSUBSCRIBES: Contribution(
            UNSUBSCRIBES, attribute.consent or "", False, at, at, synced_at, run_id
        )
    }


def _winners(
    name: str, attribute: Attribute, stored: Mapping[str, Any], codes: Mapping[str, int]
) -> set[str]:
    """The systems whose value stands, as the merge recorded it."""
    if attribute.merge in COMBINING:
        mask = stored.get(f"{name}__sources") or 0
        return {system for system, code in codes.items() if mask & (1 << code)}
    code = stored.get(f"{name}__source")
    return {system for system, each in codes.items() if each == code}


def _contributions(
    catalogue: Catalogue,
    lake: Lake,
    record_ids: Sequence[int],
    as_of: datetime | None,
    wanted: Collection[str],
) -> dict[str, dict[str, Contribution]]:
    """By attribute and system: the newest value among the profile's records."""
    asked = [
        (system, sync, names)
        for system, declared in catalogue.systems.items()
        for sync, each in declared.syncs.items()
        if (names := [name for name in each.attributes if name in wanted])
    ]
    answers = lake.engine.side_by_side(
        partial(_versions, catalogue, lake, system, sync, record_ids, as_of)
        for system, sync, _ in asked
    )
    found: dict[str, dict[str, Contribution]] = {}
    for (system, sync, names), versions in zip(asked, answers, strict=True):
        for name in names:
            best = _newest(system, sync, name, versions)
            if best is not None:
                found.setdefault(name, {})[system] = best
    return found


def _versions(
    catalogue: Catalogue,
    lake: Lake,
    system: str,
    sync: str,
    record_ids: Sequence[int],
    as_of: datetime | None,
) -> dict[int, list[dict[str, Any]]]:
    """The versions of each of the records that belong to the sync, newest first."""
    block = record_block(system, sync)
    own = [n for n in record_ids if block <= n < block + RECORD_BLOCK]
    pinned = lake.source(catalogue, system, sync).pin()
    if not own or not pinned.exists:
        return {}
    where: exp.Expr = exp.In(this=column("record_id"), expressions=[literal(n) for n in own])
    if as_of is not None:
        where = exp.and_(where, exp.LTE(this=column("recorded_at"), expression=literal(as_of)))
    rows = pinned.changes(pinned.table.columns, "v", where=where)
    versions: dict[int, list[dict[str, Any]]] = {}
    for row in sorted(lake.engine.rows(rows.sql, rows.relations), key=lambda r: -r["seq"]):
        versions.setdefault(row["record_id"], []).append(row)
    return versions


def _newest(
    system: str, sync: str, name: str, versions: Mapping[int, Sequence[dict[str, Any]]]
) -> Contribution | None:
    def rank(rows: Sequence[dict[str, Any]]) -> tuple[bool, datetime, int]:
        now = rows[0]
        return now[name] is not None, now["updated_at"] or _LONG_AGO, now["record_id"]

    alive = [rows for rows in versions.values() if not rows[0]["deleted"]]
    if not alive:
        return None
    rows = max(alive, key=rank)
    now = rows[0]
    since = now
    for version in rows[1:]:
        if version["deleted"] or version[name] != now[name]:
            break
        since = version
    invalid = next((q["reason"] for q in now["quarantine"] or [] if q["attribute"] == name), None)
    if now[name] is None and invalid is None:
        return None
    return Contribution(
        system,
        sync,
        now[name],
        now["updated_at"],
        since["updated_at"],
        since["recorded_at"],
        since["run_id"],
        invalid,
    )
