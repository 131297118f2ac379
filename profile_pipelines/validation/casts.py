"""Lenient casts from what a source delivers to the catalogue's types.

A value that can't be read becomes null; the caller compares with the raw column to find those.
Timestamps without an offset are UTC. A timestamp that stands for a date is the calendar date in
the catalogue's time zone. Numbers that stand for times are seconds since 1970, or milliseconds
from 100,000,000,000 on.
"""

from __future__ import annotations

import json
from datetime import date

import polars as pl

from profile_pipelines.catalog.values import AttributeType

_TRUE = ["true", "t", "yes", "y", "1"]
_FALSE = ["false", "f", "no", "n", "0"]
_TIMESTAMP = pl.Datetime("us", "UTC")
_MILLISECONDS_FROM = 100_000_000_000
_COMPACT = r"^((?:19|20)\d{6})$"
_WRITTEN_OUT = ((19_000_101, 20_991_231), (19_000_101_000_000, 20_991_231_235_959))
"""Numbers that are dates or times as they stand: as seconds they'd be of 1970, as milliseconds of
the 26th century."""
_BASIC = r"^(\d{4})(\d\d)(\d\d)T?(\d\d)(\d\d)(\d\d)([.Z+-].*)?$"
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
"""0001-01-01 and 9999-12-31, counted from 1970."""
_MICROSECONDS_A_DAY = 86_400_000_000
_NO_FRACTION = r"^([+-]?\d+)\.0*$"
_DECIMAL = pl.Decimal(18, 4)
_DECIMAL_LIMIT = 10**14
POLARS_TYPES: dict[str, pl.DataType] = {
    "string": pl.String(),
    "integer": pl.Int64(),
    "decimal": _DECIMAL,
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "timestamp": _TIMESTAMP,
    "list": pl.List(pl.String()),
}


def cast(raw: pl.Series, target: AttributeType, timezone: str) -> pl.Series:
    """The column in the target type, null where a value can't be read as that."""
    if raw.dtype == pl.Null:
        return raw.cast(POLARS_TYPES[target])
    match target:
        case "string":
            return _text(raw)
        case "integer":
            return _integer(raw)
        case "decimal":
            return _decimal(raw)
        case "boolean":
            return _boolean(raw)
        case "date":
            return _date(raw, timezone)
        case "timestamp":
            return _timestamp(raw)
        case "list":
            return _list(raw)


def blank_to_null(raw: pl.Series) -> pl.Series:
    """Empty and blank text says nothing: it counts as a missing value, not as an invalid one."""
    if raw.dtype != pl.String or raw.str.strip_chars().str.len_bytes().min() != 0:
        return raw
    return (
        raw.to_frame("v")
        .select(pl.when(~pl.col("v").str.contains(r"^\s*$")).then(pl.col("v")))["v"]
        .rename(raw.name)
    )


def as_text(raw: pl.Series) -> pl.Series:
    """Any column as text, for quarantine and keys."""
    if raw.dtype == pl.List or raw.dtype == pl.Struct:
        return pl.Series(
            raw.name,
            [None if v is None else json.dumps(v, default=str) for v in raw.to_list()],
            dtype=pl.String,
        )
    if raw.dtype == pl.Binary:
        return raw.cast(pl.String, strict=False)
    return raw.cast(pl.String, strict=False)


def _text(raw: pl.Series) -> pl.Series:
    return raw if raw.dtype == pl.String else as_text(raw)


def _integer(raw: pl.Series) -> pl.Series:
    if raw.dtype.is_integer():
        return raw.cast(pl.Int64, strict=False)
    if raw.dtype.is_decimal():  # never by way of a float, which holds 15 digits
        number = pl.col("v").cast(pl.Int64, strict=False)
        return raw.to_frame("v").select(
            pl.when(number == pl.col("v")).then(number).alias(raw.name)
        )[raw.name]
    numbers, plain = raw, None
    if raw.dtype == pl.String:
        numbers = raw.str.strip_chars()
        plain = numbers.cast(pl.Int64, strict=False)
        if plain.null_count() == numbers.null_count():
            return plain
        plain = numbers.str.replace(_NO_FRACTION, "$1").cast(pl.Int64, strict=False)
    floats = numbers.cast(pl.Float64, strict=False)
    whole = floats.to_frame("v").select(
        pl.when(pl.col("v") == pl.col("v").floor()).then(pl.col("v"))
    )["v"]
    whole = whole.cast(pl.Int64, strict=False)
    if plain is not None:
        whole = plain.to_frame("p").select(pl.coalesce("p", whole.alias("w")))["p"]
    return whole.rename(raw.name)


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
    if raw.dtype.is_numeric():
        return _fitting(raw).cast(_DECIMAL, strict=False)
    return _nothing(raw, "decimal")


def _fitting(numbers: pl.Series) -> pl.Series:
    """Null what no decimal of the lake can hold: its cast would fail, not give null."""
    size = pl.col("v").cast(pl.Float64).abs()
    fitting = pl.when(size < _DECIMAL_LIMIT).then(pl.col("v"))
    return numbers.to_frame("v").select(fitting)["v"].rename(numbers.name)


def _boolean(raw: pl.Series) -> pl.Series:
    if raw.dtype == pl.Boolean:
        return raw
    if not (raw.dtype == pl.String or raw.dtype.is_integer()):
        return _nothing(raw, "boolean")
    text = raw.cast(pl.String).str.strip_chars().str.to_lowercase()
    return text.replace_strict(
        [*_TRUE, *_FALSE],
        [True] * len(_TRUE) + [False] * len(_FALSE),
        default=None,
        return_dtype=pl.Boolean,
    )


def _date(raw: pl.Series, timezone: str) -> pl.Series:
    if raw.dtype == pl.Date:
        return raw
    if raw.dtype == pl.String:
        text = raw.str.strip_chars()
        dates = within_reach(text.str.to_date("%Y-%m-%d", strict=False))
        if dates.null_count() == raw.null_count():
            return dates
        compact = text.str.extract(_COMPACT).str.to_date("%Y%m%d", strict=False)
        dates = dates.to_frame("d").select(pl.coalesce("d", compact.alias("c")))["d"]
        longer = local_dates(_timestamp(text), timezone)
        return dates.to_frame("d").select(pl.coalesce("d", longer.alias("l")))["d"].rename(raw.name)
    return local_dates(_timestamp(raw), timezone)


def local_dates(instants: pl.Series, zone: str) -> pl.Series:
    """The calendar dates in `zone`; the last hours of 9999 stay in it, as the first of year 1 do:
    they say "never", or "always"."""
    return instants.dt.convert_time_zone(zone).dt.date().clip(date.min, date.max)


def within_reach(times: pl.Series) -> pl.Series:
    """Null what lies outside the years 1 to 9999, such as `+12026-01-01`: Python has no such dates,
    and what is read from the lake would break on them."""
    unit = 1 if times.dtype == pl.Date else _MICROSECONDS_A_DAY
    numbers = times.to_physical()
    within = (numbers >= _FIRST_DAY * unit) & (numbers < (_LAST_DAY + 1) * unit)
    if within.all():
        return times
    return times.to_frame("t").select(pl.when(within).then("t").alias(times.name))[times.name]


def _timestamp(raw: pl.Series) -> pl.Series:
    if isinstance(raw.dtype, pl.Datetime):
        zoned = (
            raw.dt.convert_time_zone("UTC")
            if raw.dtype.time_zone
            else (raw.dt.replace_time_zone("UTC"))
        )
        return zoned.cast(_TIMESTAMP)
    if raw.dtype == pl.Date:
        return raw.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if raw.dtype.is_numeric():
        return _epoch(raw)
    if raw.dtype == pl.String:
        return within_reach(_timestamp_text(raw.str.strip_chars()))
    return _nothing(raw, "timestamp")


def _timestamp_text(text: pl.Series) -> pl.Series:
    """ISO 8601 in its usual spellings, then epoch numbers, then what else APIs write."""
    result = iso_timestamps(text)
    for attempt in (_epoch_text, _respelled, _microsoft, _of_mail):
        if result.null_count() == text.null_count():
            break
        found = attempt(text)
        result = result.to_frame("r").select(pl.coalesce("r", found.alias("f")))["r"]
    return result.rename(text.name)


def _epoch_text(text: pl.Series) -> pl.Series:
    """Numbers, but for those that are written out, such as 20261231 and 20261231180000."""
    days, times = (pl.col("v").is_between(*bounds) for bounds in _WRITTEN_OUT)
    numbers = text.cast(pl.Float64, strict=False).to_frame("v")
    return _epoch(numbers.select(pl.when(~(days | times)).then(pl.col("v")))["v"])


def _respelled(text: pl.Series) -> pl.Series:
    """ISO 8601 without dashes and colons, without seconds, or with UTC or GMT in words."""
    return iso_timestamps(
        text.str.replace(_BASIC, "${1}-${2}-${3}T${4}:${5}:${6}${7}")
        .str.replace(r"^(\d{4})(\d\d)(\d\d)$", "${1}-${2}-${3}")
        .str.replace(r"\s*(?:UTC|GMT)$", "Z")
        .str.replace(r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d)(Z|[+-]\d\d:?\d\d)$", "${1}:00${2}")
    )


def _microsoft(text: pl.Series) -> pl.Series:
    """`/Date(1767225600000)/`, as OData 2 has it; its offset doesn't move the instant."""
    found = text.str.extract(r"^/Date\((-?\d+)(?:[+-]\d{4})?\)/$")
    return epoch_timestamps(found.cast(pl.Float64, strict=False), milliseconds=True)


def _of_mail(text: pl.Series) -> pl.Series:
    """`Thu, 31 Dec 2026 18:00:00 GMT`, as mail and HTTP have it (RFC 5322)."""
    return _utc(text.str.replace("GMT", "+0000", literal=True), "%a, %d %b %Y %H:%M:%S %z")


def iso_timestamps(text: pl.Series, zone: str = "UTC") -> pl.Series:
    """ISO 8601 in its usual spellings; a time without an offset is local in `zone`.

    Later spellings are tried only where they are needed.
    """
    result = pl.Series(text.name, [None], dtype=_TIMESTAMP).new_from_index(0, len(text))
    attempts = (
        lambda left: _utc(left, "%Y-%m-%dT%H:%M:%S%.f%#z"),
        lambda left: _utc(left.str.replace(" ", "T", literal=True), "%Y-%m-%dT%H:%M:%S%.f%#z"),
        lambda left: local_timestamps(
            left.str.replace("T", " ", literal=True), "%Y-%m-%d %H:%M:%S%.f", zone
        ),
        lambda left: local_timestamps(
            left.str.replace("T", " ", literal=True), "%Y-%m-%d %H:%M", zone
        ),
        lambda left: in_utc(
            left.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")), zone
        ),
    )
    for attempt in attempts:
        if result.null_count() == text.null_count():
            break
        found = attempt(text)
        result = result.to_frame("r").select(pl.coalesce("r", found.alias("f")))["r"]
    return result.rename(text.name)


def _utc(text: pl.Series, pattern: str) -> pl.Series:
    return text.str.to_datetime(pattern, time_unit="us", time_zone="UTC", strict=False)


def local_timestamps(text: pl.Series, pattern: str, zone: str) -> pl.Series:
    """Times without an offset, local in `zone`; null where they aren't of the pattern."""
    return in_utc(text.str.to_datetime(pattern, time_unit="us", strict=False), zone)


def in_utc(local: pl.Series, zone: str) -> pl.Series:
    """Local times in UTC: the first of two alike, null where the clocks skip."""
    if zone == "UTC":
        return local.dt.replace_time_zone("UTC")
    return local.dt.replace_time_zone(
        zone, ambiguous="earliest", non_existent="null"
    ).dt.convert_time_zone("UTC")


def _epoch(numbers: pl.Series) -> pl.Series:
    value = pl.col("v").cast(pl.Float64)
    milliseconds = value.abs() >= _MILLISECONDS_FROM
    # never divided: Polars takes a quotient of one value for another than that of many
    return _since_epoch(numbers, value * pl.when(milliseconds).then(1_000.0).otherwise(1_000_000.0))


def epoch_timestamps(numbers: pl.Series, *, milliseconds: bool) -> pl.Series:
    """Seconds or milliseconds since 1970; null what lies outside the years 1 to 9999."""
    value = pl.col("v").cast(pl.Float64)
    return _since_epoch(numbers, value * (1_000.0 if milliseconds else 1_000_000.0))


def _since_epoch(numbers: pl.Series, micros: pl.Expr) -> pl.Series:
    within = micros.is_between(-62135596800_000_000, 253402300799_000_000)
    return (
        numbers.to_frame("v")
        .select(
            pl.when(within)
            .then(micros)
            .round()
            .cast(pl.Int64)
            .cast(pl.Datetime("us"))
            .dt.replace_time_zone("UTC")
        )["v"]
        .rename(numbers.name)
    )


def _list(raw: pl.Series) -> pl.Series:
    """A JSON array, or words separated by commas or semicolons; it may be empty. A missing entry
    is none."""
    if raw.dtype == pl.List:
        values = raw.cast(pl.List(pl.String), strict=False).list.drop_nulls()
    elif raw.dtype == pl.String:
        distinct = raw.unique().to_list()
        split = {text: _split(text) for text in distinct if text is not None}
        values = pl.Series(
            raw.name,
            [None if text is None else split[text] for text in raw.to_list()],
            dtype=pl.List(pl.String),
        )
    else:
        return _nothing(raw, "list")
    return values.rename(raw.name)


def _split(text: str) -> list[str] | None:
    stripped = text.strip()
    if stripped.startswith("["):
        try:
            items = json.loads(stripped)
        except (ValueError, RecursionError):  # a thousand brackets are no list of ours either
            return None
        return [
            item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
            for item in items
            if item is not None
        ]
    words = stripped.replace(";", ",").split(",")
    return [word.strip() for word in words if word.strip()]


def _nothing(raw: pl.Series, target: str) -> pl.Series:
    return pl.Series(raw.name, [None], dtype=POLARS_TYPES[target]).new_from_index(0, len(raw))
