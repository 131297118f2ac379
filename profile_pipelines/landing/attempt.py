"""One attempt at a sync, from its source to the commit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from profile_pipelines.catalog.plan import number_fields
from profile_pipelines.errors import MissingField, SourceError, TokenForgotten
from profile_pipelines.lake.lake import LAST_RECORD, RECORDS
from profile_pipelines.landing import drift
from profile_pipelines.landing.barred import Barred, record_kind
from profile_pipelines.landing.counted import COUNTED, counted, records_left_out
from profile_pipelines.landing.cursors import Cursors
from profile_pipelines.landing.deleted_list import RESUME, gone_by_list, read_list
from profile_pipelines.landing.extraction import (
    Landing,
    Progress,
    gone_of,
    known_records,
    read,
)
from profile_pipelines.landing.guard import (
    Guard,
    Known,
    known_at_least,
)
from profile_pipelines.landing.holding import Holding
from profile_pipelines.landing.quarantine import quarantined_by_attribute
from profile_pipelines.landing.recent import RECENT, Recent
from profile_pipelines.landing.result import Reasons, SyncResult, about_files
from profile_pipelines.landing.spool import Spool
from profile_pipelines.landing.told import Told, told_since
from profile_pipelines.landing.unchanged import tells_of_every_change
from profile_pipelines.landing.unique import NOT_UNIQUE, marks
from profile_pipelines.ledger import WHOLE_SYNC, Excess, Ledger, SetAside
from profile_pipelines.ledger.ledger import AttributeEntry
from profile_pipelines.sources import ReadRequest, Source, open_limited
from profile_pipelines.sources.json_shape import kinds

if TYPE_CHECKING:
    import pyarrow as pa

    from profile_pipelines.engine import Written
    from profile_pipelines.sources.rest_deleted import Deleted
    from profile_pipelines.validation.records import Findings, RecordValidator


class Attempt:
    """One sync that is under way, from its source to the commit.

    Its three parts may be others than the catalogue's and the ledger's: `source`, which is read;
    `cursors`, which tell how far it was; and `covered`, the attributes whose coverage tells when.
    """

    def __init__(
        self,
        landing: Landing,
        ledger: Ledger,
        waiting: list[SetAside],
        *,
        asked_full: bool,
        progress: Progress | None = None,
        source: Source | None = None,
        cursors: Callable[[Landing], Cursors] | None = None,
        covered: Iterable[str] | None = None,
    ) -> None:
        self.landing = landing
        self.ledger = ledger
        self.cursors = cursors or _cursors
        self.covered = covered
        self.waiting = waiting
        self.asked_full = asked_full
        self.progress = progress
        self.absent: dict[str, Excess] = {}
        self.guard = Guard(landing.catalogue.attributes, landing.declared.max_deleted, waiting)
        self._place = record_kind(landing.system, landing.name)
        self._read_again = 0
        if source is None:
            register = ledger.erasures.tombstones
            self._read_again = register.to_read_again(self._place, self._attributes)
        self._tells_who_is_kept_out = source is None
        self.whole = (
            asked_full
            or self._read_again > 0
            or _full_is_due(ledger, landing)
            or any(each.full and each.excess.kind != "missing" for each in waiting)
        )
        declared = landing.declared
        self.source = source or open_limited(landing.catalogue.systems[landing.system], declared)

    @property
    def _attributes(self) -> tuple[str, ...]:
        """The attributes that are made of what is read."""
        return self.landing.chosen if self.covered is None else tuple(self.covered)

    def result(self) -> SyncResult:
        landing, source = self.landing, self.source
        fields = drift.told_fields(landing.catalogue.systems[landing.system], source)
        self.drift = drift.drift(landing.pinned.state.get("fields"), fields)
        self.fields = landing.pinned.state.get("fields") if fields is None else fields
        absent = self.absent = drift.missing(landing.declared, landing.chosen, fields)
        if len(absent) == len(landing.chosen):
            # nothing would be read then, which tells of the needed ones
            drift.check_needed(f"{landing.system}.{landing.name}", landing.needed, fields)
        self.told = self._told()
        self.mark = source.change_mark() if self.told is None else self.told.mark
        while True:
            present = tuple(a for a in landing.chosen if a not in absent)
            self.landing = replace(landing, chosen=present)
            try:
                found = self._unchanged() or self._read(whole=self.whole)
            except MissingField as error:
                lost = {
                    a: drift.no_field(error.field, source.inspect())
                    for a in present
                    if error.field in landing.declared.attributes[a].reads
                }
                if not lost or error.field in landing.needed:
                    raise
                absent |= lost
            else:
                return self._with_absent(found, absent)

    def _with_absent(self, found: SyncResult, absent: Mapping[str, Excess]) -> SyncResult:
        """The result with the attributes that are set aside since the source lacks their fields."""
        if not absent:
            return found
        quarantined = self._quarantined
        entries = {
            a: AttributeEntry(set_aside=True, in_quarantine=quarantined.get(a, 0)) for a in absent
        }
        return replace(
            found,
            attributes={**found.attributes, **entries},
            set_aside={**found.set_aside, **{a: (each,) for a, each in absent.items()}},
        )

    def _told(self) -> Told | None:
        """What the event log has told since the cursors; None where there is none to go by."""
        landing, log = self.landing, self.landing.declared.events
        cursors = self.cursors(landing)
        since = cursors.since()
        if log is None or self.whole or since is None:
            return None
        if landing.now - since > log.kept:
            self.whole = True
            return None
        return told_since(self.source, since, landing.declared.lateness)

    @property
    def _quarantined(self) -> Mapping[str, int]:
        return quarantined_by_attribute(self.landing.lake, self.landing.pinned.table.pin())

    @cached_property
    def _known(self) -> Known:
        return known_records(self.landing.lake, self.landing.pinned)

    def _came_again(
        self, cursors: Cursors, request: ReadRequest, recent: Recent, digest: str | None
    ) -> bool:
        """Whether an incremental read brought the very records that end the last one, no others.

        Not where more than them is to be judged: what was set aside waits, or values are compared
        with those of other records.
        """
        landing, oldest = self.landing, cursors.oldest()
        return (
            request.since is not None
            and (recent.oldest is None or recent.oldest >= request.since)
            and digest is not None
            and landing.pinned.state.get(RECENT) == digest
            and oldest is not None
            and oldest == cursors.newest()
            and not self.waiting
            and not any(landing.catalogue.attributes[a].valid.unique for a in landing.chosen)
        )

    def _unchanged(self) -> SyncResult | None:
        """What to say when the source is as it was, and isn't read; None when it may not be.

        What lies in quarantine is still there.
        """
        landing, system = self.landing, self.landing.system
        cursors = self.cursors(landing)
        if self.whole or self.drift or not cursors.have_mark(self.mark):
            return None
        covered = landing.chosen if self.covered is None else self.covered
        if self.told is None and not tells_of_every_change(
            landing, self.ledger, self.source, covered, cursors.oldest()
        ):
            return None
        before = self._quarantined_before()
        entries = {a: AttributeEntry(in_quarantine=before.get(a, 0)) for a in landing.chosen}
        left_out = records_left_out(landing.pinned)
        return SyncResult(system, landing.name, full=False, attributes=entries, left_out=left_out)

    def _quarantined_before(self) -> Mapping[str, int]:
        """What lay in quarantine after the last sync, by attribute."""
        latest = self.ledger.latest_of(self.landing.system)
        return {attribute: entry.in_quarantine for attribute, entry in latest.items()}

    def _read(self, *, whole: bool) -> SyncResult:
        from profile_pipelines.validation.records import RecordValidator

        landing = self.landing
        pinned, declared, chosen = landing.pinned, landing.declared, landing.chosen
        cursors = self.cursors(landing)
        told = None if whole else self.told
        keys = None if told is None else told.keys
        request = ReadRequest(
            landing.fields,
            None if whole else cursors.since(),
            keys=keys,
            known=cursors.files(),
            numbers=number_fields(landing.catalogue, declared),
        )
        validator = RecordValidator(landing.catalogue, declared, chosen, landing.now, landing.zone)
        findings, recent = validator.findings, Recent(declared.lateness)
        barred = Barred(self.ledger.erasures, landing.system, landing.name)
        with Spool(landing.spooled) as spool:
            # of a part, how much has changed can't be told
            expected = self._known.living if request.since is None else None
            expected = len(keys) if keys is not None else expected
            told_of = self.progress, expected or None
            try:
                listed = self._listed(request, keys)
            except TokenForgotten:
                # only all of the records tell which of them went meanwhile
                return self._read(whole=True)
            read(self.source, request, validator, spool, recent, barred, *told_of)
            shown, fields = drift.learned(self.fields, kinds(request.shape))
            newest, latest = cursors.newest(), findings.latest
            digest = recent.digest(latest)
            if declared.events is not None:
                # the log goes on where it was, or begins with the read of everything
                latest = landing.now if told is None else told.newest or newest
            behind = newest is not None and (latest is None or latest < newest)
            if behind and request.since is not None:
                # only all of it tells a source that was taken back from one whose newest went
                return self._read(whole=True)
            again = keys is None and self._came_again(cursors, request, recent, digest)
            if request.unplaced and cursors.rekeyed:
                raise SourceError(
                    f"{request.unplaced[0]}; since the sync's records have other keys than before, "
                    "every row is needed to know them again: correct it"
                )
            gone = self._gone(request, spool, listed, validator)
            again = again and not (gone is not None and gone.num_rows)
            written, held = None, Reasons()
            at_least: Mapping[str, int] = pinned.state.get("values", {})
            if not again:
                back = (newest, latest) if behind and newest and latest else None
                written, holding = self._compared(request, spool, findings, cursors, back, gone)
                held, at_least = holding.held, holding.at_least
            repeated = spool.repeated if request.since is None else 0
        rows, deleted = (0, 0) if written is None else landing.counts(written)
        count = counted(
            landing,
            self.mark,
            written,
            lambda: self._known,
            rows=findings.rows,
            barred=barred.kept_out,
            whole=request.since is None,
            repeated=repeated,
        )
        if WHOLE_SYNC not in held:
            state = {
                **cursors.after(
                    [a for a in chosen if a not in held],
                    self.mark,
                    latest,
                    request.files,
                    whole=request.since is None,
                ),
                "values": known_at_least(at_least, written, deleted, declared.attributes),
                "fields": fields,
                RECORDS: cursors.records(whole=request.since is None and keys is None),
                RECENT: None if held or keys is not None else digest,
            }
            if listed is not None and listed.resume is not None:
                state[RESUME] = listed.resume
            if count is not None:
                state[COUNTED] = count
            if LAST_RECORD in pinned.state:
                state[LAST_RECORD] = pinned.state[LAST_RECORD]
            pinned.commit_written(written, now=landing.now, state=state)
            self._note(barred, held, whole=request.since is None and keys is None)
        quarantined = self._quarantined_before() if again else self._quarantined
        return SyncResult(
            landing.system,
            landing.name,
            request.since is None,
            findings.rows,
            rows - deleted,
            deleted,
            findings.bad_records,
            {
                a: AttributeEntry(
                    findings.values.get(a, 0),
                    findings.invalid(a),
                    findings.reasons.get(a, {}),
                    a in held or WHOLE_SYNC in held,
                    quarantined.get(a, 0),
                )
                for a in chosen
            },
            held,
            (*self.drift, *shown),
            findings.ahead,
            repeated,
            findings.unread,
            0 if count is None else count["left_out"],
            about_files(getattr(self.source, "dialects", {})),
            barred.kept_out,
        )

    def _note(self, barred: Barred, held: Collection[str], *, whole: bool) -> None:
        """Keep who is still delivered, and that people who are let in again have been read."""
        if not self._tells_who_is_kept_out:
            return
        barred.note(whole=whole, now=self.landing.now)
        if whole and self._read_again:
            read = [a for a in self._attributes if a not in held]
            self.ledger.erasures.tombstones.was_read_again(self._place, read, self._read_again)

    def _listed(self, request: ReadRequest, keys: tuple[str, ...] | None) -> Deleted | None:
        """What the system lists as deleted; None where it isn't asked."""
        declared, since = self.landing.declared.deleted_list, request.since
        if declared is None or keys is not None or (since is None and declared.resume is None):
            return None
        known = None if since is None else self.landing.pinned.state.get(RESUME)
        return read_list(self.source, since, known)

    def _gone(
        self,
        request: ReadRequest,
        spool: Spool,
        listed: Deleted | None,
        validator: RecordValidator,
    ) -> pa.Table | None:
        """The records, as `record_key`, that a part of all records tells to be gone."""
        lake, pinned = self.landing.lake, self.landing.pinned
        if request.keys is not None:
            return gone_of(lake, spool, validator.keys(request.keys))
        if listed is None or request.since is None:
            return None
        return gone_by_list(lake, pinned, spool, listed, validator.keys)

    def _compared(
        self,
        request: ReadRequest,
        spool: Spool,
        findings: Findings,
        cursors: Cursors,
        back: tuple[datetime, datetime] | None,
        gone: pa.Table | None,
    ) -> tuple[Written | None, Holding]:
        """What of the spool is new or differs, and what is set aside.

        `back` are the newest times that were known and that a whole read shows now, where it
        went back.
        """
        landing, whole = self.landing, request.since is None
        lake, pinned, chosen = landing.lake, landing.pinned, landing.chosen
        attributes = {a: landing.catalogue.attributes[a] for a in chosen}
        # a record that didn't come may be one of those that can't be read
        absent = whole and not request.unplaced
        shared = marks(lake, pinned, attributes, spool, absent_are_deleted=absent, gone=gone)
        for a in chosen:
            findings.add(a, NOT_UNIQUE, shared.count(a))
        holding = Holding(
            landing, self.guard, self._known, moved=cursors.moved, rekeyed=cursors.rekeyed
        )
        holding.unusable(findings, request.seen, spool.rows)
        if cursors.rekeyed:
            holding.together(self.absent)
        if whole and not spool.rows:
            holding.vanished()
        elif back and not self.asked_full:
            holding.gone_back(spool, *back)
        return holding.written(spool, shared, absent=absent, gone=gone), holding


def _cursors(landing: Landing) -> Cursors:
    return Cursors(landing.catalogue, landing.system, landing.name, landing.chosen, landing.pinned)


def _full_is_due(ledger: Ledger, landing: Landing) -> bool:
    every = landing.declared.full_every
    if every is None:
        return False
    last = ledger.last_full(landing.system, landing.name)
    return last is None or landing.now - last >= every
