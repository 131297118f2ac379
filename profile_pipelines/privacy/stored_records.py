"""All that the lake holds of a customer's records, as the systems gave them, in every version.

Also of attributes, syncs and systems that the catalogue doesn't declare any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlglot import exp

from profile_pipelines.catalog.mapped_fields import FURTHER
from profile_pipelines.engine.sql import column, literal
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.lake import RECORD_BLOCK, record_block
from profile_pipelines.lake.stored import stored_table, stored_tables
from profile_pipelines.lake.table import CHANGE_COLUMNS, LakeTable
from profile_pipelines.profiles.past_rules import systems_in

_OWN = ("record_id", "record_key", "updated_at", "deleted", "quarantine", *CHANGE_COLUMNS)


def identity_rows(lake: Lake, profile_ids: Collection[int]) -> list[dict[str, Any]]:
    """Every row that the identities had of the records that are, or last were, these profiles'."""
    table = stored_table(lake.root, "identities", ["record_id"])
    if table is None:
        return []
    pinned = table.pin()
    ever = _rows(lake, pinned, _any("profile_id", profile_ids))
    rows = _rows(lake, pinned, _any("record_id", {row["record_id"] for row in ever}))
    last = {row["record_id"]: row["profile_id"] for row in rows}
    return [row for row in rows if last[row["record_id"]] in profile_ids]


def stored_records(lake: Lake, record_ids: Collection[int]) -> list[dict[str, Any]]:
    """The systems' records with these numbers, each with all its versions, the oldest first."""
    found: list[dict[str, Any]] = []
    for table in stored_tables(lake.root, "sources", ["record_id"]):
        system, sync = _place(table)
        block = record_block(system, sync)
        own = [n for n in record_ids if block <= n < block + RECORD_BLOCK]
        if own:
            rows = _rows(lake, table.pin(), _any("record_id", own))
            found += _documents(system, sync, rows)
    return found


def stored_children(lake: Lake, records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The child records (orders, tickets …) of which these records were made, as above."""
    values: dict[tuple[str, str], dict[str, set[str]]] = {}
    for record in records:
        place = values.setdefault((record["system"], record["sync"]), {})
        for version in record["versions"]:
            for name, value in version["identifiers"].items():
                place.setdefault(f"id_{name}", set()).add(value)
    found: list[dict[str, Any]] = []
    for table in stored_tables(lake.root, "children", ["record_id"]):
        system, sync = _place(table)
        wanted = values.get((system, sync), {})
        names = [name for name in table.columns if name in wanted]
        if not names:
            continue
        pinned = table.pin()
        theirs = exp.or_(*(_any(name, wanted[name]) for name in names))
        ever = _rows(lake, pinned, theirs)
        rows = _rows(lake, pinned, _any("record_id", {row["record_id"] for row in ever}))
        # a child may have moved to another customer since
        last: dict[int, bool] = {}
        for row in rows:
            given = {name: row[name] for name in names if row[name] is not None}
            if given:
                last[row["record_id"]] = any(value in wanted[n] for n, value in given.items())
        own = [row for row in rows if last.get(row["record_id"], False)]
        found += _documents(system, sync, own)
    return found


def audience_rows(lake: Lake, profile_ids: Collection[int]) -> list[dict[str, Any]]:
    """Every change of these profiles' membership in every audience, and of whether they fit what
    a journey is entered by; the oldest first."""
    return [
        {kind: table.name.partition("/")[2], **row}
        for kind in ("audience", "journey")
        for table in stored_tables(lake.root, f"{kind}s", ["profile_id"])
        for row in _rows(lake, table.pin(), _any("profile_id", profile_ids))
    ]


def profile_changes(lake: Lake, profile_ids: Collection[int]) -> list[dict[str, Any]]:
    """Every change of these profiles, the oldest first: values with their systems by attribute."""
    table = stored_table(lake.root, "profiles", ["profile_id"])
    if table is None:
        return []
    pinned = table.pin()
    codes = pinned.state.get("systems", {})
    names = [n for n in table.columns if f"{n}__source" in table.columns]
    combined = [n for n in table.columns if f"{n}__sources" in table.columns]
    found: list[dict[str, Any]] = []
    for row in _rows(lake, pinned, _any("profile_id", profile_ids)):
        created = row["changed"] is None and not row["removed"]
        values: dict[str, Any] = {}
        for name in (*names, *combined):
            if (created and row[name] is not None) or name in (row["changed"] or ()):
                values[name] = {"value": row[name], "from": list(systems_in(row, name, codes))}
        whole = {name: row[name] for name in ("profile_id", "recorded_at", "run_id", "removed")}
        found.append({**whole, "created": created, "values": values})
    return found


def _place(table: LakeTable) -> tuple[str, str]:
    _, system, sync = table.name.split("/")
    return system, sync


def _any(name: str, values: Collection[object]) -> exp.Expr:
    return exp.In(this=column(name), expressions=[literal(each) for each in values])


def _rows(lake: Lake, pinned: Pinned, where: exp.Expr) -> list[dict[str, Any]]:
    if not where.find(exp.Literal):
        return []
    rows = pinned.changes(pinned.table.columns, "stored", where=where)
    return sorted(lake.engine.rows(rows.sql, rows.relations), key=lambda row: row["seq"])


def _documents(system: str, sync: str, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        record = found.setdefault(
            row["record_id"],
            {"system": system, "sync": sync, "record_key": row["record_key"], "versions": []},
        )
        record["versions"].append(
            {
                "recorded_at": row["recorded_at"],
                "run_id": row["run_id"],
                "updated_at": row["updated_at"],
                "deleted": row["deleted"],
                "identifiers": {
                    name.removeprefix("id_"): value
                    for name, value in row.items()
                    if name.startswith("id_") and value is not None
                },
                **({"further_identifiers": further} if (further := _further(row)) else {}),
                "values": {
                    name: value
                    for name, value in row.items()
                    if not _is_own(name) and value is not None
                },
                "quarantine": row["quarantine"] or [],
            }
        )
    return list(found.values())


def _further(row: Mapping[str, Any]) -> dict[str, list[str]]:
    """The values, beside the first, of identifiers of which the record has several."""
    return {
        name.removesuffix(FURTHER): value
        for name, value in row.items()
        if name.endswith(FURTHER) and value
    }


def _is_own(name: str) -> bool:
    """Whether a column is the lake's, or an identifier's."""
    return name in _OWN or name.startswith("id_") or name.endswith(FURTHER)
