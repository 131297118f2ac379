"""Masked values show a shape, never a value."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from profile_pipelines.masking import FLAGS, mask


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("anna.schmidt@example.com", "a•••@•••.com"),
        (" ANNA@EXAMPLE.CO.UK ", "A•••@•••.UK"),
        ("info@law.abogado", "i•••@•••"),
        ("C-000123", "C-••••••"),
        ("2026-03-14", "2•••-••-••"),
        ("123", "•••"),
        ("DE", "••"),
        ("Jürgen Groß", "J••••• ••••"),
        ("1234.50", "1•••.••"),
        ('["email","sms"]', '["e••••","•••"]'),
        ("true", "t•••"),
        ("1", "•"),
        ("", ""),
    ],
)
def test_shape(value: str, masked: str) -> None:
    """Punctuation and the first sign stay; addresses have one form."""
    assert mask(value) == masked


def test_known_values_are_shown() -> None:
    """What the catalogue itself names is no secret."""
    assert mask("gold", {"gold", "silver"}) == "gold"
    assert mask("golf", {"gold", "silver"}) == "g•••"
    assert [mask(flag, FLAGS) for flag in ("true", "No", "1", "2")] == ["true", "No", "1", "•"]


def test_long_values_are_cut() -> None:
    """Of a long text only the start of its shape is shown."""
    assert mask("word " * 100) == "w••• •••• •••• •••• ••••…"


@given(st.text(min_size=4, max_size=80))
@example("0@0.AA")
def test_nothing_but_the_first_sign_is_readable(value: str) -> None:
    """No letter or digit but the first remains, whatever the script, and an address's ending."""
    masked = mask(value)
    address = re.fullmatch(r".•••@•••(\.\w+)?", masked)
    ending = (address[1] or "") if address else ""
    assert sum(map(str.isalnum, masked.removesuffix(ending))) <= 1
    assert value.strip().endswith(ending)


@given(st.emails())
def test_addresses_hide_their_owner(value: str) -> None:
    """An address keeps one letter of its name, and of its domain nothing but the last part."""
    masked = mask(value)
    local, _, domain = value.rpartition("@")
    assert len(local) < 4 or local not in masked
    assert domain not in masked
