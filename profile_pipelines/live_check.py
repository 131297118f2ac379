"""Compares a catalogue with the systems that it names: reachable, fields, types, values, matches.

Reads a bounded sample of each sync and writes nothing. Values leave this module only masked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

import polars as pl
import pyarrow as pa

from profile_pipelines.catalog.connections import RestConnection
from profile_pipelines.catalog.field_paths import is_nested
from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.errors import LakeError, SourceError, SourceUnreachable
from profile_pipelines.lake import Lake
from profile_pipelines.landing.children import children_catalogue, children_table
from profile_pipelines.landing.drift import drift, told_fields
from profile_pipelines.landing.result import about_keys
from profile_pipelines.live_report import LiveField, LiveReport, LiveSync, MatchRate, Role
from profile_pipelines.masking import FLAGS, mask
from profile_pipelines.sources import ReadRequest, open_source
from profile_pipelines.sources.reading import near
from profile_pipelines.validation.casts import as_text, blank_to_null
from profile_pipelines.validation.records import RecordValidator

SAMPLE = 5_000
"""Records that are read of each sync unless told otherwise."""
_SHOWN = 3

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

    A system that can't be read is reported, not raised. The `lake` knows the fields last seen.
    """
    syncs: list[LiveSync] = []
    found: dict[tuple[str, str], list[pl.Series]] = {}
    for system, declared in catalogue.systems.items():
        for name in declared.syncs:
            if progress is not None:
                progress(system, name)
            seen = None if lake is None else _fields_last_seen(lake, catalogue, system, name)
            check = _SyncCheck(catalogue, system, name, now, sample, seen)
            syncs.append(check.run())
            for identifier, values in check.identifiers.items():
                found.setdefault((identifier, system), []).extend(values)
    values = {key: pl.concat(series).drop_nulls().unique() for key, series in found.items()}
    return LiveReport(syncs, list(_match_rates(catalogue, values)))


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
        source = open_source(self.declared, self.sync)
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
        readable = [f for f in fields if f.exists or sparse or is_nested(f.field)]
        wanted = tuple(dict.fromkeys(f.field for f in readable))
        validator = self._validator(wanted)
        if wanted:
            for batch in source.read(ReadRequest(wanted, limit=self._limit)):
                left = None if self._limit is None else self._limit - self.report.records
                self._look(batch.slice(0, left), validator)
                if self.report.records == self._limit:
                    break
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

    @property
    def _limit(self) -> int | None:
        """One record more than the sample tells whether there are more."""
        return None if self.sample is None else self.sample + 1

    def _validator(self, wanted: tuple[str, ...]) -> RecordValidator | None:
        sync = self.sync
        identifiers = {name: path for name, path in sync.identifiers.items() if path in wanted}
        if not identifiers:
            return None
        optional = {
            key: path if path in wanted else None
            for key, path in (
                ("key", sync.key),
                ("updated_at", sync.updated_at),
                ("deleted", sync.deleted),
            )
        }
        readable = sync.model_copy(update={"identifiers": identifiers, **optional})
        attributes = [name for name, each in sync.attributes.items() if each.field in wanted]
        return RecordValidator(self.catalogue, readable, attributes, self.now)

    def _look(self, batch: pa.RecordBatch, validator: RecordValidator | None) -> None:
        frame = pl.from_arrow(batch)
        assert isinstance(frame, pl.DataFrame)
        self.report.records += len(frame)
        for path in frame.columns:
            there = blank_to_null(frame[path]).drop_nulls()
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
        if self._keys and (keys is None or keys in self._filled):
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
        texts = list(self._samples[each.field])[:_SHOWN]
        each.samples = tuple(mask(text, known) for text in texts)


def _fields_last_seen(
    lake: Lake, catalogue: Catalogue, system: str, sync: str
) -> Mapping[str, str] | None:
    """None also for a table of other types than are declared: the next sync will tell that."""
    try:
        if catalogue.systems[system].syncs[sync].is_aggregating:
            table = children_table(catalogue, lake, system, sync)
        else:
            table = lake.source(catalogue, system, sync)
        return table.pin().state.get("fields")
    except LakeError:
        return None


def _shared(found: Sequence[pl.DataFrame]) -> int:
    """How many values other records of the sample have, too."""
    if not found:
        return 0
    values = pl.concat(found).drop_nulls()
    return values.filter(pl.col("record_key").n_unique().over("value") > 1).height


def _mapped(sync: Sync) -> Iterator[tuple[Role, str, str]]:
    for name, path in sync.identifiers.items():
        yield "identifier", name, path
    for name, each in sync.attributes.items():
        yield "attribute", name, each.field
    if sync.key is not None:
        yield "key", "key", sync.key
    if sync.updated_at is not None:
        yield "updated_at", "updated_at", sync.updated_at
    if sync.deleted is not None:
        yield "deleted", "deleted", sync.deleted


def _match_rates(
    catalogue: Catalogue, values: dict[tuple[str, str], pl.Series]
) -> Iterator[MatchRate]:
    for identifier in catalogue.identifiers:
        systems = [s for s in catalogue.systems if (identifier, s) in values]
        for system in systems:
            own = values[identifier, system]
            others = {s: values[identifier, s] for s in systems if s != system}
            rates = {s: _share(own, theirs) for s, theirs in others.items()}
            together = _share(own, pl.concat(others.values())) if others else None
            yield MatchRate(identifier, system, len(own), together, rates)


def _share(own: pl.Series, theirs: pl.Series) -> float:
    return int(own.is_in(theirs.implode()).sum()) / len(own) if len(own) else 0.0
