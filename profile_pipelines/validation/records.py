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

from profile_pipelines.catalog.models import Attribute, Catalogue
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.validation import CLOCKS_DIFFER
from profile_pipelines.validation.casts import POLARS_TYPES, as_text, blank_to_null, cast
from profile_pipelines.validation.conversions import convert
from profile_pipelines.validation.identifiers import normalise

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
        self, catalogue: Catalogue, sync: Sync, attributes: Sequence[str], now: datetime
    ) -> None:
        from profile_pipelines.validation.schema import compile_schema

        self.findings = Findings()
        self._catalogue = catalogue
        self._sync = sync
        self._attributes: Mapping[str, Attribute] = {
            name: catalogue.attributes[name] for name in attributes
        }
        self._schema = compile_schema(self._attributes)
        self._now = now

    def validate(self, table: pa.Table) -> pl.DataFrame:
        """Clean records for a batch of raw ones, whose columns bear the source's field paths."""
        raw = pl.from_arrow(table)
        assert isinstance(raw, pl.DataFrame)
        sync = self._sync
        columns: dict[str, pl.Series] = {}
        identifiers = {
            name: normalise(raw[path], self._catalogue.identifiers[name])
            for name, path in sync.identifiers.items()
        }
        for name, series in identifiers.items():
            columns[f"id_{name}"] = series.rename(f"id_{name}")
        columns["updated_at"] = self._updated_at(raw)
        columns["deleted"] = self._deleted(raw)

        originals = {
            name: blank_to_null(raw[sync.attributes[name].field]) for name in self._attributes
        }
        converted, unconverted = self._converted(originals)
        typed = pl.DataFrame(
            [
                cast(value, self._attributes[name].type, self._catalogue.settings.timezone).alias(
                    name
                )
                for name, value in converted.items()
            ]
        )
        keys = self._record_keys(raw, pl.DataFrame(list(_named(columns))))
        bad = self._bad_cells(converted, unconverted, typed)
        typed = _null_empty_lists(_null_bad_cells(typed, bad))
        # what a deleted record held is nobody's value any more
        gone = columns["deleted"].arg_true()
        bad = bad.filter(~pl.col("index").is_in(gone.implode()))
        columns.update({name: typed[name] for name in typed.columns})

        frame = pl.DataFrame(list(_named(columns)))
        unidentified = pl.all_horizontal(pl.col(f"id_{name}").is_null() for name in identifiers)
        whole = frame.select((unidentified & ~pl.col("deleted")).alias("bad"))["bad"]
        entries = _entries(bad, originals)
        if whole.any():
            # Nothing of an unidentified record counts; all of it is kept in its quarantine.
            rows = whole.arg_true()
            entries = pl.concat(
                [entries.filter(~pl.col("index").is_in(rows.implode())), _whole_entries(raw, rows)]
            )
            frame = frame.with_columns(
                pl.when(~whole).then(pl.col(name)).alias(name) for name in self._attributes
            )
        self._count(frame["updated_at"], originals, bad, int(whole.sum()))
        return frame.with_columns(keys, _quarantine(entries, len(frame)))

    def _updated_at(self, raw: pl.DataFrame) -> pl.Series:
        """A time in the future counts as now, lest it win for ever."""
        if self._sync.updated_at is None:
            times = pl.Series("updated_at", [self._now], dtype=POLARS_TYPES["timestamp"])
            return times.new_from_index(0, len(raw))
        times = cast(raw[self._sync.updated_at], "timestamp", "UTC")
        self.findings.ahead += int((times > self._now + CLOCKS_DIFFER).sum())
        return (
            times.to_frame("v")
            .select(
                pl.when(pl.col("v") > self._now)
                .then(pl.lit(self._now, POLARS_TYPES["timestamp"]))
                .otherwise(pl.col("v"))
                .alias("v")
            )["v"]
            .cast(POLARS_TYPES["timestamp"])
            .rename("updated_at")
        )

    def _deleted(self, raw: pl.DataFrame) -> pl.Series:
        """A soft-delete field is a flag, or a deletion time that is set."""
        if self._sync.deleted is None:
            return pl.Series("deleted", [False]).new_from_index(0, len(raw))
        marks = blank_to_null(raw[self._sync.deleted])
        if self._sync.deleted_when:
            values = [str(value).lower() for value in self._sync.deleted_when]
            texts = as_text(marks).str.to_lowercase()
            return texts.is_in(values).fill_null(False).rename("deleted")
        flags = cast(marks, "boolean", "UTC")
        return (flags.fill_null(True) & marks.is_not_null()).rename("deleted")

    def _converted(
        self, originals: Mapping[str, pl.Series]
    ) -> tuple[dict[str, pl.Series], list[pl.DataFrame]]:
        """The values after their fields' steps, and the cells that couldn't be converted."""
        values, found = dict(originals), list[pl.DataFrame]()
        for name, original in originals.items():
            field = self._sync.attributes[name]
            if field.convert:
                result = convert(original, field, self._catalogue.settings.timezone)
                values[name] = result.values
                failed = result.reasons.is_not_null().arg_true()
                if len(failed):
                    cells = {"index": failed, "reason": result.reasons[failed]}
                    found.append(
                        pl.DataFrame(cells).select(
                            "index", pl.lit(name).alias("attribute"), "reason"
                        )
                    )
        return values, found

    def _bad_cells(
        self,
        values: Mapping[str, pl.Series],
        unconverted: Sequence[pl.DataFrame],
        typed: pl.DataFrame,
    ) -> pl.DataFrame:
        """Columns index, attribute, reason: unreadable cells first, then broken rules."""
        from profile_pipelines.validation.schema import failures

        found = [*unconverted]
        for name, value in values.items():
            unreadable = (value.is_not_null() & typed[name].is_null()).arg_true()
            if len(unreadable):
                reason = UNREADABLE.format(type=self._attributes[name].type)
                found.append(
                    pl.DataFrame({"index": unreadable}).with_columns(
                        pl.lit(name).alias("attribute"), pl.lit(reason).alias("reason")
                    )
                )
        if typed.columns:
            found.append(failures(self._schema, _null_empty_lists(typed)))
        if not found:
            return pl.DataFrame(
                schema={"index": pl.UInt32, "attribute": pl.String, "reason": pl.String}
            )
        return pl.concat(found).unique(
            subset=["index", "attribute"], keep="first", maintain_order=True
        )

    def _record_keys(self, raw: pl.DataFrame, frame: pl.DataFrame) -> pl.Series:
        """The declared key, else the strongest identifier, else a digest of the whole record."""
        if self._sync.key is not None:
            keys = as_text(blank_to_null(raw[self._sync.key])).str.strip_chars()
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
        originals: Mapping[str, pl.Series],
        bad: pl.DataFrame,
        bad_records: int,
    ) -> None:
        findings = self.findings
        findings.rows += len(updated_at)
        findings.bad_records += bad_records
        for name, original in originals.items():
            findings.values[name] = (
                findings.values.get(name, 0) + len(original) - (original.null_count())
            )
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


def _null_empty_lists(typed: pl.DataFrame) -> pl.DataFrame:
    """An empty list says nothing: it is a missing value."""
    lists = [name for name, dtype in typed.schema.items() if dtype == pl.List]
    return typed.with_columns(
        pl.when(pl.col(name).list.len() > 0).then(pl.col(name)).alias(name) for name in lists
    )


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
