"""What a sync changes: the SQL that compares what came in with what the lake knows.

Of several rows with one key the newest `updated_at` wins, then the last to arrive. A row older
than the known one changes nothing, so the order of arrival doesn't matter; that is also why
deleted records are kept, without values. A full read is the truth about each record, older or
not. Attributes that this sync didn't bring, or whose values were set aside, keep what is known;
so do absent records, since a system that lost and regained them tells no change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from sqlglot import exp

from profile_pipelines.catalog.mapped_fields import FURTHER
from profile_pipelines.engine.columns import Columns
from profile_pipelines.engine.sql import column, differs, distinct, literal, named, null_of
from profile_pipelines.lake.table import Rows


def incoming_columns(source: Columns, attributes: Sequence[str]) -> Columns:
    """The columns of the spool: those of the records, without the lake's number, plus ordinal."""
    keep = {"record_key", "updated_at", "deleted", "quarantine", *attributes}

    def is_kept(name: str) -> bool:
        return name in keep or name.startswith("id_") or name.endswith(FURTHER)

    kept: Columns = {name: kind for name, kind in source.items() if is_kept(name)}
    return {"ordinal": "integer", **kept}


def changed_records(
    source: Columns,
    identifiers: Sequence[str],
    brought: Sequence[str],
    known: Rows | None,
    *,
    read: Sequence[str],
    sets: Collection[str],
    now: datetime,
    next_record_id: int,
    duplicates: bool,
    absent_are_deleted: bool,
    absent_named: bool = False,
) -> exp.Select:
    """The records that are new or differ, whole, with `removed` false.

    `read` names the attributes that the sync read, `brought` those of them that aren't set aside,
    `sets` those whose lists are sets.
    A time of `now` stands for one that lies in the future, or that the source doesn't tell: alone
    it is no difference. `known` is the table as it stands (None: empty), with all of its columns.
    The relation `incoming` must be given to the engine beside known's relations. With
    `absent_named` the records whose keys stand in the relation `gone` are deleted, too.
    """
    incoming = arrivals(source, brought, duplicates=duplicates)
    attributes = _attributes(source, identifiers)
    if known is None:
        select = exp.select(
            exp.alias_(_new_id(next_record_id, None), "record_id", quoted=True),
            *(column(name, "i") for name in ("record_key", *identifiers, "updated_at", "deleted")),
            *(
                column(name, "i") if name in brought else _typed_null(name, source)
                for name in attributes
            ),
            column("quarantine", "i"),
            exp.alias_(exp.false(), "removed", quoted=True),
        )
        return select.from_(incoming.subquery("i"))
    present = exp.not_(exp.Is(this=column("record_id", "k"), expression=exp.null()))
    compared = [*identifiers, "deleted", *brought]
    is_other = exp.or_(
        exp.not_(present.copy()),
        *(differs(name, "i", "k", as_set=name in sets) for name in compared),
        exp.and_(
            distinct(column("updated_at", "i"), column("updated_at", "k")),
            distinct(column("updated_at", "i"), literal(now)),
        ),
        distinct(_kept_quarantine(read, attributes), column("quarantine", "k")),
    )
    arrived = (
        exp.select(
            exp.alias_(_new_id(next_record_id, "k"), "record_id", quoted=True),
            *(column(name, "i") for name in ("record_key", *identifiers, "updated_at", "deleted")),
            *(
                column(name, "i")
                if name in brought
                else exp.alias_(_unless_deleted(column(name, "k"), "i"), name, quoted=True)
                for name in attributes
            ),
            exp.alias_(_kept_quarantine(read, attributes), "quarantine", quoted=True),
            exp.alias_(exp.false(), "removed", quoted=True),
        )
        .from_(incoming.subquery("i"))
        .join(
            named("known", "k"),
            on=exp.EQ(this=column("record_key", "i"), expression=column("record_key", "k")),
            join_type="left",
        )
        .where(is_other if absent_are_deleted else exp.and_(in_order("i", "k"), is_other))
    )
    select: exp.Query = arrived
    if absent_are_deleted or absent_named:
        gone = (
            exp.select(
                column("record_id", "k"),
                column("record_key", "k"),
                *(column(name, "k") for name in (*identifiers, "updated_at")),
                exp.alias_(exp.true(), "deleted", quoted=True),
                *(column(name, "k") for name in (*attributes, "quarantine")),
                exp.alias_(exp.false(), "removed", quoted=True),
            )
            .from_(named("known", "k"))
            .join(
                named("incoming", "a"),
                on=exp.EQ(this=column("record_key", "a"), expression=column("record_key", "k")),
                join_type="anti",
            )
            .where(exp.not_(column("deleted", "k")))
        )
        if absent_named:
            gone = gone.join(
                named("gone", "g"),
                on=exp.EQ(this=column("record_key", "g"), expression=column("record_key", "k")),
                join_type="semi",
            )
        select = exp.union(arrived, gone, distinct=False)
    return (
        exp.select(exp.Star())
        .with_(exp.to_identifier("known", quoted=True), as_=known.sql)
        .from_(select.subquery("changed"))
    )


def arrivals(source: Columns, brought: Sequence[str], *, duplicates: bool) -> exp.Select:
    """What came in, each key once; `duplicates` says whether one may have come repeatedly."""
    return _newest_by_key(source, brought) if duplicates else _all_incoming(source, brought)


def in_order(incoming: str, known: str) -> exp.Expr:
    """Whether what came isn't older than what is known."""
    return exp.func(
        "COALESCE",
        exp.GTE(this=column("updated_at", incoming), expression=column("updated_at", known)),
        exp.true(),
    )


def _all_incoming(source: Columns, brought: Sequence[str]) -> exp.Select:
    """What came in; a deleted record has no values."""
    values = {"quarantine", *brought}
    return exp.select(
        *(
            exp.alias_(_unless_deleted(column(name)), name, quoted=True)
            if name in values
            else column(name)
            for name in incoming_columns(source, brought)
        )
    ).from_(named("incoming"))


def _newest_by_key(source: Columns, brought: Sequence[str]) -> exp.Select:
    newest = exp.Window(
        this=exp.RowNumber(),
        partition_by=[column("record_key")],
        order=exp.Order(
            expressions=[
                exp.Ordered(this=column("updated_at"), desc=True, nulls_first=False),
                exp.Ordered(this=column("ordinal"), desc=True),
            ]
        ),
    )
    return _all_incoming(source, brought).qualify(exp.EQ(this=newest, expression=literal(1)))


def _new_id(next_record_id: int, known: str | None) -> exp.Expr:
    """A new record's number, by its order of arrival; numbers may be left out between them."""
    number = exp.Add(this=literal(next_record_id), expression=column("ordinal", "i"))
    return exp.func("COALESCE", column("record_id", known), number) if known else number


def _unless_deleted(value: exp.Expr, table: str | None = None) -> exp.Expr:
    return exp.Case().when(exp.not_(column("deleted", table)), value)


def _kept_quarantine(read: Sequence[str], attributes: Sequence[str]) -> exp.Expr:
    """What is newly quarantined, and what is known of the attributes that weren't read."""
    fresh = column("quarantine", "i")
    if set(attributes) <= set(read):
        return fresh

    def entries(of: exp.Expr, test: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
        attribute = exp.Dot(this=exp.column("entry"), expression=exp.to_identifier("attribute"))
        where = exp.Lambda(this=test(attribute), expressions=[exp.to_identifier("entry")])
        return exp.ArrayFilter(this=of, expression=where)

    def older(but: Sequence[str]) -> exp.Expr:
        names = [literal(name) for name in but]
        return entries(
            column("quarantine", "k"), lambda each: exp.not_(exp.In(this=each, expressions=names))
        )

    # an entry of no attribute is one of the whole record, which every read judges anew
    whole = entries(
        column("quarantine", "i"), lambda each: exp.EQ(this=each, expression=literal(""))
    )
    kept = exp.Case().when(_has_any(whole), older(read)).else_(older([*read, ""]))
    both = exp.ArrayConcat(this=fresh, expressions=[kept])
    some = _has_any(both.copy())
    return exp.Case().when(exp.and_(exp.not_(column("deleted", "i")), some), both)


def _has_any(entries: exp.Expr) -> exp.Expr:
    size = exp.func("COALESCE", exp.ArraySize(this=entries), literal(0))
    return exp.GT(this=size, expression=literal(0))


def _typed_null(name: str, source: Columns) -> exp.Expr:
    return exp.alias_(null_of(source[name]), name, quoted=True)


def _attributes(source: Columns, identifiers: Sequence[str]) -> list[str]:
    fixed = {"record_id", "record_key", "updated_at", "deleted", "quarantine", *identifiers}
    return [name for name in source if name not in fixed]
