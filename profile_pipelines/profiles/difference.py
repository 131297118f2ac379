"""In what the profiles that were merged anew differ from those that are stored."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.sql import column, differs, distinct, literal, named, null_of
from profile_pipelines.lake import Pinned
from profile_pipelines.lake.lake import provenance_column
from profile_pipelines.lake.table import Rows
from profile_pipelines.profiles.affected import Affected
from profile_pipelines.profiles.merged import living_profiles


def changed_profiles(
    catalogue: Catalogue,
    pinned: Pinned,
    identities: Pinned,
    merged: Rows,
    affected: Affected | None,
) -> Rows:
    """The rows of the profiles table that change, with the names of what changed in each.

    Attributes that aren't affected keep what is stored.
    """
    attributes = catalogue.attributes
    columns = ["profile_id"]
    for name, attribute in attributes.items():
        columns += [name, provenance_column(name, attribute)]
    if not pinned.exists:
        unchanged = null_of("list")
        select = exp.select(
            *(column(name, "m") for name in columns),
            exp.alias_(unchanged, "changed", quoted=True),
            exp.alias_(exp.false(), "removed", quoted=True),
        ).from_(merged.sql.subquery("m"))
        return Rows(select, merged.relations)
    anew = [n for n in attributes if affected is None or n in affected.attributes]
    origins = [provenance_column(name, attributes[name]) for name in anew]
    is_other = {name: differs(name, "m", "o", as_set=attributes[name].is_set) for name in anew}
    where = None
    if affected is not None:
        wanted = exp.select(column("profile_id")).from_(named("affected"))
        where = exp.In(this=column("profile_id"), query=wanted.subquery())
    old = pinned.current(columns, "stored", where=where)
    is_new = exp.Is(this=column("profile_id", "o"), expression=exp.null())
    changed = exp.Case().when(exp.not_(is_new.copy()), _changed_names(is_other))
    merged_anew = {"profile_id", *anew, *origins}
    present = (
        exp.select(
            *(column(name, "m" if name in merged_anew else "o") for name in columns),
            exp.alias_(changed, "changed", quoted=True),
            exp.alias_(exp.false(), "removed", quoted=True),
        )
        .from_(merged.sql.subquery("m", copy=False), copy=False)
        .join(
            named("old", "o"),
            on=exp.EQ(this=column("profile_id", "o"), expression=column("profile_id", "m")),
            join_type="left",
            copy=False,
        )
        .where(
            exp.or_(
                is_new,
                *is_other.values(),
                *(distinct(column(name, "m"), column(name, "o")) for name in origins),
                copy=False,
            ),
            copy=False,
        )
    )
    if affected is not None and not affected.moved:
        return _with_old(present, merged, old)
    living = living_profiles(identities, only_affected=affected is not None)
    gone = (
        exp.select(
            column("profile_id", "o"),
            *(
                exp.alias_(null_of(pinned.table.columns[name]), name, quoted=True)
                for name in columns[1:]
            ),
            exp.alias_(null_of("list"), "changed", quoted=True),
            exp.alias_(exp.true(), "removed", quoted=True),
        )
        .from_(named("old", "o"), copy=False)
        .join(
            living.sql.subquery("m", copy=False),
            on=exp.EQ(this=column("profile_id", "o"), expression=column("profile_id", "m")),
            join_type="anti",
            copy=False,
        )
    )
    return _with_old(exp.union(present, gone, distinct=False, copy=False), merged, old)


def _with_old(changes: exp.Query, merged: Rows, old: Rows) -> Rows:
    select = (
        exp.select(exp.Star())
        .with_(exp.to_identifier("old", quoted=True), as_=old.sql, copy=False)
        .from_(changes.subquery("d", copy=False), copy=False)
    )
    return Rows(select, {**merged.relations, **old.relations})


def _changed_names(is_other: Mapping[str, exp.Expr]) -> exp.Expr:
    """A list of the attributes whose value differs."""
    names = exp.Array(
        expressions=[exp.Case().when(test.copy(), literal(name)) for name, test in is_other.items()]
    )
    item = exp.to_identifier("item")
    kept = exp.Lambda(
        this=exp.not_(exp.Is(this=exp.column("item"), expression=exp.null())), expressions=[item]
    )
    return exp.ArrayFilter(this=names, expression=kept)
