"""Accepting a lake and a ledger as they are, after a restore or a loss, at a person's word.

No number is given out twice, though one half has forgotten that it was: the lake's tables go on
above what the ledger knows of them, and the ledger's journeys above what the lake knows. What is
derived from records is derived anew, since it may come from records that aren't there any more.
"""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlglot import exp

from profile_pipelines.engine.sql import column, literal
from profile_pipelines.errors import PairError
from profile_pipelines.high_water import PROFILES
from profile_pipelines.lake import Lake
from profile_pipelines.lake.heads import read_half
from profile_pipelines.lake.lake import LAST_RECORD, RECORD_BLOCK, record_block
from profile_pipelines.lake.table import LakeTable
from profile_pipelines.lake_tables import tables_of
from profile_pipelines.pairing import IDENTITIES
from profile_pipelines.workspace import Workspace

NONE: Mapping[int, int] = {}
_DERIVED = ("fingerprint", "evaluated")
"""The keys, in a derived table's state, of what tells that it needn't be derived anew."""


PUT_BACK = "both were put back from a copy"
LEAP = 1_000_000
"""How many numbers are passed over: neither half may know of those that were given last."""


def adopt(workspace: Workspace, *, now: datetime, put_back: str | None = None) -> str | None:
    """Take lake and ledger for this catalogue's, and for a pair; what was wrong with the pair, or
    None.

    `put_back` says why they are other than they were though they go together, since both come from
    one copy. Done again after it was broken off, it goes on. What the ledger has decided, and
    decides from now on, is kept back until a person settles it where something was wrong. Raises
    LakeError when they can't be read or written.
    """
    workspace.mark_both()
    lake, ledger, pairing = workspace.unchecked()
    try:
        pairing.check()
    except PairError as error:
        because = str(error).partition(". Nothing was read or written")[0]
    else:
        if put_back is None:
            return None
        because = put_back
    half, own = read_half(lake.root), ledger.pair.read()
    known = {} if own is None else {part: head.counters for part, head in own.heads.items()}
    records = _greatest_records(lake, workspace)
    identities = lake.identities(workspace.catalogue).pin()
    next_profile = max(
        identities.state.get("next_profile_id", 1),
        known.get(IDENTITIES, {}).get("next_profile_id", 1),
        1 if half is None else half.sequences.get(PROFILES, 1),
    )
    for table in tables_of(workspace.catalogue, lake):
        counters = dict(known.get(f"{table.name}/changes", {}))
        if table.name == "identities":
            counters["next_profile_id"] = next_profile + LEAP
        go_on(table, counters, records, now=now)
    pairing.accept(now=now, because=because, lake=half, next_profile=next_profile)
    return because


def go_on(
    table: LakeTable,
    counters: Mapping[str, int],
    records: Mapping[int, int] = NONE,
    *,
    now: datetime,
) -> None:
    """Let a table go on above these numbers that it gave, and above these of records by block;
    what it derived is derived anew. Raises LakeError when it can't be written."""
    pinned = table.pin()
    before = {key: value for key, value in pinned.state.items() if key != "seq"}
    state: dict[str, Any] = {key: v for key, v in before.items() if key not in _DERIVED}
    least = counters.get("next_profile_id", 1)
    if least > state.get("next_profile_id", 1):
        state["next_profile_id"] = least
    kind, _, name = table.name.partition("/")
    if kind == "sources":
        last = records.get(record_block(*name.split("/")) // RECORD_BLOCK, 0)
        if last > state.get(LAST_RECORD, 0):
            state[LAST_RECORD] = last
    if state != before or counters.get("seq", 0) > pinned.seq:
        pinned.go_on_above(counters.get("seq", 0), now=now, state=state)


def _greatest_records(lake: Lake, workspace: Workspace) -> dict[int, int]:
    """By block of record numbers the greatest one that identities ever had."""
    pinned = lake.identities(workspace.catalogue).pin()
    if not pinned.exists:
        return {}
    log = pinned.changes(["record_id"], "l", where=column("record_id") > literal(0))
    number = column("record_id", "l")
    block = exp.IntDiv(this=number.copy(), expression=literal(RECORD_BLOCK))
    select = (
        exp.select(
            exp.alias_(block, "block", quoted=True),
            exp.alias_(exp.Max(this=number), "last", quoted=True),
        )
        .from_(log.sql.subquery("l"))
        .group_by(exp.column("block", quoted=True))
    )
    return {row["block"]: row["last"] for row in lake.engine.rows(select, log.relations)}
