"""Values that several living records of a sync have, of attributes with `unique`: no one's.

What counts is how the records stand after the sync, by whichever way it was read: the newest
version of those that came, and the known ones that didn't. A known value that is shared from now
on goes to quarantine, too, and one that is shared no longer comes back, so that the order in which
records come makes no difference. For that, the entry in quarantine has the value as text of its
type, rather than as the source gave it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
from sqlglot import exp

from profile_pipelines.catalog.models import Attribute
from profile_pipelines.engine.columns import SQL_TYPES, Columns
from profile_pipelines.engine.sql import column, literal, named
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.table import Rows
from profile_pipelines.landing.difference import arrivals, in_order, incoming_columns
from profile_pipelines.landing.spool import Spool

NOT_UNIQUE = "not unique"


class Marks:
    """Which records' values have to leave or come back, found by `marks`."""

    def __init__(
        self, columns: Columns, marked: dict[str, pa.Table], types: Mapping[str, str]
    ) -> None:
        self._columns = columns
        self._marked = marked
        self._types = types

    def count(self, attribute: str) -> int:
        """How many of the records that came have a value that isn't unique."""
        marked = self._marked.get(attribute)
        return 0 if marked is None else len(marked) - marked["ordinal"].null_count

    @property
    def touch_known(self) -> bool:
        """Whether a known record is changed that didn't come."""
        return any(marked["ordinal"].null_count for marked in self._marked.values())

    def applied(self, changed: Rows, chosen: Sequence[str], brought: Sequence[str]) -> Rows:
        """`changed_records` of what came with its marks, and of the marked known records.

        Of attributes that are set aside (chosen, but not brought) no known value is touched.
        """
        if not self._marked:
            return changed
        relations = dict(changed.relations)
        relations["spooled"] = relations.pop("incoming")
        relations |= {_relation(a): marked for a, marked in self._marked.items()}
        incoming: exp.Query = self._came(chosen)
        kept = [a for a in self._marked if a in brought and self._marked[a]["ordinal"].null_count]
        if kept:
            incoming = exp.union(incoming, self._known(chosen, kept), distinct=False)
        sql = changed.sql.with_(exp.to_identifier("incoming", quoted=True), as_=incoming)
        return Rows(sql, relations)

    def _came(self, chosen: Sequence[str]) -> exp.Select:
        names = incoming_columns(self._columns, chosen)
        columns = {name: column(name, "i") for name in names}
        select = exp.select(
            *(
                _as(self._entries(column(name, "i"), list(self._marked)), name)
                if name == "quarantine"
                else _as(exp.Case().when(exp.not_(_is_marked(name)), value), name)
                if name in self._marked
                else value
                for name, value in columns.items()
            )
        ).from_(named("spooled", "i"))
        for a in self._marked:
            on = exp.EQ(this=column("ordinal", "i"), expression=column("ordinal", _relation(a)))
            select = select.join(named(_relation(a)), on=on, join_type="left")
        return select

    def _known(self, chosen: Sequence[str], kept: Sequence[str]) -> exp.Select:
        """Known records that didn't come, as if they had: at the time at which they are known."""
        names = incoming_columns(self._columns, chosen)
        columns: dict[str, exp.Expr] = {name: column(name, "k") for name in names}
        columns["ordinal"] = literal(-1)
        for a in kept:
            back = exp.TryCast(
                this=column("value", _relation(a)), to=exp.DataType.build(self._types[a], "duckdb")
            )
            columns[a] = (
                exp.Case()
                .when(exp.not_(_is_marked(a)), column(a, "k"))
                .when(exp.not_(column("shared", _relation(a))), back)
            )
        of_read = exp.In(this=_part("attribute"), expressions=[literal(a) for a in chosen])
        columns["quarantine"] = self._entries(_filtered(column("quarantine", "k"), of_read), kept)
        select = exp.select(*(_as(value, name) for name, value in columns.items()))
        select = select.from_(named("known", "k"))
        for a in kept:
            on = exp.and_(
                exp.EQ(
                    this=column("record_key", "k"), expression=column("record_key", _relation(a))
                ),
                exp.Is(this=column("ordinal", _relation(a)), expression=exp.null()),
            )
            select = select.join(named(_relation(a)), on=on, join_type="left")
        return select.where(exp.or_(*(_is_marked(a) for a in kept)))

    def _entries(self, entries: exp.Expr, attributes: Sequence[str]) -> exp.Expr:
        """The quarantine without old entries of what is marked, and with new ones."""
        for a in attributes:
            others = _filtered(entries, exp.not_(exp.and_(_is_marked(a), _is_entry(a))))
            new = exp.Array(
                expressions=[
                    exp.Struct(
                        expressions=[
                            exp.PropertyEQ(this=exp.to_identifier(name), expression=value)
                            for name, value in {
                                "attribute": literal(a),
                                "reason": literal(NOT_UNIQUE),
                                "value": column("value", _relation(a)),
                            }.items()
                        ]
                    )
                ]
            )
            marked = exp.Case().when(column("shared", _relation(a)), new)
            entries = exp.ArrayConcat(this=others, expressions=[marked])
        some = exp.GT(this=exp.ArraySize(this=entries.copy()), expression=literal(0))
        return exp.Case().when(some, entries)


def marks(
    lake: Lake,
    pinned: Pinned,
    attributes: Mapping[str, Attribute],
    spool: Spool,
    *,
    absent_are_deleted: bool,
    gone: pa.Table | None = None,
) -> Marks:
    """Compare what came (validated, in the spool) among itself and with the known records.

    `attributes` are those that were read; only those with `unique` cost anything. With
    `absent_are_deleted` no known record stands that didn't come; `gone` names others (record_key).
    """
    columns = pinned.table.columns
    types = {a: SQL_TYPES[each.type] for a, each in attributes.items() if each.valid.unique}
    marked: dict[str, pa.Table] = {}
    for a in types:
        rows = _standing(pinned, a, types[a], spool, absent_are_deleted, gone)
        shared = exp.GT(
            this=exp.Window(
                this=exp.Count(this=exp.Star()), partition_by=[column("candidate", "s")]
            ),
            expression=literal(1),
        )
        counted = (
            exp.select(exp.Star(), _as(shared, "shared"))
            .from_(rows.sql.subquery("s"))
            .where(_given(column("candidate", "s")))
        )
        if attributes[a].type == "list":
            # who owns nothing shares nothing
            counted = counted.where(exp.ArraySize(this=column("candidate", "s")) > literal(0))
        is_other = exp.NEQ(this=column("shared", "m"), expression=column("was_shared", "m"))
        select = (
            exp.select(
                *(column(name, "m") for name in ("record_key", "ordinal", "shared")),
                _as(exp.cast(column("candidate", "m"), "VARCHAR"), "value"),
            )
            .from_(counted.subquery("m"))
            .where(is_other)
        )
        found = lake.engine.query(select, rows.relations)
        if found.num_rows:
            marked[a] = found
    return Marks(columns, marked, types)


def _standing(
    pinned: Pinned,
    attribute: str,
    kind: str,
    spool: Spool,
    absent_are_deleted: bool,
    gone: pa.Table | None,
) -> Rows:
    """The living records after the sync: record_key, ordinal (of those that came), candidate (the
    value, in quarantine or not), was_shared (whether it is in quarantine now)."""
    came = arrivals(pinned.table.columns, [attribute], duplicates=spool.repeated > 0)
    relations = {"incoming": spool.relation()}
    fresh = (
        exp.select(
            column("record_key", "i"),
            column("ordinal", "i"),
            _as(column(attribute, "i"), "candidate"),
            _as(exp.false(), "was_shared"),
        )
        .from_(came.subquery("i"))
        .where(exp.not_(column("deleted", "i")))
    )
    if not pinned.exists or absent_are_deleted:
        return Rows(fresh, relations)
    state = pinned.current(
        ["record_key", "updated_at", "deleted", attribute, "quarantine"], "state"
    )
    same = exp.EQ(this=column("record_key", "i"), expression=column("record_key", "k"))
    # an older version than the known one changes nothing
    fresh = fresh.join(named("known", "k"), on=same, join_type="left").where(in_order("i", "k"))
    entries = _filtered(column("quarantine", "k"), _is_entry(attribute))
    entry = exp.Bracket(this=exp.paren(entries), expressions=[literal(0)])
    text = exp.Dot(this=entry, expression=exp.to_identifier("value", quoted=True))
    kept = (
        exp.select(
            column("record_key", "k"),
            _as(exp.cast(exp.null(), "BIGINT"), "ordinal"),
            _as(
                exp.func(
                    "COALESCE",
                    column(attribute, "k"),
                    exp.TryCast(this=text, to=exp.DataType.build(kind, "duckdb")),
                ),
                "candidate",
            ),
            _as(exp.Is(this=column(attribute, "k"), expression=exp.null()), "was_shared"),
        )
        .from_(named("known", "k"))
        .join(
            came.subquery("i"),
            on=exp.and_(same.copy(), in_order("i", "k")),
            join_type="anti",
        )
        .where(exp.not_(column("deleted", "k")))
    )
    if gone is not None:
        relations["gone"] = gone
        on = exp.EQ(this=column("record_key", "g"), expression=column("record_key", "k"))
        kept = kept.join(named("gone", "g"), on=on, join_type="anti")
    both = exp.union(fresh, kept, distinct=False)
    select = (
        exp.select(exp.Star())
        .with_(exp.to_identifier("known", quoted=True), as_=state.sql)
        .from_(both.subquery("both"))
    )
    return Rows(select, {**relations, **state.relations})


def _filtered(entries: exp.Expr, condition: exp.Expr) -> exp.Expr:
    """Those entries of a quarantine for whose `entry` the condition holds."""
    keeps = exp.Lambda(this=condition, expressions=[exp.to_identifier("entry")])
    return exp.ArrayFilter(this=entries, expression=keeps)


def _is_entry(attribute: str) -> exp.Expr:
    """Whether the lambda's `entry` says that the attribute's value isn't unique."""
    return exp.and_(
        exp.EQ(this=_part("attribute"), expression=literal(attribute)),
        exp.EQ(this=_part("reason"), expression=literal(NOT_UNIQUE)),
    )


def _part(name: str) -> exp.Expr:
    return exp.Dot(this=exp.column("entry"), expression=exp.to_identifier(name))


def _relation(attribute: str) -> str:
    return f"marked_{attribute}"


def _is_marked(attribute: str) -> exp.Expr:
    return _given(column("record_key", _relation(attribute)))


def _given(value: exp.Expr) -> exp.Expr:
    return exp.not_(exp.Is(this=value, expression=exp.null()))


def _as(value: exp.Expr, name: str) -> exp.Expr:
    return exp.alias_(value, name, quoted=True)
