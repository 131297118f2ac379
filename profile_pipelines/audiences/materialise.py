"""Evaluates audiences over the lake: written as their tables, or only counted for a preview."""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

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
    TALLY,
    Counts,
    changes,
    counting,
    evaluated,
    read_counts,
    tally,
)
from profile_pipelines.audiences.staleness import Coverage, stale_sources
from profile_pipelines.catalog.conditions import Condition, attributes_of, audiences_of
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine.duckdb import ParquetFiles, Relation
from profile_pipelines.engine.sql import column, select_from
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.lake import MEMBERS_COLUMNS, provenance_column
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
    condition = catalogue.audiences[name].where
    pinned = lake.audience(name).pin()
    return keep_up(catalogue, lake, coverage, name, condition, pinned, now=now, run_id=run_id)


def keep_up(
    catalogue: Catalogue,
    lake: Lake,
    coverage: Coverage,
    name: str,
    condition: Condition,
    pinned: Pinned,
    *,
    now: datetime,
    run_id: str,
) -> AudienceResult:
    """Bring a table of an audience's columns up to date with a condition, as `materialise` does.

    `name` is only told on in the result.
    """
    evaluation = _prepare(catalogue, lake, coverage, condition, pinned, now)
    question = tally(evaluation.compiled)
    evaluated = {"sql": _digest(question), "inputs": evaluation.inputs}
    if pinned.state.get("evaluated") == evaluated:
        # The same question about the same data: windows of whole days move once a day.
        return AudienceResult(name, Counts(**pinned.state["counts"]), wrote=False)
    rows = evaluation.rows(question)
    relations: dict[str, Relation] = {TALLY: lake.engine.query(rows.sql, rows.relations)}
    count = counting(evaluation.compiled, tallied=True)
    counts = read_counts(lake.engine.rows(count, relations)[0])
    committed = pinned.commit(
        lake.engine,
        Rows(changes(evaluation.compiled, tallied=True), relations),
        now=now,
        run_id=run_id,
        state={
            "evaluated": evaluated,
            "counts": asdict(replace(counts, entered=0, exited=0)),
        },
    )
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
    inputs: dict[str, int]
    """The commits of the tables that it reads, but for the audience's own."""

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
    columns_of_state = ["profile_id", "member", "held"]
    tables = {
        PROFILES: profiles.current(columns, "p"),
        PROFILE_CHANGES: profiles.changes(["profile_id", "changed"], "c"),
        PREVIOUS: (
            previous.current(columns_of_state, "before_state")
            if previous is not None
            else Rows(select_from("nobody", columns_of_state), {"nobody": _NOBODY})
        ),
    }
    inputs = {PROFILES: profiles.seq}
    for name in sorted(audiences_of(condition)):
        other = lake.audience(name).pin()
        tables[audience_relation(name)] = other.current(columns_of_state, f"a_{name}")
        inputs[audience_relation(name)] = other.seq
    return _Evaluation(compiled, tables, inputs)


def _digest(sql: exp.Expr) -> str:
    return hashlib.sha256(sql.sql(dialect="duckdb").encode()).hexdigest()[:32]


_NOBODY = ParquetFiles([], MEMBERS_COLUMNS)
