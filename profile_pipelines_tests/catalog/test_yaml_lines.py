"""Safe YAML that remembers its lines."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profile_pipelines.catalog.yaml_lines import MAX_BYTES, YamlError, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("0", 0),
        ("0.5", 0.5),
        ("-1.5e3", -1500.0),
        ("1.0e999", "1.0e999"),
        ("012", "012"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        (".inf", ".inf"),
        ("9" * 40, "9" * 40),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("2030-12-31", date(2030, 12, 31)),
        ("2030-12-31T18:00:00Z", datetime(2030, 12, 31, 18, tzinfo=UTC)),
        ("2030-12-31 18:00", datetime(2030, 12, 31, 18)),
        ("'2030-12-31'", "2030-12-31"),
    ],
)
def test_scalars(text: str, value: Any):
    """Only what looks like a number, true/false, null or a date is one; all else is text."""
    found = read_yaml(f"key: {text}\n".encode()).data["key"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_text():
    """A key is text as it's written, whatever it looks like."""
    assert read_yaml(b"1: a\non: b\ntrue: c\n2030-12-31: d\n").data == {
        "1": "a",
        "on": "b",
        "true": "c",
        "2030-12-31": "d",
    }


def test_lines():
    """Every key and list item is known by its line, counted from 1."""
    document = read_yaml(b"# comment\na:\n  - x\n  -\n    b: 1\n    c: {d: 2}\n")
    assert document.lines == {
        (): 2,
        ("a",): 2,
        ("a", 0): 3,
        ("a", 1): 5,
        ("a", 1, "b"): 5,
        ("a", 1, "c"): 6,
        ("a", 1, "c", "d"): 6,
    }
    assert document.line_of(("a", 1, "missing")) == 5


def test_aliases():
    """An alias is a copy of what was anchored, with the lines of its origin."""
    document = read_yaml(b"a: &x\n  k: [1]\nb: *x\n")
    assert document.data == {"a": {"k": [1]}, "b": {"k": [1]}}
    assert document.data["a"] is not document.data["b"]
    assert document.line_of(("b",)) == 3
    assert document.line_of(("b", "k")) == 2


def test_duplicate_key():
    """A key that stands twice is a mistake at its second line, and the first stands."""
    document = read_yaml(b"a: 1\nb: 2\na: 3\n")
    assert document.data == {"a": 1, "b": 2}
    assert [(m.line, m.path) for m in document.mistakes] == [(3, ("a",))]


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)
LADDER = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} {'[' * 30}*a{n - 1}{']' * 30}\n" for n in range(1, 100)
)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (BOMB, 5, "aliases"),
        (LADDER, 3, "aliases"),
        ("a: &a [*a]", 1, "&anchor"),
        ("a: *gone", 1, "&anchor"),
        ("[" * 50 + "]" * 50, 1, "nested deeper"),
        ("[" * 100_000, 1, "nesting"),
        ("a: " + "x" * MAX_BYTES, 1, "larger than"),
        ("a: 1\nb: !!python/object/apply:os.system [ls]", 2, "tags"),
        ("a: !secret x", 1, "tags"),
        ("a: &x {b: 1}\nc:\n  <<: *x", 3, "merge keys"),
        ("a: 1\n---\nb: 1", 2, "second document"),
        ("? [a]\n: 1", 1, "key must be plain text"),
        ("a: 'x", 1, "isn't closed"),
        ("a: b: c", 1, "colon"),
        ("a: 1\n\tb: 2", 2, "spaces"),
        ("a: 1\x00", 1, "characters"),
    ],
)
def test_refused(text: str, line: int, words: str):
    """Broken, dangerous and oversized documents are refused at their line."""
    with pytest.raises(YamlError, match=words) as caught:
        read_yaml(text.encode())
    assert caught.value.line == line


def test_not_utf8():
    """Text in another encoding is refused at the line of the first foreign byte."""
    with pytest.raises(YamlError, match="UTF-8") as caught:
        read_yaml("a: 1\nb: größe\n".encode("latin-1"))
    assert caught.value.line == 2


@given(st.text(st.sampled_from(list("ab:-[]{}&*!|>'\"%@`#,?~ \n\t0123é")), max_size=60))
def test_garbage(text: str):
    """Whatever is written, the outcome is plain data or a YamlError."""
    try:
        lines = list(read_yaml(text.encode()).lines.values())
    except YamlError as error:
        lines = [error.line]
    assert all(1 <= line <= text.count("\n") + 2 for line in lines)
