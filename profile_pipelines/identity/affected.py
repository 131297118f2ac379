"""Which records have to be clustered anew after a change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl
from sqlglot import exp

from profile_pipelines.catalog.aggregates import CHILDLESS
from profile_pipelines.catalog.mapped_fields import FURTHER
from profile_pipelines.engine.sql import column, named, null_of
from profile_pipelines.identity.further import OF, further_columns, numbered_on, spread
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.lake import FURTHER_OF
from profile_pipelines.lake.table import Rows

SHARED = "shared_identifiers"
"""Bit k: the value of the k-th identifier, strongest first, joins nobody."""

_SHARING = pl.col("held_apart") | (pl.col(SHARED) != 0)
"""Which records share an identifier with those of other profiles."""


class Affected(NamedTuple):
    """Rows of the identities table, and the records that take their place."""

    old: pl.DataFrame
    """`record_id`, identifiers, `further_of`, `profile_id`, `held_apart`, `shared_identifiers`: as
    stored."""
    new: pl.DataFrame
    """`record_id`, identifiers and `further_of` of the records that live and have any, and
    `childless`: whether it is what is left of a customer's child records, which alone makes no
    profile."""
    next_further: int
    """The number of the next row with a further value (see `identity.further`)."""


def all_records(
    lake: Lake,
    pinned: Pinned,
    sources: Mapping[str, Pinned],
    names: Sequence[str],
    next_further: int,
) -> Affected:
    """Every record of every source."""
    lists = _lists(sources, names)
    parts = [
        _identified(source, name, names, lists) for name, source in sources.items() if source.exists
    ]
    if parts:
        relations = {name: each for part in parts for name, each in part.relations.items()}
        first, *others = (part.sql for part in parts)
        every = exp.union(first, *others, distinct=False) if others else first
        new = _read(lake, Rows(exp.select(exp.Star()).from_(every.subquery("r")), relations))
    else:
        new = _no_rows(names).select("record_id", *names, childless=pl.lit(False))
    old = (
        _read(lake, pinned.current(stored_columns(names), "i"))
        if pinned.exists
        else _no_rows(names)
    )
    new, next_further = numbered_on(spread(new, old), names, next_further)
    return Affected(old, new, next_further)


def _identified(
    source: Pinned, alias: str, names: Sequence[str], lists: Sequence[str] = ()
) -> Rows:
    """`record_id`, all identifiers of a source's records that live and have any, `childless`, and
    the `lists` of further values."""
    own = _own(source, names)
    own_lists = [each for each in lists if each in source.table.columns]
    records = source.current([*own, *own_lists, "record_id", "deleted", *_mark(source)], alias)
    childless = exp.func("COALESCE", column(CHILDLESS, "r"), exp.false())
    select = (
        exp.select(
            column("record_id", "r"),
            *(
                column(name, "r")
                if name in own
                else exp.alias_(null_of("string"), name, quoted=True)
                for name in names
            ),
            exp.alias_(childless if _mark(source) else exp.false(), "childless", quoted=True),
            *(
                column(name, "r")
                if name in own_lists
                else exp.alias_(null_of("list"), name, quoted=True)
                for name in lists
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
    lake: Lake,
    pinned: Pinned,
    sources: Mapping[str, Pinned],
    names: Sequence[str],
    next_further: int,
) -> Affected | None:
    """What the changes since the last resolution touch; None when no identifier has changed."""
    inputs = pinned.state.get("inputs", {})
    touched = _touched(lake, sources, inputs, names)
    if touched.is_empty():
        return None
    stored = _current_members(
        lake,
        pinned,
        names,
        {"record_id": touched["record_id"], FURTHER_OF: touched["record_id"]},
    )
    touched, next_further = numbered_on(_spread(touched, stored), names, next_further)
    living = _living(touched, names)
    # one without children may have no profile any more
    kept = living.filter(~pl.col("childless"))
    unchanged = stored.join(kept, on=["record_id", *names], how="semi", nulls_equal=True)
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
    columns = ["record_id", *names, FURTHER_OF]
    new = pl.concat(
        [
            old.join(seeds, on="record_id", how="anti").select(columns),
            _living(seeds, names).select(columns),
        ]
    )
    new = _with_childless(lake, pinned, sources, names, old, new)
    return Affected(old, new, next_further)


def _spread(touched: pl.DataFrame, stored: pl.DataFrame) -> pl.DataFrame:
    """What is touched with the rows of further values, also of those that are no more."""
    marks = touched.select(pl.col("record_id").alias(FURTHER_OF), "deleted")
    lives = touched.with_columns(
        pl.when(~pl.col("deleted")).then(pl.col(name)).alias(name)
        for name in touched.columns
        if name.endswith(FURTHER)
    )
    rows = spread(lives.drop("deleted"), stored)
    rows = rows.with_columns(OF.alias("of")).join(
        marks.rename({FURTHER_OF: "of"}), on="of", how="left"
    )
    gone = stored.filter(pl.col(FURTHER_OF).is_not_null()).join(rows, on="record_id", how="anti")
    no_more = gone.select("record_id", FURTHER_OF, deleted=True, childless=False)
    return pl.concat([rows.drop("of"), no_more], how="diagonal")


def _with_childless(
    lake: Lake,
    pinned: Pinned,
    sources: Mapping[str, Pinned],
    names: Sequence[str],
    old: pl.DataFrame,
    new: pl.DataFrame,
) -> pl.DataFrame:
    """The records with `childless`, and those without children that share an identifier with
    them: they had no profile by themselves, and are told apart from no one else."""
    parts = [_no_rows(names).select("record_id", *names)]
    for name, source in sources.items():
        if source.exists and _mark(source):
            known = _identified(source, name, names)
            left = exp.select(exp.Star()).from_(known.sql.subquery("r"))
            left = left.where(column("childless", "r"))
            wanted = {each: new[each] for each in _own(source, names)}
            found = _having(lake, Rows(left, known.relations), ["record_id", *names], wanted)
            parts.append(found)
    childless = pl.concat(parts)
    strangers = childless.join(new, on="record_id", how="anti")
    if len(strangers):
        stored = _current_members(lake, pinned, names, {"record_id": strangers["record_id"]})
        strangers = strangers.join(
            stored.join(old, on="record_id", how="anti"), on="record_id", how="anti"
        )
    return pl.concat([new, strangers], how="diagonal").with_columns(
        childless=pl.col("record_id").is_in(childless["record_id"].implode())
    )


def _closure(
    lake: Lake, pinned: Pinned, names: Sequence[str], seeds: pl.DataFrame, previous: pl.DataFrame
) -> pl.DataFrame:
    """The stored records of all profiles that the seeds touch or may join.

    A profile's records share no identifier with another profile's, unless it is marked as shared
    or a cluster was held apart; from there the search goes on along the identifiers until nothing
    new turns up.
    """
    wanted = {name: pl.concat([seeds[name], previous[name]]) for name in names}
    wanted["record_id"] = pl.concat([seeds["record_id"], seeds[FURTHER_OF]])
    wanted[FURTHER_OF] = _records_of(seeds)
    wanted["profile_id"] = previous["profile_id"]
    found = _current_members(lake, pinned, names, wanted)
    while True:
        apart = found.filter(_SHARING)
        wanted["record_id"] = pl.concat([wanted["record_id"], apart[FURTHER_OF]]).unique()
        wanted[FURTHER_OF] = pl.concat([wanted[FURTHER_OF], _records_of(apart)]).unique()
        for name in names:
            wanted[name] = pl.concat([wanted[name], apart[name]]).unique()
        wanted["profile_id"] = pl.concat([wanted["profile_id"], found["profile_id"]]).unique()
        more = _current_members(lake, pinned, names, wanted)
        if len(more) == len(found) or (apart.is_empty() and more.filter(_SHARING).is_empty()):
            return more
        found = more


def _records_of(rows: pl.DataFrame) -> pl.Series:
    """The numbers of the records that the rows belong to."""
    return rows.select(of=OF)["of"]


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
    return _having(lake, rows, stored_columns(names), wanted)


def _having(
    lake: Lake, rows: Rows, columns: Sequence[str], wanted: Mapping[str, pl.Series]
) -> pl.DataFrame:
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
        tests.append(exp.false())
    select = (
        exp.select(*(column(name, "m") for name in columns))
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
            lists = further_columns(source, names)
            columns = [*_own(source, names), *lists, "record_id", "deleted", *_mark(source)]
            frame = _read(lake, source.changes(columns, "s", since=inputs.get(name, 0)))
            newest = frame.sort("seq").unique("record_id", keep="last").select(columns)
            parts.append(newest.rename({CHILDLESS: "childless"}, strict=False))
    return _complete(parts, names)


def _complete(parts: Sequence[pl.DataFrame], names: Sequence[str]) -> pl.DataFrame:
    columns = ["record_id", *names, "deleted", "childless"]
    types: dict[str, pl.DataType] = {
        "record_id": pl.Int64(),
        **{name: pl.String() for name in names},
        "deleted": pl.Boolean(),
        "childless": pl.Boolean(),
    }
    empty = pl.DataFrame(schema=types)
    found = pl.concat([empty, *(part for part in parts)], how="diagonal")
    lists = [name for name in found.columns if name.endswith(FURTHER)]
    return found.select(*columns[:-1], pl.col("childless").fill_null(False), *lists)


def _living(records: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    identified = pl.any_horizontal(pl.col(name).is_not_null() for name in names)
    return records.filter(~pl.col("deleted") & identified).select(
        "record_id", *names, FURTHER_OF, "childless"
    )


def _lists(sources: Mapping[str, Pinned], names: Sequence[str]) -> list[str]:
    """The columns of further values that any of the sources has."""
    found = {name for source in sources.values() for name in further_columns(source, names)}
    return sorted(found)


def _own(source: Pinned, names: Sequence[str]) -> list[str]:
    return [name for name in names if name in source.table.columns]


def _mark(source: Pinned) -> list[str]:
    return [CHILDLESS] if CHILDLESS in source.table.columns else []


def stored_columns(names: Sequence[str]) -> list[str]:
    """The columns of the identities table that clustering goes by."""
    return ["record_id", *names, FURTHER_OF, "profile_id", "held_apart", SHARED]


def _no_rows(names: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame(
        schema={
            "record_id": pl.Int64,
            **dict.fromkeys(names, pl.String),
            FURTHER_OF: pl.Int64,
            "profile_id": pl.Int64,
            "held_apart": pl.Boolean,
            SHARED: pl.Int64,
        }
    )


def _read(lake: Lake, rows: Rows) -> pl.DataFrame:
    frame = pl.from_arrow(lake.engine.query(rows.sql, rows.relations))
    assert isinstance(frame, pl.DataFrame)
    return frame
