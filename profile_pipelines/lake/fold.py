"""The fold of a change log over a snapshot, as one SELECT."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from profile_pipelines.engine.sql import column, literal, named, select_from


def fold(
    columns: Sequence[str],
    key: Sequence[str],
    alias: str,
    *,
    base: str,
    recent: str | None,
    folded_to: int,
    where: exp.Expr | None,
) -> exp.Select:
    """Each key's row: the newest after commit `folded_to` in `recent`, else the one in `base`.

    `base` and `recent` are relations (`recent` None: nothing came after); `where` tests the key
    or the lake's own columns. The result stands under `alias`.
    """
    wanted = list(dict.fromkeys([*key, *columns]))
    snapshot = select_from(base, wanted)
    if where is not None:
        snapshot.where(where.copy(), copy=False)
    if recent is None:
        return exp.select(*(column(name, alias) for name in columns)).from_(
            snapshot.subquery(alias, copy=False), copy=False
        )
    newest = exp.Window(
        this=exp.RowNumber(),
        partition_by=[column(name) for name in key],
        order=exp.Order(expressions=[exp.Ordered(this=column("seq"), desc=True)]),
    )
    latest = (
        select_from(recent, [*wanted, "removed"])
        .where(exp.GT(this=column("seq"), expression=literal(folded_to)))
        .qualify(exp.EQ(this=newest, expression=literal(1)), copy=False)
    )
    if where is not None:
        latest.where(where.copy(), copy=False)
    same_key = exp.and_(
        *(exp.EQ(this=column(name, "b"), expression=column(name, "l")) for name in key)
    )
    kept = (
        exp.select(*(column(name, "b") for name in columns))
        .from_(snapshot.subquery("b", copy=False), copy=False)
        .join(named("latest", "l"), on=same_key, join_type="anti", copy=False)
    )
    changed = (
        exp.select(*(column(name, "l") for name in columns))
        .from_(named("latest", "l"), copy=False)
        .where(exp.not_(column("removed", "l")), copy=False)
    )
    union = exp.union(kept, changed, distinct=False, copy=False)
    return (
        exp.select(*(column(name, alias) for name in columns))
        .with_(exp.to_identifier("latest", quoted=True), as_=latest, copy=False)
        .from_(union.subquery(alias, copy=False), copy=False)
    )
