"""Unsubscriptions as a source of the profile: the one built-in system, which outranks all others.

The ledger knows them from the moment of the click; a run brings them into the lake, from where
on receipts, history, audiences and journeys have them like any other source's values.
"""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.sql import column, literal, named
from profile_pipelines.engine.tables import arrow_schema
from profile_pipelines.identity.former import former_profiles
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.lake import UNSUBSCRIBES_COLUMNS
from profile_pipelines.lake.table import Rows

if TYPE_CHECKING:
    from profile_pipelines.ledger.unsubscribes import Act, Unsubscribes

_COLUMNS = ["profile_id", "purpose", "number", "unsubscribed", "acted_at"]


def land_unsubscribes(lake: Lake, unsubscribes: Unsubscribes, *, now: datetime, run_id: str) -> int:
    """Bring the acts that the ledger knows and the lake doesn't into the lake; how many customers'
    they are.

    Where lake and ledger don't agree on the acts that were landed before, since one of them was
    put back from a copy, all are compared, and of each customer's for each purpose the later one
    counts: the ledger takes those back that only the lake knows. Raises Conflict when another run
    was faster.
    """
    pinned = lake.unsubscribes().pin()
    number, id_ = pinned.state.get("acts", 0), pinned.state.get("act", "")
    agree = unsubscribes.has(number, id_) if number else not pinned.exists
    if not agree:
        _take_back(lake, pinned, unsubscribes)
    last, last_id = unsubscribes.last()
    if (last, last_id) == (number, id_):
        return 0
    acts = unsubscribes.since(number if agree else 0)
    newest = {(act.profile_id, act.purpose): act for act in acts}
    if not agree:
        landed = _landed(lake, pinned)
        newest = {place: act for place, act in newest.items() if landed.get(place) != _said(act)}
    rows = None
    if newest:
        rows = Rows(
            exp.select(exp.Star(), exp.alias_(exp.false(), "removed", quoted=True)).from_(
                named("acts")
            ),
            {"acts": acts_table(list(newest.values()))},
        )
    if last:
        state = {"acts": last, "act": last_id}
        pinned.commit(lake.engine, rows, now=now, run_id=run_id, state=state)
    return len(newest)


def _said(act: Act) -> tuple[datetime, bool]:
    return act.at, act.unsubscribed


def _landed(lake: Lake, pinned: Pinned) -> dict[tuple[int, str], tuple[datetime, bool]]:
    """By profile and purpose, when the landed act was, and whether it was to unsubscribe."""
    rows = pinned.current(_COLUMNS, "landed")
    return {
        (row["profile_id"], row["purpose"]): (row["acted_at"], row["unsubscribed"])
        for row in lake.engine.rows(rows.sql, rows.relations)
    }


def _take_back(lake: Lake, pinned: Pinned, unsubscribes: Unsubscribes) -> None:
    """Give the ledger the acts that were landed from it and that it has lost."""
    known = {(act.profile_id, act.purpose): _said(act) for act in unsubscribes.since(0)}
    lost = {
        place: said
        for place, said in _landed(lake, pinned).items()
        if place not in known or said > known[place]
    }
    for (profile_id, purpose), (at, unsubscribed) in sorted(lost.items(), key=lambda e: e[1]):
        unsubscribes.take_back(profile_id, purpose, unsubscribed, at)


def acts_table(acts: Sequence[Act]) -> pa.Table:
    """The acts with the columns of the lake's table, in order."""
    columns = {
        "profile_id": [act.profile_id for act in acts],
        "purpose": [act.purpose for act in acts],
        "number": [act.number for act in acts],
        "unsubscribed": [act.unsubscribed for act in acts],
        "acted_at": [act.at for act in acts],
    }
    return pa.table(columns, schema=arrow_schema(UNSUBSCRIBES_COLUMNS))


def unsubscribed_today(lake: Lake, acts: Rows, former: pa.Table) -> pa.Table:
    """`profile_id` and `purpose` of all who are unsubscribed, as the profiles that they are today.

    `acts` has each profile's last act for each purpose, `former` what `former_profiles` found. Of
    all acts that a profile of today stands for, the last one counts.
    """
    own = exp.select(*(column(name, "a") for name in _COLUMNS)).from_(named("acts", "a"))
    inherited = (
        exp.select(column("profile_id", "f"), *(column(name, "a") for name in _COLUMNS[1:]))
        .from_(named("acts", "a"))
        .join(
            named("former", "f"),
            on=exp.EQ(this=column("former_id", "f"), expression=column("profile_id", "a")),
        )
    )
    order = exp.Struct(
        expressions=[
            exp.PropertyEQ(this=exp.to_identifier(name), expression=column(name, "s"))
            for name in ("acted_at", "number")
        ]
    )
    select = (
        exp.select(column("profile_id", "s"), column("purpose", "s"))
        .with_(exp.to_identifier("acts", quoted=True), as_=acts.sql)
        .from_(exp.union(own, inherited, distinct=False).subquery("s"))
        .group_by(column("profile_id", "s"), column("purpose", "s"))
        .having(exp.ArgMax(this=column("unsubscribed", "s"), expression=order))
    )
    return lake.engine.query(select, {**acts.relations, "former": former})


def unsubscribed_profiles(
    catalogue: Catalogue, lake: Lake, identities: Pinned, landed: Pinned
) -> pa.Table:
    """`unsubscribed_today` of what has been landed."""
    former = former_profiles(catalogue, lake, identities)
    return unsubscribed_today(lake, landed.current(_COLUMNS, "landed"), former)


def last_act(
    catalogue: Catalogue,
    lake: Lake,
    profile_id: int,
    purpose: str,
    *,
    as_of: datetime | None = None,
) -> dict[str, Any] | None:
    """The landed act that counts for a profile: `unsubscribed`, `acted_at`, `recorded_at` and
    `run_id`; None without any."""
    landed = lake.unsubscribes().pin()
    if not landed.exists:
        return None
    former = former_profiles(catalogue, lake, lake.identities(catalogue).pin(), as_of=as_of)
    pairs = zip(former["former_id"].to_pylist(), former["profile_id"].to_pylist(), strict=True)
    ids = [profile_id, *(former_id for former_id, now in pairs if now == profile_id)]
    where = exp.and_(
        exp.In(this=column("profile_id"), expressions=[literal(each) for each in ids]),
        column("purpose").eq(literal(purpose)),
    )
    if as_of is not None:
        where = exp.and_(where, exp.LTE(this=column("recorded_at"), expression=literal(as_of)))
    rows = landed.changes(_COLUMNS, "landed", where=where)
    found = lake.engine.rows(rows.sql, rows.relations)
    return max(found, key=lambda row: (row["acted_at"], row["number"]), default=None)
