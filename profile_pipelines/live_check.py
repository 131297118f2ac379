"""Compares a catalogue with the systems that it names: reachable, fields, types, values, matches.

Reads a bounded sample of each sync and writes nothing. Values leave this module only masked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime

import polars as pl
import pyarrow as pa

from profile_pipelines.catalog.connections import RestConnection
from profile_pipelines.catalog.field_paths import split_path
from profile_pipelines.catalog.mapped_fields import MappedField
from profile_pipelines.catalog.mistakes import in_words
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.plan import is_incremental, number_fields
from profile_pipelines.catalog.secrets import is_set, variables_of
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.errors import LakeError, MissingField, SourceError, SourceUnreachable
from profile_pipelines.lake import Lake, Pinned
from profile_pipelines.landing.children import children_catalogue, children_table
from profile_pipelines.landing.counted import records_left_out
from profile_pipelines.landing.drift import drift, told_fields
from profile_pipelines.landing.result import about_files, about_keys, about_left_out
from profile_pipelines.live_report import LiveField, LiveReport, LiveSync, MatchRate, Role
from profile_pipelines.masking import FLAGS, mask
from profile_pipelines.sources import ReadRequest, Source, open_limited
from profile_pipelines.sources.reading import near
from profile_pipelines.validation.cells import as_text, meaningful
from profile_pipelines.validation.records import RecordValidator

SAMPLE = 5_000
"""Records that are read of each sync unless told otherwise."""
FAIR_NUMBER = 10
"""So many values on both sides make it no accident that none of them is the same."""
_SHOWN = 3
_UNREAD_AS = {"key": "record_key"}

Progress = Callable[[str, str], None]
"""Called with the system and the sync that come next."""


def check_live(
    catalogue: Catalogue,
    *,
    now: datetime,
    sample: int | None = SAMPLE,
    lake: Lake | None = None,
    progress: Progress | None = None,
) -> LiveReport:
    """Read the first `sample` records (None: all) of every sync and report what is there.

    A system that can't be read is reported, not raised. Where environment variables are missing
    that the systems need, all of them are told and nothing is read. The `lake` knows the fields
    last seen.
    """
    unset, later = _unset_variables(catalogue)
    if unset:
        return LiveReport([], [], unset, later)
    syncs: list[LiveSync] = []
    found: dict[tuple[str, str], list[pl.Series]] = {}
    for system, declared in catalogue.systems.items():
        for name in declared.syncs:
            if progress is not None:
                progress(system, name)
            last = None if lake is None else _last_sync(lake, catalogue, system, name)
            seen = None if last is None else last.state.get("fields")
            check = _SyncCheck(catalogue, system, name, now, sample, seen)
            if last is not None and is_incremental(declared.syncs[name]):
                check.report.late = about_left_out(records_left_out(last))
            syncs.append(check.run())
            for identifier, values in check.identifiers.items():
                found.setdefault((identifier, system), []).extend(values)
    values = {key: pl.concat(series).drop_nulls().unique() for key, series in found.items()}
    whole = {
        system: all(each.whole for each in syncs if each.system == system)
        for system in catalogue.systems
    }
    return LiveReport(syncs, list(_match_rates(catalogue, values, whole)), (), later)


def _unset_variables(catalogue: Catalogue) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A line for each variable that isn't set: those that reading the systems needs, and others."""
    needed: dict[str, list[str]] = {}
    later: dict[str, list[str]] = {}
    for system, declared in catalogue.systems.items():
        for name, place in variables_of(declared, system):
            is_later = place.startswith(f"{system}.webhook.")
            (later if is_later else needed).setdefault(name, []).append(place)
    others = {"channel": catalogue.channels, "destination": catalogue.destinations}
    for kind, each in others.items():
        for named, declared in each.items():
            for name, place in variables_of(declared, f"{kind} {named}"):
                later.setdefault(name, []).append(place)
    lines = [
        tuple(
            f"the environment variable {name} isn't set, which {places[0]} reads: set it where "
            "this command runs"
            for name, places in found.items()
            if not is_set(name) and not (found is later and name in needed)
        )
        for found in (needed, later)
    ]
    return lines[0], lines[1]


class _SyncCheck:
    """Reads one sync's sample; `identifiers` collects its normalised values."""

    def __init__(
        self,
        catalogue: Catalogue,
        system: str,
        name: str,
        now: datetime,
        sample: int | None,
        seen: Mapping[str, str] | None,
    ) -> None:
        if catalogue.systems[system].syncs[name].is_aggregating:
            catalogue = children_catalogue(catalogue, system, name)
        self.catalogue = catalogue
        self.declared = catalogue.systems[system]
        self.sync = self.declared.syncs[name]
        self.now = now
        self.sample = sample
        self.seen = seen
        self.report = LiveSync(system, name)
        self.identifiers: dict[str, list[pl.Series]] = {}
        self._unique: dict[str, list[pl.DataFrame]] = {}
        self._filled: dict[str, int] = {}
        self._samples: dict[str, dict[str, None]] = {}
        self._keys: list[pl.Series] = []

    def run(self) -> LiveSync:
        try:
            self._read()
        except SourceError as error:
            self.report.problem = str(error)
            self.report.unreachable = isinstance(error, SourceUnreachable)
        return self.report

    def _read(self) -> None:
        source = open_limited(self.declared, self.sync)
        types = source.inspect()
        if self.seen is not None:
            self.report.drift = drift(self.seen, told_fields(self.declared, source))
        # an API leaves out what a record hasn't got: only the sample can tell
        sparse = isinstance(self.declared.connection, RestConnection)
        fields = [
            LiveField(role, name, path, path in types, types.get(path))
            for role, name, path in _mapped(self.sync)
        ]
        self.report.fields = fields
        readable = [f for f in fields if sparse or split_path(f.field, types) is not None]
        wanted = tuple(dict.fromkeys(f.field for f in readable))
        validator = self._sampled(source, wanted)
        self.report.dialects = about_files(getattr(source, "dialects", {}))
        if self.sample is not None and self.report.records > self.sample:
            self.report.records, self.report.whole = self.sample, False
        # an API's fields, and those of JSON, are what the records have
        self.report.empty = not types and not self.report.records
        self._conclude_keys()
        for each in fields:
            self._conclude(each, validator)
            if not each.exists:
                untold = (sparse and each.role == "deleted") or self.report.empty
                each.exists = bool(each.filled) or (None if untold else False)
            each.hint = near(each.field, types) if each.exists is False else ""

    def _sampled(self, source: Source, wanted: tuple[str, ...]) -> RecordValidator | None:
        """Look at the sample's fields, without those that turn out not to be there."""
        self.report.records = 0
        for collected in (self.identifiers, self._unique, self._filled, self._samples, self._keys):
            collected.clear()
        validator = self._validator(wanted)
        numbers = number_fields(self.catalogue, self.sync)
        request = ReadRequest(wanted, limit=self._limit, numbers=numbers)
        try:
            for batch in source.read(request) if wanted else ():
                left = None if self._limit is None else self._limit - self.report.records
                self._look(batch.slice(0, left), wanted, validator)
                if self.report.records == self._limit:
                    break
        except MissingField as error:
            if error.field not in wanted:
                raise
            return self._sampled(source, tuple(f for f in wanted if f != error.field))
        return validator

    @property
    def _limit(self) -> int | None:
        """One record more than the sample tells whether there are more."""
        return None if self.sample is None else self.sample + 1

    def _validator(self, wanted: tuple[str, ...]) -> RecordValidator | None:
        sync = self.sync
        identifiers = {n: each for n, each in sync.identifiers.items() if _all(each, wanted)}
        if not identifiers:
            return None
        optional = {
            key: each if each is not None and _all(each, wanted) else None
            for key, each in (
                ("key", sync.key),
                ("updated_at", sync.updated_at),
                ("deleted", sync.deleted),
            )
        }
        readable = sync.model_copy(update={"identifiers": identifiers, **optional})
        attributes = [name for name, each in sync.attributes.items() if _all(each, wanted)]
        zone = self.declared.zone_of(readable)
        return RecordValidator(self.catalogue, readable, attributes, self.now, zone)

    def _look(
        self, batch: pa.RecordBatch, wanted: Sequence[str], validator: RecordValidator | None
    ) -> None:
        frame = pl.from_arrow(batch)
        assert isinstance(frame, pl.DataFrame)
        self.report.records += len(frame)
        for path in wanted:
            there = meaningful(frame[path]).drop_nulls()
            self._filled[path] = self._filled.get(path, 0) + len(there)
            shown = self._samples.setdefault(path, {})
            if len(shown) < _SHOWN:
                texts = as_text(there.head(1000)).drop_nulls().unique(maintain_order=True)
                shown.update(dict.fromkeys(texts.head(_SHOWN).to_list()))
        if validator is not None and len(frame):
            records = validator.validate(batch)
            self._keys.append(records["record_key"].hash())
            for name in self.sync.identifiers:
                if f"id_{name}" in records.columns:
                    self.identifiers.setdefault(name, []).append(records[f"id_{name}"])
            for name in self.sync.attributes:
                if name in records.columns and self.catalogue.attributes[name].valid.unique:
                    found = records.select("record_key", value=name)
                    self._unique.setdefault(name, []).append(found)

    def _conclude_keys(self) -> None:
        """As far as there is a key to tell of."""
        keys = self.sync.key
        if self._keys and (keys is None or _all(keys, self._filled)):
            hashes = pl.concat(self._keys)
            self.report.repeated = len(hashes) - hashes.n_unique()
            self.report.keys = about_keys(self.report.repeated, len(hashes))

    def _conclude(self, each: LiveField, validator: RecordValidator | None) -> None:
        filled = self._filled.get(each.field)
        if filled is None or not self.report.records:
            return
        each.filled = min(1.0, filled / self.report.records)
        known = FLAGS if each.role == "deleted" else frozenset[str]()
        if each.role == "attribute":
            declared = self.catalogue.attributes[each.name]
            known = frozenset(map(str, declared.valid.in_ or ()))
            known = FLAGS if declared.type == "boolean" else known
            each.invalid = validator.findings.invalid(each.name) if validator else 0
            each.invalid += _shared(self._unique.get(each.name, []))
        elif each.role == "identifier":
            usable = sum(len(s) - s.null_count() for s in self.identifiers.get(each.name, ()))
            each.invalid = max(0, filled - usable)
        elif validator is not None:
            unread = validator.findings.unread
            each.invalid = sum(unread.get(_UNREAD_AS.get(each.role, each.role), {}).values())
        each.problem = self._problem(each, filled)
        texts = list(self._samples[each.field])[:_SHOWN]
        each.samples = tuple(mask(text, known) for text in texts)

    def _problem(self, each: LiveField, filled: int) -> str:
        """Why the mapping can't work, as a run would find."""
        records = self.report.records
        parts = [f.field for f in self.report.fields if (f.role, f.name) == (each.role, each.name)]
        # what an API says with every record, if only as null, is there to be filled one day
        may_be_empty = each.role == "deleted" or (
            each.role == "attribute"
            and isinstance(self.declared.connection, RestConnection)
            and each.exists
        )
        if not any(map(self._filled.get, parts)) and not may_be_empty:
            of = "the" if self.report.whole else "the first"
            return f"none of {of} {records:,} records has a value in {each.field}"
        if each.role == "attribute":
            limit = self.catalogue.attributes[each.name].max_invalid
            if each.invalid > limit * records:
                return (
                    f"{each.invalid:,} of {records:,} records have a value that the rules refuse "
                    f"(max_invalid: {limit * 100:.4g}%), so that a run would set it aside"
                )
        elif filled and each.invalid >= filled:
            return f"not one of the {filled:,} values in {each.field} can be used"
        return ""


def _last_sync(lake: Lake, catalogue: Catalogue, system: str, sync: str) -> Pinned | None:
    """What the last sync left; None also for a table of other types than are declared: the next
    sync will tell that."""
    try:
        if catalogue.systems[system].syncs[sync].is_aggregating:
            return children_table(catalogue, lake, system, sync).pin()
        return lake.source(catalogue, system, sync).pin()
    except LakeError:
        return None


def _shared(found: Sequence[pl.DataFrame]) -> int:
    """How many values other records of the sample have, too."""
    if not found:
        return 0
    values = pl.concat(found).drop_nulls()
    return values.filter(pl.col("record_key").n_unique().over("value") > 1).height


def _mapped(sync: Sync) -> Iterator[tuple[Role, str, str]]:
    """All that is read; of what is joined, each part."""
    controls: tuple[tuple[Role, MappedField | None], ...] = (
        ("key", sync.key),
        ("updated_at", sync.updated_at),
        ("deleted", sync.deleted),
    )
    mapped: list[tuple[Role, str, MappedField]] = [
        *(("identifier", name, each) for name, each in sync.identifiers.items()),
        *(("attribute", name, each) for name, each in sync.attributes.items()),
        *((role, role, each) for role, each in controls if each is not None),
    ]
    for role, name, each in mapped:
        for path in each.reads:
            yield role, name, path


def _all(field: MappedField, there: Collection[str]) -> bool:
    return all(path in there for path in field.reads)


def _match_rates(
    catalogue: Catalogue,
    values: dict[tuple[str, str], pl.Series],
    whole: Mapping[str, bool],
) -> Iterator[MatchRate]:
    for identifier in catalogue.identifiers:
        systems = [s for s in catalogue.systems if (identifier, s) in values]
        for system in systems:
            own = values[identifier, system]
            others = {s: values[identifier, s] for s in systems if s != system}
            rates = {s: _share(own, theirs) for s, theirs in others.items()}
            together = _share(own, pl.concat(others.values())) if others else None
            yield MatchRate(
                identifier,
                system,
                len(own),
                together,
                rates,
                _no_match(own, together, others, whole[system], whole),
            )


def _no_match(
    own: pl.Series,
    matched: float | None,
    others: Mapping[str, pl.Series],
    all_of_own: bool,
    whole: Mapping[str, bool],
) -> str:
    """Why nobody is joined, where that is no accident of few values or of two samples."""
    fair = {
        s: len(each)
        for s, each in others.items()
        if len(each) >= FAIR_NUMBER and (all_of_own or whole[s])
    }
    if matched != 0 or len(own) < FAIR_NUMBER or not fair:
        return ""
    theirs = in_words(f"{count:,} of {system}" for system, count in fair.items())
    return (
        f"not one of its {len(own):,} values is among the {theirs}; is it the same number there, "
        "in the same spelling?"
    )


def _share(own: pl.Series, theirs: pl.Series) -> float:
    return int(own.is_in(theirs.implode()).sum()) / len(own) if len(own) else 0.0
