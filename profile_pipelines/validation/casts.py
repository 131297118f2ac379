"""Lenient casts from what a source delivers to the catalogue's types.

A value that can't be read becomes null; the caller compares with the raw column to find those.
Dates and times are read by `validation.times`.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation

import polars as pl

from profile_pipelines.catalog.values import AttributeType, number_text
from profile_pipelines.validation.cells import as_text, meaningful, plain_numbers
from profile_pipelines.validation.one_cell import meaning
from profile_pipelines.validation.times import INSTANT, dated, dates, times

TRUE = ("true", "t", "yes", "y", "on", "1")
FALSE = ("false", "f", "no", "n", "off", "0")
"""What truth values look like, in lower case."""
_NO_FRACTION = r"^([+-]?\d+)\.0*$"
_SCIENTIFIC = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]{1,4}$"
_DIGITS = 19
"""Of the largest integer."""
_DECIMAL = pl.Decimal(18, 4)
_DECIMAL_LIMIT = 10**14
POLARS_TYPES: dict[str, pl.DataType] = {
    "string": pl.String(),
    "integer": pl.Int64(),
    "decimal": _DECIMAL,
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "timestamp": INSTANT,
    "list": pl.List(pl.String()),
}


def cast(raw: pl.Series, target: AttributeType, timezone: str, zone: str = "UTC") -> pl.Series:
    """The column in the target type, null where a value can't be read as that.

    Times without an offset are local in `zone`; days are those of `timezone`, the catalogue's.
    """
    if raw.dtype == pl.Null:
        return raw.cast(POLARS_TYPES[target])
    if not _can_be(raw.dtype, target):
        return pl.Series(raw.name, [None], dtype=POLARS_TYPES[target]).new_from_index(0, len(raw))
    match target:
        case "string":
            return plain_numbers(raw) if raw.dtype == pl.String else as_text(raw)
        case "integer":
            return _integer(raw)
        case "decimal":
            return _decimal(raw)
        case "boolean":
            return _boolean(raw)
        case "date":
            return dates(raw, timezone)
        case "timestamp":
            return times(raw, timezone, zone)
        case "list":
            return _list(raw)


def _can_be(kind: pl.DataType, target: AttributeType) -> bool:
    """Whether any value of the type can be one of the target's: no list is a number, no day is.

    Text may be anything, and anything may be text.
    """
    if kind == pl.String or target == "string":
        return True
    if target == "list":
        return kind == pl.List
    if kind.is_temporal():
        return target in ("date", "timestamp")
    return kind.is_numeric() or (kind == pl.Boolean and target in ("boolean", "integer"))


_NAN = r"^\s*[nN][aA][nN]\s*$"
_NOTHING: dict[AttributeType, str] = {"integer": _NAN, "decimal": _NAN, "list": r"^[\s,;]*$"}


def told(raw: pl.Series, read: pl.Series, target: AttributeType) -> pl.Series:
    """The column without what programs write where there is no value of the type: zero dates
    and a dash for a time, NaN for a number, separators alone for a list. `read` is the column
    after its `cast`."""
    if read.null_count() == raw.null_count():
        return raw
    if target in ("date", "timestamp"):
        return dated(raw)
    if target not in _NOTHING or raw.dtype != pl.String:
        return raw
    is_none = raw.str.contains(_NOTHING[target])
    if not is_none.any():
        return raw
    pair = pl.DataFrame({"v": raw, "none": is_none})
    return pair.select(pl.when(pl.col("none").not_()).then("v"))["v"].rename(raw.name)


def _integer(raw: pl.Series) -> pl.Series:
    if raw.dtype.is_integer():
        return raw.cast(pl.Int64, strict=False)
    if raw.dtype.is_decimal():  # never by way of a float, which holds 15 digits
        number = pl.col("v").cast(pl.Int64, strict=False)
        return raw.to_frame("v").select(
            pl.when(number == pl.col("v")).then(number).alias(raw.name)
        )[raw.name]
    if raw.dtype == pl.String:
        return _integer_of_text(raw.str.strip_chars()).rename(raw.name)
    is_whole = pl.col("v") == pl.col("v").floor()
    floats = raw.cast(pl.Float64, strict=False).to_frame("v")
    return floats.select(pl.when(is_whole).then("v"))["v"].cast(pl.Int64, strict=False)


def _integer_of_text(text: pl.Series) -> pl.Series:
    plain = text.cast(pl.Int64, strict=False)
    if plain.null_count() == text.null_count():
        return plain
    plain = text.str.replace(_NO_FRACTION, "$1").cast(pl.Int64, strict=False)
    rest = (plain.is_null() & text.str.contains(_SCIENTIFIC)).arg_true()
    if not len(rest):
        return plain
    return plain.scatter(rest, [_whole(each) for each in text[rest].to_list()])


def _whole(text: str) -> int | None:
    """A number with an exponent, if it is whole. Not by way of a float, which would round it."""
    number = Decimal(text)
    is_integer = number.adjusted() < _DIGITS and number == number.to_integral_value()
    return int(number) if is_integer and -(2**63) <= number < 2**63 else None


def _decimal(raw: pl.Series) -> pl.Series:
    if raw.dtype == pl.String:
        text = raw.str.strip_chars()
        exact = text.cast(_DECIMAL, strict=False)
        if exact.null_count() == raw.null_count():
            return exact
        rest = _fitting(text.cast(pl.Float64, strict=False)).cast(_DECIMAL, strict=False)
        return exact.to_frame("e").select(pl.coalesce("e", rest.alias("f")))["e"].rename(raw.name)
    if raw.dtype.is_decimal():
        return raw.cast(_DECIMAL, strict=False)
    return _fitting(raw).cast(_DECIMAL, strict=False)


def _fitting(numbers: pl.Series) -> pl.Series:
    """Null what no decimal of the lake can hold: its cast would fail, not give null."""
    size = pl.col("v").cast(pl.Float64).abs()
    fitting = pl.when(size < _DECIMAL_LIMIT).then(pl.col("v"))
    return numbers.to_frame("v").select(fitting)["v"].rename(numbers.name)


def _boolean(raw: pl.Series) -> pl.Series:
    if raw.dtype == pl.Boolean:
        return raw
    text = as_text(raw).str.strip_chars().str.to_lowercase()
    found = _truth(text)
    if found.null_count() == text.null_count():
        return found
    other = _truth(plain_numbers(text))
    return found.to_frame("v").select(pl.coalesce("v", other.alias("o")))["v"].rename(raw.name)


def _truth(words: pl.Series) -> pl.Series:
    return words.replace_strict(
        [*TRUE, *FALSE],
        [True] * len(TRUE) + [False] * len(FALSE),
        default=None,
        return_dtype=pl.Boolean,
    )


def _list(raw: pl.Series) -> pl.Series:
    """A JSON array, which may be empty, or words separated by commas or semicolons. A missing entry
    is none."""
    if raw.dtype == pl.List:
        return _said(raw.cast(pl.List(pl.String), strict=False))
    split = {text: _split(text) for text in raw.unique().to_list() if text is not None}
    values = [None if text is None else split[text] for text in raw.to_list()]
    return _said(pl.Series(raw.name, values, dtype=pl.List(pl.String)))


def _said(lists: pl.Series) -> pl.Series:
    """The lists without entries that say nothing, and what the others say."""
    entries = lists.explode()
    if meaningful(entries).equals(entries, null_equal=True):
        return lists.list.drop_nulls()
    rows = [None if row is None else _said_entries(row) for row in lists.to_list()]
    return pl.Series(lists.name, rows, dtype=pl.List(pl.String))


def _said_entries(entries: list[str | None]) -> list[str] | None:
    """None where texts stand that all say nothing: the list isn't known to be empty."""
    said = [text for each in entries if each is not None and (text := meaning(each)) is not None]
    return said if said or not any(entries) else None


def _split(text: str) -> list[str] | None:
    stripped = text.strip()
    if stripped.startswith("["):
        try:
            items = json.loads(stripped, parse_float=Decimal)
        except (ValueError, RecursionError, InvalidOperation):
            # a thousand brackets are no list of ours either
            return None
        entries = map(_entry_text, items)
        return [entry for entry in entries if entry is not None]
    if stripped.startswith("{") and stripped.endswith("}"):
        return None  # an object has no entries
    words = stripped.replace(";", ",").split(",")
    return [word.strip() for word in words if word.strip()] or None


def _entry_text(item: object) -> str | None:
    if item is None or isinstance(item, str):
        return item
    if isinstance(item, int | float | Decimal) and not isinstance(item, bool):
        return number_text(item)
    return json.dumps(item, ensure_ascii=False, default=float)
