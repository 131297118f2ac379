"""A value is spelled the same wherever it goes, and reads back as what it was."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from profile_pipelines.activation.api import as_json
from profile_pipelines.activation.csv_files import CsvTarget
from profile_pipelines.activation.target import Batch
from profile_pipelines.catalog.spelling import json_text, value_text
from profile_pipelines.catalog.values import AttributeType, typed_value
from profile_pipelines.channels.message import Message
from profile_pipelines.channels.webhook import body_of
from profile_pipelines.cli.output import spell

_decimals = st.integers(-(10**18) + 1, 10**18 - 1).map(lambda n: Decimal(n).scaleb(-4))
VALUES: dict[AttributeType, st.SearchStrategy[Any]] = {
    "string": st.text(),
    "integer": st.integers(-(2**63), 2**63 - 1),
    "decimal": _decimals,
    "boolean": st.booleans(),
    "date": st.dates(),
    "timestamp": st.datetimes(timezones=st.just(UTC)),
    "list": st.lists(st.text(), max_size=3),
}
_typed = st.sampled_from(list(VALUES)).flatmap(lambda t: st.tuples(st.just(t), VALUES[t]))


def _message(value: object) -> bytes:
    return body_of(Message("m", "j", "0", "t", 1, None, "s", "x", None, None, {"value": value}))


def _in_csv(value: object, folder: Path) -> str:
    target = CsvTarget("out", folder, timedelta(days=1))
    rows = pl.DataFrame({"profile_id": [1], "key": ["1"], "value": [value]}, strict=False)
    target.add(Batch("out-20260302T120000Z-a", rows))
    [row] = csv.DictReader(io.StringIO(target.file.read_text(encoding="utf-8"), newline=""))
    return row["value"]


@given(_typed)
@example(("decimal", Decimal("99999999999999.9999")))
@example(("decimal", Decimal("-0.0001")))
@example(("decimal", Decimal("99.5000")))
@example(("decimal", Decimal("1E+5")))
@example(("decimal", Decimal("-0.0000")))
@example(("timestamp", datetime(2026, 3, 2, 12, tzinfo=UTC)))
@example(("timestamp", datetime.max.replace(tzinfo=UTC)))
@example(("timestamp", datetime.min.replace(tzinfo=UTC)))
@example(("date", date.min))
@example(("date", date.max))
def test_one_spelling(typed: tuple[AttributeType, Any]) -> None:
    """In every JSON and as text, of every type; and it reads back equal."""
    kind, value = typed
    told = json_text(value)
    short = json_text(value, compact=True)
    assert json.loads(short, parse_float=str) == json.loads(told, parse_float=str)
    assert json.loads(json_text([value], indent=2), parse_float=str, parse_int=str) == [
        json.loads(told, parse_float=str, parse_int=str)
    ]
    assert f'"attributes":{{"value":{short}}}'.encode() in _message(value)
    assert as_json({"value": value}) == f'{{"value":{short}}}'.encode()
    plain = json.loads(told)
    assert value_text(value) == (plain if isinstance(plain, str) else told)
    exact = json.loads(told, parse_float=Decimal)
    assert typed_value(kind, exact) == value
    assert "e" not in told.lower() or kind in ("string", "list", "boolean")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Decimal("99999999999999.9999"), "99999999999999.9999"),
        (Decimal("99.5000"), "99.5"),
        (datetime(2026, 3, 2, 12, tzinfo=UTC), "2026-03-02T12:00:00Z"),
        (date(2026, 3, 2), "2026-03-02"),
        (["sms", "email"], '["sms", "email"]'),
        (True, "true"),
        (9007199254740993, "9007199254740993"),
    ],
)
def test_a_file_for_a_destination_spells_alike(value: Any, told: str, tmp_path: Path) -> None:
    """As the profiles that are exported, and as JSON has it."""
    assert _in_csv(value, tmp_path) == told == value_text(value)


def test_people_read_the_catalogues_zone() -> None:
    """Also the first and the last hours of all, which have no local time in some zones."""
    assert spell(datetime(2027, 6, 14, 23, tzinfo=UTC), "Australia/Sydney") == "2027-06-15 09:00"
    assert spell(datetime.max.replace(tzinfo=UTC), "Australia/Sydney") == "9999-12-31 23:59"
    assert spell(datetime.min.replace(tzinfo=UTC), "America/New_York") == "0001-01-01 00:00"
    assert spell([]) == "(none)"
    assert spell("a\x1b[31m") == "a\N{REPLACEMENT CHARACTER}[31m"


def test_a_records_own_number_is_not_written_out() -> None:
    """A source's number with a huge exponent doesn't become a text of as many zeros."""
    assert json_text(Decimal("1E+999999")) == "1E+999999"
    assert json_text([float("nan"), Decimal("NaN")]) == "[null, null]"
