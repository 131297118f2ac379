"""Dates and times as business systems write them.

Three kinds are kept apart until the end: a calendar day, a local time that names no zone, and an
instant. A day and a local time stay on their day, whatever zone they are seen in; only an instant
needs a zone to be a day, and only a local time or a day needs one to be an instant. Years have
four digits and lie between 1 and 9999.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

import polars as pl

from profile_pipelines.validation.cells import as_text, plain_numbers

INSTANT = pl.Datetime("us", "UTC")
_LOCAL = pl.Datetime("us")
_T = pl.col("t")
_FIRST, _LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)
_FIRST_DAY, _YEAR_1000, _LAST_DAY = -719_162, -354_285, 2_932_896
"""0001-01-01, 1000-01-01 and 9999-12-31 in days since 1970."""
_DAY_MICROS = 86_400_000_000
_SECONDS = (631_152_000, 4_102_444_800)
"""1990 to 2100: a number outside of it is a serial day, a year, a key, but no time of business."""
_DAY = r"^((?:19|20)\d{6})$"
_BASIC = r"^(\d{4})(\d\d)(\d\d)T?(\d\d)(\d\d)(\d\d)([.,Z+-].*)?$"
_NO_DATE = r"^\s*(?:0000-00-00(?:[T ]00:00(?::00(?:\.0+)?)?Z?)?|-|NaT)\s*$"
SKIPPED = "is no time in {zone}, where the clocks are put forward over it"
_EXCEL_DAY_ZERO = datetime(1899, 12, 30)
_EXCEL_DAYS = (61, 2_958_466)
"""1900-03-01, before which its days are off by one, to 9999-12-31."""


def dates(raw: pl.Series, timezone: str) -> pl.Series:
    """The calendar days; an instant's is that of `timezone`. Null for what is none."""
    if raw.dtype == pl.Date:
        return raw
    if isinstance(raw.dtype, pl.Datetime):
        return local_dates(raw, timezone) if raw.dtype.time_zone else raw.dt.date()
    text = _text(raw)
    return _first_found(
        text,
        _days,
        lambda left: _local(left).dt.date(),
        lambda left: _respelled_local(left).dt.date(),
        lambda left: local_dates(_instants(left), timezone),
    )


def times(raw: pl.Series, timezone: str, zone: str) -> pl.Series:
    """The instants; a local time is meant in `zone`, a day begins in `timezone`."""
    if raw.dtype == pl.Date:
        return begun(raw, timezone)
    if isinstance(raw.dtype, pl.Datetime):
        if raw.dtype.time_zone:
            return raw.dt.convert_time_zone("UTC").cast(INSTANT)
        return in_utc(raw.cast(_LOCAL), zone)
    text = _text(raw)
    return _first_found(
        text,
        _iso_instants,
        lambda left: in_utc(_local(left), zone),
        lambda left: begun(_days(left), timezone),
        lambda left: in_utc(_respelled_local(left), zone),
        _instants,
    )


def why_unread(said: pl.Series, zone: str, reason: str) -> pl.Series:
    """Why cells aren't readable as instants: that the clocks of `zone` skip such a local time, else
    the given reason."""
    skips = pl.when(times(said, "UTC", "UTC").is_not_null()).then(pl.lit(SKIPPED.format(zone=zone)))
    return pl.select(skips.otherwise(pl.lit(reason)).alias("reason"))["reason"]


def local_dates(instants: pl.Series, zone: str) -> pl.Series:
    """The calendar dates in `zone`; the last hours of 9999 stay in it, as the first of year 1 do:
    they say "never", or "always"."""
    return instants.dt.convert_time_zone(zone).dt.date().clip(date.min, date.max)


def in_utc(local: pl.Series, zone: str) -> pl.Series:
    """Local times of `zone` in UTC.

    Of two alike the first is meant; null where the clocks skip one. "Never" and "always" stay.
    """
    local = local.cast(_LOCAL)
    if zone == "UTC":
        return local.dt.replace_time_zone("UTC")
    found = _zoned(local, zone)
    bounds = (pl.lit(each).dt.replace_time_zone("UTC") for each in (_FIRST, _LAST))
    return found.to_frame("t").select(_T.clip(*bounds))["t"].rename(local.name)


def begun(days: pl.Series, zone: str) -> pl.Series:
    """When calendar days begin in `zone`: where the clocks skip midnight, right after it."""
    local = days.cast(_LOCAL)
    found = in_utc(local, zone)
    if found.null_count() == local.null_count():
        return found
    day = timedelta(days=1)
    pair = pl.DataFrame({"t": found, "skipped": in_utc(local - day, zone) + day})
    return pair.select(pl.coalesce("t", "skipped"))["t"].rename(days.name)


def _zoned(local: pl.Series, zone: str) -> pl.Series:
    return local.dt.replace_time_zone(
        zone, ambiguous="earliest", non_existent="null"
    ).dt.convert_time_zone("UTC")


def dated(said: pl.Series) -> pl.Series:
    """The column without zero dates and a dash, by which programs say that there is no date."""
    if said.dtype != pl.String or not said.str.contains(_NO_DATE).any():
        return said
    kept = pl.when(~pl.col("v").str.contains(_NO_DATE)).then("v")
    return said.to_frame("v").select(kept)["v"].rename(said.name)


def earliest_of_repeated(instants: pl.Series, as_utc: pl.Series, zone: str) -> pl.Series:
    """Local times that come twice as the first moment of the period in which they do.

    `as_utc` is the same column read as if its local times were UTC's, which tells them from
    instants.
    """
    frame = pl.DataFrame({"t": instants, "u": as_utc})
    found = frame.with_row_index().filter((pl.col("t") != pl.col("u")).fill_null(False))
    local = found["t"].dt.convert_time_zone(zone).dt.replace_time_zone(None)
    later = local.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")
    twice = found.filter((later.dt.convert_time_zone("UTC") != found["t"]).fill_null(False))
    if twice.is_empty():
        return instants
    firsts = {each: _repeated_from(each, ZoneInfo(zone)) for each in twice["t"].unique()}
    moved = pl.Series([firsts[each] for each in twice["t"]], dtype=INSTANT)
    return instants.scatter(twice["index"], moved)


def _repeated_from(instant: datetime, zone: ZoneInfo) -> datetime:
    """When the local times began that come twice, one of which this instant is; clocks are set
    on a quarter of an hour."""
    quarter = timedelta(minutes=15)
    before = instant.astimezone(zone).utcoffset() or timedelta()
    at = instant.replace(minute=instant.minute // 15 * 15, second=0, microsecond=0)
    for _ in range(4 * 24):
        at += quarter
        after = at.astimezone(zone).utcoffset() or timedelta()
        if after != before:
            return at - (before - after)
    return instant


def iso_times(text: pl.Series, timezone: str, zone: str) -> pl.Series:
    """ISO 8601 alone, in its usual spellings, as `times` reads it."""
    return _first_found(
        text,
        _iso_instants,
        lambda left: in_utc(_local(left), zone),
        lambda left: begun(_days(left), timezone),
        lambda left: in_utc(_respelled_local(left), zone),
        lambda left: _iso_instants(_respelled(left)),
    )


def iso_dates(text: pl.Series, timezone: str) -> pl.Series:
    """ISO 8601 alone, as `dates` reads it."""
    return _first_found(
        text,
        _days,
        lambda left: _local(left).dt.date(),
        lambda left: _respelled_local(left).dt.date(),
        lambda left: local_dates(_iso_instants(_respelled(left)), timezone),
    )


def formatted(text: pl.Series, pattern: str, pivot: int | None = None) -> pl.Series:
    """Local times (or days, at midnight) of a format such as `%d.%m.%Y`; null for others.

    `%Y` stands for four digits. Two digits up to `pivot` are of the 2000s, later ones of the
    1900s; without one, up to 68, as in POSIX.
    """
    has_time = any(part in pattern for part in ("%H", "%I", "%M", "%S"))
    if has_time:
        local = text.str.to_datetime(pattern, time_unit="us", strict=False)
    else:
        local = text.str.to_date(pattern, strict=False).cast(_LOCAL)
    if "%y" in pattern and pivot is not None:
        return _pivoted(local, pivot)
    if "%Y" in pattern:
        return _of_four_digits(local, text, r"\d{4}")
    return _within_reach(local)


def formatted_instants(text: pl.Series, pattern: str) -> pl.Series:
    """Instants of a format that has `%z`."""
    found = text.str.to_datetime(pattern, time_unit="us", time_zone="UTC", strict=False)
    return _of_four_digits(found, text, r"\d{4}")


def epoch_times(raw: pl.Series, *, milliseconds: bool) -> pl.Series:
    """Seconds or milliseconds since 1970; null what lies outside the years 1 to 9999."""
    numbers = raw.cast(pl.Float64, strict=False)
    return _since_epoch(numbers, pl.lit(1_000.0 if milliseconds else 1_000_000.0))


def excel_times(raw: pl.Series) -> pl.Series:
    """Local times of a spreadsheet's serial days: 46387.75 is 2026-12-31 18:00."""
    serial = pl.col("v").cast(pl.Float64, strict=False)
    # never exact in binary: a spreadsheet itself shows whole seconds
    seconds = (serial * 86_400).round().cast(pl.Int64, strict=False)
    moment = pl.lit(_EXCEL_DAY_ZERO).cast(_LOCAL) + pl.duration(seconds=seconds)
    fits = (serial >= _EXCEL_DAYS[0]) & (serial < _EXCEL_DAYS[1])
    return raw.to_frame("v").select(pl.when(fits).then(moment).alias("v"))["v"].rename(raw.name)


def _text(raw: pl.Series) -> pl.Series:
    if raw.dtype == pl.String:
        return raw.str.strip_chars()
    if raw.dtype.is_numeric():
        return as_text(raw)
    return pl.Series(raw.name, [None], dtype=pl.String).new_from_index(0, len(raw))


def _first_found(text: pl.Series, *attempts: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """What the first attempt reads that reads it; later ones are made only where needed."""
    result = attempts[0](text)
    for attempt in attempts[1:]:
        if result.null_count() == text.null_count():
            break
        found = attempt(text)
        result = result.to_frame("t").select(pl.coalesce(_T, found.alias("f")))["t"]
    return result.rename(text.name)


def _days(text: pl.Series) -> pl.Series:
    days = _of_four_digits(text.str.to_date("%Y-%m-%d", strict=False), text)
    if days.null_count() == text.null_count():
        return days
    compact = plain_numbers(text).str.extract(_DAY).str.to_date("%Y%m%d", strict=False)
    return days.to_frame("t").select(pl.coalesce(_T, compact.alias("c")))["t"]


def _local(text: pl.Series) -> pl.Series:
    """ISO 8601 without an offset."""
    spaced = text.str.replace("T", " ", literal=True)

    def read(pattern: str) -> Callable[[pl.Series], pl.Series]:
        return lambda left: left.str.to_datetime(pattern, time_unit="us", strict=False)

    found = _first_found(spaced, read("%Y-%m-%d %H:%M:%S%.f"), read("%Y-%m-%d %H:%M"))
    return _of_four_digits(found, text)


def _respelled_local(text: pl.Series) -> pl.Series:
    return _local(_respelled(text))


def _iso_instants(text: pl.Series) -> pl.Series:
    """ISO 8601 with an offset."""
    pattern = "%Y-%m-%dT%H:%M:%S%.f%#z"

    def read(left: pl.Series) -> pl.Series:
        return left.str.to_datetime(pattern, time_unit="us", time_zone="UTC", strict=False)

    found = _first_found(text, read, lambda left: read(left.str.replace(" ", "T", literal=True)))
    return _of_four_digits(found, text)


def _instants(text: pl.Series) -> pl.Series:
    """All else that names an instant: other spellings of ISO 8601, numbers, mail's dates."""
    return _first_found(
        text,
        _iso_instants,
        lambda left: _iso_instants(_respelled(left)),
        _numbers,
        _microsoft,
        _of_mail,
    )


def _respelled(text: pl.Series) -> pl.Series:
    """ISO 8601 without dashes and colons, without seconds, with a comma before their fraction,
    with UTC or GMT in words, or with the name of a zone after the offset, as Java has it."""
    return (
        plain_numbers(text)
        .str.replace(_BASIC, "${1}-${2}-${3}T${4}:${5}:${6}${7}")
        .str.replace(r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d),(\d+)", "${1}.${2}")
        .str.replace(r"\s*(?:UTC|GMT)$", "Z")
        .str.replace(r"([Zz]|[+-]\d\d:?\d\d)\[[A-Za-z_/+-]+\]$", "${1}")
        .str.replace(r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d)(Z|[+-]\d\d:?\d\d)$", "${1}:00${2}")
    )


def _numbers(text: pl.Series) -> pl.Series:
    """Seconds or milliseconds since 1970, as far as they can be meant so."""
    numbers = text.cast(pl.Float64, strict=False).to_frame("n")
    first, last = _SECONDS
    seconds = pl.col("n").is_between(first, last, closed="left")
    millis = pl.col("n").is_between(first * 1000, last * 1000, closed="left")
    plausible = numbers.select(pl.when(seconds | millis).then("n"))["n"]
    # never divided: Polars takes a quotient of one value for another than that of many
    factor = pl.when(pl.col("v") < last).then(1_000_000.0).otherwise(1_000.0)
    return _since_epoch(plausible, factor)


def _since_epoch(numbers: pl.Series, to_micros: pl.Expr) -> pl.Series:
    micros = pl.col("v") * to_micros
    within = micros.is_between(-62135596800_000_000, 253402300799_999_000)
    instants = pl.when(within).then(micros).round().cast(pl.Int64).cast(_LOCAL)
    found = numbers.to_frame("v").select(instants.dt.replace_time_zone("UTC").alias("v"))
    return found["v"].rename(numbers.name)


def _microsoft(text: pl.Series) -> pl.Series:
    """`/Date(1767225600000)/`, as OData 2 has it; its offset doesn't move the instant."""
    found = text.str.extract(r"^/Date\((-?\d+)(?:[+-]\d{4})?\)/$")
    return epoch_times(found, milliseconds=True)


def _of_mail(text: pl.Series) -> pl.Series:
    """`Thu, 31 Dec 2026 18:00:00 GMT`, as mail and HTTP have it (RFC 5322)."""
    plain = text.str.replace("GMT", "+0000", literal=True)
    return formatted_instants(plain, "%a, %d %b %Y %H:%M:%S %z")


def _of_four_digits(found: pl.Series, text: pl.Series, year: str = r"^\d{4}") -> pl.Series:
    """Null where the year was written with fewer digits: `26-12-31` isn't of the year 26."""
    found = _within_reach(found)
    unit = 1 if found.dtype == pl.Date else _DAY_MICROS
    earliest = cast("int | None", found.to_physical().min())
    if earliest is None or earliest >= _YEAR_1000 * unit:
        return found
    pair = pl.DataFrame({"t": found, "v": text})
    is_whole = pl.col("v").str.contains(year)
    return pair.select(pl.when(is_whole).then(_T).alias("t"))["t"].rename(found.name)


def _within_reach(found: pl.Series) -> pl.Series:
    """Null what lies outside the years 1 to 9999, such as `+12026-01-01`: Python has no such
    dates. "Never" with an offset, whose UTC is of the year 10000, is the end of 9999."""
    unit = 1 if found.dtype == pl.Date else _DAY_MICROS
    numbers = found.to_physical()
    low, high = cast("int | None", numbers.min()), cast("int | None", numbers.max())
    if low is None or high is None or (low >= _FIRST_DAY * unit and high < (_LAST_DAY + 1) * unit):
        return found
    if found.dtype == pl.Date:
        return found.to_frame("t").select(pl.when(_T.dt.year().is_between(1, 9999)).then(_T))["t"]
    zone = found.dtype.time_zone if isinstance(found.dtype, pl.Datetime) else None
    last = pl.lit(_LAST).cast(_LOCAL).dt.replace_time_zone(zone)
    a_day_later = last.to_physical() + timedelta(days=1) // timedelta(microseconds=1)
    near = (_T.dt.year() >= 1) & (_T.to_physical() <= a_day_later)
    clipped = pl.when(near).then(pl.when(last < _T).then(last).otherwise(_T))
    return found.to_frame("t").select(clipped.alias("t"))["t"].rename(found.name)


def _pivoted(local: pl.Series, pivot: int) -> pl.Series:
    short = _T.dt.year() % 100
    year = pl.when(short <= pivot).then(short + 2000).otherwise(short + 1900)
    moved = pl.datetime(
        year, _T.dt.month(), _T.dt.day(), _T.dt.hour(), _T.dt.minute(), _T.dt.second()
    )
    return local.to_frame("t").select(moved.alias("t"))["t"].rename(local.name)
