"""What of the identities fits several customers: values that join nobody, records held apart."""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

import pyarrow as pa
from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.columns import Columns
from profile_pipelines.engine.sql import column, literal
from profile_pipelines.engine.tables import no_rows
from profile_pipelines.lake import Lake, Pinned

_VALUES: Columns = {
    "identifier": "string",
    "value": "string",
    "profiles": "integer",
    "records": "integer",
}
_RECORDS: Columns = {"system": "string", "sync": "string", "record_key": "string"}


def is_own(number: int, table: str) -> exp.Expr:
    """Whether, in a row of the identities, the value of the identifier with this number (0: the
    strongest) is one customer's."""
    shared = exp.func("COALESCE", column("shared_identifiers", table), literal(0))
    bit = exp.BitwiseAnd(this=shared, expression=literal(1 << number))
    return exp.EQ(this=exp.paren(bit), expression=literal(0))


def shared_values(catalogue: Catalogue, lake: Lake) -> pa.Table:
    """The values that join nobody, since they fit several customers: `identifier`, `value` (in its
    normal form), and how many `profiles` and `records` have it; those of most profiles first."""
    identities = lake.identities(catalogue).pin()
    if not identities.exists:
        return no_rows(_VALUES)
    names = list(catalogue.identifiers)
    columns = ["profile_id", "shared_identifiers", *(f"id_{name}" for name in names)]
    rows = identities.current(columns, "i")
    parts: list[exp.Query] = []
    for number, name in enumerate(names):
        value = column(f"id_{name}", "i")
        profiles = exp.Count(this=exp.Distinct(expressions=[column("profile_id", "i")]))
        parts.append(
            exp.select(
                exp.alias_(literal(name), "identifier", quoted=True),
                exp.alias_(value, "value", quoted=True),
                exp.alias_(profiles, "profiles", quoted=True),
                exp.alias_(exp.Count(this=exp.Star()), "records", quoted=True),
            )
            .from_(rows.sql.copy().subquery("i"))
            .where(exp.not_(is_own(number, "i")), exp.not_(value.is_(exp.null())))
            .group_by(value)
        )
    first, *others = parts
    every = exp.union(first, *others, distinct=False) if others else first
    select = (
        exp.select(*(column(name, "u") for name in _VALUES))
        .from_(every.subquery("u"))
        .order_by(
            exp.Ordered(this=column("profiles", "u"), desc=True),
            exp.Ordered(this=column("records", "u"), desc=True),
            column("identifier", "u"),
            column("value", "u"),
        )
    )
    return lake.engine.query(select, rows.relations)


def held_apart(catalogue: Catalogue, lake: Lake) -> pa.Table:
    """The records that belong to no customer, or to a cluster that is too large: `system`, `sync`,
    `record_key`, `profile_id` (none: no profile) and the normal form of each identifier."""
    names = list(catalogue.identifiers)
    found: Columns = {**_RECORDS, "profile_id": "integer", **dict.fromkeys(names, "string")}
    identities = lake.identities(catalogue).pin()
    parts: list[pa.Table] = [no_rows(found)]
    if identities.exists:
        for system, declared in catalogue.systems.items():
            for sync in declared.syncs:
                source = lake.source(catalogue, system, sync).pin()
                if source.exists:
                    parts.append(_held_apart(lake, identities, source, (system, sync), names))
    return pa.concat_tables(part.cast(parts[0].schema) for part in parts)


def _held_apart(
    lake: Lake, identities: Pinned, source: Pinned, where: tuple[str, str], names: list[str]
) -> pa.Table:
    columns = ["record_id", "profile_id", "held_apart", *(f"id_{name}" for name in names)]
    rows = identities.current(columns, "i")
    records = source.current(["record_id", "record_key"], "r")
    select = (
        exp.select(
            *(
                exp.alias_(literal(text), name, quoted=True)
                for name, text in zip(("system", "sync"), where, strict=True)
            ),
            column("record_key", "r"),
            column("profile_id", "i"),
            *(exp.alias_(column(f"id_{name}", "i"), name, quoted=True) for name in names),
        )
        .from_(rows.sql.subquery("i"))
        .join(
            records.sql.subquery("r"),
            on=exp.EQ(this=column("record_id", "i"), expression=column("record_id", "r")),
        )
        .where(column("held_apart", "i"))
        .order_by(column("record_key", "r"))
    )
    return lake.engine.query(select, {**rows.relations, **records.relations})
