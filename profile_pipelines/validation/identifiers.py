"""Brings the spellings of an identifier to one form, and turns placeholders into nothing.

Every identifier is first brought to Unicode NFKC; then the declared steps follow in order.
"""

from __future__ import annotations

import re

import polars as pl

from profile_pipelines.catalog.models import Identifier

PLACEHOLDERS = frozenset(
    ["-", "--", ".", "?", "n/a", "na", "n.a.", "#n/a", "nil", "none", "null", "nan", "undefined", "unknown", "unbekannt", "anonymous", "guest", "test", "dummy", "tbd", "xxx", "0", "null@null.com", "none@none.com", "test@test.com", "noreply@example.com", "na@na.com", "no@email.com", "noemail@noemail.com", "unknown@unknown.com"]
)
"""What people and programs type where an identifier is missing; compared without case."""

_EMAIL = r"^[^@\s]+@[^@\s]+\.[^@\s.]+$"


def normalise(raw: pl.Series, identifier: Identifier) -> pl.Series:
    """The identifier in its one form; null for a blank, a placeholder or a malformed email."""
    text = raw if raw.dtype == pl.String else _plain_text(raw)
    if (text.str.len_bytes() != text.str.len_chars()).any():
        text = text.str.normalize("NFKC")
    for step in identifier.normalise:
        text = _apply(text, step)
    denied = sorted(PLACEHOLDERS | {entry.lower().strip() for entry in identifier.deny})
    value = pl.col("v")
    return (
        text.to_frame("v")
        .select(
            pl.when((value.str.len_bytes() > 0) & ~value.str.to_lowercase().is_in(denied)).then(
                value
            )
        )["v"]
        .rename(raw.name)
    )


def normalise_one(text: str, identifier: Identifier) -> str | None:
    """The same for a single spelling, such as a person types into a search."""
    return normalise(pl.Series("v", [text], dtype=pl.String), identifier)[0]


def _apply(text: pl.Series, step: str | dict[str, str]) -> pl.Series:
    match step:
        case "trim":
            return text.str.strip_chars()
        case "upper":
            return text.str.to_uppercase()
        case "lower":
            return text.str.to_lowercase()
        case "nfkc":
            return text.str.normalize("NFKC")
        case "digits":
            return text.str.replace_all(r"[^0-9]", "")
        case "strip_leading_zeros":
            return text.str.strip_chars_start("0")
        case "email":
            lowered = text.str.strip_chars().str.to_lowercase()
            value = pl.col("v")
            return lowered.to_frame("v").select(pl.when(value.str.contains(_EMAIL)).then(value))[
                "v"
            ]
        case {"strip_prefix": prefix}:
            return text.str.replace(f"^{re.escape(prefix)}", "")
        case _:
            raise ValueError(f"unknown normaliser {step!r}")


def _plain_text(raw: pl.Series) -> pl.Series:
    """Whole floats, as spreadsheets make them of numbers, lose their `.0`."""
    if raw.dtype.is_float():
        return raw.cast(pl.Int64, strict=False).cast(pl.String)
    return raw.cast(pl.String, strict=False)
