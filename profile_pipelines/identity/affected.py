"""Which records have to be clustered anew after a change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl
from sqlglot import exp

from profile_pipelines.engine.sql import column, named, null_of
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.table import Rows


class Affected(NamedTuple):
    """Rows of the identities table, and the records that take their place."""

    old: pl.DataFrame
    """`record_id`, identifiers, `profile_id`, `held_apart`: as stored."""
    new: pl.DataFrame
    """`record_id` and identifiers of the records that live and have any."""


def all_records(
    lake: Lake, pinned: Pinned, sources: Mapping[str, Pinned], names: Sequence[str]
) -> Affected:
    """Every record of every source."""
    parts = [_identified(source, name, names) for name, source in sources.items() if source.exists]
    if parts:
        relations = {name: each for part in parts for name, each in part.relations.items()}
        first, *others = (part.sql for part in parts)
        every = exp.union(first, *others, distinct=False) if others else first
        new = _read(lake, Rows(exp.select(exp.Star()).from_(every.subquery("r")), relations))
    else:
        new = _no_rows(names).select("record_id", *names)
    old = (
        _read(lake, pinned.current(stored_columns(names), "i"))
        if pinned.exists
        else _no_rows(names)
    )
    return Affected(old, new)


def _identified(source: Pinned, alias: str, names: Sequence[str]) -> Rows:
    """`record_id` and all identifiers of a source's records that live and have any."""
    own = _own(source, names)
    records = source.current([*own, "record_id", "deleted"], alias)
    select = (
        exp.select(
            column("record_id", "r"),
            *(
                column(name, "r")
                if name in own
                else exp.alias_(null_of("string"), name, quoted=True)
                for name in names
            ),
        )
        .from_(records.sql.subquery("r"))
        .where(
            exp.not_(column("deleted", "r")),
            exp.or_(*(exp.not_(column(name, "r").is_(exp.null())) for name in own)),
        )
    )
    return Rows(select, records.relations)


def affected_records(
    lake: Lake, pinned: Pinned, sources: Mapping[str, Pinned], names: Sequence[str]
) -> Affected | None:
    """What the changes since the last resolution touch; None when no identifier has changed."""
    inputs = pinned.state.get("inputs", {})
    touched = _touched(lake, sources, inputs, names)
    if touched.is_empty():
        return None
    stored = _current_members(lake, pinned, names, {"record_id": touched["record_id"]})
    living = _living(touched, names)
    unchanged = stored.join(living, on=["record_id", *names], how="semi", nulls_equal=True)
    never_stored = touched.join(living, on="record_id", how="anti").join(
        stored, on="record_id", how="anti"
    )
    seeds = touched.join(unchanged, on="record_id", how="anti").join(
        never_stored, on="record_id", how="anti"
    )
    if seeds.is_empty():
        return None
    previous = stored.join(seeds, on="record_id", how="semi")
    old = _closure(lake, pinned, names, seeds, previous)
    new = pl.concat(
        [
            old.join(seeds, on="record_id", how="anti").select("record_id", *names),
            _living(seeds, names),
        ]
    )
    return Affected(old, new)


def _closure(
    lake: Lake, pinned: Pinned, names: Sequence[str], seeds: pl.DataFrame, previous: pl.DataFrame
) -> pl.DataFrame:
    """The stored records of all profiles that the seeds touch or may join.

    A profile's records share no identifier with another profile's, unless a cluster was held
    apart; from there the search goes on along the identifiers until nothing new turns up.
    """
    wanted = {name: pl.concat([seeds[name], previous[name]]) for name in names}
    wanted["record_id"] = seeds["record_id"]
    wanted["profile_id"] = previous["profile_id"]
    found = _current_members(lake, pinned, names, wanted)
    while True:
        apart = found.filter("held_apart")
        for name in names:
            wanted[name] = pl.concat([wanted[name], apart[name]]).unique()
        wanted["profile_id"] = pl.concat([wanted["profile_id"], found["profile_id"]]).unique()
        more = _current_members(lake, pinned, names, wanted)
        if len(more) == len(found) or (apart.is_empty() and not more["held_apart"].any()):
            return more
        found = more


def _current_members(
    lake: Lake, pinned: Pinned, names: Sequence[str], wanted: Mapping[str, pl.Series]
) -> pl.DataFrame:
    if not pinned.exists:
        return _no_rows(names)
    return members(lake, pinned.current(stored_columns(names), "i"), names, wanted)


def members(
    lake: Lake, rows: Rows, names: Sequence[str], wanted: Mapping[str, pl.Series]
) -> pl.DataFrame:
    """Those of the identities' rows that have one of the wanted values in any of the columns."""
    relations = {}
    tests: list[exp.Expr] = []
    for name, values in wanted.items():
        values = values.drop_nulls().unique()
        if values.is_empty():
            continue
        relation = f"wanted_{name}"
        relations[relation] = values.alias("v").to_frame().to_arrow()
        subquery = exp.select(column("v")).from_(named(relation)).subquery()
        tests.append(exp.In(this=column(name, "m"), query=subquery))
    if not tests:
        return _no_rows(names)
    select = (
        exp.select(*(column(name, "m") for name in stored_columns(names)))
        .from_(rows.sql.subquery("m"))
        .where(exp.or_(*tests))
    )
    return _read(lake, Rows(select, {**rows.relations, **relations}))


def _touched(
    lake: Lake,
    sources: Mapping[str, Pinned],
    inputs: Mapping[str, int],
    names: Sequence[str],
) -> pl.DataFrame:
    """The newest version of each record that has changed since the given commits."""
    parts: list[pl.DataFrame] = []
    for name, source in sources.items():
        if source.seq > inputs.get(name, 0):
            columns = [*_own(source, names), "record_id", "deleted"]
            frame = _read(lake, source.changes(columns, "s", since=inputs.get(name, 0)))
            parts.append(frame.sort("seq").unique("record_id", keep="last").select(columns))
    return _complete(parts, names)


def _complete(parts: Sequence[pl.DataFrame], names: Sequence[str]) -> pl.DataFrame:
    columns = ["record_id", *names, "deleted"]
    types: dict[str, pl.DataType] = {
        "record_id": pl.Int64(),
        **{name: pl.String() for name in names},
        "deleted": pl.Boolean(),
    }
    empty = pl.DataFrame(schema=types)
    return pl.concat([empty, *(part for part in parts)], how="diagonal").select(columns)


def _living(records: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    identified = pl.any_horizontal(pl.col(name).is_not_null() for name in names)
    return records.filter(~pl.col("deleted") & identified).select("record_id", *names)


def _own(source: Pinned, names: Sequence[str]) -> list[str]:
    return [name for name in names if name in source.table.columns]


def stored_columns(names: Sequence[str]) -> list[str]:
    """The columns of the identities table that clustering goes by."""
    return ["record_id", *names, "profile_id", "held_apart"]


def _no_rows(names: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame(
        schema={
            "record_id": pl.Int64,
            **dict.fromkeys(names, pl.String),
            "profile_id": pl.Int64,
            "held_apart": pl.Boolean,
        }
    )


def _read(lake: Lake, rows: Rows) -> pl.DataFrame:
    frame = pl.from_arrow(lake.engine.query(rows.sql, rows.relations))
    assert isinstance(frame, pl.DataFrame)
    return frame
