"""What cells say, whichever type or spelling they come in."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profile_pipelines.catalog.models import Identifier
from profile_pipelines.validation.casts import cast
from profile_pipelines.validation.cells import as_text, meaningful, plain_numbers
from profile_pipelines.validation.identifiers import identities, normalise
from profile_pipelines.validation.one_cell import meaning, plain_number

ODD = st.sampled_from(
    [
        "\\N", " NULL ", "(null)", "#N/A", "null", '="00123"', '="a""b"', "'00123", "'t Hooft",
        "'-5", "'abc", "\ufeffx", "a\u200bb", "\u200e1\u202c", "123.0", " 123.00 ", "1.000", "-0.5",
        "1.23e2", "1,23E+2", "4.9E+12", "4,9E+12", "12E3", "1e400", "[1]", "{", "",
    ]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.none() | ODD | st.text(max_size=8), min_size=1, max_size=6))
def test_a_column_and_a_single_text_say_the_same(texts: list[str | None]) -> None:
    """A search cleans what is typed as a sync cleans what is read."""
    column = pl.Series("v", texts, dtype=pl.String)
    single = [None if text is None else meaning(text) for text in texts]
    assert meaningful(column).to_list() == single
    plain = [None if text is None else plain_number(text) for text in texts]
    assert plain_numbers(column).to_list() == plain


@settings(max_examples=200, deadline=None)
@given(st.integers(1 - 2**53, 2**53 - 1))
def test_one_number_has_one_text(number: int) -> None:
    """As text, float, decimal or integer it is one string, one key and one identifier."""
    digits = len(str(abs(number)))
    mantissa = f"{str(abs(number))[0]}.{str(abs(number))[1:] or '0'}"
    spelled = f"{'-' if number < 0 else ''}{mantissa}e{digits - 1}"
    columns = [
        pl.Series([number]),
        pl.Series([float(number)]),
        pl.Series([Decimal(number)], dtype=pl.Decimal(38, 4)),
        pl.Series([str(number)]),
        pl.Series([f"{number}.0"]),
        *([pl.Series([spelled])] if digits > 1 else []),
    ]
    expected = str(number)
    for column in columns:
        assert cast(column, "string", "UTC").to_list() == [expected]
        assert identities(meaningful(column)).texts.to_list() == [expected]
        assert cast(column, "integer", "UTC").to_list() == [number]


@settings(max_examples=100, deadline=None)
@given(st.decimals(-(10**12), 10**12, places=4))
def test_a_typed_decimal_has_no_zeros_at_its_end(number: Decimal) -> None:
    """The scale of a column's type is no part of a value."""
    for places in (4, 6, 10):
        [text] = as_text(pl.Series([number], dtype=pl.Decimal(38, places))).to_list()
        assert Decimal(text) == number
        assert not ("." in text and text.endswith(("0", ".")))
        assert "e" not in text.lower()


@pytest.mark.parametrize(
    "raw",
    [
        pl.Series(["4.91701E+12"]),
        pl.Series(["1.0e3"]),
        pl.Series(["4,9E+12"]),
        pl.Series([1001.1]),
        pl.Series([float(2**53)]),
        pl.Series([float("inf")]),
        pl.Series([["a@example.com"]]),
        pl.Series([{"id": 1}]),
        pl.Series(['["a@example.com"]']),
    ],
)
def test_what_lost_information_identifies_nobody(raw: pl.Series) -> None:
    """It has no text, and a reason that holds nothing of it."""
    found = identities(raw)
    assert found.texts.to_list() == [None]
    [reason] = found.reasons.to_list()
    assert reason
    assert "1001" not in reason


@pytest.mark.parametrize("text", ["1001.1", "12E3", "1.000", "00123", "5e10"])
def test_what_may_be_somebodys_number_stays(text: str) -> None:
    """Text that isn't surely a number of a program is taken as it stands."""
    assert identities(pl.Series([text])).texts.to_list() == [text]


@pytest.mark.parametrize(
    "text",
    ["ada@example.com", "ada@example.com\u200b", "\ufeffada@example.com", "a\u00adda@example.com",
     "\u200eADA@example.com\u202c", "a\u200dda@example.com"],
)  # fmt: skip
def test_invisible_characters_are_no_part_of_an_address(text: str) -> None:
    """They come with copying; the customer is the same."""
    identifier = Identifier.model_validate({"normalise": ["email"]})
    assert normalise(pl.Series([text]), identifier).to_list() == ["ada@example.com"]


def test_a_mail_domain_is_compared_as_dns_has_it() -> None:
    """Written with its own letters or in ASCII, it is one domain; the local part stays."""
    identifier = Identifier.model_validate({"normalise": ["email"]})
    texts = ["mueller@xn--mnchen-3ya.example", "Mueller@MÜNCHEN.example", "m@ü..example", "ü@x.de"]
    found = normalise(pl.Series(texts), identifier).to_list()
    assert found == ["mueller@xn--mnchen-3ya.example"] * 2 + [None, "ü@x.de"]
