"""Brings a column of identifiers to one form, and turns placeholders into nothing.

Every identifier is first brought to Unicode NFKC; then the declared steps follow in order.
"""

from __future__ import annotations

import polars as pl

from profile_pipelines.catalog.models import Identifier
from profile_pipelines.validation.one_identifier import EMAIL, denied


def normalise(raw: pl.Series, identifier: Identifier) -> pl.Series:
    """The identifiers in their one form; null for a blank, a placeholder or a malformed email."""
    text = raw if raw.dtype == pl.String else _plain_text(raw)
    is_ascii = not (text.str.len_bytes() != text.str.len_chars()).any()
    # NFKC leaves ASCII as it is, and is the dearest of all steps.
    steps = [s for s in identifier.normalise if s != "nfkc"] if is_ascii else ["nfkc"]
    if not is_ascii:
        steps += identifier.normalise
    value = pl.col("v")
    frame = text.to_frame("v").lazy()
    for step in steps:
        frame = _emails(frame) if step == "email" else frame.select(_apply(value, step))
    is_usable = (value != "") & ~_is_denied(value, identifier, is_ascii=is_ascii)
    return frame.select(pl.when(is_usable).then(value)).collect()["v"].rename(raw.name)


def _is_denied(normal: pl.Expr, identifier: Identifier, *, is_ascii: bool) -> pl.Expr:
    """Whether it is a placeholder; text whose case is known needn't be brought to one."""
    placeholders = sorted(denied(identifier))
    cases = [step for step in identifier.normalise if step in ("upper", "lower", "email")]
    if is_ascii and cases:
        upper = cases[-1] == "upper"
        return normal.is_in([p.upper() for p in placeholders] if upper else placeholders)
    return normal.str.to_lowercase().is_in(placeholders)


def _emails(frame: pl.LazyFrame) -> pl.LazyFrame:
    """In two steps: in one, the text would be brought to lower case twice."""
    value = pl.col("v")
    lowered = frame.select(value.str.strip_chars().str.to_lowercase())
    return lowered.select(pl.when(value.str.contains(EMAIL)).then(value))


def _apply(value: pl.Expr, step: object) -> pl.Expr:
    match step:
        case "trim":
            return value.str.strip_chars()
        case "upper":
            return value.str.to_uppercase()
        case "lower":
            return value.str.to_lowercase()
        case "nfkc":
            return value.str.normalize("NFKC")
        case "digits":
            return value.str.replace_all(r"[^0-9]", "")
        case "strip_leading_zeros":
            return value.str.strip_chars_start("0")
        case {"strip_prefix": prefix}:
            return value.str.strip_prefix(str(prefix))
        case _:
            raise ValueError(f"unknown normaliser {step!r}")


def _plain_text(raw: pl.Series) -> pl.Series:
    """Whole floats, as spreadsheets make them of numbers, lose their `.0`."""
    if raw.dtype.is_float():
        return raw.cast(pl.Int64, strict=False).cast(pl.String)
    return raw.cast(pl.String, strict=False)
