"""The steps of `convert`: what each makes of a column, and what it can't convert."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from profile_pipelines.catalog.models import Attribute, Catalogue
from profile_pipelines.catalog.systems import SourceField, System
from profile_pipelines.catalog.values import AttributeType
from profile_pipelines.validation.casts import cast
from profile_pipelines.validation.conversions import convert
from profile_pipelines.validation.records import RecordValidator

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def _field(*steps: Any, path: str = "f") -> SourceField:
    return SourceField.model_validate({"field": path, "convert": list(steps)})


def _one(value: Any, target: AttributeType, *steps: Any, path: str = "f") -> Any:
    """What becomes of one value; the reason where it fails."""
    result = convert(pl.Series("f", [value]), _field(*steps, path=path), "Europe/Berlin")
    if result.reasons[0] is not None:
        return result.reasons[0]
    return cast(result.values, target, "Europe/Berlin").to_list()[0]


STATES = {"map": {"trialing": "active", "canceled": "churned", "unknown": None}}


@pytest.mark.parametrize(
    ("value", "target", "steps", "expected"),
    [
        ("  Gold ", "string", ["trim", "lower"], "gold"),
        ("gold", "string", ["upper"], "GOLD"),
        ("trialing", "string", [STATES], "active"),
        ("paused", "string", [STATES], "isn't in the map"),
        ("paused", "string", [{**STATES, "otherwise": "open"}], "open"),
        ("paused", "string", [{**STATES, "otherwise": None}], None),
        ("unknown", "string", [STATES], None),
        (None, "string", [{**STATES, "otherwise": "open"}], None),
        (3, "string", [{"map": {"3": "high"}}], "high"),
        (True, "string", [{"map": {"true": "on"}}], "on"),
        ("subscribed", "boolean", [{"map": {"subscribed": True, "cleaned": False}}], True),
        ("second", "integer", [{"map": {"first": 1, "second": 2}}], 2),
        (" | ", "list", [{"split": "|"}], None),
        ("a | b||c ", "list", [{"split": "|"}], ["a", "b", "c"]),
        ("a | b||c ", "string", [{"split": "|"}, "first"], "a"),
        ("a | b||c ", "string", [{"split": "|"}, "last"], "c"),
        ("a|b", "string", [{"split": "|"}, {"join": " + "}], "a + b"),
        ('["a", "b"]', "string", ["last"], "b"),
        ([], "string", ["first"], None),
        (
            "VIP|new",
            "list",
            [{"split": "|"}, "lower", {"map": {"vip": "gold"}}],
            "isn't in the map",
        ),
        ("VIP|VIP", "list", [{"split": "|"}, "lower", {"map": {"vip": "gold"}}], ["gold", "gold"]),
        ("02.03.2026", "date", [{"date": "%d.%m.%Y"}], date(2026, 3, 2)),
        ("2 March 2026", "date", [{"date": "%d %B %Y"}], date(2026, 3, 2)),
        ("2026-03-02", "date", [{"date": "%d.%m.%Y"}], "isn't a date as %d.%m.%Y"),
        ("30.02.2026", "date", [{"date": "%d.%m.%Y"}], "isn't a date as %d.%m.%Y"),
        ("20260302", "date", [{"date": "%Y%m%d"}], date(2026, 3, 2)),
        ("2026-03-01T23:30:00Z", "date", [{"date": "iso"}], date(2026, 3, 2)),
        ("2026-03-01T23:30:00-08:00", "date", [{"date": "iso"}], date(2026, 3, 2)),
        ("2026-03-02", "date", [{"date": "iso", "zone": "America/New_York"}], date(2026, 3, 2)),
        ("9999-12-31T23:59:59Z", "date", [{"date": "iso"}], date(9999, 12, 31)),
        ("+12026-03-02", "date", [{"date": "iso"}], "isn't a date as iso"),
        ("01.01.0000", "date", [{"date": "%d.%m.%Y"}], "isn't a date as %d.%m.%Y"),
        ("+12026-03-02 12:00", "timestamp", [{"timestamp": "iso"}], "isn't a time as iso"),
        ("1772452800", "date", [{"date": "iso"}], "isn't a date as iso"),
        ("1772407800", "date", [{"date": "epoch"}], date(2026, 3, 2)),
        (1772407800000, "date", [{"date": "epoch_ms"}], date(2026, 3, 2)),
        (1772452800, "timestamp", [{"timestamp": "epoch"}], NOON),
        ("1772452800000", "timestamp", [{"timestamp": "epoch_ms"}], NOON),
        ("soon", "timestamp", [{"timestamp": "epoch"}], "isn't a time as epoch"),
        ("2026-03-02 13:00:00", "timestamp", [{"timestamp": "iso", "zone": "Europe/Berlin"}], NOON),
        ("2026-03-02T12:00:00Z", "timestamp", [{"timestamp": "iso", "zone": "Asia/Tokyo"}], NOON),
        ("02/03/2026 12:00", "timestamp", [{"timestamp": "%d/%m/%Y %H:%M"}], NOON),
        ("02/03/2026 21:00 +0900", "timestamp", [{"timestamp": "%d/%m/%Y %H:%M %z"}], NOON),
        (
            "29.03.2026 02:30",
            "timestamp",
            [{"timestamp": "%d.%m.%Y %H:%M", "zone": "Europe/Berlin"}],
            "is no time in Europe/Berlin, where the clocks are put forward over it",
        ),
        (NOON, "date", [{"date": "iso"}], date(2026, 3, 2)),
        (date(2026, 3, 2), "date", [{"date": "%d.%m.%Y"}], date(2026, 3, 2)),
        (1999, "decimal", [{"minor_units": 2}], Decimal("19.99")),
        ("-5", "decimal", [{"minor_units": "EUR"}], Decimal("-0.05")),
        ("1200", "decimal", [{"minor_units": "JPY"}], Decimal(1200)),
        ("1234", "decimal", [{"minor_units": "KWD"}], Decimal("1.234")),
        ("19.99", "decimal", [{"minor_units": 2}], "isn't a whole number of minor units"),
        ("1.234,56", "decimal", [{"number": "decimal_comma"}], Decimal("1234.56")),
        ("1 234,5", "decimal", [{"number": "decimal_comma"}], Decimal("1234.5")),
        ("1'234.5", "decimal", [{"number": "decimal_point"}], Decimal("1234.5")),
        ("1.5", "decimal", [{"number": "decimal_comma"}], "isn't a number with a decimal comma"),
        ("12.345", "integer", [{"number": "decimal_comma"}], 12345),
        (",5", "decimal", [{"number": "decimal_comma"}], Decimal("0.5")),
        ("-.5", "decimal", [{"number": "decimal_point"}], Decimal("-0.5")),
        ("", "decimal", [{"number": "decimal_point"}], "isn't a number with a decimal point"),
        (12.345, "decimal", [{"number": "decimal_comma"}], Decimal("12.345")),
        ("1067.0", "string", [{"pad": {"to": 5, "with": "0"}}], "01067"),
        (1067.0, "string", [{"pad": {"to": 5, "with": "0"}}], "01067"),
        (" 1067 ", "string", [{"pad": {"to": 5, "with": "0"}}], "01067"),
        ("20260302.0", "date", [{"date": "%Y%m%d"}], date(2026, 3, 2)),
        ("20260302.1300", "timestamp", [{"timestamp": "%Y%m%d.%H%M"}], NOON + timedelta(hours=1)),
        (None, "integer", [{"default": 0}], 0),
        (None, "list", [{"split": ","}, {"default": "none"}], ["none"]),
        (None, "date", [{"date": "%d.%m.%Y"}, {"default": date(2020, 1, 1)}], date(2020, 1, 1)),
        ("x", "date", [{"date": "iso"}, {"default": date(2020, 1, 1)}], "isn't a date as iso"),
        ("0049-30-1", "string", [{"replace": {"0049": "+49", "-": ""}}], "+49301"),
        ("gid://shopify/Customer/42", "string", [{"extract": r"/(\d+)$"}], "42"),
        ("C-42", "string", [{"extract": r"\d+"}], "42"),
        ("none", "string", [{"extract": r"\d+"}], "doesn't have the form to extract from"),
    ],
)
def test_steps(value: Any, target: AttributeType, steps: list[Any], expected: Any) -> None:
    """Each step gives the value that it says, or a reason without the value in it."""
    assert _one(value, target, *steps) == expected


def test_what_a_wildcard_finds_is_a_list() -> None:
    """A path through `[*]` gives a list, whose entries steps change one by one."""
    assert _one('["A", "B"]', "list", "lower", path="tags[*].name") == ["a", "b"]
    assert _one('["A", "B"]', "string", "last", path="tags[*].name") == "B"


def test_typed_lists_keep_their_entries() -> None:
    """A column that is a list already isn't written as text in between."""
    assert _one(["a,b", "c"], "list", {"map": {"a,b": "x", "c": "y"}}) == ["x", "y"]


@given(st.integers(-(10**13), 10**13), st.integers(0, 4))
def test_minor_units_are_exact(amount: int, digits: int) -> None:
    """No amount loses a digit, whatever its size."""
    found = _one(str(amount), "decimal", {"minor_units": digits})
    assert found == Decimal(amount).scaleb(-digits)


@given(st.lists(st.text() | st.none(), max_size=5))
def test_an_unmapped_word_never_passes(words: list[str | None]) -> None:
    """Every cell is mapped, missing as it was, or has its reason; never the source's own word."""
    raw = pl.Series("f", words, dtype=pl.String)
    result = convert(raw, _field({"map": {"a": "x"}}), "UTC")
    expected = [(w, None) if w is None else ("x", None) if w == "a" else (None, "r") for w in words]
    found = zip(result.values, [r and "r" for r in result.reasons], strict=True)
    assert list(found) == expected


def test_what_can_not_be_converted_is_quarantined() -> None:
    """The cell is null in the record; its quarantine has the source's own value and the reason."""
    system = System.model_validate(
        {
            "system": "crm",
            "kind": "crm",
            "connection": {"type": "sql", "url": {"env": "CRM"}},
            "syncs": {
                "people": {
                    "table": "people",
                    "identifiers": {"email": "email"},
                    "attributes": {
                        "status": {"field": "state", "convert": ["lower", STATES]},
                        "spent": {"field": "cents", "convert": [{"minor_units": 2}]},
                    },
                }
            },
        }
    )
    kinds = {"status": "string", "spent": "decimal"}
    catalogue = TypeAdapter(Catalogue).validate_python(
        {
            "identifiers": {"email": {}},
            "attributes": {
                name: Attribute.model_validate(
                    {"type": kind, "sources": ["crm"], "fresh_within": "24h"}
                )
                for name, kind in kinds.items()
            },
            "systems": {"crm": system},
        }
    )
    validator = RecordValidator(catalogue, system.syncs["people"], list(kinds), NOON)
    raw = {
        "email": ["a@x.de", "b@x.de", "c@x.de"],
        "state": ["Trialing", "Paused", None],
        "cents": ["150", "1.5", ""],
    }
    records = validator.validate(pa.table(raw))
    assert records["status"].to_list() == ["active", None, None]
    assert records["spent"].to_list() == [Decimal("1.5"), None, None]
    quarantine = records["quarantine"].to_list()
    assert quarantine[0] is None
    assert quarantine[2] is None
    assert {(q["attribute"], q["reason"], q["value"]) for q in quarantine[1]} == {
        ("status", "isn't in the map", "Paused"),
        ("spent", "isn't a whole number of minor units", "1.5"),
    }
    assert validator.findings.values == {"status": 2, "spent": 2}
    assert validator.findings.invalid("status") == 1
