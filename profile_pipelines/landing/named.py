"""Reads the records that events named, and no others, and commits them.

Cursors and coverage stay as they are: an event verifies a record, not the attributes. Rows of
the inbox go after the commit, so that whatever dies in between is done again, to the same end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.engine.sql import column, literal
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.lake import record_block
from profile_pipelines.lake.table import Rows
from profile_pipelines.landing.difference import changed_records, incoming_schema
from profile_pipelines.landing.guard import known_at_least
from profile_pipelines.landing.spool import Spool
from profile_pipelines.landing.unique import NOT_UNIQUE, marks
from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.inbox import Waiting
from profile_pipelines.sources import ReadRequest, open_source
from profile_pipelines.sources.json_records import batches

if TYPE_CHECKING:
    from profile_pipelines.validation.records import Findings

AT_ONCE = 500
"""Rows of the inbox that are read and committed together."""


@dataclass(frozen=True)
class NamedResult:
    """What became of the events of one sync. `changed` counts records, deletions apart."""

    system: str
    sync: str
    events: int = 0
    rows_read: int = 0
    changed: int = 0
    deleted: int = 0
    invalid: int = 0


def sync_named(
    catalogue: Catalogue,
    lake: Lake,
    ledger: Ledger,
    system: str,
    name: str,
    *,
    now: datetime,
    run_id: str,
) -> NamedResult:
    """Bring up to date what the oldest events in the inbox named, `AT_ONCE` of them.

    Raises SourceError when the system can't be read, Conflict when another run was faster; the
    events then stay.
    """
    rows = ledger.inbox.waiting(system, name, AT_ONCE)
    if not rows:
        return NamedResult(system, name)
    declared = catalogue.systems[system].syncs[name]
    pinned = lake.source(catalogue, system, name).pin()
    # what was carried after a deletion is there again, and the other way round
    last = {row.key: row for row in rows}
    carried = [row.record for row in rows if row.record is not None and not last[row.key].gone]
    gone = {key for key, row in last.items() if key is not None and row.gone}
    asked = _asked(rows, last)
    findings, spool, committed = _commit(
        catalogue, lake, pinned, (system, name), carried, asked, gone, now.astimezone(UTC), run_id
    )
    ledger.inbox.remove([row.number for row in rows])
    changed, deleted = _count(lake, committed)
    invalid = findings.bad_records + sum(map(findings.invalid, declared.attributes))
    return NamedResult(system, name, len(rows), spool, changed, deleted, invalid)


def _asked(rows: Sequence[Waiting], last: dict[str | None, Waiting]) -> list[str]:
    """The keys of the records to be read from the system, each once."""
    keys = (row.key for row in rows if row.record is None and not row.gone)
    return [key for key in dict.fromkeys(keys) if key is not None and not last[key].gone]


def _commit(
    catalogue: Catalogue,
    lake: Lake,
    pinned: Pinned,
    place: tuple[str, str],
    carried: Sequence[str],
    asked: Sequence[str],
    gone: set[str],
    now: datetime,
    run_id: str,
) -> tuple[Findings, int, Rows | None]:
    from profile_pipelines.validation.records import RecordValidator

    system, name = place
    declared = catalogue.systems[system].syncs[name]
    attributes = tuple(declared.attributes)
    validator = RecordValidator(catalogue, declared, attributes, now)
    schema = pinned.table.schema
    fields = _fields(declared)
    arrived: set[str] = set()
    with Spool(incoming_schema(schema, attributes)) as spool:
        for batch in _batches(catalogue, system, declared, fields, carried, asked):
            frame = validator.validate(pa.Table.from_batches([batch]))
            arrived.update(frame["record_key"].to_list())
            spool.add(frame)
        absent = pa.table(
            {"record_key": pa.array(sorted((gone | set(asked)) - arrived), pa.string())}
        )
        shared = marks(
            lake,
            pinned,
            {a: catalogue.attributes[a] for a in attributes},
            spool,
            absent_are_deleted=False,
            gone=absent,
        )
        for a in attributes:
            validator.findings.add(a, NOT_UNIQUE, shared.count(a))
        known = pinned.current(schema.names, "state") if pinned.exists else None
        last_id = max(_last_id(lake, pinned), record_block(system, name))
        select = changed_records(
            schema,
            [f"id_{identifier}" for identifier in declared.identifiers],
            attributes,
            known,
            read=attributes,
            now=now,
            next_record_id=last_id + 1,
            duplicates=spool.may_repeat_keys() or shared.touch_known,
            absent_are_deleted=False,
            absent_named=known is not None,
        )
        relations: dict[str, Any] = {"incoming": spool.relation(), "gone": absent}
        rows = Rows(select, {**relations, **(known.relations if known else {})})
        rows = shared.applied(rows, attributes, attributes)
        written = pinned.write(lake.engine, rows, now=now, run_id=run_id)
        state = {key: value for key, value in pinned.state.items() if key != "seq"}
        if written is not None:
            # every written row may be a deletion
            state["values"] = known_at_least(
                state.get("values", {}), written, written.rows, attributes
            )
        committed = pinned.commit_written(written, now=now, state=state)
        return validator.findings, spool.rows, committed


def _batches(
    catalogue: Catalogue,
    system: str,
    declared: Sync,
    fields: tuple[str, ...],
    carried: Sequence[str],
    asked: Sequence[str],
) -> Iterator[pa.RecordBatch]:
    """What was carried first: what the system itself says counts more where times are equal."""
    if carried:
        yield from batches([[json.loads(record) for record in carried]], fields)
    if asked:
        source = open_source(catalogue.systems[system], declared)
        yield from source.read(ReadRequest(fields, keys=tuple(asked)))


def _fields(declared: Sync) -> tuple[str, ...]:
    optional = (declared.key, declared.updated_at, declared.deleted)
    return tuple(
        dict.fromkeys(
            [
                *declared.identifiers.values(),
                *(path for path in optional if path is not None),
                *(each.field for each in declared.attributes.values()),
            ]
        )
    )


def _last_id(lake: Lake, pinned: Pinned) -> int:
    if not pinned.exists:
        return 0
    rows = pinned.current(["record_id"], "state")
    last = exp.func("COALESCE", exp.Max(this=column("record_id", "r")), literal(0))
    select = exp.select(exp.alias_(last, "last")).from_(rows.sql.subquery("r"))
    return lake.engine.rows(select, rows.relations)[0]["last"]


def _count(lake: Lake, committed: Rows | None) -> tuple[int, int]:
    if committed is None:
        return 0, 0
    counts = exp.select(
        exp.alias_(exp.Count(this=exp.Star()), "rows"),
        exp.alias_(exp.CountIf(this=column("deleted", "c")), "deleted"),
    ).from_(committed.sql.subquery("c"))
    found = lake.engine.rows(counts, committed.relations)[0]
    return found["rows"] - int(found["deleted"]), int(found["deleted"])
