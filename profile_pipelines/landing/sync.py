"""One sync of a system: nothing is committed until the whole extraction has succeeded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa
from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.engine.sql import column, literal
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.lake import record_block
from profile_pipelines.lake.table import Rows
from profile_pipelines.landing.cursors import Cursors
from profile_pipelines.landing.difference import (
    changed_records,
    incoming_schema,
)
from profile_pipelines.landing.quarantine import quarantined_by_attribute
from profile_pipelines.landing.spool import Spool
from profile_pipelines.ledger import Ledger, SyncEntry
from profile_pipelines.ledger.ledger import AttributeEntry
from profile_pipelines.sources import ReadRequest, Source, open_source

_VALIDATED_AT_ONCE = 300_000

Progress = Callable[[int], None]
"""Called with the number of rows read so far."""


@dataclass(frozen=True)
class SyncResult:
    """What one sync did. `changed` counts new and changed records, deletions apart."""

    system: str
    sync: str
    full: bool
    rows_read: int = 0
    changed: int = 0
    deleted: int = 0
    bad_records: int = 0
    attributes: dict[str, AttributeEntry] = field(default_factory=dict[str, AttributeEntry])

    @property
    def quarantined(self) -> int:
        """Invalid values plus records without any usable identifier."""
        return self.bad_records + sum(entry.invalid for entry in self.attributes.values())


def sync(
    catalogue: Catalogue,
    lake: Lake,
    ledger: Ledger,
    system: str,
    name: str,
    attributes: Iterable[str] | None = None,
    *,
    now: datetime,
    run_id: str,
    full: bool = False,
    progress: Progress | None = None,
) -> SyncResult:
    """Bring the records of one sync up to date, for the given attributes (default: all of it).

    An attribute with too many invalid values is set aside: its share is measured on all the
    records that the sync keeps, so that one bad row in a small increment doesn't do that.

    Reads what has changed since the attributes' cursors, or everything: with `full`, without
    cursors, or when `full_every` has passed. A full read also finds deletions. Raises
    SourceError when the system can't be read whole, Conflict when another run was faster;
    in both cases the lake is as it was.
    """
    now = now.astimezone(UTC)
    declared = catalogue.systems[system].syncs[name]
    wanted = set(declared.attributes if attributes is None else attributes)
    landing = _Landing(
        catalogue,
        lake,
        lake.source(catalogue, system, name).pin(),
        system,
        name,
        tuple(a for a in declared.attributes if a in wanted),
        now,
    )
    cursors = Cursors(catalogue, declared, landing.chosen, landing.pinned)
    whole = full or _full_is_due(ledger, system, name, declared, now)
    since = None if whole else cursors.since()
    source = open_source(catalogue.systems[system], declared)
    mark = source.change_mark()
    if not whole and cursors.have_mark(mark) and _tells_of_every_change(landing, source, since):
        result = _unchanged(landing, ledger)
    else:
        request = ReadRequest(_fields(declared, landing.chosen), since)
        result = _read_and_commit(landing, source, request, cursors, mark, run_id, progress)
    ledger.record(
        SyncEntry(
            run_id=run_id,
            system=system,
            sync=name,
            covered_at=now,
            full=result.full,
            rows_read=result.rows_read,
            rows_changed=result.changed,
            rows_deleted=result.deleted,
            bad_records=result.bad_records,
            attributes=result.attributes,
        )
    )
    return result


@dataclass(frozen=True)
class _Landing:
    """What is landed, and where: one sync's chosen attributes, into its pinned table."""

    catalogue: Catalogue
    lake: Lake
    pinned: Pinned
    system: str
    name: str
    chosen: tuple[str, ...]
    now: datetime

    @property
    def declared(self) -> Sync:
        return self.catalogue.systems[self.system].syncs[self.name]


def _unchanged(landing: _Landing, ledger: Ledger) -> SyncResult:
    """Nothing was read; what lies in quarantine is still there."""
    before = ledger.latest_of(landing.system)
    entries = {
        a: AttributeEntry(in_quarantine=before[a].in_quarantine)
        if a in before
        else AttributeEntry()
        for a in landing.chosen
    }
    return SyncResult(landing.system, landing.name, full=False, attributes=entries)


def _read_and_commit(
    landing: _Landing,
    source: Source,
    request: ReadRequest,
    cursors: Cursors,
    mark: str | None,
    run_id: str,
    progress: Progress | None,
) -> SyncResult:
    from profile_pipelines.validation.records import RecordValidator

    catalogue, lake, pinned = landing.catalogue, landing.lake, landing.pinned
    known, last_id = _known(lake, pinned)
    last_id = max(last_id, record_block(landing.system, landing.name))
    validator = RecordValidator(catalogue, landing.declared, landing.chosen, landing.now)
    findings = validator.findings
    with Spool(incoming_schema(pinned.table.schema, landing.chosen)) as spool:
        for table in _gathered(source.read(request), progress):
            spool.add(validator.validate(table))
        records = max(spool.rows, known)
        set_aside = {
            a
            for a in landing.chosen
            if findings.invalid(a) > catalogue.attributes[a].max_invalid * records
        }
        brought = [a for a in landing.chosen if a not in set_aside]
        rows = _difference(landing, spool, brought, last_id, absent=request.since is None)
        state = cursors.after(brought, mark, findings.latest)
        committed = pinned.commit(lake.engine, rows, now=landing.now, run_id=run_id, state=state)
    changed, deleted = _count(lake, committed)
    quarantined = quarantined_by_attribute(lake, pinned.table.pin())
    return SyncResult(
        landing.system,
        landing.name,
        request.since is None,
        findings.rows,
        changed,
        deleted,
        findings.bad_records,
        {
            a: AttributeEntry(
                findings.values.get(a, 0),
                findings.invalid(a),
                findings.reasons.get(a, {}),
                a in set_aside,
                quarantined.get(a, 0),
            )
            for a in landing.chosen
        },
    )


def _gathered(batches: Iterable[pa.RecordBatch], progress: Progress | None) -> Iterator[pa.Table]:
    """The rows of many batches together: a small table costs as much to validate as a large one.

    Every batch is told to `progress` as it comes.
    """
    total, gathered = 0, list[pa.RecordBatch]()
    for batch in batches:
        total += batch.num_rows
        gathered.append(batch)
        if progress is not None:
            progress(total)
        if sum(each.num_rows for each in gathered) >= _VALIDATED_AT_ONCE:
            yield pa.Table.from_batches(gathered)
            gathered = []
    if gathered:
        yield pa.Table.from_batches(gathered)


def _difference(
    landing: _Landing, spool: Spool, brought: Sequence[str], last_id: int, *, absent: bool
) -> Rows:
    incoming = {"incoming": spool.relation()}
    pinned = landing.pinned
    schema = pinned.table.schema
    known = pinned.current(schema.names, "state") if pinned.exists else None
    select = changed_records(
        schema,
        [f"id_{identifier}" for identifier in landing.declared.identifiers],
        brought,
        known,
        read=landing.chosen,
        now=landing.now,
        next_record_id=last_id + 1,
        duplicates=spool.may_repeat_keys(),
        absent_are_deleted=absent,
    )
    return Rows(select, {**incoming, **(known.relations if known else {})})


def _tells_of_every_change(landing: _Landing, source: Source, since: datetime | None) -> bool:
    """Whether a source whose mark is as it was can be taken as unchanged.

    A mark of files tells of every change. That of a database counts records and compares the
    newest times, which is enough only where records bear the time of their change.
    """
    if landing.catalogue.systems[landing.system].connection.type == "files":
        return True
    return since is not None and source.has_newer(since) is False


def _known(lake: Lake, pinned: Pinned) -> tuple[int, int]:
    """How many records are known, and the greatest number given to one."""
    if not pinned.exists:
        return 0, 0
    rows = pinned.current(["record_id"], "state")
    totals = exp.select(
        exp.alias_(exp.Count(this=exp.Star()), "records"),
        exp.alias_(
            exp.func("COALESCE", exp.Max(this=column("record_id", "r")), literal(0)), "last"
        ),
    ).from_(rows.sql.subquery("r"))
    found = lake.engine.rows(totals, rows.relations)[0]
    return found["records"], found["last"]


def _full_is_due(ledger: Ledger, system: str, name: str, declared: Sync, now: datetime) -> bool:
    if declared.full_every is None:
        return False
    last = ledger.last_full(system, name)
    return last is None or now - last >= declared.full_every


def _fields(declared: Sync, chosen: Sequence[str]) -> tuple[str, ...]:
    optional = (declared.key, declared.updated_at, declared.deleted)
    return tuple(
        dict.fromkeys(
            [
                *declared.identifiers.values(),
                *(path for path in optional if path is not None),
                *(declared.attributes[attribute].field for attribute in chosen),
            ]
        )
    )


def _count(lake: Lake, committed: Rows | None) -> tuple[int, int]:
    """New or changed records, and deletions."""
    if committed is None:
        return 0, 0
    counts = exp.select(
        exp.alias_(exp.Count(this=exp.Star()), "rows"),
        exp.alias_(exp.CountIf(this=column("deleted", "c")), "deleted"),
    ).from_(committed.sql.subquery("c"))
    found = lake.engine.rows(counts, committed.relations)[0]
    return found["rows"] - int(found["deleted"]), int(found["deleted"])
