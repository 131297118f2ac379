"""Reads the records that events named, and no others, and commits them.

Cursors and coverage stay as they are: an event verifies a record, not the attributes. Rows of
the inbox go after the commit, so that whatever dies in between is done again, to the same end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine import Written
from profile_pipelines.lake import Lake
from profile_pipelines.landing.extraction import Landing, gone_of, known_records, write
from profile_pipelines.landing.guard import known_at_least
from profile_pipelines.landing.spool import Spool
from profile_pipelines.landing.unique import NOT_UNIQUE, marks
from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.inbox import Waiting
from profile_pipelines.sources import ReadRequest, open_source
from profile_pipelines.sources.json_columns import batches

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
    pinned = lake.source(catalogue, system, name).pin()
    attributes = tuple(catalogue.systems[system].syncs[name].attributes)
    landing = Landing(
        catalogue, lake, pinned, system, name, attributes, now.astimezone(UTC), run_id
    )
    # what was carried after a deletion is there again, and the other way round
    last = {row.key: row for row in rows}
    carried = [row.record for row in rows if row.record is not None and not last[row.key].gone]
    gone = {key for key, row in last.items() if key is not None and row.gone}
    findings, written = _commit(landing, carried, _asked(rows, last), gone)
    ledger.inbox.remove([row.number for row in rows])
    changed, deleted = (0, 0) if written is None else landing.counts(written)
    invalid = findings.bad_records + sum(map(findings.invalid, attributes))
    return NamedResult(system, name, len(rows), findings.rows, changed - deleted, deleted, invalid)


def _asked(rows: Sequence[Waiting], last: dict[str | None, Waiting]) -> list[str]:
    """The keys of the records to be read from the system, each once."""
    keys = (row.key for row in rows if row.record is None and not row.gone)
    return [key for key in dict.fromkeys(keys) if key is not None and not last[key].gone]


def _commit(
    landing: Landing, carried: Sequence[str], asked: Sequence[str], gone: set[str]
) -> tuple[Findings, Written | None]:
    from profile_pipelines.validation.records import RecordValidator

    catalogue, lake, pinned = landing.catalogue, landing.lake, landing.pinned
    attributes = landing.chosen
    validator = RecordValidator(catalogue, landing.declared, attributes, landing.now)
    with Spool(landing.spooled) as spool:
        for batch in _batches(landing, carried, asked):
            spool.add(validator.validate(pa.Table.from_batches([batch])))
        absent = gone_of(lake, spool, gone | set(asked))
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
        known = known_records(lake, pinned)
        written = write(landing, spool, attributes, known, shared, absent=False, gone=absent)
        state = {key: value for key, value in pinned.state.items() if key != "seq"}
        if written is not None:
            # every written row may be a deletion
            state["values"] = known_at_least(
                state.get("values", {}), written, written.rows, attributes
            )
        pinned.commit_written(written, now=landing.now, state=state)
        return validator.findings, written


def _batches(
    landing: Landing, carried: Sequence[str], asked: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """What was carried first: what the system itself says counts more where times are equal."""
    if carried:
        yield from batches([[json.loads(record) for record in carried]], landing.fields)
    if asked:
        source = open_source(landing.catalogue.systems[landing.system], landing.declared)
        yield from source.read(ReadRequest(landing.fields, keys=tuple(asked)))
