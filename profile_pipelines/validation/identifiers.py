"""Brings a column of identifiers to one form, and turns placeholders into nothing.

Every identifier is first brought to Unicode NFKC; then the declared steps follow in order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from profile_pipelines.catalog.email_addresses import EMAIL, LONGEST_EMAIL, email_address
from profile_pipelines.catalog.models import Identifier
from profile_pipelines.catalog.telephones import e164
from profile_pipelines.validation.cells import MARKED, as_text, meaningful, without_invisible
from profile_pipelines.validation.one_cell import JOINERS
from profile_pipelines.validation.one_identifier import (
    EXACT,
    FRACTION,
    IS_LIST,
    IS_TRUTH,
    LOST_DIGITS,
    NO_EMAIL,
    NO_TELEPHONE,
    NOTHING,
    TOO_LARGE,
    denied,
    identity_text,
)

_ODD = r"^\s*(?:[\[{]|-?[0-9]+\.0+\s*$|[+-]?[0-9](?:[.,][0-9]+)?[eE][+-]?[0-9]{1,3}\s*$)"
"""How every text begins that isn't simply itself."""
_NOT_JUST_ITSELF = f"{MARKED}|{_ODD}"


def more_than_themselves(texts: pl.Series) -> pl.Series:
    """The rows of the texts that aren't ASCII or may not be simply what they are: few in most
    columns, so that one look stands in place of all that follows for the others."""
    odd = texts.str.contains(_NOT_JUST_ITSELF) | (texts.str.len_bytes() != texts.str.len_chars())
    return odd.arg_true()


@dataclass(frozen=True)
class Identities:
    """Texts that tell customers or records apart. `reasons` has a text where a cell can't."""

    texts: pl.Series
    reasons: pl.Series


def no_reasons(rows: int) -> pl.Series:
    """That nothing is wrong with so many cells."""
    return pl.Series("reason", [None], dtype=pl.String).new_from_index(0, rows)


def identities(said: pl.Series) -> Identities:
    """What a column says (see `cells.meaningful`) as texts that can identify.

    One number has one text, whichever type it came in.

    What has lost information on its way identifies nobody: scientific notation with fewer digits
    than it stands for, and floats with a fraction or too large to be exact. Nor does a list.
    """
    none = no_reasons(len(said))
    if said.dtype.is_float():
        v = pl.col("v")
        reason = (
            pl.when(v.is_infinite() | (v.abs() >= EXACT))
            .then(pl.lit(TOO_LARGE))
            .when(v != v.floor())
            .then(pl.lit(FRACTION))
        )
        frame = said.to_frame("v").with_columns(reason=reason)
        whole = pl.when(pl.col("reason").is_null()).then(v).cast(pl.Int64, strict=False)
        texts = frame.select(whole.cast(pl.String).alias("v"))["v"]
        return Identities(texts.rename(said.name), frame["reason"])
    if said.dtype.is_nested() or said.dtype == pl.Boolean:
        reason = pl.lit(IS_TRUTH if said.dtype == pl.Boolean else IS_LIST)
        reasons = said.to_frame("v").select(pl.when(pl.col("v").is_not_null()).then(reason))
        return Identities(none.rename(said.name), reasons["literal"].rename("reason"))
    if said.dtype != pl.String:
        return Identities(as_text(said), none)
    texts = without_invisible(said, JOINERS)
    odd = texts.str.contains(_ODD).fill_null(False)
    if not odd.any():
        return Identities(texts, none)
    rows = odd.arg_true()
    found = [identity_text(text) for text in texts[rows].to_list()]
    return Identities(
        texts.scatter(rows, pl.Series([text for text, _ in found], dtype=pl.String)),
        none.scatter(rows, pl.Series([reason for _, reason in found], dtype=pl.String)),
    )


def lost_digits(raw: pl.Series) -> pl.Series | None:
    """Why cells have lost digits that no step brings back; None where all are whole."""
    if raw.dtype != pl.String and not raw.dtype.is_float():
        return None
    reasons = identities(meaningful(raw)).reasons
    lost = reasons.is_in([LOST_DIGITS, TOO_LARGE]).fill_null(False)
    if not lost.any():
        return None
    return reasons.to_frame("reason").select(pl.when(lost).then("reason"))["reason"]


def placeholders(raw: pl.Series, identifier: Identifier) -> pl.Series:
    """Which cells stand for no customer as they are, whatever steps would make of them."""
    texts = identities(meaningful(raw)).texts
    plain = Identifier(normalise=["trim"], deny=identifier.deny)
    return texts.is_not_null() & one_form(texts, plain).is_null()


def refusal(identifier: Identifier) -> str | None:
    """Why a text that says something may say nothing after an identifier's steps; None where no
    step refuses any."""
    for step in reversed(identifier.normalise):
        if step == "email":
            return NO_EMAIL
        if isinstance(step, dict) and "phone" in step:
            return NO_TELEPHONE
    return None


def normalise(raw: pl.Series, identifier: Identifier) -> pl.Series:
    """The identifiers in their one form; null for what stands for no customer."""
    return one_form(identities(meaningful(raw)).texts, identifier)


def one_form(texts: pl.Series, identifier: Identifier) -> pl.Series:
    """Texts after an identifier's steps; null for a blank, a placeholder or a malformed email."""
    is_ascii = not (texts.str.len_bytes() != texts.str.len_chars()).any()
    # NFKC leaves ASCII as it is, and is the dearest of all steps.
    steps = [s for s in identifier.normalise if s != "nfkc"] if is_ascii else ["nfkc"]
    if not is_ascii:
        steps += identifier.normalise
    value = pl.col("v")
    frame = texts.to_frame("v").lazy()
    for step in steps:
        if step == "email":
            frame = _emails(frame)
        elif isinstance(step, dict) and "phone" in step:
            frame = _each_once(frame, lambda text, region=step["phone"]: e164(text, region))
        else:
            frame = frame.select(_apply(value, step))
    is_usable = ~_is_denied(value, identifier, is_ascii=is_ascii)
    if not is_ascii or steps[-1:] != ["email"]:  # an address says something
        is_usable &= ~value.str.contains(f"^[{NOTHING}]*$")
    return frame.select(pl.when(is_usable).then(value)).collect()["v"].rename(texts.name)


def _is_denied(normal: pl.Expr, identifier: Identifier, *, is_ascii: bool) -> pl.Expr:
    """Whether it is a placeholder; text whose case is known needn't be brought to one."""
    placeholders = sorted(denied(identifier))
    cases = [step for step in identifier.normalise if step in ("upper", "lower", "email")]
    if is_ascii and cases:
        upper = cases[-1] == "upper"
        return normal.is_in([p.upper() for p in placeholders] if upper else placeholders)
    return normal.str.to_lowercase().is_in(placeholders)


def _emails(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Most addresses obviously are some; the others are looked at one by one."""
    value = pl.col("v")
    texts = frame.select(value.str.strip_chars().str.to_lowercase()).collect()["v"]
    obvious = texts.str.contains(EMAIL) & (texts.str.len_bytes() <= LONGEST_EMAIL)
    odd = (~obvious).arg_true()
    if odd.is_empty():
        return texts.to_frame("v").lazy()
    found = _each_once(texts[odd].to_frame("v").lazy(), email_address).collect()["v"]
    return texts.scatter(odd, found).to_frame("v").lazy()


def _each_once(frame: pl.LazyFrame, step: Callable[[str], str]) -> pl.LazyFrame:
    """A step in plain Python, done once for each distinct text; null where it leaves nothing."""
    texts = frame.collect()["v"]
    distinct = texts.unique().drop_nulls()
    results = pl.Series([step(text) or None for text in distinct], dtype=pl.String)
    return texts.replace_strict(distinct, results, default=None).to_frame("v").lazy()


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
