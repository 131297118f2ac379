"""Conditions as written: what is read, what is refused, and with which words."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from profile_pipelines.catalog.conditions import (
    Condition,
    attributes_of,
    audiences_of,
    check_condition,
)
from profile_pipelines.catalog.models import Attribute
from profile_pipelines.catalog.operators import OPERATORS, OPERATORS_OF
from profile_pipelines.catalog.periods import Period, parse_period


def _attribute(kind: str, **valid: Any) -> Attribute:
    return Attribute.model_validate(
        {"type": kind, "sources": ["crm"], "fresh_within": "24h", "valid": valid}
    )


ATTRIBUTES = {
    "renewal_status": _attribute("string", **{"in": ["open", "confirmed"]}),
    "name": _attribute("string"),
    "points": _attribute("integer", min=0, max=1000),
    "value": _attribute("decimal"),
    "consent": _attribute("boolean"),
    "contract_end_date": _attribute("date", min="2000-01-01", max="2100-01-01"),
    "last_order": _attribute("timestamp", min="2000-01-01"),
    "channels": _attribute("list", **{"in": ["sms", "email"]}),
}


def _read(text: str) -> Condition:
    return Condition.model_validate(yaml.safe_load(text))


def _check(text: str) -> list[tuple[tuple[str | int, ...], str]]:
    return check_condition(_read(text), ATTRIBUTES, {"high_value"})


TREE = """
all:
  - contract_end_date: {within_next: 30 days, after: 2024-01-01}
  - renewal_status: {is_not: confirmed}
  - any:
      - in_audience: high_value
      - none: [points: {between: [1, 2]}]
      - not_in_audience: churned
"""


def test_a_tree_knows_its_attributes_and_audiences() -> None:
    """Names are found at any depth."""
    condition = _read(TREE)
    assert attributes_of(condition) == {"contract_end_date", "renewal_status", "points"}
    assert audiences_of(condition) == {"high_value", "churned"}


def test_a_condition_round_trips_through_plain_data() -> None:
    """What is dumped without unset keys is what stands in YAML, and JSON reads back the same."""
    condition = _read(TREE)
    data = condition.model_dump(exclude_none=True)
    assert data["all"][0] == {
        "contract_end_date": {"within_next": "30 days", "after": date(2024, 1, 1)}
    }
    assert Condition.model_validate(data) == condition
    text = condition.model_dump_json(exclude_none=True)
    assert attributes_of(Condition.model_validate_json(text)) == attributes_of(condition)


def test_what_is_compared_with_belongs_to_a_condition() -> None:
    """Another attribute is one of the condition's, and reads back from data and JSON."""
    condition = _read("all: [a: {before: {attribute: b}}, c: {between: [1, {attribute: d}]}]")
    assert attributes_of(condition) == {"a", "b", "c", "d"}
    data = condition.model_dump(exclude_none=True)
    assert data["all"][0] == {"a": {"before": {"attribute": "b"}}}
    assert Condition.model_validate(data) == condition
    assert hash(Condition.model_validate(data)) == hash(condition)
    text = condition.model_dump_json(exclude_none=True)
    assert Condition.model_validate_json(text) == condition
    schema = Draft202012Validator(Condition.model_json_schema())
    schema.validate(json.loads(text))
    assert not schema.is_valid({"a": {"before": {"atribute": "b"}}})


def test_conditions_are_values() -> None:
    """They compare by content, are hashable and can't be changed."""
    assert _read("a: {is: 1}") == _read("a: {is: 1}") != _read("b: {is: 1}")
    assert hash(_read(TREE)) == hash(_read(TREE))
    with pytest.raises(ValidationError, match="frozen"):
        _read("in_audience: x").in_audience = "y"  # pyright: ignore[reportAttributeAccessIssue]


def test_a_test_lists_its_operators_as_written() -> None:
    """Operators with a Python keyword for a name keep the spelling of YAML."""
    test = _read("a: {in: [x, y], is: x}").test
    assert test is not None
    assert (test[0], list(test[1])) == ("a", [("is", "x"), ("in", ("x", "y"))])


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("{}", (), "must be a condition"),
        ("confirmed", (), "must be a condition"),
        ("{a: {is: 1}, b: {is: 2}}", (), "one key, not 2 (a and b); write `all:` or `any:`"),
        ("{all: null}", ("all",), "`all` has no value"),
        ("{all: []}", ("all",), "is empty"),
        ("{all: {a: {is: 1}}}", ("all",), "write a list"),
        ("{a: 5}", ("a",), "must be an operator and its value, for example {is: active}"),
        ("{a: {}}", ("a",), "must be an operator"),
        ("{any: [{a: {is_nott: 5}}]}", ("any", 0, "a", "is_nott"), "is_nott; did you mean is_not?"),
        ("{a: {is: null}}", ("a", "is"), "write `missing: true`"),
        ("{a: {in: null}}", ("a", "in"), "write `missing: true`"),
        ("{a: {is: {atribute: b}}}", ("a", "is"), "to compare with: {attribute: renewal_date}"),
        ("{a: {in: [{attribute: B}]}}", ("a", "in", 0), "to compare with: {attribute"),
        ("{a: {within_next: {attribute: b}}}", ("a", "within_next"), "write for example 30 days"),
        ("{a: {is: [1]}}", ("a", "is"), "must be a text, a number"),
        ("{a: {is: .nan}}", ("a", "is"), "must be a text, a number"),
        ('{a: {is: "\\0"}}', ("a", "is"), "NUL"),
        ("{a: {in: x}}", ("a", "in"), "write a list"),
        ("{a: {in: []}}", ("a", "in"), "is empty"),
        ("{a: {in: [x, null]}}", ("a", "in", 1), "has no value"),
        ("{a: {between: [1]}}", ("a", "between"), "two ends"),
        ("{a: {present: false}}", ("a", "present"), "must be true"),
        ("{a: {contains: ''}}", ("a", "contains"), "write the text to look for"),
        ("{a: {within_next: 3 moons}}", ("a", "within_next"), "write for example 30 days"),
        ("{a: {within_next: -3 days}}", ("a", "within_next"), "write for example 30 days"),
        ("{a: {within_next: 9999999 days}}", ("a", "within_next"), "write for example 30 days"),
    ],
)
def test_what_is_no_condition_is_refused_at_its_place(
    text: str, path: tuple[str | int, ...], words: str
) -> None:
    """One mistake gives one complaint, whose path is the way through the YAML."""
    with pytest.raises(ValidationError) as caught:
        _read(text)
    (found,) = caught.value.errors()
    assert found["loc"] == path
    assert words in found["msg"]


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("{renewal_statsu: {is: x}}", ("renewal_statsu",), "did you mean renewal_status?"),
        ("{none: [{in_audience: hgh_value}]}", ("none", 0, "in_audience"), "mean high_value?"),
        ("{not_in_audience: x}", ("not_in_audience",), "high_value"),
        ("{points: {contains: '1'}}", ("points", "contains"), "to type integer; write is, is_not"),
        ("{name: {less_than: 1}}", ("name", "less_than"), "doesn't apply"),
        ("{contract_end_date: {at_least: 1}}", ("contract_end_date", "at_least"), "before, after"),
        ("{channels: {is: sms}}", ("channels", "is"), "write has_any, has_all"),
        ("{name: {is: true}}", ("name", "is"), "put it in quotes"),
        ("{points: {is: '1'}}", ("points", "is"), "whole number"),
        ("{points: {at_least: true}}", ("points", "at_least"), "whole number"),
        ("{value: {less_than: 1.23456}}", ("value", "less_than"), "4 decimals"),
        ("{consent: {is: 'yes'}}", ("consent", "is"), "true or false"),
        ("{contract_end_date: {is: soon}}", ("contract_end_date", "is"), "2030-12-31, or today"),
        (
            "{contract_end_date: {after: 2024-01-01 10:00:00}}",
            ("contract_end_date", "after"),
            "must be a date",
        ),
        ("{last_order: {before: 5}}", ("last_order", "before"), "a timestamp, for example"),
        ("{renewal_status: {is: confirmd}}", ("renewal_status", "is"), "did you mean confirmed?"),
        ("{renewal_status: {in: [open, x]}}", ("renewal_status", "in", 1), "open and confirmed"),
        ("{channels: {has_any: [fax]}}", ("channels", "has_any", 0), "sms and email"),
        ("{points: {is: -1}}", ("points", "is"), "below the lowest valid value, 0"),
        ("{points: {between: [5, 1001]}}", ("points", "between", 1), "above the highest"),
        ("{points: {between: [5, 4]}}", ("points", "between"), "lower end stands first"),
        (
            "{contract_end_date: {before: 1999-12-31}}",
            ("contract_end_date", "before"),
            "below the lowest valid value, 2000-01-01",
        ),
        ("{last_order: {after: 1999-12-31}}", ("last_order", "after"), "below the lowest"),
        (
            "{contract_end_date: {within_next: 24 hours}}",
            ("contract_end_date", "within_next"),
            "a date has no hours",
        ),
        (
            "{contract_end_date: {anniversary_within_next: 24 hours}}",
            ("contract_end_date", "anniversary_within_next"),
            "a date has no hours",
        ),
        (
            "{last_order: {anniversary_within_next: 7 days}}",
            ("last_order", "anniversary_within_next"),
            "doesn't apply to type timestamp",
        ),
        (
            "{contract_end_date: {before: today + 3 hours}}",
            ("contract_end_date", "before"),
            "no whole number of days; write days, weeks, months or years, such as today + 7 days",
        ),
        (
            "{last_order: {in: [today, tomorrow + 1 day]}}",
            ("last_order", "in", 1),
            "counts from tomorrow; count from today",
        ),
        ("{contract_end_date: {is: today + x}}", ("contract_end_date", "is"), "is no day; write"),
        (
            "{contract_end_date: {between: [today + 40 days, today + 1 month]}}",
            ("contract_end_date", "between"),
            "lower end stands first",
        ),
        (
            "{contract_end_date: {before: {attribute: last_ordr}}}",
            ("contract_end_date", "before", "attribute"),
            "unknown attribute last_ordr; did you mean last_order?",
        ),
        (
            "{contract_end_date: {before: {attribute: last_order}}}",
            ("contract_end_date", "before", "attribute"),
            "the type of last_order is timestamp, and that of contract_end_date is date",
        ),
        (
            "{points: {between: [1, {attribute: name}]}}",
            ("points", "between", 1, "attribute"),
            "compare attributes of one type, or numbers",
        ),
        ("{name: {in: [{attribute: name}]}}", ("name", "in", 0, "attribute"), "with itself"),
    ],
)
def test_what_does_not_fit_the_catalogue_is_told_with_its_path(
    text: str, path: tuple[str | int, ...], words: str
) -> None:
    """Unknown names, wrong operators and impossible values are found before anything runs."""
    ((found, message),) = _check(text)
    assert found == path
    assert words in message


@pytest.mark.parametrize(
    "text",
    [
        TREE.replace("churned", "high_value"),
        "{name: {is: anything, changed_within: 2 hours}}",
        "{contract_end_date: {between: [today, 2024-01-01], is_not: '2024-02-29'}}",
        "{last_order: {in: [today, 2024-01-01, 2024-01-01 10:00:00, '2024-01-01T10:00:00+02:00']}}",
        "{last_order: {within_last: 24h}}",
        "{value: {is: 1, at_most: 2.5, more_than: '12345678901234.5678'}}",
        "{channels: {has_all: [sms], changed_within: 1 year}}",
        "{contract_end_date: {changed_within: 2 hours}}",
        "{contract_end_date: {between: [yesterday, today + 2 months], is_not: tomorrow}}",
        "{contract_end_date: {between: [today + 30 days, today + 1 month]}}",
        "{contract_end_date: {anniversary_within_next: 1 week, anniversary_within_last: 1 day}}",
        "{last_order: {before: today - 100 years}}",
        "{name: {is: tomorrow}}",
        "{name: {is_not: {attribute: renewal_status}, in: [{attribute: renewal_status}, open]}}",
        "{points: {at_least: {attribute: value}, between: [{attribute: value}, 7]}}",
    ],
)
def test_what_fits_the_catalogue_has_no_mistakes(text: str) -> None:
    """Each type takes its own values in every spelling."""
    assert _check(text) == []


def test_all_mistakes_are_told_at_once() -> None:
    """Each part of a tree, and each operator of a test, is checked for itself."""
    text = "{all: [{nme: {is: x}}, {points: {is: x, contains: y}}, {in_audience: z}]}"
    assert [path for path, _ in _check(text)] == [
        ("all", 0, "nme"),
        ("all", 1, "points", "is"),
        ("all", 1, "points", "contains"),
        ("all", 2, "in_audience"),
    ]


def test_every_operator_belongs_to_a_type_and_to_the_json_schema() -> None:
    """The schema lists the operators with a description, and none is left without a use."""
    schema = Condition.model_json_schema()["$defs"]
    assert tuple(schema["Operators"]["properties"]) == OPERATORS
    assert all(field["description"] for field in schema["Operators"]["properties"].values())
    assert schema["Condition"]["additionalProperties"] == {"$ref": "#/$defs/Operators"}
    assert "null" not in str(schema)
    assert {name for names in OPERATORS_OF.values() for name in names} == set(OPERATORS)


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("30 days", Period(30, "day")),
        ("1month", Period(1, "month")),
        ("2 Weeks", Period(2, "week")),
        ("1 y", Period(1, "year")),
        ("90m", Period(90, "minute")),
        ("90 mins", Period(90, "minute")),
        ("24h", Period(24, "hour")),
    ],
)
def test_periods_are_read_in_their_usual_spellings(text: str, period: Period) -> None:
    """Long and short units, with or without a blank."""
    assert parse_period(text) == period


def test_timestamps_without_offset_stay_local() -> None:
    """The catalogue's time zone isn't known to the check, so it's left to the compiler."""
    test = _read("last_order: {after: 2024-01-01 10:00:00}").test
    assert test is not None
    assert dict(test[1]) == {"after": datetime(2024, 1, 1, 10)}
