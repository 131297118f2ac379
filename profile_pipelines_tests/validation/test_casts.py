"""Lenient casts: every usual spelling is read, everything else becomes null, nothing raises."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profile_pipelines.catalog.values import AttributeType
from profile_pipelines.validation.casts import POLARS_TYPES, cast
from profile_pipelines.validation.cells import as_text, meaningful

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
NEVER = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("target", "text", "expected"),
    [
        ("integer", " 42 ", 42),
        ("integer", "9007199254740993", 9007199254740993),
        ("integer", "42.0", 42),
        ("integer", "9007199254740993.00", 9007199254740993),
        ("integer", "1e3", 1000),
        ("integer", "42.5", None),
        ("integer", "99999999999999.99995", None),
        ("integer", "9007199254740993.5", None),
        ("integer", "9.007199254740993e15", 9007199254740993),
        ("integer", "1e-3", None),
        ("integer", "1e999", None),
        ("list", "a,\\N,b", ["a", "b"]),
        ("list", '["a", "\\\\N", "", "(null)"]', ["a"]),
        ("date", "20240229.0", date(2024, 2, 29)),
        ("integer", "9223372036854775808", None),
        ("decimal", "0.1", Decimal("0.1000")),
        ("decimal", "99999999999999.9999", Decimal("99999999999999.9999")),
        ("decimal", "1e2", Decimal("100.0000")),
        ("decimal", "100000000000000", None),
        ("decimal", "nan", None),
        ("decimal", "inf", None),
        ("decimal", "1,5", None),
        ("boolean", " Yes ", True),
        ("boolean", "0", False),
        ("boolean", "2", None),
        ("date", "2024-02-29", date(2024, 2, 29)),
        ("date", "2026-03-01T23:30:00Z", date(2026, 3, 2)),
        ("date", "2023-02-29", None),
        ("date", "20240229", date(2024, 2, 29)),
        ("date", "20230229", None),
        ("date", "/Date(1772407800000)/", date(2026, 3, 2)),
        ("timestamp", "2026-03-02T12:00:00Z", NOON),
        ("timestamp", "2026-03-02T13:00:00+01:00", NOON),
        ("timestamp", "2026-03-02 13:00:00+01:00", NOON),
        ("timestamp", "2026-03-02 12:00:00", NOON),
        ("timestamp", "2026-03-02 12:00", NOON),
        ("timestamp", "2026-03-02T12:00:00.000000", NOON),
        ("timestamp", "1772452800", NOON),
        ("timestamp", "1772452800000", NOON),
        ("timestamp", "9239717438321", None),
        ("timestamp", "2026-03-02", datetime(2026, 3, 1, 23, tzinfo=UTC)),
        ("timestamp", "20260302", datetime(2026, 3, 1, 23, tzinfo=UTC)),
        ("timestamp", "20260302120000", NOON),
        ("timestamp", "20260302T120000Z", NOON),
        ("timestamp", "20260302T130000.0+0100", NOON),
        ("timestamp", "2026-03-02T12:00Z", NOON),
        ("timestamp", "2026-03-02 12:00:00 UTC", NOON),
        ("timestamp", "/Date(1772452800000)/", NOON),
        ("timestamp", "/Date(1772452800000+0100)/", NOON),
        ("timestamp", "Mon, 02 Mar 2026 12:00:00 GMT", NOON),
        ("timestamp", "20261399120000", None),
        ("date", "9999-12-31T23:59:59.999Z", date(9999, 12, 31)),
        ("date", "+12026-03-02", None),
        ("date", "0000-01-01", None),
        ("date", "0000-12-31T23:30:00Z", None),
        ("timestamp", "9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("timestamp", "9999-12-31T23:59:59-05:00", NEVER),
        ("timestamp", "+12026-03-02T12:00:00Z", None),
        ("timestamp", "soon", None),
        ("timestamp", "2026-03-02T12:00:00,250Z", NOON + timedelta(milliseconds=250)),
        ("timestamp", "2026-03-02T13:00:00+01:00[Europe/Berlin]", NOON),
        ("date", "2026-12-31 23:59:59", date(2026, 12, 31)),
        ("date", "2026-12-31T00:00:00", date(2026, 12, 31)),
        ("date", "26-12-31", None),
        ("timestamp", "26-12-31T10:00:00Z", None),
        ("date", "2026", None),
        ("date", "202612", None),
        ("date", "261231", None),
        ("date", "46387", None),
        ("timestamp", "46387.75", None),
        ("timestamp", "202612311800", None),
        ("timestamp", "0", None),
        ("boolean", "1.0", True),
        ("boolean", "0.0", False),
        ("string", "10115.0", "10115"),
        ("string", "1.23e2", "123"),
        ("string", "4.9E+12", "4.9E+12"),
        ("string", "1.000", "1.000"),
        ("string", "12E3", "12E3"),
        ("list", '["a", "b"]', ["a", "b"]),
        ("list", "a; b,,c ", ["a", "b", "c"]),
        ("list", "[broken", None),
        (
            "list",
            "[1, 1.0, 12345678901234567890.50, true]",
            ["1", "1", "12345678901234567890.5", "true"],
        ),
        ("list", "[1e99999999999999999999]", None),
        ("list", '["a", null, true, 1.5, {"ä": [1]}]', ["a", "true", "1.5", '{"ä": [1]}']),
        ("string", " as it is ", " as it is "),
    ],
)
def test_text_is_read_as_the_declared_type(
    target: AttributeType, text: str, expected: object
) -> None:
    """The usual spellings, alone and among values that can't be read."""
    for others in ([], ["§"], [None]):
        raw = pl.Series("v", [text, *others], dtype=pl.String)
        found = cast(raw, target, "Europe/Berlin")
        assert found.dtype == POLARS_TYPES[target]
        assert found.to_list()[0] == expected


@pytest.mark.parametrize(
    ("target", "raw", "expected"),
    [
        ("integer", pl.Series([1.0, 1.5, None]), [1, None, None]),
        ("integer", pl.Series([True, False]), [1, 0]),
        ("integer", pl.Series([Decimal("9007199254740993.0"), Decimal("5.5")]), [2**53 + 1, None]),
        ("integer", pl.Series([Decimal(2**63), Decimal(-(2**63))]), [None, -(2**63)]),
        ("decimal", pl.Series([Decimal("99999999999999.9999")]), [Decimal("99999999999999.9999")]),
        ("decimal", pl.Series([Decimal("99999999999999.99995")]), [None]),
        ("decimal", pl.Series([0.1, float("nan"), float("inf")]), [Decimal("0.1"), None, None]),
        ("decimal", pl.Series([2**62, -5]), [None, Decimal(-5)]),
        ("decimal", pl.Series([1e14, -1e300]), [None, None]),
        ("decimal", pl.Series([Decimal("1e20"), Decimal("0.5")]), [None, Decimal("0.5")]),
        ("boolean", pl.Series([1, 0, 7]), [True, False, None]),
        ("boolean", pl.Series([1.0, 0.0, 0.5]), [True, False, None]),
        ("boolean", pl.Series([Decimal("1.00"), Decimal("0.00")]), [True, False]),
        ("date", pl.Series([20261231, 1772452800]), [date(2026, 12, 31), date(2026, 3, 2)]),
        ("string", pl.Series([10115.0, 0.5, 1e300]), ["10115", "0.5", "1" + "0" * 300]),
        ("string", pl.Series([Decimal("99.50"), Decimal("100.00")]), ["99.5", "100"]),
        ("date", pl.Series([datetime(2026, 3, 1, 23, 30)]), [date(2026, 3, 1)]),
        ("timestamp", pl.Series([1772452800, 1772452800000]), [NOON, NOON]),
        ("timestamp", pl.Series([date(2026, 3, 2)]), [datetime(2026, 3, 1, 23, tzinfo=UTC)]),
        ("timestamp", pl.Series([datetime(2026, 3, 2, 12)]), [NOON]),
        ("list", pl.Series([[1, 2], []]), [["1", "2"], []]),
        ("list", pl.Series([["a", None], [None]]), [["a"], []]),
        ("list", pl.Series([1]), [None]),
        ("string", pl.Series([1, None]), ["1", None]),
        ("string", pl.Series([["a"]]), ['["a"]']),
        ("boolean", pl.Series([None]), [None]),
    ],
)
def test_typed_columns_are_read_as_the_declared_type(
    target: AttributeType, raw: pl.Series, expected: list[Any]
) -> None:
    """Sources with types of their own are read as well as text."""
    assert cast(raw, target, "Europe/Berlin").to_list() == expected


def test_a_list_without_end_is_not_read() -> None:
    """The JSON reader gives up on it; the values beside it are read."""
    assert cast(pl.Series(["[" * 100_000, '["a"]']), "list", "UTC").to_list() == [None, ["a"]]


def test_the_first_moment_is_of_the_first_day() -> None:
    """Where the clocks are behind UTC it would be a day of the year 0, which there isn't."""
    for raw in (pl.Series(["0001-01-01T00:00:00Z"]), pl.Series([datetime(1, 1, 1)])):
        assert cast(raw, "date", "America/New_York").to_list() == [date(1, 1, 1)]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(list(POLARS_TYPES)),
    st.lists(
        st.none() | st.text(max_size=12) | st.integers().map(str) | st.floats().map(repr)
        | st.datetimes().map(str) | st.dates().map(str),
        min_size=1,
        max_size=6,
    ),
)  # fmt: skip
def test_no_text_breaks_a_cast(target: AttributeType, texts: list[str | None]) -> None:
    """Whatever a source delivers comes out typed, row by row; null stays null."""
    raw = pl.Series("v", texts, dtype=pl.String)
    found = cast(raw, target, "UTC")
    assert found.dtype == POLARS_TYPES[target]
    assert len(found) == len(texts)
    alone = [cast(pl.Series("v", [text], dtype=pl.String), target, "UTC").item() for text in texts]
    assert found.to_list() == [None if each is None else _plain(each) for each in alone]
    assert all(value is None for value, text in zip(found, texts, strict=True) if text is None)


def _plain(value: object) -> object:
    return value.to_list() if isinstance(value, pl.Series) else value


def test_blank_text_is_a_missing_value() -> None:
    """Empty and blank texts count as missing; everything else stays as it is."""
    assert meaningful(pl.Series(["", " \t", "x ", None])).to_list() == [None, None, "x ", None]


def test_any_column_can_be_shown_as_text() -> None:
    """Quarantine shows lists and objects as JSON, other values plainly."""
    assert as_text(pl.Series([{"a": 1}])).to_list() == ['{"a": 1}']
    assert as_text(pl.Series([1.5, None])).to_list() == ["1.5", None]
