"""What a cell says before anything is known of its type.

A missing value is missing however a source writes it: blank, NULL in an export's spelling, NaN
for a number. What a spreadsheet or a copied text put around a value is no part of it. One number
has one text, whichever type it came in.
"""

from __future__ import annotations

import json
import math
from typing import Any

import polars as pl

from profile_pipelines.catalog.values import MISSING, number_text
from profile_pipelines.validation.one_cell import (
    INVISIBLE,
    QUOTED_FORMULA,
    SCIENTIFIC,
    TEXT_MARK,
    WHOLE_NUMBER,
    spelled_out,
)

_V = pl.col("v")
_SAMPLE = 1_000
"""Rows that show whether a column has few different texts."""
MARKED = r"^\s*(?:$|[=<(\\#']|NULL\s*$)"
_NUMBER = r"^\s*[+-]?\d+(?:\.0+\s*$|(?:[.,]\d+)?[eE][+-]?\d{1,3}\s*$)"
"""How every text begins that might be more or less than it says; most columns have none."""


def meaningful(raw: pl.Series) -> pl.Series:
    """The column with null for all that says nothing, and without marks around what is said.

    Texts lose invisible characters and a spreadsheet's marks for text; numbers lose NaN.
    """
    if raw.dtype.is_float():
        return raw.fill_nan(None)
    if raw.dtype != pl.String:
        return raw
    seen = different(raw)
    if is_ascii(seen) and not seen.str.contains(MARKED).any():
        return raw
    text = without_invisible(raw, INVISIBLE)
    rows = text.str.contains(MARKED).arg_true()
    return text.clone().scatter(rows, _unmarked(text[rows]))


def _unmarked(text: pl.Series) -> pl.Series:
    trimmed = _V.str.strip_chars()
    said = (
        pl.when(trimmed.str.contains(QUOTED_FORMULA))
        .then(trimmed.str.extract(QUOTED_FORMULA).str.replace_all('""', '"', literal=True))
        .when(trimmed.str.contains(TEXT_MARK))
        .then(trimmed.str.extract(TEXT_MARK))
        .otherwise(_V)
    )
    says = (trimmed != "") & ~trimmed.is_in(MISSING)
    frame = text.to_frame("v").select(said.alias("v"))
    return frame.select(pl.when(says).then(_V))["v"]


def different(text: pl.Series) -> pl.Series:
    """A column's different texts where they seem to be few, else the column as it is: what is
    looked for in them is in the column."""
    sample = text.head(_SAMPLE)
    return text.unique() if sample.n_unique() < len(sample) // 10 else text


def without_invisible(text: pl.Series, pattern: str) -> pl.Series:
    """The texts without the characters of the pattern, none of which is ASCII."""
    if is_ascii(text):
        return text
    return text.str.replace_all(pattern, "")


def is_ascii(text: pl.Series) -> bool:
    """Whether all texts are."""
    return not (text.str.len_bytes() != text.str.len_chars()).any()


def plain_numbers(text: pl.Series) -> pl.Series:
    """Texts that are numbers, in the spelling that the same number has from a typed column.

    `123.0` and `1.23e2` become `123`. Scientific notation with fewer digits than the number
    stands for stays as it is: the digits aren't known. So does `1.000`, which may be a thousand.
    """
    if not different(text).str.contains(_NUMBER).any():
        return text
    trimmed = _V.str.strip_chars()
    whole = pl.when(trimmed.str.contains(WHOLE_NUMBER)).then(trimmed.str.extract(WHOLE_NUMBER))
    written = text.to_frame("v").select(whole.otherwise(_V).alias("v"))["v"]
    is_scientific = written.str.strip_chars().str.contains(SCIENTIFIC).fill_null(False)
    if is_scientific.any():
        rows = is_scientific.arg_true()
        spelled = [spelled_out(each) or each for each in written[rows].to_list()]
        written = written.scatter(rows, spelled)
    return written.rename(text.name)


def as_text(raw: pl.Series) -> pl.Series:
    """Any column as text: numbers in their one spelling, lists and objects as JSON.

    NaN and infinity are no numbers, and have no text.
    """
    if raw.dtype == pl.String:
        return raw
    if raw.dtype.is_float():
        return _floats(raw)
    if raw.dtype.is_decimal():
        return _decimals(raw)
    if raw.dtype.is_nested():
        return pl.Series(
            raw.name,
            [None if v is None else json.dumps(_json(v), default=str) for v in raw.to_list()],
            dtype=pl.String,
        )
    return raw.cast(pl.String, strict=False)


def _floats(raw: pl.Series) -> pl.Series:
    written = raw.cast(pl.Float64).cast(pl.String)
    frame = pl.DataFrame({"v": written})
    plain = frame.select(_V.str.strip_suffix(".0"))["v"]
    unusual = plain.str.contains("[eEaf]").fill_null(False)  # 1e20, NaN, inf
    if unusual.any():
        rows = unusual.arg_true()
        spelled = [number_text(v) for v in raw[rows].to_list()]
        plain = plain.scatter(rows, pl.Series(spelled, dtype=pl.String))
    return plain.rename(raw.name)


def _decimals(raw: pl.Series) -> pl.Series:
    text = raw.cast(pl.String).to_frame("v")
    has_point = _V.str.contains(".", literal=True)
    trimmed = _V.str.strip_chars_end("0").str.strip_suffix(".")
    return text.select(pl.when(has_point).then(trimmed).otherwise(_V))["v"].rename(raw.name)


def _json(value: Any) -> Any:
    """NaN and infinity have no place in JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _json(each) for key, each in value.items()}
    return [_json(each) for each in value] if isinstance(value, list) else value
