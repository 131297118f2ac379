from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profile_pipelines.catalog.values import number_text
from profile_pipelines.sources.json_columns import batches, column_getter
from profile_pipelines.sources.json_records import ABSENT, Unreadable, as_text, getter, parse

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)


@given(VALUES)
def test_what_is_written_as_text_reads_back_exactly(value: Any) -> None:
    """Lists and objects become JSON that holds the same values, digit for digit."""
    text = as_text([value])
    assert text is not None
    assert parse(text) == [value]


@pytest.mark.parametrize(
    ("spellings", "text"),
    [
        (("123", "123.0", "1.23e2", "123.000", "12300E-2", "1230e-1"), "123"),
        (("99.5", "99.50", "9950e-2", "0.9950e2"), "99.5"),
        (("0", "-0", "0.0", "-0.0", "0e500", "0.000e-7"), "0"),
        (("-7.10", "-71e-1"), "-7.1"),
        (("0.0000001", "1e-7", "1.0E-7"), "0.0000001"),
        (("12345678901234567890123",), "12345678901234567890123"),
        (("0.12345678901234567890123",), "0.12345678901234567890123"),
        (("1e401", "1E401"), "1E+401"),
        (("1e999999999",), "1E+999999999"),
    ],
)
def test_one_number_has_one_text(spellings: tuple[str, ...], text: str) -> None:
    """However JSON spells it, alone, in a list or in an object; a huge exponent stays one."""
    for spelling in spellings:
        assert as_text(parse(spelling)) == text
        assert as_text(parse(f"[1, {spelling}]")) == f"[1, {text}]"
        assert as_text(parse(f'{{"a": {{"b": [{spelling}]}}}}')) == f'{{"a": {{"b": [{text}]}}}}'


@pytest.mark.parametrize("spelling", ["1e22", "1.0e22", "10000000000000000000000.0"])
def test_a_large_number_of_json_tells_that_it_is_a_float(spelling: str) -> None:
    """By its `.0`, which values lose and identifiers see; in a list it has the digits alone."""
    assert as_text(parse(spelling)) == "10000000000000000000000.0"
    assert as_text(parse(f"[{spelling}]")) == "[10000000000000000000000]"
    assert as_text(parse("9007199254740991.0")) == "9007199254740991"


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6) | st.floats() | st.integers())
def test_numbers_that_are_equal_are_written_alike(number: Decimal | float) -> None:
    """Whatever their type; the text is the number again; NaN and infinity have none."""
    text = number_text(number)
    if number != number or number in (math.inf, -math.inf):
        assert text is None
        return
    assert text is not None
    # what is meant by a float is what Python shows
    exact = Decimal(repr(number)) if isinstance(number, float) else Decimal(number)
    assert Decimal(text) == exact
    assert re.fullmatch(r"-?(0|[1-9]\d*)(\.\d*[1-9])?", text)
    assert text != "-0"
    assert number_text(exact) == text


@given(st.dictionaries(st.text(), st.integers()), st.text())
def test_a_key_is_found_whatever_it_contains(record: dict[str, int], key: str) -> None:
    """Dots in a key of the record never hide it."""
    record[key] = 7
    assert getter(key)(record) == 7


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"year": 2026, "month": 2, "day": 28}, "2026-02-28"),
        ({"__class__": "date", "year": 2026, "month": 2, "day": 28}, "2026-02-28"),
        (
            {"__class__": "datetime", "year": 2026, "month": 2, "day": 3, "hour": 4, "minute": 5}
            | {"second": 6, "microsecond": 70},
            "2026-02-03T04:05:06.000070",
        ),
        ({"year": 2026, "month": 2, "day": 30}, None),
        ({"year": 2026, "month": 0, "day": 0}, None),
        ({"year": 2026, "month": 2}, None),
        ({"year": "2026", "month": 2, "day": 3}, None),
        ({"year": 2026, "month": 2, "day": 3, "note": "about"}, None),
        ({"year": 2026, "month": 2, "day": 3, "hour": None}, None),
    ],
)
def test_objects_that_are_times_by_their_parts(value: dict[str, Any], text: str | None) -> None:
    """They become ISO 8601; what is no time, or has more to tell, stays the object that it is."""
    assert as_text(value) == (text or json.dumps(value))


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ('["lang."].code', "de"),
        ('people[0].["lang."].code', None),
        ('people[0]["lang."].code', "en"),
        ('["lang."][0]', "zero"),
        ('["lang."].nothing', None),
        ('["lang"].code', None),
    ],
)
def test_a_key_in_quotes_may_have_dots(path: str, found: str | None) -> None:
    """It stands for itself, and what follows leads on from there."""
    record = {"lang.": {"code": "de", "0": "zero"}, "people": [{"lang.": {"code": "en"}}]}
    value = getter(path)(record)
    assert (None if value is ABSENT else value) == found


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.0.b", 1),
        ("a.1", None),
        ("a.2", ABSENT),
        ("a.-1", ABSENT),
        ("a.b", ABSENT),
        ("a.0.b.c", ABSENT),
        ("c.d.e", "inner"),
        ("c.x", ABSENT),
        ("3", "number"),
    ],
)
def test_paths_go_through_objects_and_lists(path: str, found: Any) -> None:
    """A path that leads nowhere is absent, which null isn't."""
    record = {"a": [{"b": 1}, None], "c": {"d.e": "inner", "d": {"e": "deep"}}, "3": "number"}
    assert getter(path)(record) is found or getter(path)(record) == found


ORDER = {
    "tags": [{"name": "a"}, {"name": None}, {}, {"name": "b"}],
    "lines": [{"skus": ["x", "y"]}, {"skus": []}, {"skus": ["z"]}],
    "custom_fields": [{"id": 12, "value": "no"}, {"id": 1234, "value": {"code": "vip"}}],
    "metafields": [
        {"namespace": "a", "key": "tier", "value": "low"},
        {"namespace": "b", "key": "tier", "value": "high"},
    ],
    "flags": [{"on": True, "name": "first, last"}],
    "none": [],
    "nulls": [{"x": None}, {}],
    "literal[*]": 1,
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("tags[*].name", ["a", "b"]),
        ("tags[0].name", "a"),
        ("tags[9].name", ABSENT),
        ("lines[*].skus[*]", ["x", "y", "z"]),
        ("lines[*].skus[0]", ["x", "z"]),
        ("custom_fields[id=1234].value.code", "vip"),
        ("custom_fields[id=99].value", ABSENT),
        ("metafields[namespace=b,key=tier].value", "high"),
        ("metafields[namespace=b, key=tier].value", "high"),
        ("flags[name=first, last].on", True),
        ("flags[on=true].on", True),
        ("tags.name[*]", ABSENT),
        ("metafields[*].x", ABSENT),
        ("none[*].x", []),
        ("nulls[*].x", None),
        ("literal[*]", 1),
        ("broken[", ABSENT),
    ],
)
def test_brackets_look_into_lists(path: str, found: Any) -> None:
    """An entry by its number or by its members' values, or something of all entries."""
    assert getter(path)(ORDER) is found or getter(path)(ORDER) == found


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"{} {}", b"\xff", b"[nan]", b"[" * 100_000),
        b"1e99999999999999999999",
    ],
)
def test_anything_but_one_whole_value_is_refused(content: bytes) -> None:
    """Cut, doubled, wrongly encoded, endless or not quite JSON: all are errors."""
    with pytest.raises(ValueError):  # noqa: PT011
        parse(content)


def test_what_python_writes_for_no_number_costs_no_more_than_itself() -> None:
    """NaN is null, and infinity can't be read."""
    infinite = Unreadable("infinity is no number", "-Infinity")
    assert parse('{"a": NaN, "b": [-Infinity, 1.50]}') == {
        "a": None,
        "b": [infinite, Decimal("1.5")],
    }
    assert as_text(parse('{"a": [Infinity, 1]}')) == '{"a": [null, 1]}'


@given(VALUES)
def test_json_is_read_as_the_standard_library_reads_it(value: Any) -> None:
    """Numbers digit for digit, escapes, halves of surrogate pairs and all."""
    for ascii_only in (True, False):
        text = json.dumps(value, default=str, ensure_ascii=ascii_only)
        assert parse(text.encode("utf-8")) == json.loads(text, parse_float=Decimal)
    half = '{"name": "half \\ud83d", "n": 1.10}'
    assert parse(half) == json.loads(half, parse_float=Decimal)


NAMES = st.sampled_from(["a", "b", "0", "1", "a.b", "b.0"])
RECORDS = st.lists(
    st.dictionaries(
        NAMES,
        st.recursive(
            st.none() | st.integers() | st.text(max_size=2),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
            max_leaves=6,
        ),
        max_size=3,
    ),
    max_size=5,
)


# the first array of a process imports pandas
@settings(deadline=None)
@given(RECORDS, st.lists(NAMES, min_size=1, max_size=3).map(".".join))
def test_a_column_is_what_each_record_gives(records: list[dict[str, Any]], path: str) -> None:
    """Reading a field of many records at once is reading it of each."""
    get = getter(path)
    assert column_getter(path)(records) == [get(record) for record in records]
    found = [as_text(get(record)) for record in records]
    seen: set[str] = set()
    read = [text for batch in batches([records], [path], seen) for text in batch[path].to_pylist()]
    assert read == found
    assert (path in seen) is any(get(record) is not ABSENT for record in records)


def test_a_byte_order_mark_does_not_count() -> None:
    """Some Windows systems put one before their JSON."""
    assert parse(b"\xef\xbb\xbf" + json.dumps({"a": 1}).encode()) == {"a": 1}
