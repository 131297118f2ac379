"""A few profiles' identifiers and values, for previews and lists of members."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlglot import exp

from profile_pipelines.engine.sql import column, literal
from profile_pipelines.engine.tables import profile_id_table
from profile_pipelines.workspace import Workspace

_CANDIDATES = 500


def profiles_by_id(
    workspace: Workspace,
    ids: Sequence[int],
    attributes: Iterable[str] = (),
    *,
    as_of: datetime | None = None,
) -> list[dict[str, Any]]:
    """The given profiles by id, now or as of a moment: `profile_id`, a sorted list per identifier
    type, the attributes.

    Ids without a profile are left out.
    """
    catalogue, lake = workspace.catalogue, workspace.lake
    wanted = {"wanted": profile_id_table(ids)}
    among = exp.In(
        this=column("profile_id", "r"),
        query=exp.select(column("profile_id")).from_("wanted").subquery(),
    )
    names = list(attributes)
    profiles = lake.profiles(catalogue).pin().as_of(as_of, ["profile_id", *names], "p")
    found = {
        row["profile_id"]: row
        for row in lake.engine.query(
            exp.select("*").from_(profiles.sql.subquery("r")).where(among.copy()),
            {**profiles.relations, **wanted},
        ).to_pylist()
    }
    columns = [f"id_{name}" for name in catalogue.identifiers]
    records = lake.identities(catalogue).pin().as_of(as_of, ["profile_id", *columns], "i")
    spellings: dict[int, dict[str, set[str]]] = {
        profile_id: {name: set() for name in catalogue.identifiers} for profile_id in found
    }
    for row in lake.engine.query(
        exp.select("*").from_(records.sql.subquery("r")).where(among),
        {**records.relations, **wanted},
    ).to_pylist():
        for name in catalogue.identifiers:
            if row["profile_id"] in spellings and row[f"id_{name}"] is not None:
                spellings[row["profile_id"]][name].add(row[f"id_{name}"])
    return [
        {
            "profile_id": profile_id,
            **{name: sorted(values) for name, values in spellings[profile_id].items()},
            **{name: found[profile_id][name] for name in names},
        }
        for profile_id in sorted(found)
    ]


def changed_profiles(workspace: Workspace, run_ids: Sequence[str], limit: int) -> list[int]:
    """Up to `limit` profiles that these runs changed, few changes first, each of another kind."""
    pinned = workspace.lake.profiles(workspace.catalogue).pin()
    rows = pinned.changes(["profile_id", "changed"], "c")
    own = exp.In(this=column("run_id", "r"), expressions=[literal(each) for each in run_ids])
    size = exp.func("LENGTH", column("changed", "r"))
    select = (
        exp.select(column("profile_id", "r"), column("changed", "r"))
        .from_(rows.sql.subquery("r"))
        .where(exp.and_(own, exp.not_(column("removed", "r"))))
        .order_by(exp.Ordered(this=size, nulls_first=False), column("profile_id", "r"))
        .limit(_CANDIDATES)
    )
    kinds: dict[tuple[str, ...], int] = {}
    for row in workspace.lake.engine.query(select, rows.relations).to_pylist():
        kinds.setdefault(tuple(row["changed"] or ()), row["profile_id"])
    return list(kinds.values())[:limit]
