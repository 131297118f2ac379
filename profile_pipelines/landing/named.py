"""Reads the records that events named, and no others, and commits them.

Cursors and coverage stay as they are: an event verifies a record, not the attributes. Rows of
the inbox go after the commit, so that whatever dies in between is done again, to the same end.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.engine import Written
from profile_pipelines.engine.sql import column, named
from profile_pipelines.errors import SourceError
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.landing.aggregating import children_of, compute_customers
from profile_pipelines.landing.barred import Barred
from profile_pipelines.landing.cursors import moved
from profile_pipelines.landing.extraction import Landing, gone_of, known_records, write
from profile_pipelines.landing.guard import Guard, Known, count_losses, known_at_least
from profile_pipelines.landing.recent import RECENT
from profile_pipelines.landing.result import Reasons, SyncResult
from profile_pipelines.landing.spool import Spool
from profile_pipelines.landing.unique import NOT_UNIQUE, marks
from profile_pipelines.ledger import Excess, Ledger
from profile_pipelines.ledger.inbox import Waiting
from profile_pipelines.sources import ReadRequest, open_limited
from profile_pipelines.sources.json_columns import batches

if TYPE_CHECKING:
    import polars as pl

    from profile_pipelines.validation.records import Findings, RecordValidator

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
    set_aside: Reasons = field(default_factory=dict[str, tuple[Excess, ...]])
    kept_out: int = 0
    """Records of people who were erased."""


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

    Raises SourceError when the system can't be read, or when they would empty or delete more
    than may be (see docs/adr/0007), Conflict when another run was faster; the events then
    stay.
    """
    rows = ledger.inbox.waiting(system, name, AT_ONCE)
    if not rows:
        return NamedResult(system, name)
    declared = catalogue.systems[system].syncs[name]
    pinned = lake.source(catalogue, system, name).pin()
    if moved(catalogue, system, name, pinned):
        # what they name has another key by now, and is read with everything else
        return NamedResult(system, name)
    attributes = tuple(declared.attributes)
    landing = Landing(
        catalogue, lake, pinned, system, name, attributes, now.astimezone(UTC), run_id
    )
    records = children_of(landing) if declared.is_aggregating else landing
    last = {row.key: row for row in rows}
    gone = {key: row.at for key, row in last.items() if key is not None and row.gone}
    doubted = _doubted(records, rows)
    # of the one or the other only the system knows whether it was later
    late = _changed_since(records, gone) | (doubted & gone.keys())
    dated = records.declared.updated_at is not None
    carried = [
        row.record
        for row in rows
        if row.record is not None and row.key not in doubted and (dated or row.key not in gone)
    ]
    asked = [
        row.key
        for row in rows
        if row.key is not None and not row.gone and (row.record is None or row.key in doubted)
    ]
    if _can_be_asked(records):
        asked += late
    wanted = [key for key in dict.fromkeys(asked) if key not in gone or key in late]
    gone = {key: at for key, at in gone.items() if key not in late}
    findings, written, kept_out = _commit(records, ledger, carried, wanted, gone)
    if declared.is_aggregating:
        result = _compute(replace(landing, now=records.now), ledger, records.pinned)
        changed, deleted, set_aside = result.changed, result.deleted, result.set_aside
    else:
        rows_written, deleted = (0, 0) if written is None else landing.counts(written)
        changed, set_aside = rows_written - deleted, {}
    ledger.inbox.remove([row.number for row in rows])
    invalid = findings.bad_records + sum(map(findings.invalid, records.chosen))
    return NamedResult(
        system, name, len(rows), findings.rows, changed, deleted, invalid, set_aside, kept_out
    )


def _compute(customers: Landing, ledger: Ledger, children: Pinned) -> SyncResult:
    """Bring up to date the customers whose children moved.

    What is set aside of them waits for the next sync, which goes on where they are.
    """
    waiting = ledger.set_asides.open(customers.system, customers.name)
    result = compute_customers(customers, ledger, waiting, children.table.pin())
    approved = {each.attribute for each in waiting if each.approved_at is not None}
    used = approved & set(customers.chosen) - result.set_aside.keys()
    if used or result.set_aside:
        _note(customers, ledger, result.set_aside, used)
    return result


def _changed_since(landing: Landing, gone: Mapping[str, datetime]) -> set[str]:
    """Those of the keys whose records have changed since the event by which they were gone: they
    came back, and the event is late."""
    if not gone or not landing.pinned.exists or landing.declared.updated_at is None:
        return set()
    known = landing.pinned.current(["record_key", "updated_at", "deleted"], "k")
    select = (
        exp.select(column("key", "g"))
        .from_(known.sql.subquery("k"))
        .join(
            named("gone", "g"),
            on=exp.EQ(this=column("record_key", "g"), expression=column("record_key", "k")),
        )
        .where(exp.not_(column("deleted", "k")), column("updated_at", "k") > column("at", "g"))
    )
    table = pa.table(
        {
            "key": pa.array(gone, pa.string()),
            "record_key": pa.array(_validator(landing).keys(list(gone)), pa.string()),
            "at": pa.array(gone.values(), pa.timestamp("us", "UTC")),
        }
    )
    found = landing.lake.engine.query(select, {**known.relations, "gone": table})
    return set(found["key"].to_pylist())


def _can_be_asked(landing: Landing) -> bool:
    """Whether the system gives single records by their keys."""
    connection = landing.catalogue.systems[landing.system].connection.type
    return connection != "files" and (connection != "rest" or landing.declared.one is not None)


def _doubted(landing: Landing, rows: Sequence[Waiting]) -> set[str]:
    """The keys of carried records that were deleted before: are they there again, or old?

    Only the system itself can tell, so it is asked, where it can be.
    """
    carried = {row.key for row in rows if row.record is not None and row.key is not None}
    if not _can_be_asked(landing):
        return set()
    if not carried or not landing.pinned.exists:
        return carried & {row.key for row in rows if row.gone}
    known = landing.pinned.current(["record_key", "deleted"], "k")
    select = (
        exp.select(column("record_key", "k"))
        .from_(known.sql.subquery("k"))
        .join(
            named("carried", "c"),
            on=exp.EQ(this=column("record_key", "c"), expression=column("record_key", "k")),
            join_type="semi",
        )
        .where(column("deleted", "k"))
    )
    keys = pa.table({"record_key": pa.array(sorted(carried), pa.string())})
    found = landing.lake.engine.query(select, {**known.relations, "carried": keys})
    deleted = set(found["record_key"].to_pylist()) | {row.key for row in rows if row.gone}
    return carried & deleted


def _commit(
    landing: Landing,
    ledger: Ledger,
    carried: Sequence[str],
    asked: Sequence[str],
    gone: Mapping[str, datetime],
) -> tuple[Findings, Written | None, int]:
    catalogue, lake, pinned = landing.catalogue, landing.lake, landing.pinned
    attributes = landing.chosen
    validator = _validator(landing)
    ended = dict(zip(validator.keys(list(gone)), gone.values(), strict=True))
    barred = Barred(ledger.erasures, landing.system, landing.name)
    with Spool(landing.spooled) as spool:
        for batch in _batches(landing, carried, asked):
            frame = barred.without(validator.validate(pa.Table.from_batches([batch])))
            spool.add(_since_then(frame, ended))
        absent = gone_of(lake, spool, validator.keys(sorted({*gone, *asked})))
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
        used = _approvals_used(landing, ledger, written, known)
        state = {key: value for key, value in pinned.state.items() if key != "seq"}
        if written is not None:
            state.pop(RECENT, None)
            # every written row may be a deletion
            state["values"] = known_at_least(
                state.get("values", {}), written, written.rows, attributes
            )
        pinned.commit_written(written, now=landing.now, state=state)
        if used:
            _note(landing, ledger, {}, used)
        barred.note(whole=False, now=landing.now)
        return validator.findings, written, barred.kept_out


def _validator(landing: Landing) -> RecordValidator:
    from profile_pipelines.validation.records import RecordValidator

    return RecordValidator(
        landing.catalogue, landing.declared, landing.chosen, landing.now, landing.zone
    )


def _since_then(frame: pl.DataFrame, ended: Mapping[str | None, datetime]) -> pl.DataFrame:
    """The records without those that were gone after what is told of them."""
    if not ended:
        return frame
    stays = [
        key not in ended or (at is not None and at > ended[key])
        for key, at in frame.select("record_key", "updated_at").iter_rows()
    ]
    return frame.filter(stays)


def _approvals_used(
    landing: Landing, ledger: Ledger, written: Written | None, known: Known
) -> Collection[str]:
    """The attributes for which what was written needs an approval, and has it.

    Raises SourceError, and notes why, where it takes away more than may be.
    """
    pinned, attributes = landing.pinned, landing.catalogue.attributes
    waiting = ledger.set_asides.open(landing.system, landing.name)
    limits, most = (
        Guard(attributes, landing.declared.max_deleted, approved) for approved in ([], waiting)
    )
    at_least = pinned.state.get("values", {})
    if written is None or not limits.may_exceed(written, landing.chosen, known, at_least):
        return ()
    # to change values is what events are for; a withdrawn consent must not wait
    counted = count_losses(
        landing.lake, pinned, written, landing.chosen, landing.sets, identifiers=landing.identifiers
    )
    losses = replace(counted, changed=Counter())
    held = most.excesses(losses, landing.chosen, known)
    if not held:
        return limits.excesses(losses, landing.chosen, known).keys()
    pinned.discard(written)
    _note(landing, ledger, held, ())
    told = "; ".join(
        f"{attribute}: {each}" if attribute else str(each)
        for attribute, excesses in held.items()
        for each in excesses
    )
    raise SourceError(
        f"{landing.system}.{landing.name}: what events named isn't taken, and waits: {told}; if "
        f"that's right, profile-pipelines approve {landing.run_id} lets it through"
    )


def _note(
    landing: Landing, ledger: Ledger, held: Mapping[str, Sequence[Excess]], used: Iterable[str]
) -> None:
    ledger.set_asides.note(
        held,
        run_id=landing.run_id,
        system=landing.system,
        sync=landing.name,
        used=used,
        now=landing.now,
    )


def _batches(
    landing: Landing, carried: Sequence[str], asked: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """What was carried first: what the system itself says counts more where times are equal."""
    if carried:
        yield from batches([[json.loads(record) for record in carried]], landing.fields)
    if asked:
        source = open_limited(landing.catalogue.systems[landing.system], landing.declared)
        yield from source.read(ReadRequest(landing.fields, keys=tuple(asked)))
