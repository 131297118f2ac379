"""From a source into the spool, and from the spool to what is ready to be committed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp

from profile_pipelines.catalog.mapped_fields import further_column
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.engine import Written
from profile_pipelines.engine.columns import Columns
from profile_pipelines.engine.sql import column, literal, named
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.lake import LAST_RECORD, record_block
from profile_pipelines.lake.table import Rows, rows_of
from profile_pipelines.landing.barred import Barred
from profile_pipelines.landing.difference import changed_records, incoming_columns
from profile_pipelines.landing.guard import Known
from profile_pipelines.landing.recent import Recent
from profile_pipelines.landing.spool import Spool
from profile_pipelines.landing.unique import Marks
from profile_pipelines.progress import HowFar
from profile_pipelines.sources import ReadRequest, Source

if TYPE_CHECKING:
    from profile_pipelines.validation.records import RecordValidator

_VALIDATED_AT_ONCE = 300_000

Progress = Callable[[HowFar], None]
"""Called as records come."""


@dataclass(frozen=True)
class Landing:
    """What is landed, and where: one sync's chosen attributes, into its pinned table."""

    catalogue: Catalogue
    lake: Lake
    pinned: Pinned
    system: str
    name: str
    chosen: tuple[str, ...]
    now: datetime
    run_id: str

    @property
    def declared(self) -> Sync:
        """The sync as the catalogue has it."""
        return self.catalogue.systems[self.system].syncs[self.name]

    @property
    def zone(self) -> str:
        """The time zone of the source's times that bear none."""
        return self.catalogue.systems[self.system].zone_of(self.declared)

    @property
    def needed(self) -> list[str]:
        """The fields without which no record can be read."""
        return [path for each in self.declared.controls for path in each.reads]

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields to read, each once."""
        mapped = (
            path for attribute in self.chosen for path in self.declared.attributes[attribute].reads
        )
        return tuple(dict.fromkeys([*self.needed, *mapped]))

    @property
    def identifiers(self) -> list[str]:
        """The columns of the identifiers."""
        declared = self.declared
        return [
            *(f"id_{name}" for name in declared.identifiers),
            *map(further_column, declared.many),
        ]

    @property
    def sets(self) -> set[str]:
        """The attributes whose lists are sets."""
        return {a for a in self.chosen if self.catalogue.attributes[a].is_set}

    @property
    def spooled(self) -> Columns:
        """The columns of the spool."""
        return incoming_columns(self.pinned.table.columns, self.chosen)

    def counts(self, written: Written) -> tuple[int, int]:
        """The rows of what was written, and those of them that are deleted records."""
        rows = rows_of(written)
        counts = exp.select(
            exp.alias_(exp.Count(this=exp.Star()), "rows"),
            exp.alias_(exp.CountIf(this=column("deleted", "c")), "deleted"),
        ).from_(rows.sql.subquery("c"))
        found = self.lake.engine.rows(counts, rows.relations)[0]
        return found["rows"], int(found["deleted"])


def read(
    source: Source,
    request: ReadRequest,
    validator: RecordValidator,
    spool: Spool,
    recent: Recent,
    barred: Barred,
    progress: Progress | None,
    expected: int | None = None,
) -> None:
    """Bring all that is asked for into the spool, validated, but for what is barred."""

    def tell(rows: int) -> None:
        if progress is not None:
            progress(HowFar(rows, request.counts.pages, expected))

    for table in _gathered(source.read(request), tell):
        frame = barred.without(validator.validate(table))
        recent.add(frame)
        spool.add(frame)


def write(
    landing: Landing,
    spool: Spool,
    brought: Sequence[str],
    known: Known,
    marks: Marks,
    *,
    absent: bool,
    gone: pa.Table | None = None,
) -> Written | None:
    """Write the records that are new or differ; None without any. See `changed_records`.

    With `absent` all records that didn't come are deleted, else those that are `gone`.
    """
    incoming = {"incoming": spool.relation()}
    if gone is not None:
        incoming["gone"] = gone
    pinned = landing.pinned
    columns = pinned.table.columns
    state = pinned.current(columns, "state") if pinned.exists else None
    select = changed_records(
        columns,
        landing.identifiers,
        brought,
        state,
        read=landing.chosen,
        sets=landing.sets,
        now=landing.now,
        next_record_id=1
        + max(
            known.last_id,
            pinned.state.get(LAST_RECORD, 0),
            record_block(landing.system, landing.name),
        ),
        duplicates=spool.repeated > 0 or marks.touch_known,
        absent_are_deleted=absent,
        absent_named=gone is not None and state is not None,
    )
    rows = Rows(select, {**incoming, **(state.relations if state else {})})
    rows = marks.applied(rows, landing.chosen, brought)
    return pinned.write(landing.lake.engine, rows, now=landing.now, run_id=landing.run_id)


def gone_of(lake: Lake, spool: Spool, keys: Iterable[str | None]) -> pa.Table:
    """Those of the keys that were asked for whose records didn't come, as `record_key`."""
    select = exp.select(column("record_key")).from_(named("incoming"))
    came = lake.engine.query(select, {"incoming": spool.relation()})
    absent = sorted({key for key in keys if key} - set(came["record_key"].to_pylist()))
    return pa.table({"record_key": pa.array(absent, pa.string())})


def known_records(lake: Lake, pinned: Pinned) -> Known:
    """What the table holds."""
    if not pinned.exists:
        return Known()
    rows = pinned.current(["record_id", "deleted"], "state")
    totals = exp.select(
        exp.alias_(exp.Count(this=exp.Star()), "records"),
        exp.alias_(exp.CountIf(this=exp.not_(column("deleted", "r"))), "living"),
        exp.alias_(
            exp.func("COALESCE", exp.Max(this=column("record_id", "r")), literal(0)), "last"
        ),
    ).from_(rows.sql.subquery("r"))
    found = lake.engine.rows(totals, rows.relations)[0]
    return Known(found["records"], int(found["living"] or 0), found["last"])


def _gathered(batches: Iterable[pa.RecordBatch], tell: Callable[[int], None]) -> Iterator[pa.Table]:
    """The rows of many batches together: a small table costs as much to validate as a large one.

    The rows so far are told as they come.
    """
    total, validated, gathered = 0, 0, list[pa.RecordBatch]()
    for batch in batches:
        total += batch.num_rows
        gathered.append(batch)
        tell(total)
        if total - validated >= _VALIDATED_AT_ONCE:
            yield _together(gathered)
            validated, gathered = total, []
    if gathered:
        yield _together(gathered)


def _together(batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """One table, also where only some of the batches tell of cells that can't be read."""
    tables = [pa.Table.from_batches([batch]) for batch in batches]
    return pa.concat_tables(tables, promote_options="permissive")
