"""One sync of a system: nothing is committed until the whole extraction has succeeded."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.lake import Lake
from profile_pipelines.landing.aggregating import land_aggregates
from profile_pipelines.landing.attempt import Attempt
from profile_pipelines.landing.cursors import moved
from profile_pipelines.landing.extraction import Landing, Progress
from profile_pipelines.landing.result import SyncResult
from profile_pipelines.landing.tombstone_ends import end_tombstones
from profile_pipelines.ledger import WHOLE_SYNC, Ledger, SyncEntry


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

    An attribute is set aside when too many of its values are invalid (measured on all the records
    that the sync keeps, so that one bad row in a small increment doesn't do that), would be
    emptied or changed, or when the source hasn't got its field any more. All of the sync is set
    aside when it would delete too many records, or when its source went back in time. What was
    approved meanwhile is let through (docs/adr/0007).

    People whose tombstones end by now are let in again, for which the sync may be read whole.

    When the sync's records are declared to be others than are stored, or to have other keys or
    identifiers, all of its attributes are read, whole.

    Reads what has changed since the attributes' cursors, or everything: with `full`, without
    cursors, when `full_every` has passed, or when what was set aside had been read whole; or the
    records that the system's event log names, unless it no longer reaches back to the cursors. A
    full read also finds deletions. Raises SourceError when the system can't be read whole, Conflict
    when another run was faster; in both cases the lake is as it was.
    """
    declared = catalogue.systems[system].syncs[name]
    end_tombstones(catalogue, ledger, now=now)
    pinned = lake.source(catalogue, system, name).pin()
    together = attributes is None or moved(catalogue, system, name, pinned)
    wanted = set(declared.attributes if together else attributes or ())
    landing = Landing(
        catalogue,
        lake,
        pinned,
        system,
        name,
        tuple(a for a in declared.attributes if a in wanted),
        # a run that began before the last commit reads after it all the same
        max(now.astimezone(UTC), pinned.committed_at or now),
        run_id,
    )
    waiting = [
        each
        for each in ledger.set_asides.open(system, name)
        if each.attribute in wanted or each.attribute == WHOLE_SYNC
    ]
    if declared.is_aggregating:
        result = land_aggregates(landing, ledger, waiting, asked_full=full, progress=progress)
    else:
        result = Attempt(landing, ledger, waiting, asked_full=full, progress=progress).result()
    ledger.record(
        SyncEntry(
            run_id=run_id,
            system=system,
            sync=name,
            covered_at=landing.now,
            full=result.full,
            rows_read=result.rows_read,
            rows_changed=result.changed,
            rows_deleted=result.deleted,
            bad_records=result.bad_records,
            attributes=result.attributes,
            set_aside=result.set_aside,
        )
    )
    return result
