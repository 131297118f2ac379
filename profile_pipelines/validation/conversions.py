"""Applies a field's `convert` steps to a column, and tells what couldn't be converted.

A missing value stays missing until a `default`. A step that fails gives null, with a reason that
holds no value; what failed stays so, whatever follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl

from profile_pipelines.catalog.convert_steps import (
    ConvertStep,
    DateStep,
    DefaultStep,
    ExtractStep,
    JoinStep,
    MapStep,
    MinorUnitsStep,
    NumberStep,
    PadStep,
    ReplaceStep,
    SplitStep,
    TimestampStep,
)
from profile_pipelines.catalog.field_paths import leads_to_list
from profile_pipelines.catalog.mapped_fields import MappedField
from profile_pipelines.validation.casts import cast
from profile_pipelines.validation.cells import as_text, meaningful, plain_numbers
from profile_pipelines.validation.one_cell import plain_number
from profile_pipelines.validation.times import (
    SKIPPED,
    dates,
    epoch_times,
    excel_times,
    formatted,
    formatted_instants,
    in_utc,
    iso_dates,
    iso_times,
    local_dates,
    times,
)

_V = pl.col("v")
_WHOLE = r"^[+-]?\d+(\.0*)?$"
_NUMBERS = {
    "decimal_comma": (r"^[+-]?((\d+|\d{1,3}([.\s'’]\d{3})+)(,\d+)?|,\d+)$", r"[.\s'’]"),
    "decimal_point": (r"^[+-]?((\d+|\d{1,3}([,\s'’]\d{3})+)(\.\d+)?|\.\d+)$", r"[,\s'’]"),
}


@dataclass(frozen=True)
class Converted:
    """A column after its steps. `reasons` has a text where a value couldn't be converted."""

    values: pl.Series
    reasons: pl.Series


def convert(raw: pl.Series, field: MappedField, timezone: str, zone: str = "UTC") -> Converted:
    """The column after the field's steps; `timezone` is the catalogue's, `zone` the source's."""
    column = _Column(raw, timezone, zone)
    if leads_to_list(field.field):
        column.as_list()
    for step in field.convert:
        column.apply(step)
    return Converted(meaningful(column.values).rename(raw.name), column.reasons)


class _Column:
    """The values between two steps: text, lists of text, dates or timestamps."""

    def __init__(self, raw: pl.Series, timezone: str, zone: str) -> None:
        self.values = raw
        self.reasons = pl.Series("reason", [None], dtype=pl.String).new_from_index(0, len(raw))
        self._timezone = timezone
        self._zone = zone

    def apply(self, step: ConvertStep) -> None:
        match step:
            case "trim":
                self._text(lambda v: v.str.strip_chars())
            case "lower":
                self._text(lambda v: v.str.to_lowercase())
            case "upper":
                self._text(lambda v: v.str.to_uppercase())
            case "first":
                self._of_list(lambda v: v.list.first())
            case "last":
                self._of_list(lambda v: v.list.last())
            case MapStep():
                self._map(step)
            case ReplaceStep():
                self._text(lambda v: _replaced(v, step.replace))
            case ExtractStep():
                self._extract(step.extract)
            case SplitStep():
                self._split(step.split)
            case JoinStep():
                self._of_list(lambda v: v.list.join(step.join))
            case DefaultStep():
                self._default(step.default)
            case DateStep():
                self._date(step)
            case TimestampStep():
                self._timestamp(step)
            case MinorUnitsStep():
                self._minor_units(step.digits)
            case PadStep():
                padding = step.pad
                if self.values.dtype != pl.List:  # one number has one text
                    self.values = plain_numbers(as_text(self.values)).str.strip_chars()
                self._text(lambda v: v.str.pad_start(padding.to, padding.with_))
            case NumberStep():
                self._number(step.number)

    def as_list(self) -> None:
        """Text that holds a JSON array, or words between commas, as a list of texts."""
        if self.values.dtype != pl.List:
            self._set(cast(as_text(self.values), "list", self._timezone), "isn't a list")
        self.values = cast(self.values, "list", self._timezone)

    def _set(self, values: pl.Series, reason: str) -> None:
        """The next values; what was there and is null now has failed."""
        self._next(values, self.values.is_not_null() & values.is_null(), reason)

    def _next(self, values: pl.Series, failed: pl.Series, reason: str) -> None:
        if failed.any():
            frame = pl.DataFrame({"reason": self.reasons, "failed": failed, "v": values})
            failing = pl.when("failed").then(pl.lit(reason))
            self.reasons = frame.select(pl.coalesce("reason", failing).alias("reason"))["reason"]
            values = frame.select(pl.when(pl.col("failed").not_()).then("v").alias("v"))["v"]
        self.values = values

    def _select(self, expression: pl.Expr) -> pl.Series:
        return self.values.to_frame("v").select(expression.alias("v"))["v"]

    def _text(
        self,
        change: Callable[[pl.Expr], pl.Expr],
        holds: Callable[[pl.Expr], pl.Expr] | None = None,
        reason: str = "",
    ) -> None:
        """Change every text, or every entry of a list; where `holds` is false, it fails."""
        if self.values.dtype == pl.List:
            self.values = self.values.cast(pl.List(pl.String), strict=False)
            entry = pl.element()
            values = self._select(_V.list.eval(change(entry)).list.drop_nulls())
            passed = self._select(_V.list.eval(holds(entry)).list.all()) if holds else None
        else:
            self.values = as_text(self.values)
            values = self._select(change(_V))
            passed = self._select(holds(_V)) if holds else None
        if passed is None:
            self.values = values
        else:
            self._next(values, self.values.is_not_null() & ~passed.fill_null(True), reason)

    def _map(self, step: MapStep) -> None:
        # a number of the catalogue's stands for all of its spellings
        words_by = {plain_number(known): word for known, word in step.map.items()} | step.map
        known = list(words_by)
        words = [_written(value) for value in words_by.values()]
        if self.values.dtype != pl.List:
            text = as_text(self.values)
            pair = pl.DataFrame({"v": text, "plain": plain_numbers(text)})
            is_plain = _V.is_in(known).not_()
            self.values = pair.select(pl.when(is_plain).then("plain").otherwise("v"))["plain"]
        otherwise = _written(step.otherwise)

        def change(value: pl.Expr) -> pl.Expr:
            found = value.replace_strict(known, words, default=otherwise, return_dtype=pl.String)
            # a missing value isn't another word
            return pl.when(value.is_not_null()).then(found)

        holds = None if step.is_total else lambda value: value.is_in(known)
        self._text(change, holds, "isn't in the map")

    def _extract(self, pattern: str) -> None:
        group = 1 if re.compile(pattern).groups else 0
        self._text(
            lambda v: v.str.extract(pattern, group),
            lambda v: v.str.contains(pattern),
            "doesn't have the form to extract from",
        )

    def _split(self, mark: str) -> None:
        self.values = as_text(self.values)
        entries = pl.element().str.strip_chars()
        parts = self._select(
            _V.str.split(mark).list.eval(entries.filter(entries.str.len_bytes() > 0))
        )
        # separators alone say nothing: that isn't an empty list
        some = pl.when(_V.list.len() > 0).then(_V)
        self.values = parts.to_frame("v").select(some.alias("v"))["v"]

    def _of_list(self, take: Callable[[pl.Expr], pl.Expr]) -> None:
        self.as_list()
        self.values = self._select(take(_V))

    def _default(self, value: object) -> None:
        missing = self.values.is_null() & self.reasons.is_null()
        if not missing.any():
            return
        text = _written(value)
        if self.values.dtype == pl.List:
            self.values = self.values.cast(pl.List(pl.String), strict=False)
            filling = pl.Series("d", [[text]])
        elif self.values.dtype == pl.Date:
            filling = cast(pl.Series("d", [text]), "date", self._timezone)
        elif isinstance(self.values.dtype, pl.Datetime):
            self.values = cast(self.values, "timestamp", self._timezone)
            filling = cast(pl.Series("d", [text]), "timestamp", self._timezone)
        else:
            self.values = as_text(self.values)
            filling = pl.Series("d", [text])
        frame = pl.DataFrame({"v": self.values, "missing": missing}).with_columns(
            filling.new_from_index(0, len(missing)).alias("d")
        )
        self.values = frame.select(pl.when("missing").then("d").otherwise("v").alias("v"))["v"]

    def _date(self, step: DateStep) -> None:
        """A time that bears no zone stays on its day, unless the step itself names one."""
        form, reason = step.date, f"isn't a date as {step.date}"
        if self.values.dtype == pl.Date:
            return
        if step.zone is not None or form in ("epoch", "epoch_ms"):
            days = local_dates(self._times(step), self._timezone)
        elif isinstance(self.values.dtype, pl.Datetime):
            days = dates(self.values, self._timezone)
        elif form == "iso":
            days = iso_dates(self._trimmed, self._timezone)
        elif form == "excel":
            days = excel_times(self._trimmed).dt.date()
        elif "%z" in form:
            days = local_dates(formatted_instants(self._trimmed, form), self._timezone)
        else:
            days = self._formatted(step).dt.date()
        self._set(days, reason)

    def _timestamp(self, step: TimestampStep) -> None:
        found = self._times(step)
        failed = self.values.is_not_null() & found.is_null()
        if failed.any():
            is_time = self._times(step.model_copy(update={"zone": "UTC"})).is_not_null()
            skipped = SKIPPED.format(zone=step.zone or self._zone)
            self._next(found, failed & is_time, skipped)
        self._next(found, failed, f"isn't a time as {step.timestamp}")

    def _times(self, step: DateStep | TimestampStep) -> pl.Series:
        form, zone = step.form, step.zone or self._zone
        if self.values.dtype == pl.Date or isinstance(self.values.dtype, pl.Datetime):
            return times(self.values, self._timezone, zone)
        match form:
            case "epoch" | "epoch_ms":
                numeric = self.values.dtype.is_numeric()
                numbers = self.values if numeric else self._trimmed
                return epoch_times(numbers, milliseconds=form == "epoch_ms")
            case "excel":
                return in_utc(excel_times(self._trimmed), zone)
            case "iso":
                return iso_times(self._trimmed, self._timezone, zone)
            case _ if "%z" in form:
                return formatted_instants(self._trimmed, form)
            case _:
                return in_utc(self._formatted(step), zone)

    def _formatted(self, step: DateStep | TimestampStep) -> pl.Series:
        """Local times of the step's format, of which one number has one text (20261231.0)."""
        text = self._trimmed
        found = formatted(text, step.form, step.pivot)
        if found.null_count() == text.null_count():
            return found
        plain = formatted(plain_numbers(text), step.form, step.pivot)
        return found.to_frame("t").select(pl.coalesce("t", plain.alias("p")))["t"]

    @property
    def _trimmed(self) -> pl.Series:
        return as_text(self.values).str.strip_chars()

    def _number(self, form: str) -> None:
        if self.values.dtype.is_numeric():
            return  # nobody wrote it
        pattern, separators = _NUMBERS[form]
        text = as_text(self.values).str.strip_chars()
        plain = text.str.replace_all(separators, "").str.replace(",", ".", literal=True)
        frame = pl.DataFrame({"v": text, "p": plain})
        fitting = frame.select(pl.when(_V.str.contains(pattern)).then("p").alias("v"))["v"]
        self._set(fitting, f"isn't a number with a {form.replace('_', ' ')}")

    def _minor_units(self, digits: int) -> None:
        text = as_text(self.values).str.strip_chars()
        whole = pl.when(_V.str.contains(_WHOLE)).then(_V.str.extract(r"^[+-]?(\d+)", 1))
        padded = whole.str.zfill(digits + 1)
        sign = pl.when(_V.str.starts_with("-")).then(pl.lit("-")).otherwise(pl.lit(""))
        point = pl.lit("." if digits else "")
        major = padded.str.head(-digits) if digits else padded
        minor = padded.str.tail(digits) if digits else pl.lit("")
        values = text.to_frame("v").select(pl.concat_str(sign, major, point, minor).alias("v"))
        self._set(values["v"], "isn't a whole number of minor units")


def _replaced(value: pl.Expr, texts: dict[str, str]) -> pl.Expr:
    for old, new in texts.items():
        value = value.str.replace_all(old, new, literal=True)
    return value


def _written(value: Any) -> str | None:
    """A value of the catalogue as a source would write it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value)
