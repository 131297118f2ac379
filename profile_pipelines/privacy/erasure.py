"""Removes people everywhere, and keeps them out (docs/privacy.md, docs/adr/0013).

The tombstones come first: from then on no sync brings the people back. Then the systems' records
go, then what was derived from them, then the messages, then the ledger's rows. Each step finds
nothing to do where it was done before, so an erasure that was killed is done again, from the
start: by the identifier as long as the identities know it, by the profiles' numbers after that.
"""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.channels.files import files_of, folder_of
from profile_pipelines.engine.duckdb import Relation
from profile_pipelines.engine.sql import column, named
from profile_pipelines.engine.tables import profile_id_table
from profile_pipelines.errors import Conflict, ProfilePipelinesError
from profile_pipelines.lake import Lake
from profile_pipelines.lake.lake import FURTHER_OF
from profile_pipelines.lake.rewrite import Doomed, count_doomed, rewrite
from profile_pipelines.lake.stored import table_names
from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.erasures import Erasure
from profile_pipelines.ledger.inbox import Waiting
from profile_pipelines.privacy.people import People, find_people

_TRIES = 10
Step = Callable[[str], None]
"""Hears what is being worked on."""
FromDestinations = Callable[[Sequence[int]], Iterable[tuple[str, int, Callable[[], None]]]]
"""By destination: its name, how many of the profiles it holds, and what removes them."""


def erase(
    catalogue: Catalogue,
    lake: Lake,
    ledger: Ledger,
    outbox: Path,
    profile_ids: Iterable[int],
    *,
    reference: str | None,
    by: str,
    now: datetime,
    until: str | None = None,
    step: Step = lambda name: None,
    from_destinations: FromDestinations = lambda profile_ids: (),
) -> Erasure:
    """Erase the people of these profiles from the lake, the ledger and the messages written.

    `outbox` is the folder below which channels write files. Raises Conflict when others kept
    committing, DestinationError when a destination can't be reached or won't give them up (what
    comes after that is left for the next time), ProfilePipelinesError when rows of the people are
    found afterwards.
    """
    step("looking for all records")
    people = find_people(catalogue, lake, profile_ids)
    erasures = ledger.erasures
    erasure = erasures.begin(
        people.profiles, people.marks(), reference=reference, by=by, now=now, until=until
    )
    number, profiles = erasure.erasure, erasure.profiles
    if set(profiles) != set(people.profiles):
        people = find_people(catalogue, lake, profiles)
    mine = _received(catalogue, ledger, people)
    erasures.count(number, {"inbox": len(mine)})
    ledger.inbox.remove(mine)
    tables = [(name, _doomed(catalogue, lake, people, name)) for name in _in_order(lake)]
    for name, doomed in tables:
        step(name)
        _rewrite(lake, name, doomed, lambda rows, name=name: erasures.count(number, {name: rows}))
    step("destinations")
    for place, count, remove in from_destinations(people.profiles):
        erasures.count(number, {place: count})
        remove()
    step("messages")
    written = list(_message_files(catalogue, ledger, outbox, people.profiles))
    erasures.count(number, {"message files": len(written)})
    for path in written:
        path.unlink(missing_ok=True)
    erasures.count(number, ledger.forget(people.profiles, now=now))
    step("verifying")
    ledger.vacuum()
    if left := sum(count_doomed(lake.root, name, lake.engine, doomed) for name, doomed in tables):
        raise ProfilePipelinesError(
            f"{left} rows came back while the people were erased; run the erasure again"
        )
    return erasures.complete(number, now=now)


def tombstoned_profiles(catalogue: Catalogue, lake: Lake, ledger: Ledger) -> list[int]:
    """The profiles with a tombstone: a backup of the lake has brought them back."""
    pinned = lake.identities(catalogue).pin()
    if not pinned.exists or not ledger.erasures.any:
        return []
    digest = ledger.erasures.digest
    names = list(catalogue.identifiers)
    rows = pinned.current(["profile_id", *(f"id_{name}" for name in names)], "i")
    found = lake.engine.query(rows.sql, rows.relations)
    profiles = found["profile_id"].to_pylist()
    back: set[int] = set()
    for name in names:
        digests = [
            None if value is None else digest(name, value)
            for value in found[f"id_{name}"].to_pylist()
        ]
        stones = ledger.erasures.tombstoned({each for each in digests if each is not None})
        back |= {p for p, each in zip(profiles, digests, strict=True) if each in stones}
    return sorted(back - {None})


def _in_order(lake: Lake) -> list[str]:
    """What the systems gave first, then what follows from it, as the runs write it."""
    names = table_names(lake.root)
    given = [name for name in names if name.startswith(("sources/", "children/"))]
    return [*given, *(n for n in names if n == "identities"),
            *(n for n in names if n not in given and n != "identities")]  # fmt: skip


def _rewrite(lake: Lake, name: str, doomed: Doomed, before: Callable[[int], None]) -> None:
    for left in reversed(range(_TRIES)):
        try:
            rewrite(lake.root, name, lake.engine, doomed, before=before, witness=lake.witness)
        except Conflict:
            if not left:
                raise
        else:
            return


def _doomed(catalogue: Catalogue, lake: Lake, people: People, name: str) -> Doomed:
    """Which rows of a table are theirs."""
    relations: dict[str, Relation] = {
        "their_records": people.records,
        "their_profiles": profile_id_table(people.profiles),
        "mixed_profiles": people.mixed,
        **{
            f"their_{kind}": pa.table({"value": pa.array(sorted(values), pa.string())})
            for kind, values in people.identifiers.items()
        },
    }
    children = name.startswith("children/")

    def condition(columns: Sequence[str]) -> exp.Expr | None:
        tests = [
            _in(column(f"id_{kind}"), f"their_{kind}", "value")
            for kind in people.identifiers
            if f"id_{kind}" in columns
        ]
        # children have numbers of their own
        if "record_id" in columns and not children:
            tests.append(_in(column("record_id"), "their_records", "record_id"))
        if "profile_id" in columns:
            tests.append(_in(column("profile_id"), "their_profiles", "profile_id"))
        if name == "profiles" and "recorded_at" in columns:
            tests.append(_mixed())
        return exp.or_(*tests) if tests else None

    return Doomed(condition, relations, _amended(catalogue, lake, people, name))


def _mixed() -> exp.Expr:
    """Of others' profiles what stood there until theirs left."""
    until = (
        exp.select(exp.Star())
        .from_(named("mixed_profiles", "m"))
        .where(
            exp.and_(
                exp.EQ(
                    this=column("profile_id", "m"), expression=column("profile_id", "rewritten")
                ),
                exp.LT(this=column("recorded_at", "rewritten"), expression=column("until", "m")),
            )
        )
    )
    return exp.Exists(this=until)


def _amended(
    catalogue: Catalogue, lake: Lake, people: People, name: str
) -> Callable[[dict[str, Any], int], dict[str, Any]]:
    """What a table's state says after the rows have left."""
    leaving, sharing = _totals(catalogue, lake, people) if name == "identities" else ([0], False)

    def amended(state: dict[str, Any], rows: int) -> dict[str, Any]:
        if not rows:
            return state
        if name == "identities" and "totals" in state:
            totals = zip(state["totals"], leaving, strict=True)
            # without them, a value that they shared may belong to one customer: it is found anew
            anew = {"fingerprint": None} if sharing else {}
            return {**state, "totals": [max(total - less, 0) for total, less in totals], **anew}
        if name.startswith(("audiences/", "journeys/")):
            # its numbers are told anew at the next run
            return {k: v for k, v in state.items() if k != "evaluated"}
        if "values" in state:
            at_least = {a: max(n - rows, 0) for a, n in state["values"].items()}
            return {**state, "values": at_least}
        return state

    return amended


def _totals(catalogue: Catalogue, lake: Lake, people: People) -> tuple[list[int], bool]:
    """Their living records, profiles and records held apart; whether others share their values."""
    pinned = lake.identities(catalogue).pin()
    if not pinned.exists:
        return [0, 0, 0], False
    columns = ["profile_id", "held_apart", "shared_identifiers", FURTHER_OF]
    rows = pinned.current(columns, "i")
    select = exp.select(*(column(name, "i") for name in columns))
    select = select.from_(rows.sql.subquery("i")).where(
        _in(column("profile_id", "i"), "theirs", "profile_id")
    )
    theirs = profile_id_table(people.profiles)
    found = lake.engine.rows(select, {**rows.relations, "theirs": theirs})
    profiles = {row["profile_id"] for row in found}
    records = [row for row in found if row[FURTHER_OF] is None]
    held = sum(bool(row["held_apart"]) for row in records)
    return [len(records), len(profiles), held], any(row["shared_identifiers"] for row in found)


def _received(catalogue: Catalogue, ledger: Ledger, people: People) -> list[int]:
    """The numbers of the inbox's rows that name them, or carry a record of theirs."""
    return [
        row.number
        for system, sync, row in ledger.inbox.all_waiting()
        if row.key in people.keys.get((system, sync), ())
        or _carries(catalogue, people, system, sync, row)
    ]


def _carries(catalogue: Catalogue, people: People, system: str, sync: str, row: Waiting) -> bool:
    if row.record is None:
        return False
    declared = catalogue.systems.get(system)
    if declared is None or sync not in declared.syncs:
        return True  # nobody reads it any more
    from profile_pipelines.validation.controls import Zones, identifiers_of

    mapped = declared.syncs[sync]
    zones = Zones(catalogue.settings.timezone, declared.zone_of(mapped))
    found = identifiers_of(json.loads(row.record), mapped, catalogue.identifiers, zones)
    return any(value in people.identifiers.get(kind, ()) for kind, value in found)


def _message_files(
    catalogue: Catalogue, ledger: Ledger, outbox: Path, profiles: Sequence[int]
) -> Iterable[Path]:
    for row in ledger.outbox.messages(profile_ids=profiles, limit=None):
        channel = catalogue.channels.get(row["channel"])
        folder = folder_of(row["channel"], channel, outbox)
        yield from (path for path in files_of(folder, row["message_id"]) if path.exists())


def _in(value: exp.Expr, relation: str, name: str) -> exp.Expr:
    return exp.In(this=value, query=exp.select(column(name)).from_(named(relation)).subquery())
