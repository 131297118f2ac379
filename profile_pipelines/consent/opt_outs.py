"""Opt-outs that outlive a change of identity.

A record that knows a customer by an address alone parts from them when the address changes on
either side. It didn't change its mind: what it said last is still no, and so the customer keeps an
opt-out in the ledger, until a system says yes anew or somebody restores it.
"""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime

from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.sql import column, distinct, named
from profile_pipelines.engine.tables import profile_id_table
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.lake import RECORD_BLOCK, record_block
from profile_pipelines.ledger.unsubscribes import Unsubscribes

LEFT = "its record said no, and has left this customer"
AGAIN = "it says yes, where it said no before"


def keep_opt_outs(
    catalogue: Catalogue, lake: Lake, unsubscribes: Unsubscribes, *, now: datetime
) -> int:
    """Keep the opt-outs that records take along since the last merge; how many are new.

    A record with the strongest identifier is a customer of its own, and takes its opt-out along.
    """
    profiles, identities = lake.profiles(catalogue).pin(), lake.identities(catalogue).pin()
    since = profiles.state.get("inputs", {}).get("identities") if profiles.exists else None
    purposes = {name: each.consent for name, each in catalogue.attributes.items() if each.consent}
    if since is None or since >= identities.seq or not purposes:
        return 0
    left = _left(catalogue, lake, identities, since)
    if not left:
        return 0
    names = [name for name in purposes if name in profiles.table.columns]
    was = _values(lake, profiles, {profile_id for _, profile_id in left}, names)
    kept = 0
    for system, sync, own, asked in _by_sync(catalogue, left):
        told = _told(lake, lake.source(catalogue, system, sync).pin(), own, asked)
        for record_id, profile_id in own:
            for name in asked:
                said = told.get((record_id, name))
                purpose = purposes[name]
                if said and said[-1][0] is False and was.get(profile_id, {}).get(name) is False:
                    kept += unsubscribes.keep(profile_id, purpose, by=system, because=LEFT, now=now)
    return kept


def lift_opt_outs(
    catalogue: Catalogue, lake: Lake, unsubscribes: Unsubscribes, *, now: datetime
) -> int:
    """Take kept opt-outs back where a record of their customers says yes since, after a no of its
    own; how many. A `true` that was there before, or in a new record, is no opt-in."""
    standing = {
        (act.profile_id, act.purpose): act for act in unsubscribes.since(0)
    }.values()  # fmt: skip
    kept = [act for act in standing if act.unsubscribed and act.by is not None]
    identities = lake.identities(catalogue).pin()
    if not kept or not identities.exists:
        return 0
    today = identities.current(["record_id", "profile_id"], "today")
    asked = profile_id_table(sorted({act.profile_id for act in kept}))
    members = (
        exp.select(column("record_id", "t"), column("profile_id", "t"))
        .from_(today.sql.subquery("t"))
        .join(
            named("asked_profiles", "a"),
            on=column("profile_id", "a").eq(column("profile_id", "t")),
            join_type="semi",
        )
    )
    found = lake.engine.rows(members, {**today.relations, "asked_profiles": asked})
    records = [(row["record_id"], row["profile_id"]) for row in found]
    lifted = 0
    for (_, profile_id), name, system, at in _opt_ins(catalogue, lake, records):
        purpose = catalogue.attributes[name].consent
        for act in kept:
            if (act.profile_id, act.purpose) == (profile_id, purpose) and at > act.at:
                lifted += unsubscribes.restore(
                    profile_id, act.purpose, by=system, because=AGAIN, now=now
                )
    return lifted


def _opt_ins(
    catalogue: Catalogue, lake: Lake, records: Collection[tuple[int, int]]
) -> list[tuple[tuple[int, int], str, str, datetime]]:
    """(record and profile, attribute, system, when) of what says yes now, and said no before."""
    found: list[tuple[tuple[int, int], str, str, datetime]] = []
    for system, sync, own, asked in _by_sync(catalogue, records):
        told = _told(lake, lake.source(catalogue, system, sync).pin(), own, asked)
        for pair in own:
            for name in asked:
                values = told.get((pair[0], name), [])
                if len(values) > 1 and values[-1][0] and values[-2][0] is False:
                    found.append((pair, name, system, values[-1][1]))
    return found


def silenced_apart(catalogue: Catalogue, lake: Lake, identities: Pinned, purpose: str) -> set[int]:
    """The profiles with an address of which a record that belongs to nobody says no."""
    found: set[int] = set()
    if not identities.exists or not identities.state["totals"][2]:
        return found
    names = [f"id_{name}" for name in catalogue.identifiers]
    alone = identities.current(["record_id", "held_apart", *names], "apart")
    apart = exp.select(exp.Star()).from_(alone.sql.subquery("a")).where(column("held_apart", "a"))
    relations = {**alone.relations, "held": lake.engine.query(apart, alone.relations)}
    if relations["held"].num_rows == 0:
        return found
    everyone = identities.current(["profile_id", *names], "everyone")
    relations |= everyone.relations
    for system, declared in catalogue.systems.items():
        for sync, each in declared.syncs.items():
            asked = [n for n, a in catalogue.attributes.items()
                     if a.consent == purpose and n in each.attributes]  # fmt: skip
            source = lake.source(catalogue, system, sync).pin()
            if not asked or not source.exists:
                continue
            rows = source.current(["record_id", *asked], "said")
            no = exp.or_(*(column(name, "s").eq(exp.false()) for name in asked))
            for name in names:
                select = (
                    exp.select(column("profile_id", "e"))
                    .distinct()
                    .from_(named("held", "h"))
                    .join(
                        rows.sql.subquery("s"),
                        on=column("record_id", "s").eq(column("record_id", "h")),
                    )
                    .join(everyone.sql.subquery("e"), on=column(name, "e").eq(column(name, "h")))
                    .where(exp.and_(no, exp.not_(column("profile_id", "e").is_(exp.null()))))
                )
                told = lake.engine.query(select, {**relations, **rows.relations})
                found |= set(told["profile_id"].to_pylist())
    return found


def _left(
    catalogue: Catalogue, lake: Lake, identities: Pinned, since: int
) -> list[tuple[int, int]]:
    """(record, profile that it left) of what has no strongest identifier of its own."""
    strongest = f"id_{next(iter(catalogue.identifiers))}"
    log = identities.changes(
        ["record_id", "profile_id", "previous_profile_id", strongest], "left", since=since
    )
    before = column("previous_profile_id", "l")
    moved = exp.or_(column("removed", "l"), distinct(before.copy(), column("profile_id", "l")))
    select = (
        exp.select(column("record_id", "l"), before)
        .from_(log.sql.subquery("l"))
        .where(
            exp.and_(
                exp.not_(before.copy().is_(exp.null())),
                moved,
                column(strongest, "l").is_(exp.null()),
            )
        )
    )
    rows = lake.engine.rows(select, log.relations)
    return sorted({(row["record_id"], row["previous_profile_id"]) for row in rows})


def _values(
    lake: Lake, profiles: Pinned, profile_ids: Collection[int], names: list[str]
) -> dict[int, dict[str, object]]:
    rows = profiles.current(["profile_id", *names], "was")
    select = (
        exp.select(*(column(name, "w") for name in ["profile_id", *names]))
        .from_(rows.sql.subquery("w"))
        .join(
            named("asked_profiles", "a"),
            on=column("profile_id", "a").eq(column("profile_id", "w")),
            join_type="semi",
        )
    )
    asked = profile_id_table(sorted(profile_ids))
    found = lake.engine.rows(select, {**rows.relations, "asked_profiles": asked})
    return {row["profile_id"]: row for row in found}


def _by_sync(
    catalogue: Catalogue, records: Collection[tuple[int, int]]
) -> Iterator[tuple[str, str, list[tuple[int, int]], list[str]]]:
    """System, sync, those of the records that are its own, and the consents that it gives."""
    for system, declared in catalogue.systems.items():
        for sync, each in declared.syncs.items():
            block = record_block(system, sync)
            own = [pair for pair in records if block <= pair[0] < block + RECORD_BLOCK]
            asked = [
                name
                for name, attribute in catalogue.attributes.items()
                if attribute.consent and name in each.attributes and system in attribute.sources
            ]
            if own and asked:
                yield system, sync, own, asked


def _told(
    lake: Lake, source: Pinned, own: Collection[tuple[int, int]], names: list[str]
) -> dict[tuple[int, str], list[tuple[bool, datetime]]]:
    """What each record said, each time that it said otherwise than before and when; also of those
    that are gone by now."""
    found: dict[tuple[int, str], list[tuple[bool, datetime]]] = {}
    if not source.exists:
        return found
    rows = source.changes(["record_id", *names], "told")
    wanted = ["record_id", "seq", "recorded_at", *names]
    select = (
        exp.select(*(column(name, "t") for name in wanted))
        .from_(rows.sql.subquery("t"))
        .join(
            named("asked_records", "a"),
            on=column("profile_id", "a").eq(column("record_id", "t")),
            join_type="semi",
        )
    )
    asked = profile_id_table(sorted({record_id for record_id, _ in own}))
    log = lake.engine.rows(select, {**rows.relations, "asked_records": asked})
    for row in sorted(log, key=lambda row: row["seq"]):
        for name in names:
            said = found.setdefault((row["record_id"], name), [])
            if row[name] is not None and (not said or said[-1][0] is not row[name]):
                said.append((row[name], row["recorded_at"]))
    return found
