"""From what a source delivers to clean records: bad cells nulled and quarantined, never lost.

A record in the lake's shape has `record_key`, one `id_<identifier>` per identifier,
`updated_at`, `deleted`, the attributes, and `quarantine`: a list of what failed, with the
value as the source gave it. A record without any usable identifier is quarantined whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl
import pyarrow as pa

from profile_pipelines.catalog.local_time import CLOCKS_DIFFER
from profile_pipelines.catalog.mapped_fields import further_column
from profile_pipelines.catalog.models import Attribute, Catalogue
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.validation.casts import POLARS_TYPES, cast, told
from profile_pipelines.validation.cells import as_text
from profile_pipelines.validation.controls import (
    Cells,
    Controls,
    Zones,
    not_in_future,
    read_cells,
)
from profile_pipelines.validation.joined import with_joined
from profile_pipelines.validation.times import why_unread

NO_IDENTIFIER = "no usable identifier"
UNREADABLE = "not readable as {type}"
QUARANTINE = pl.List(pl.Struct({"attribute": pl.String, "reason": pl.String, "value": pl.String}))

_ENTRY_COLUMNS = {
    "index": pl.UInt32,
    "attribute": pl.String,
    "reason": pl.String,
    "value": pl.String,
}


@dataclass
class Findings:
    """Counts over a whole sync; no values."""

    rows: int = 0
    bad_records: int = 0
    values: dict[str, int] = field(default_factory=dict[str, int])
    reasons: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    latest: datetime | None = None
    ahead: int = 0
    """Records whose time lies further in the future than clocks differ."""
    unread: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    """By control field (an identifier, `updated_at`, `deleted`, `record_key`) and reason: how many
    of its cells can't be read."""

    def add(self, attribute: str, reason: str, count: int) -> None:
        """Count values that failed for this reason."""
        if not count:
            return
        reasons = self.reasons.setdefault(attribute, {})
        reasons[reason] = reasons.get(reason, 0) + count

    def invalid(self, attribute: str) -> int:
        """How many values of the attribute failed."""
        return sum(self.reasons.get(attribute, {}).values())


class RecordValidator:
    """Validates the batches of one sync, for the attributes that the sync brings this time."""

    def __init__(
        self,
        catalogue: Catalogue,
        sync: Sync,
        attributes: Sequence[str],
        now: datetime,
        zone: str = "UTC",
    ) -> None:
        from profile_pipelines.validation.schema import compile_schema

        self.findings = Findings()
        self._sync = sync
        self._attributes: Mapping[str, Attribute] = {
            name: catalogue.attributes[name] for name in attributes
        }
        self._schema = compile_schema(self._attributes)
        self._now = now
        mapped = [*sync.controls, *(sync.attributes[name] for name in attributes)]
        self._joins = any(each.join for each in mapped)
        self._zones = Zones(catalogue.settings.timezone, zone)
        self._controls = Controls(sync, catalogue.identifiers, self._zones, now)

    def validate(self, table: pa.Table) -> pl.DataFrame:
        """Clean records for a batch of raw ones, whose columns bear the source's field paths."""
        raw = pl.from_arrow(table)
        assert isinstance(raw, pl.DataFrame)
        sync = self._sync
        if self._joins:
            raw = with_joined(raw, sync, self._attributes)
        identifiers = self._controls.identifiers(raw)
        updated_at, deleted = self._controls.updated_at(raw), self._controls.deleted(raw)
        keys = self._controls.keys(raw)
        columns = {f"id_{name}": each.values for name, each in identifiers.items()}
        for name, each in identifiers.items():
            if each.further is not None:
                columns[further_column(name)] = each.further
        columns["updated_at"] = self._times(updated_at, len(raw))
        columns["deleted"] = deleted.values

        cells = {n: read_cells(raw, sync.attributes[n], self._zones) for n in self._attributes}
        typed = pl.DataFrame([self._typed(name, each.values) for name, each in cells.items()])
        cells = {name: self._told(name, each, typed[name]) for name, each in cells.items()}
        record_keys = self._record_keys(raw, keys, pl.DataFrame(list(_named(columns))))
        bad = self._bad_cells(cells, typed)
        typed = self._as_sets(_null_bad_cells(typed, bad))
        # what a deleted record held is nobody's value any more
        gone = columns["deleted"].arg_true()
        bad = bad.filter(~pl.col("index").is_in(gone.implode()))
        columns.update({name: typed[name] for name in typed.columns})

        frame = pl.DataFrame(list(_named(columns)))
        unidentified = pl.all_horizontal(pl.col(f"id_{name}").is_null() for name in identifiers)
        whole = frame.select((unidentified & ~pl.col("deleted")).alias("bad"))["bad"]
        fields = {name: sync.attributes[name].field for name in self._attributes}
        entries = _entries(bad, {name: raw[field] for name, field in fields.items()})
        if whole.any():
            # Nothing of an unidentified record counts; all of it is kept in its quarantine.
            rows = whole.arg_true()
            entries = pl.concat(
                [entries.filter(~pl.col("index").is_in(rows.implode())), _whole_entries(raw, rows)]
            )
            frame = frame.with_columns(
                pl.when(~whole).then(pl.col(name)).alias(name) for name in self._attributes
            )
        controls = {**identifiers, "updated_at": updated_at, "deleted": deleted, "record_key": keys}
        unread = self._unread(raw, controls).filter(~pl.col("index").is_in(gone.implode()))
        self._count(frame["updated_at"], cells, bad, int(whole.sum()))
        quarantine = _quarantine(pl.concat([unread, entries]), len(frame))
        return frame.with_columns(record_keys, quarantine)

    def keys(self, written: Sequence[str]) -> list[str | None]:
        """Keys as events and lists write them, in the form that the records' own have."""
        if self._sync.key is None:
            return list(written)
        raw = pl.DataFrame({self._sync.key.field: pl.Series(written, dtype=pl.String)})
        cells = self._controls.keys(raw)
        return list(written) if cells is None else cells.values.to_list()

    def _as_sets(self, typed: pl.DataFrame) -> pl.DataFrame:
        """One form for all spellings of a set: a list's different entries, in order."""
        sets = [name for name, attribute in self._attributes.items() if attribute.is_set]
        return typed.with_columns(pl.col(name).list.unique().list.sort() for name in sets)

    def _times(self, cells: Cells | None, height: int) -> pl.Series:
        if cells is None:
            times = pl.Series("updated_at", [self._now], dtype=POLARS_TYPES["timestamp"])
            return times.new_from_index(0, height)
        self.findings.ahead += int((cells.values > self._now + CLOCKS_DIFFER).sum())
        return not_in_future(cells.values, self._now)

    def _told(self, name: str, cells: Cells, typed: pl.Series) -> Cells:
        return Cells(told(cells.values, typed, self._attributes[name].type), cells.reasons)

    def _typed(self, name: str, values: pl.Series) -> pl.Series:
        attribute = self._attributes[name]
        typed = cast(values, attribute.type, self._zones.days, self._zones.times)
        allowed = attribute.valid.in_
        is_respelled = values.dtype == pl.String and typed is not values
        if attribute.type == "string" and allowed is not None and is_respelled:
            # a text that is allowed as it stands is no number in another spelling
            as_written = pl.when(pl.col("v").is_in(allowed)).then("v").otherwise("typed")
            typed = pl.DataFrame({"v": values, "typed": typed}).select(as_written.alias("v"))["v"]
        return typed.rename(name)

    def _unread(self, raw: pl.DataFrame, controls: Mapping[str, Cells | None]) -> pl.DataFrame:
        """Entries for the cells of control fields that can't be read; they are counted, too."""
        declared = {
            **self._sync.identifiers,
            "updated_at": self._sync.updated_at,
            "deleted": self._sync.deleted,
            "record_key": self._sync.key,
        }
        parts = [pl.DataFrame(schema=_ENTRY_COLUMNS)]
        for name, cells in controls.items():
            field = declared[name]
            if cells is None or field is None or cells.reasons.null_count() == len(raw):
                continue
            rows = cells.reasons.is_not_null().arg_true()
            reasons = cells.reasons[rows]
            parts.append(
                pl.DataFrame(
                    {
                        "index": rows,
                        "attribute": pl.Series([name]).new_from_index(0, len(rows)),
                        "reason": reasons,
                        "value": as_text(raw[field.field][rows]),
                    },
                    schema=_ENTRY_COLUMNS,
                )
            )
            for reason, count in reasons.value_counts().iter_rows():
                counts = self.findings.unread.setdefault(name, {})
                counts[reason] = counts.get(reason, 0) + count
        return pl.concat(parts)

    def _bad_cells(self, cells: Mapping[str, Cells], typed: pl.DataFrame) -> pl.DataFrame:
        """Columns index, attribute, reason: unreadable cells first, then broken rules."""
        from profile_pipelines.validation.schema import failures

        found: list[pl.DataFrame] = []
        for name, each in cells.items():
            failed = each.reasons.is_not_null().arg_true()
            if len(failed):
                rows = pl.DataFrame({"index": failed, "reason": each.reasons[failed]})
                found.append(rows.select("index", pl.lit(name).alias("attribute"), "reason"))
            unreadable = (each.values.is_not_null() & typed[name].is_null()).arg_true()
            if len(unreadable):
                reasons = self._why_unreadable(name, each.values[unreadable])
                rows = pl.DataFrame({"index": unreadable, "reason": reasons})
                found.append(rows.select("index", pl.lit(name).alias("attribute"), "reason"))
        if typed.columns:
            found.append(failures(self._schema, typed))
        if not found:
            return pl.DataFrame(
                schema={"index": pl.UInt32, "attribute": pl.String, "reason": pl.String}
            )
        return pl.concat(found).unique(
            subset=["index", "attribute"], keep="first", maintain_order=True
        )

    def _why_unreadable(self, name: str, values: pl.Series) -> pl.Series:
        kind = self._attributes[name].type
        reason = UNREADABLE.format(type=kind)
        if kind == "timestamp":
            return why_unread(values, self._zones.times, reason)
        return pl.Series("reason", [reason]).new_from_index(0, len(values))

    def _record_keys(
        self, raw: pl.DataFrame, declared: Cells | None, frame: pl.DataFrame
    ) -> pl.Series:
        """The declared key, else the strongest identifier, else a digest of the whole record."""
        if declared is not None:
            keys = declared.values
        else:
            candidates = [
                pl.format("{}:{}", pl.lit(name), pl.col(f"id_{name}"))
                for name in self._sync.identifiers
            ]
            keys = frame.select(k=pl.coalesce(*candidates))["k"]
        keys = keys.rename("record_key")
        if not keys.null_count():
            return keys
        missing = keys.is_null().arg_true()
        digests = [
            "raw:" + hashlib.sha256(_as_json(row).encode()).hexdigest()
            for row in raw[missing].iter_rows(named=True)
        ]
        return keys.scatter(missing, digests)

    def _count(
        self,
        updated_at: pl.Series,
        cells: Mapping[str, Cells],
        bad: pl.DataFrame,
        bad_records: int,
    ) -> None:
        findings = self.findings
        findings.rows += len(updated_at)
        findings.bad_records += bad_records
        for name, each in cells.items():
            refused = int((each.values.is_null() & each.reasons.is_not_null()).sum())
            there = len(each.values) - each.values.null_count() + refused
            findings.values[name] = findings.values.get(name, 0) + there
        for name, reason, count in bad.group_by("attribute", "reason").len().iter_rows():
            findings.add(name, reason, count)
        # A time in the future isn't yet: later changes may still bear an earlier one.
        latest = updated_at.filter(updated_at < self._now).max()
        if isinstance(latest, datetime) and (findings.latest is None or latest > findings.latest):
            findings.latest = latest


def _null_bad_cells(typed: pl.DataFrame, bad: pl.DataFrame) -> pl.DataFrame:
    for (name,), rows in bad.group_by("attribute"):
        bad_rows = pl.Series([False]).new_from_index(0, len(typed)).scatter(rows["index"], True)
        typed = typed.with_columns(pl.when(~bad_rows).then(pl.col(str(name))).alias(str(name)))
    return typed


def _entries(bad: pl.DataFrame, originals: Mapping[str, pl.Series]) -> pl.DataFrame:
    """Columns index, attribute, reason, value: the bad cells as the source gave them."""
    parts = [
        rows.with_columns(as_text(originals[str(name)][rows["index"]]).alias("value"))
        for (name,), rows in bad.group_by("attribute", maintain_order=True)
    ]
    return pl.concat(parts) if parts else pl.DataFrame(schema=_ENTRY_COLUMNS)


def _whole_entries(raw: pl.DataFrame, rows: pl.Series) -> pl.DataFrame:
    values = [_as_json(row) for row in raw[rows].iter_rows(named=True)]
    return pl.DataFrame(
        {"index": rows, "attribute": "", "reason": NO_IDENTIFIER, "value": values},
        schema=_ENTRY_COLUMNS,
    )


def _quarantine(entries: pl.DataFrame, height: int) -> pl.Series:
    """A list of entries for each row that has any."""
    if entries.is_empty():
        return pl.Series("quarantine", [None], dtype=QUARANTINE).new_from_index(0, height)
    lists = (
        entries.select("index", pl.struct("attribute", "reason", "value").alias("quarantine"))
        .group_by("index", maintain_order=True)
        .agg(pl.col("quarantine"))
    )
    rows = pl.DataFrame({"index": pl.arange(0, height, dtype=pl.UInt32, eager=True)})
    return rows.join(lists, on="index", how="left", maintain_order="left")["quarantine"]


def _named(columns: Mapping[str, pl.Series]) -> Sequence[pl.Series]:
    return [series.rename(name) for name, series in columns.items()]


def _as_json(row: Mapping[str, object]) -> str:
    return json.dumps(row, default=str, sort_keys=True, ensure_ascii=False)
