"""The receipt of every value: which source won, which lost, by which rule, since when.

Read from the change logs, so that it can be given for any past moment too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlglot import exp

from profile_pipelines.catalog.models import COMBINING, Attribute, Catalogue
from profile_pipelines.catalog.survivorship import WinnerKey
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.engine.columns import Columns, ColumnType
from profile_pipelines.engine.sql import column, literal
from profile_pipelines.lake import Lake
from profile_pipelines.lake.lake import RECORD_BLOCK, UNSUBSCRIBES, record_block
from profile_pipelines.lake.table import LakeTable
from profile_pipelines.profiles.combined import combine
from profile_pipelines.profiles.one_record import standing
from profile_pipelines.profiles.past_rules import (
    catalogue_then,
    syncs_then,
    systems_in,
    winner_then,
)

_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Contribution:
    """What one system, or one record of it, gives for an attribute (times in UTC).

    `changed_at` is when the source changed the record to this value, by the source's own clock;
    `synced_at` and `run_id` say when and in which run it came. `invalid` is the reason for which
    the source's value lies in quarantine; its value is then None. `records` are so many of the
    customer's records as an aggregate was combined from. `record` is the key of the record, where
    one gave the value; `outvoted_by` is that of the record that speaks for the whole sync, where it
    isn't this one.
    """

    system: str
    sync: str
    value: Any
    record_updated_at: datetime | None
    changed_at: datetime | None
    synced_at: datetime
    run_id: str
    invalid: str | None = None
    records: int = 1
    record: str | None = None
    outvoted_by: str | None = None


@dataclass(frozen=True)
class Receipt:
    """The provenance of one attribute value of one profile."""

    attribute: str
    value: Any
    rule: str
    winners: tuple[Contribution, ...]
    losers: tuple[Contribution, ...]


def decide(
    attribute: Attribute, given: Mapping[str, Sequence[tuple[Any, datetime | None]]]
) -> tuple[Any, tuple[str, ...]]:
    """The merge rule in plain Python: the value that wins, and the systems that decided it.

    `given` has by system what each of the customer's living records says, with the record's time.
    Systems without a value are left out. An unsubscription outranks all of them.
    """
    if UNSUBSCRIBES in given:
        return False, (UNSUBSCRIBES,)
    known = {
        system: [each for each in given.get(system, ()) if each[0] is not None]
        for system in attribute.sources
    }
    order = [system for system, values in known.items() if values]
    if not order:
        return None, ()
    newest = {system: max(known[system], key=lambda each: each[1] or _LONG_AGO) for system in order}
    every = [value for system in order for value, _ in known[system]]
    match attribute.merge:
        case "priority":
            return newest[order[0]][0], (order[0],)
        case "latest":
            last = max(order, key=lambda s: (newest[s][1] or _LONG_AGO, -order.index(s)))
            return newest[last][0], (last,)
        case "most_restrictive":
            value = all(every)
        case "min":
            value = min(every)
        case "max":
            value = max(every)
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
    state: Mapping[str, Any],
    *,
    as_of: datetime | None = None,
    names: Collection[str] | None = None,
) -> list[Receipt]:
    """A receipt for each attribute (or those named) of the profile whose records and stored row
    are given, by the rules of the moment; `state` is that of the profiles.

    Of the present it tells what the profiles were merged of, not what was synced since.
    """
    if as_of is not None:
        catalogue = catalogue_then(catalogue, state, as_of)
    wanted = {
        name: attribute
        for name, attribute in catalogue.attributes.items()
        if names is None or name in names
    }
    one_record = {
        (name, place): keys
        for name, attribute in wanted.items()
        if attribute.merge not in COMBINING
        for place in syncs_then(catalogue, state, name, as_of)
        if (keys := winner_then(catalogue, state, name, place, as_of)) is not None
    }
    contributions = _contributions(
        catalogue, lake, record_ids, stored, state, as_of, wanted, one_record
    )
    receipts: list[Receipt] = []
    for name, attribute in wanted.items():
        given = contributions.get(name, {})
        winners = systems_in(stored, name, state["systems"])
        rule = explain_rule(attribute)
        for (decided, (system, _)), keys in one_record.items():
            if decided == name:
                by = ", then ".join([*(key.in_words for key in keys), "the newest"])
                rule += f"; of {system} one record counts, by {by}"
        if UNSUBSCRIBES in winners:
            given = given | _unsubscription(catalogue, lake, profile_id, attribute, as_of)
            rule = f"unsubscribed: outranks every system ({rule})"
        every = [each for s in (UNSUBSCRIBES, *attribute.sources) for each in given.get(s, ())]
        won = [
            each.system in winners and each.value is not None and each.outvoted_by is None
            for each in every
        ]
        receipts.append(
            Receipt(
                name,
                stored.get(name),
                rule,
                tuple(each for each, did in zip(every, won, strict=True) if did),
                tuple(each for each, did in zip(every, won, strict=True) if not did),
            )
        )
    return receipts


def _unsubscription(
    catalogue: Catalogue,
    lake: Lake,
    profile_id: int,
    attribute: Attribute,
    as_of: datetime | None,
) -> dict[str, list[Contribution]]:
    # few profiles need it, and it takes what most do without: pyarrow
    from profile_pipelines.profiles.unsubscribed import last_act

    act = last_act(catalogue, lake, profile_id, attribute.consent or "", as_of=as_of)
    if act is None:
        return {}
    at, synced_at, run_id = act["acted_at"], act["recorded_at"], act["run_id"]
    return {
        UNSUBSCRIBES: [
            Contribution(UNSUBSCRIBES, attribute.consent or "", False, at, at, synced_at, run_id)
        ]
    }


def _contributions(
    catalogue: Catalogue,
    lake: Lake,
    record_ids: Sequence[int],
    stored: Mapping[str, Any],
    state: Mapping[str, Any],
    as_of: datetime | None,
    wanted: Mapping[str, Attribute],
    one_record: Mapping[tuple[str, tuple[str, str]], Sequence[WinnerKey]],
) -> dict[str, dict[str, list[Contribution]]]:
    """By attribute and system: the newest value among the profile's records, or what those of an
    aggregate make together; for a combining rule, and where one record speaks for the sync, what
    each of them gives, the newest or the one that speaks first."""
    asked: dict[tuple[str, str], list[str]] = {}
    compared: dict[tuple[str, str], dict[str, ColumnType]] = {}
    for name in wanted:
        for place in syncs_then(catalogue, state, name, as_of):
            asked.setdefault(place, []).append(name)
            for key in one_record.get((name, place), ()):
                compared.setdefault(place, {})[key.column] = key.type
    if as_of is None:
        inputs = state["inputs"]
        latest = [
            exp.LTE(this=column("seq"), expression=literal(inputs.get(f"{system}/{sync}", 0)))
            for system, sync in asked
        ]
    else:
        then = exp.LTE(this=column("recorded_at"), expression=literal(as_of))
        latest = [then for _ in asked]
    answers = lake.engine.side_by_side(
        partial(
            _versions,
            lake,
            _table(catalogue, lake, *place, names, compared.get(place, {})),
            place,
            record_ids,
            until,
        )
        for (place, names), until in zip(asked.items(), latest, strict=True)
    )
    found: dict[str, dict[str, list[Contribution]]] = {}
    for ((system, sync), names), versions in zip(asked.items(), answers, strict=True):
        for name in names:
            declared = _declared(catalogue, system, sync)
            alive = [rows for rows in versions.values() if not rows[0]["deleted"]]
            mapped = None if declared is None else declared.attributes.get(name)
            attribute = catalogue.attributes[name]
            keys = one_record.get((name, (system, sync)))
            if declared and mapped and mapped.aggregate is not None and len(alive) > 1:
                given = [_together(attribute, declared, system, sync, name, alive)]
            elif keys is not None:
                won = as_of is not None and system in systems_in(stored, name, state["systems"])
                gave = stored[name] if won else None
                alive.sort(key=partial(_standing, name, keys, gave), reverse=True)
                given = [_of_record(system, sync, name, rows) for rows in alive]
                over = alive[0][0]["record_key"] if alive else None
                given[1:] = [each and replace(each, outvoted_by=over) for each in given[1:]]
            else:
                alive.sort(key=partial(_rank, name), reverse=True)
                counting = alive if attribute.merge in COMBINING else alive[:1]
                given = [_of_record(system, sync, name, rows) for rows in counting]
            if known := [each for each in given if each is not None]:
                found.setdefault(name, {})[system] = known
    return found


def _declared(catalogue: Catalogue, system: str, sync: str) -> Sync | None:
    return catalogue.systems[system].syncs.get(sync) if system in catalogue.systems else None


def _table(
    catalogue: Catalogue,
    lake: Lake,
    system: str,
    sync: str,
    names: Sequence[str],
    compared: Columns,
) -> LakeTable:
    """The records of a sync, which may bring less by now, or not be declared any more."""
    declared = _declared(catalogue, system, sync)
    brought = {"updated_at"} if declared is None else {"updated_at", *declared.attributes}
    if declared is not None and brought.issuperset((*names, *compared)):
        return lake.source(catalogue, system, sync)
    columns: Columns = {
        "record_id": "integer",
        "record_key": "string",
        "updated_at": "timestamp",
        "deleted": "boolean",
        **compared,
        **{name: catalogue.attributes[name].type for name in names},
        "quarantine": "quarantine",
    }
    return lake.table(f"sources/{system}/{sync}", ["record_id"], columns)


def _versions(
    lake: Lake,
    table: LakeTable,
    place: tuple[str, str],
    record_ids: Sequence[int],
    until: exp.Expr,
) -> dict[int, list[dict[str, Any]]]:
    """The versions of each of the records that belong to the sync, newest first."""
    block = record_block(*place)
    own = [n for n in record_ids if block <= n < block + RECORD_BLOCK]
    if not own or not (pinned := table.pin()).exists:
        return {}
    mine = exp.In(this=column("record_id"), expressions=[literal(n) for n in own])
    rows = pinned.changes(table.columns, "v", where=exp.and_(mine, until))
    versions: dict[int, list[dict[str, Any]]] = {}
    for row in sorted(lake.engine.rows(rows.sql, rows.relations), key=lambda r: -r["seq"]):
        versions.setdefault(row["record_id"], []).append(row)
    return versions


def _rank(name: str, rows: Sequence[dict[str, Any]]) -> tuple[bool, datetime, int]:
    """Where a record, given by its versions, stands: the newest that has a value last."""
    now = rows[0]
    return now[name] is not None, now["updated_at"] or _LONG_AGO, now["record_id"]


def _standing(
    name: str, keys: Sequence[WinnerKey], gave: Any, rows: Sequence[dict[str, Any]]
) -> tuple[Any, ...]:
    """Where a record stands among those of which one speaks. Who has what the sync `gave` comes
    before who hasn't: of a past moment what was compared may be forgotten by now."""
    now = rows[0]
    return gave is not None and now[name] == gave, *standing(keys, now)


def _of_record(
    system: str, sync: str, name: str, rows: Sequence[dict[str, Any]]
) -> Contribution | None:
    """What one record gives, which is given by its versions."""
    now, since = rows[0], _since(name, rows)
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
        record=now["record_key"],
    )


def _together(
    attribute: Attribute,
    declared: Sync,
    system: str,
    sync: str,
    name: str,
    alive: Sequence[Sequence[dict[str, Any]]],
) -> Contribution | None:
    """What records make together; it is as new as the newest of their values."""
    value, invalid = combine(name, attribute, declared, [rows[0] for rows in alive])
    if value is None and invalid is None:
        return None
    given = [rows for rows in alive if rows[0][name] is not None] or alive
    came = [_since(name, rows) for rows in given]
    latest = max(came, key=lambda row: row["seq"])
    return Contribution(
        system,
        sync,
        value,
        _newest_time(rows[0] for rows in given),
        _newest_time(came),
        latest["recorded_at"],
        latest["run_id"],
        invalid,
        len(given),
    )


def _newest_time(rows: Iterable[dict[str, Any]]) -> datetime | None:
    return max((row["updated_at"] for row in rows if row["updated_at"] is not None), default=None)


def _since(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The version in which a record came to the value that it has."""
    since = rows[0]
    for version in rows[1:]:
        if version["deleted"] or version[name] != rows[0][name]:
            break
        since = version
    return since
