"""Who comes into a journey: by its audience, or by a condition that is kept up like one."""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

import numpy as np
from sqlglot import exp

from profile_pipelines.audiences.compile import PROFILES
from profile_pipelines.audiences.decide import decided
from profile_pipelines.audiences.materialise import keep_up
from profile_pipelines.catalog.conditions import Condition
from profile_pipelines.catalog.journeys import Journey
from profile_pipelines.engine.sql import column, literal
from profile_pipelines.journeys.facts import Facts
from profile_pipelines.lake import Lake
from profile_pipelines.lake.table import LakeTable, Pinned, Rows


def entry_of(lake: Lake, journey: Journey) -> LakeTable:
    """The table whose members enter."""
    if journey.audience is not None:
        return lake.audience(journey.audience)
    return lake.entry(journey.journey)


def told_of(pinned: Pinned) -> int | None:
    """The commit of the profiles of which the table tells who is a member."""
    evaluated = pinned.state.get("evaluated", {})
    return evaluated.get("inputs", {}).get(PROFILES)


def followed_of(journey: Journey) -> str:
    """What a journey follows, as the ledger notes it: another one begins anew."""
    return f"audience {journey.audience}" if journey.audience else "enter_when"


def keep_entry_up(facts: Facts, journey: Journey, *, run_id: str) -> None:
    """Note for whom `enter_when` holds now. Raises Conflict when another run was faster."""
    if journey.enter_when is not None:
        name, pinned = journey.journey, facts.lake.entry(journey.journey).pin()
        keep_up(
            facts.catalogue, facts.lake, facts.coverage, name, journey.enter_when, pinned,
            now=facts.now, run_id=run_id,
        )  # fmt: skip


def members(lake: Lake, pinned: Pinned) -> np.ndarray:
    """The profile ids of the table's members."""
    rows = pinned.current(["profile_id", "member"], "m")
    select = exp.select(column("profile_id", "m")).from_(rows.sql.subquery("m"))
    return _ids(lake, Rows(select.where(column("member", "m")), rows.relations))


def joined_since(lake: Lake, pinned: Pinned, seq: int) -> np.ndarray:
    """The members who became so after a commit, or became so anew."""
    if pinned.seq <= seq:
        return np.empty(0, np.int64)
    log = pinned.changes(["profile_id", "member"], "l")
    was = exp.Window(
        this=exp.Lag(this=column("member", "l")),
        partition_by=[column("profile_id", "l")],
        order=exp.Order(expressions=[exp.Ordered(this=column("seq", "l"))]),
    )
    became = (
        exp.select(
            *(column(name, "l") for name in ("profile_id", "seq", "member")),
            exp.alias_(exp.func("COALESCE", was, exp.false()), "was", quoted=True),
        )
        .from_(log.sql.subquery("l"))
        .subquery("b")
    )
    joined = (
        exp.select(column("profile_id", "b"))
        .distinct()
        .from_(became)
        .where(
            column("seq", "b") > literal(seq),
            column("member", "b"),
            exp.not_(column("was", "b")),
        )
    )
    return np.intersect1d(_ids(lake, Rows(joined, log.relations)), members(lake, pinned))


def fitting(facts: Facts, condition: Condition) -> np.ndarray:
    """The profile ids for which a condition holds now."""
    lake = facts.lake
    rows = decided(facts.catalogue, lake, facts.coverage, {"fits": condition}, now=facts.now)
    select = exp.select(column("profile_id", "f")).from_(rows.sql.subquery("f"))
    return _ids(lake, Rows(select.where(column("fits", "f")), rows.relations))


def _ids(lake: Lake, rows: Rows) -> np.ndarray:
    return np.sort(lake.engine.query(rows.sql, rows.relations)["profile_id"].to_numpy())
