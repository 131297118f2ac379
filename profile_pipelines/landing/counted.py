"""How many records a database has by its own count, against those that came from it.

An incremental read leaves out what came late, with an `updated_at` before what was read already.
Nothing but the count shows that: where it has grown by more records than have come, the rest was
left out, until everything is read again. Records that went meanwhile hide as many: what is told
is the least.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlglot import exp

from profile_pipelines.engine import Written
from profile_pipelines.engine.sql import column, literal
from profile_pipelines.lake import Pinned
from profile_pipelines.lake.table import rows_of
from profile_pipelines.landing.extraction import Landing
from profile_pipelines.landing.guard import Known

COUNTED = "counted"
"""The key, in a commit's state, of the source's `count` at the last read, the greatest number of a
record that was known then (`last_id`), how many records had come beyond the count (`ahead`),
whether each key stood in `one` row, and how many records were `left_out` since everything was
read."""


def records_left_out(pinned: Pinned) -> int:
    """How many records of a sync's source were left out at least since all of it was read."""
    return pinned.state.get(COUNTED, {}).get("left_out", 0)


def counted(
    landing: Landing,
    mark: str | None,
    written: Written | None,
    known: Callable[[], Known],
    *,
    rows: int,
    barred: int,
    whole: bool,
    repeated: int,
) -> dict[str, Any] | None:
    """What to commit under COUNTED, once `rows` were read; None for what isn't counted.

    The `mark` of a database begins with the count, from before the read; `known` tells what the
    table held. `barred` records came and belong to people who were erased; `repeated` are those
    of a whole read with another's key.
    """
    system = landing.catalogue.systems[landing.system]
    if mark is None or system.connection.type != "sql" or landing.declared.events is not None:
        return None
    count = int(mark.partition(":")[0])
    before: dict[str, Any] | None = landing.pinned.state.get(COUNTED)
    if whole:
        last_id = max(known().last_id, _written(landing, written, 0)[0])
        one = not repeated
        ahead = max(0, rows - count) if one else 0
        return {"count": count, "last_id": last_id, "ahead": ahead, "one": one, "left_out": 0}
    if before is None:
        return None
    grown = count - before["count"]
    if grown <= 0 and written is None:
        return {**before, "count": count}
    last_known = known().last_id
    # what was written and was known before has a number up to that
    last_id, came = _written(landing, written, max(last_known, before["last_id"]))
    came += barred
    if last_known > before["last_id"]:
        came += _known_since(landing, before["last_id"])
    if not before["one"]:  # another row of a known key is as new as a new key's
        came = max(came, rows)
    late = max(0, grown - before["ahead"] - came)
    ahead = 0 if late or not before["one"] else min(came, before["ahead"] + came - grown)
    return {
        "count": count,
        "last_id": max(last_id, last_known),
        "ahead": ahead,
        "one": before["one"],
        "left_out": before["left_out"] + late,
    }


def _written(landing: Landing, written: Written | None, last_id: int) -> tuple[int, int]:
    """The greatest number of a record that was written, and how many have one above `last_id`."""
    if written is None:
        return 0, 0
    rows = rows_of(written)
    number = column("record_id", "r")
    select = exp.select(
        exp.alias_(exp.func("COALESCE", exp.Max(this=number), literal(0)), "last"),
        exp.alias_(exp.CountIf(this=number > literal(last_id)), "newer"),
    ).from_(rows.sql.subquery("r"))
    found = landing.lake.engine.rows(select, rows.relations)[0]
    return found["last"], int(found["newer"] or 0)


def _known_since(landing: Landing, last_id: int) -> int:
    """How many of the known records have a number above `last_id`: events have named them."""
    rows = landing.pinned.current(["record_id"], "known")
    newer = exp.CountIf(this=column("record_id", "r") > literal(last_id))
    select = exp.select(exp.alias_(newer, "n")).from_(rows.sql.subquery("r"))
    return int(landing.lake.engine.rows(select, rows.relations)[0]["n"] or 0)
