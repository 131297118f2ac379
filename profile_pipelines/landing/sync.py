"""One sync of a system: nothing is committed until the whole extraction has succeeded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, overload

from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue, Sync
from profile_pipelines.engine.sql import column, literal
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.lake.lake import record_block
from profile_pipelines.lake.table import Rows
from profile_pipelines.landing.difference import (
    changed_records,
    duplicate_keys,
    incoming_schema,
)
from profile_pipelines.landing.spool import Spool
from profile_pipelines.ledger import Ledger, SyncEntry
from profile_pipelines.ledger.ledger import AttributeEntry
from profile_pipelines.sources import ReadRequest, Source, open_source

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

    Reads what has changed since the attributes' cursors, or everything: with `full`, without
    cursors, or when `full_every` has passed. A full read also finds deletions. Raises
    SourceError when the system can't be read whole, Conflict when another run was faster;
    in both cases the lake is as it was.
    """
    now = now.astimezone(UTC)
    declared = catalogue.systems[system].syncs[name]
    chosen = [a for a in declared.attributes if attributes is None or a in set(attributes)]
    pinned = lake.source(catalogue, system, name).pin()
    cursors: dict[str, Any] = pinned.state.get("cursors", {})
    fingerprints = {a: _mapping_fingerprint(catalogue, declared, a) for a in chosen}
    since = _since(declared, chosen, cursors, fingerprints)
    whole = full or _full_is_due(ledger, system, name, declared, now)
    source = open_source(catalogue.systems[system], declared)
    mark = _digest(source.change_mark())
    request = ReadRequest(_fields(declared, chosen), None if whole else since)
    known = [cursors.get(a, {}) for a in chosen]
    same = mark is not None and all(
        cursor.get("mark") == mark and cursor["mapping"] == fingerprints[a]
        for a, cursor in zip(chosen, known, strict=True)
    )
    if same and not whole and _nothing_newer(catalogue, system, source, since):
        result = SyncResult(system, name, False, attributes={a: AttributeEntry() for a in chosen})
    else:
        result = _read_and_commit(
            catalogue, lake, pinned, source, request, chosen, fingerprints, mark,
            system, name, now, run_id, progress,
        )  # fmt: skip
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


def _read_and_commit(
    catalogue: Catalogue,
    lake: Lake,
    pinned: Pinned,
    source: Source,
    request: ReadRequest,
    chosen: Sequence[str],
    fingerprints: dict[str, str],
    mark: str | None,
    system: str,
    name: str,
    now: datetime,
    run_id: str,
    progress: Progress | None,
) -> SyncResult:
    from profile_pipelines.validation.records import RecordValidator

    declared = catalogue.systems[system].syncs[name]
    schema = pinned.table.schema
    known, last_id = _known(lake, pinned)
    last_id = max(last_id, record_block(system, name))
    validator = RecordValidator(catalogue, declared, chosen, now)
    findings = validator.findings
    with Spool(incoming_schema(schema, chosen)) as spool:
        for batch in source.read(request):
            if batch.num_rows:
                spool.add(validator.validate(batch))
            if progress is not None:
                progress(spool.rows)
        entries = {
            a: AttributeEntry(
                findings.values.get(a, 0),
                findings.invalid(a),
                findings.reasons.get(a, {}),
                _too_many_invalid(catalogue, findings.invalid(a), a, max(spool.rows, known)),
            )
            for a in chosen
        }
        brought = [a for a in chosen if not entries[a].set_aside]
        rows = _difference(
            lake, pinned, spool, declared, chosen, brought, last_id, now, request.since is None
        )
        state = _next_state(pinned, brought, fingerprints, mark, findings.latest)
        committed = pinned.commit(lake.engine, rows, now=now, run_id=run_id, state=state)
    changed, deleted = _count(lake, committed)
    return SyncResult(
        system,
        name,
        request.since is None,
        findings.rows,
        changed,
        deleted,
        findings.bad_records,
        entries,
    )


def _difference(
    lake: Lake,
    pinned: Pinned,
    spool: Spool,
    declared: Sync,
    read: Sequence[str],
    brought: Sequence[str],
    last_id: int,
    now: datetime,
    full: bool,
) -> Rows:
    incoming = {"incoming": spool.relation()}
    repeated = lake.engine.rows(duplicate_keys(), incoming)[0]["n"]
    schema = pinned.table.schema
    known = pinned.current(schema.names, "state") if pinned.exists else None
    select = changed_records(
        schema,
        [f"id_{identifier}" for identifier in declared.identifiers],
        brought,
        known,
        read=read,
        now=now,
        next_record_id=last_id + 1,
        duplicates=bool(repeated),
        absent_are_deleted=full,
    )
    return Rows(select, {**incoming, **(known.relations if known else {})})


def _next_state(
    pinned: Pinned,
    brought: Sequence[str],
    fingerprints: dict[str, str],
    mark: str | None,
    latest: datetime | None,
) -> dict[str, Any]:
    """The state that is committed with the data: each attribute's cursor.

    A cursor has the `mapping` that was read, the source's `mark` before it was read, and the
    newest time of a record, `at`. Those of attributes that are no longer declared go: nobody
    reads on from there.
    """
    declared = set(pinned.table.schema.names)
    cursors = {a: c for a, c in pinned.state.get("cursors", {}).items() if a in declared}
    for attribute in brought:
        known = cursors.get(attribute, {})
        at = None if latest is None else latest.isoformat()
        if known.get("mapping") == fingerprints[attribute] and known["at"] is not None:
            at = known["at"] if at is None else max(at, known["at"])
        cursors[attribute] = {"mapping": fingerprints[attribute], "at": at, "mark": mark}
    return {"cursors": cursors}


def _nothing_newer(
    catalogue: Catalogue, system: str, source: Source, since: datetime | None
) -> bool:
    """Whether a source whose mark is as it was can be taken as unchanged.

    A mark of files tells of every change. That of a database counts records and compares the
    newest times, which is enough only where records bear the time of their change.
    """
    if catalogue.systems[system].connection.type == "files":
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


def _since(
    declared: Sync,
    chosen: Sequence[str],
    cursors: dict[str, Any],
    fingerprints: dict[str, str],
) -> datetime | None:
    """The oldest cursor of the chosen attributes; None when one of them has to be read whole."""
    if declared.updated_at is None or declared.mode == "full" or not chosen:
        return None
    found: list[datetime] = []
    for attribute in chosen:
        cursor = cursors.get(attribute)
        if cursor is None or cursor["mapping"] != fingerprints[attribute] or not cursor["at"]:
            return None
        found.append(datetime.fromisoformat(cursor["at"]))
    return min(found)


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


def _mapping_fingerprint(catalogue: Catalogue, declared: Sync, attribute: str) -> str:
    """Changes when the attribute has to be read anew: other records, field, type or rules."""
    spec = catalogue.attributes[attribute]
    parts = {
        "field": declared.attributes[attribute].field,
        "type": spec.type,
        "valid": spec.valid.model_dump(mode="json"),
        "timezone": catalogue.settings.timezone,
        "origin": declared.model_dump(
            mode="json",
            include={"table", "query", "path", "params", "records", "key", "updated_at", "deleted"},
        ),
        "identifiers": {
            name: [path, catalogue.identifiers[name].model_dump(mode="json")]
            for name, path in declared.identifiers.items()
        },
    }
    return _digest(json.dumps(parts, sort_keys=True, default=str))


@overload
def _digest(text: str) -> str: ...
@overload
def _digest(text: None) -> None: ...
def _digest(text: str | None) -> str | None:
    """Short, and without anything of the text itself: it stands in the table's metadata."""
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()[:16]


def _too_many_invalid(catalogue: Catalogue, invalid: int, attribute: str, records: int) -> bool:
    """Measured on all the records that the sync keeps, so that one bad row in a small increment
    is quarantined and doesn't set the attribute aside."""
    return invalid > catalogue.attributes[attribute].max_invalid * records


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
