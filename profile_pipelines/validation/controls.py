"""The fields that tell records apart, whose they are, how new they are, and whether they are gone.

What can't be read of them is never taken for something else. It has a harmless default, and a
reason that is told: an identifier joins nobody, a key is no key, a record without a readable time
counts as changed, and a mark that isn't understood deletes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from unicodedata import normalize

import polars as pl

from profile_pipelines.catalog.local_time import CLOCKS_DIFFER
from profile_pipelines.catalog.mapped_fields import IdentifierField, MappedField
from profile_pipelines.catalog.models import Identifier
from profile_pipelines.catalog.systems import Sync
from profile_pipelines.sources.reading import FIRST_KNOWN, problem_of
from profile_pipelines.validation.casts import FALSE, POLARS_TYPES, TRUE, cast, told
from profile_pipelines.validation.cells import as_text, meaningful, plain_numbers
from profile_pipelines.validation.conversions import convert
from profile_pipelines.validation.identifiers import (
    identities,
    lost_digits,
    more_than_themselves,
    no_reasons,
    one_form,
    placeholders,
    refusal,
)
from profile_pipelines.validation.one_cell import plain_number
from profile_pipelines.validation.times import dated, earliest_of_repeated, why_unread

NO_TIME = "isn't readable as a time"
NO_MARK = "isn't understood as a mark of deletion"
NO_LIST = "isn't a list of values"


@dataclass(frozen=True)
class Zones:
    """The catalogue's time zone, in which days begin, and the one of a sync's times without one."""

    days: str
    times: str


@dataclass(frozen=True)
class Cells:
    """A column. `reasons` has a text, without anything of the value, where a cell can't be read;
    its value is null then."""

    values: pl.Series
    reasons: pl.Series
    further: pl.Series | None = None
    """Where a record may have several values: the lists of those beside the first, which stands in
    `values`; null where there are none."""


def read_cells(raw: pl.DataFrame, field: MappedField, zones: Zones) -> Cells:
    """A mapped field of raw records after its steps, without what says nothing."""
    values = meaningful(raw[field.field])
    reasons = no_reasons(len(raw))
    problem = problem_of(field.field)
    if problem in raw.columns and raw[problem].null_count() < len(raw):
        reasons = raw[problem].rename("reason")
        pair = pl.DataFrame({"v": values, "reason": reasons})
        values = pair.select(pl.when(pl.col("reason").is_null()).then("v"))["v"].rename(values.name)
    if field.convert:
        converted = convert(values, field, zones.days, zones.times)
        values, reasons = converted.values, _either(reasons, converted.reasons)
    return Cells(values, reasons)


class Controls:
    """Reads the control fields of one sync."""

    def __init__(
        self, sync: Sync, identifiers: Mapping[str, Identifier], zones: Zones, now: datetime
    ) -> None:
        self._sync = sync
        self._identifiers = identifiers
        self._zones = zones
        self._now = now

    def identifiers(self, raw: pl.DataFrame) -> dict[str, Cells]:
        """Each identifier in its one form; null for what stands for no customer."""
        return _identifiers(raw, self._sync, self._identifiers, self._zones)

    def keys(self, raw: pl.DataFrame) -> Cells | None:
        """The texts of the declared key; None where there is none."""
        if self._sync.key is None:
            return None
        found = _identities(raw, self._sync.key, self._zones)
        return Cells(found.values.str.strip_chars(), found.reasons)

    def updated_at(self, raw: pl.DataFrame) -> Cells | None:
        """The instants of the last change, as the source has them; None where it tells none.

        What lies before 1970-01-02 stands for none. Local times that come twice, when the clocks
        go back, are all taken for their period's first moment: their order can't be known, so that
        the last to arrive counts.
        """
        field = self._sync.updated_at
        if field is None:
            return None
        cells = read_cells(raw, field, self._zones)
        zone = self._zones.times
        instants = cast(cells.values, "timestamp", zone, zone)
        said = told(cells.values, instants, "timestamp")
        if zone != "UTC":
            instants = earliest_of_repeated(instants, cast(said, "timestamp", "UTC"), zone)
        failed = said.is_not_null() & instants.is_null()
        reasons = cells.reasons
        if failed.any():
            rows = failed.arg_true()
            unread = no_reasons(len(said)).scatter(rows, why_unread(said[rows], zone, NO_TIME))
            reasons = _either(reasons, unread)
        return Cells(_where(instants >= FIRST_KNOWN, instants), reasons)

    def deleted(self, raw: pl.DataFrame) -> Cells:
        """Whether each record is marked as deleted: by a flag, by a time that has passed, or by
        one of the declared values."""
        field = self._sync.deleted
        if field is None:
            flags = pl.Series("deleted", [False]).new_from_index(0, len(raw))
            return Cells(flags, no_reasons(len(raw)))
        cells = read_cells(raw, field, self._zones)
        said = dated(cells.values)  # a dash isn't among the declared words either
        if self._sync.deleted_when:
            marks, understood = self._by_value(said)
        else:
            marks, understood = self._by_flag_or_time(said)
        failed = said.is_not_null() & ~understood
        reasons = _when(failed, NO_MARK)
        return Cells(marks.fill_null(False), _either(cells.reasons, reasons))

    def _by_value(self, said: pl.Series) -> tuple[pl.Series, pl.Series]:
        """A declared truth value stands for all of its spellings, a number for all of its own."""
        declared = self._sync.deleted_when
        words: set[str] = set()
        for each in declared:
            if isinstance(each, bool):
                words |= {*(TRUE if each else FALSE)}
            else:
                word = normalize("NFKC", str(each)).strip().lower()
                words |= {word, plain_number(word)}
        texts = as_text(said)
        if (texts.str.len_bytes() != texts.str.len_chars()).any():
            texts = texts.str.normalize("NFKC")  # an umlaut may come in two characters
        texts = texts.str.strip_chars().str.to_lowercase()
        plain = plain_numbers(texts)
        marks = texts.is_in(sorted(words)) | plain.is_in(sorted(words))
        if all(isinstance(each, bool) for each in declared):
            return marks, plain.is_in([*TRUE, *FALSE]).fill_null(False)
        return marks, pl.Series([True]).new_from_index(0, len(said))

    def _by_flag_or_time(self, said: pl.Series) -> tuple[pl.Series, pl.Series]:
        is_time = said.dtype.is_temporal()
        flags = cast(said, "boolean", self._zones.days)
        rest = said if is_time else _where(flags.is_null(), said)
        times = cast(rest, "timestamp", self._zones.days, self._zones.times)
        frame = pl.DataFrame({"flag": flags, "t": times})
        # the zeros of programs and databases mark nothing; a time yet to come is an end that is
        # planned, or "never"
        passed = pl.col("t").is_between(FIRST_KNOWN, self._now + CLOCKS_DIFFER)
        marks = frame.select(pl.coalesce("flag", passed).alias("deleted"))["deleted"]
        return marks, flags.is_not_null() | times.is_not_null()


def identifiers_of(
    record: Mapping[str, object], sync: Sync, identifiers: Mapping[str, Identifier], zones: Zones
) -> list[tuple[str, str]]:
    """The identifiers of one record of texts by path, as an event carries it, in their one form:
    by name, each value."""
    cells = {
        each.field: pl.Series([None if value is None else str(value)], dtype=pl.String)
        for each in sync.identifiers.values()
        for value in [each.of(record)]
    }
    found = _identifiers(pl.DataFrame(cells), sync, identifiers, zones)
    texts: list[tuple[str, str | None]] = []
    for name, each in found.items():
        further = [] if each.further is None else each.further.to_list()[0]
        texts += [(name, text) for text in (each.values.item(), *(further or ()))]
    return [(name, text) for name, text in texts if text is not None]


def _identifiers(
    raw: pl.DataFrame, sync: Sync, identifiers: Mapping[str, Identifier], zones: Zones
) -> dict[str, Cells]:
    found: dict[str, Cells] = {}
    for name, field in sync.identifiers.items():
        identifier = identifiers[name]
        said = raw
        if field.many:
            found[name] = _many(raw, field, identifier, zones)
            continue
        if field.convert:
            said = _without(raw, field.field, placeholders(raw[field.field], identifier))
        found[name] = _in_one_form(_identities(said, field, zones), identifier)
    return found


def _in_one_form(said: Cells, identifier: Identifier) -> Cells:
    """After the declared steps, which refuse what is no address and no telephone number."""
    values = one_form(said.values, identifier)
    refused = (said.values.is_not_null() & values.is_null()).arg_true()
    reason = refusal(identifier)
    if reason is None or refused.is_empty():
        return Cells(values, said.reasons)
    rows = refused.filter(~placeholders(said.values[refused], identifier))
    return Cells(values, said.reasons.clone().scatter(rows, reason))


def _many(raw: pl.DataFrame, field: IdentifierField, identifier: Identifier, zones: Zones) -> Cells:
    """The first of each record's values, each in its one form, and the others."""
    cells = read_cells(raw, field, zones)
    lists = cast(cells.values, "list", zones.days)
    unread = cells.values.is_not_null() & lists.is_null()
    entries = lists.to_frame("v").with_row_index("row").explode("v").drop_nulls()
    said = identities(meaningful(entries["v"]))
    formed = _in_one_form(Cells(said.texts, said.reasons), identifier)
    each = entries.select("row", v=formed.values, reason=formed.reasons)
    values = (
        each.drop_nulls("v")
        .unique(["row", "v"], keep="first", maintain_order=True)
        .group_by("row", maintain_order=True)
        .agg(first=pl.col("v").first(), further=pl.col("v").slice(1))
    )
    reasons = each.drop_nulls("reason").unique("row", keep="first").select("row", "reason")
    rows = pl.select(row=pl.int_range(len(raw), dtype=pl.UInt32))
    found = rows.join(values, on="row", how="left", maintain_order="left").join(
        reasons, on="row", how="left", maintain_order="left"
    )
    further = found.select(pl.when(pl.col("further").list.len() > 0).then("further"))["further"]
    reasons = _either(found["reason"], _when(unread, NO_LIST))
    return Cells(found["first"], _either(cells.reasons, reasons), further)


def _identities(raw: pl.DataFrame, field: MappedField, zones: Zones) -> Cells:
    texts = raw[field.field]
    is_plain = not field.convert and problem_of(field.field) not in raw.columns
    if is_plain and texts.dtype == pl.String:
        reasons, rows = no_reasons(len(texts)), more_than_themselves(texts)
        found = identities(meaningful(texts[rows]))
        return Cells(texts.scatter(rows, found.texts), reasons.scatter(rows, found.reasons))
    # what has lost digits has lost them, whatever steps follow
    lost = lost_digits(raw[field.field]) if field.convert else None
    if lost is not None:
        raw = _without(raw, field.field, lost.is_not_null())
    cells = read_cells(raw, field, zones)
    found = identities(cells.values)
    reasons = _either(cells.reasons, found.reasons)
    if lost is None:
        return Cells(found.texts, reasons)
    return Cells(_where(lost.is_null(), found.texts), _either(lost, reasons))


def not_in_future(times: pl.Series, now: datetime) -> pl.Series:
    """A time in the future counts as now, lest it win for ever."""
    present = pl.lit(now, POLARS_TYPES["timestamp"])
    capped = pl.when(pl.col("t") > now).then(present).otherwise(pl.col("t"))
    return times.to_frame("t").select(capped.alias("t"))["t"].cast(POLARS_TYPES["timestamp"])


def _without(raw: pl.DataFrame, field: str, cells: pl.Series) -> pl.DataFrame:
    if not cells.any():
        return raw
    return raw.with_columns(_where(~cells, raw[field]).alias(field))


def _where(condition: pl.Series, values: pl.Series) -> pl.Series:
    pair = pl.DataFrame({"c": condition, "v": values})
    return pair.select(pl.when("c").then("v"))["v"]


def _when(condition: pl.Series, reason: str) -> pl.Series:
    found = condition.to_frame("c").select(pl.when("c").then(pl.lit(reason)).alias("reason"))
    return found["reason"]


def _either(first: pl.Series, second: pl.Series) -> pl.Series:
    if second.null_count() == len(second):
        return first
    pair = pl.DataFrame({"reason": first, "second": second})
    return pair.select(pl.coalesce("reason", "second").alias("reason"))["reason"]
