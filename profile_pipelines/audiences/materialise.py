"""Evaluates audiences over the lake: written as their tables, or only counted for a preview."""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
from sqlglot import exp

from profile_pipelines.audiences.compile import (
    PROFILE_CHANGES,
    PROFILES,
    Compiled,
    Context,
    audience_relation,
    compile_condition,
)
from profile_pipelines.audiences.evaluate import (
    PREVIOUS,
    Counts,
    changes,
    counting,
    evaluated,
    read_counts,
)
from profile_pipelines.audiences.staleness import Coverage, stale_sources
from profile_pipelines.catalog.conditions import Condition, attributes_of, audiences_of
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.duckdb import Relation
from profile_pipelines.engine.sql import column, named
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.lake import provenance_column
from profile_pipelines.lake.table import Rows


@dataclass(frozen=True)
class AudienceResult:
    """An audience after an evaluation; `wrote` says whether anyone's state is another."""

    name: str
    counts: Counts
    wrote: bool


@dataclass(frozen=True)
class Preview:
    """What a condition would give, without writing; up to ten members as a sample."""

    counts: Counts
    sample: list[int]


def materialise(
    catalogue: Catalogue,
    lake: Lake,
    coverage: Coverage,
    name: str,
    *,
    now: datetime,
    run_id: str,
) -> AudienceResult:
    """Bring one audience up to date with the profiles and the clock.

    The audiences that it refers to must be up to date. Raises Conflict when another run was
    faster.
    """
    pinned = lake.audience(name).pin()
    condition = catalogue.audiences[name].where
    evaluation = _prepare(catalogue, lake, coverage, condition, pinned, now)
    counts = evaluation.counts(lake)
    state = {"counts": {"members": counts.members, "held": counts.held}}
    rows = evaluation.rows(changes(evaluation.compiled))
    committed = pinned.commit(lake.engine, rows, now=now, run_id=run_id, state=state)
    return AudienceResult(name, counts, committed is not None)


def preview(
    catalogue: Catalogue,
    lake: Lake,
    coverage: Coverage,
    condition: Condition,
    *,
    now: datetime,
    name: str | None = None,
) -> Preview:
    """Evaluate a condition that `check_condition` found no fault with; nothing is written.

    With the `name` of a declared audience, entered and exited are against its stored state.
    """
    pinned = None if name is None else lake.audience(name).pin()
    evaluation = _prepare(catalogue, lake, coverage, condition, pinned, now)
    members = (
        exp.select(column("profile_id", "e"))
        .from_(evaluated(evaluation.compiled).subquery("e"))
        .where(column("result", "e"))
        .order_by(column("profile_id", "e"))
        .limit(10)
    )
    rows = evaluation.rows(members)
    found = lake.engine.rows(rows.sql, rows.relations)
    return Preview(evaluation.counts(lake), [row["profile_id"] for row in found])


@dataclass(frozen=True)
class _Evaluation:
    """A compiled condition with the tables that its SELECTs name."""

    compiled: Compiled
    tables: dict[str, Rows]

    def rows(self, select: exp.Select) -> Rows:
        relations: dict[str, Relation] = {}
        for name, table in self.tables.items():
            alias = exp.to_identifier(name, quoted=True)
            select = select.with_(alias, as_=table.sql.copy(), copy=False)
            relations |= table.relations
        return Rows(select, relations)

    def counts(self, lake: Lake) -> Counts:
        rows = self.rows(counting(self.compiled))
        return read_counts(lake.engine.rows(rows.sql, rows.relations)[0])


def _prepare(
    catalogue: Catalogue,
    lake: Lake,
    coverage: Coverage,
    condition: Condition,
    previous: Pinned | None,
    now: datetime,
) -> _Evaluation:
    profiles = lake.profiles(catalogue).pin()
    codes = profiles.state.get("systems", {})
    context = Context(
        now=now,
        timezone=ZoneInfo(catalogue.settings.timezone),
        attributes=catalogue.attributes,
        stale=stale_sources(catalogue, coverage, codes, now),
    )
    compiled = compile_condition(condition, context)
    used = sorted(attributes_of(condition))
    columns = ["profile_id", *used]
    columns += [provenance_column(name, catalogue.attributes[name]) for name in used]
    state = ["profile_id", "member", "held"]
    tables = {
        PROFILES: profiles.current(columns, "p"),
        PROFILE_CHANGES: profiles.changes(["profile_id", "changed"], "c"),
        PREVIOUS: (
            Rows(exp.select(*map(column, state)).from_(named("nobody")), {"nobody": _NOBODY})
            if previous is None
            else previous.current(state, "before_state")
        ),
    }
    for name in sorted(audiences_of(condition)):
        tables[audience_relation(name)] = lake.audience(name).pin().current(state, f"a_{name}")
    return _Evaluation(compiled, tables)


_NOBODY = pa.schema(
    [("profile_id", pa.int64()), ("member", pa.bool_()), ("held", pa.bool_())]
).empty_table()
