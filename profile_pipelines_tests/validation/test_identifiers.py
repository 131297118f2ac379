"""Normalised identifiers: whole columns and single ones alike."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profile_pipelines.catalog.models import Identifier
from profile_pipelines.validation.identifiers import normalise
from profile_pipelines.validation.one_identifier import normalise_one

STEPS = st.lists(
    st.sampled_from(["trim", "upper", "lower", "nfkc", "digits", "email", "strip_leading_zeros"])
    | st.sampled_from(["C-", "c", "0", "."]).map(lambda prefix: {"strip_prefix": prefix}),
    max_size=4,
)
TEXTS = st.sampled_from(
    [
        "C-0001",
        " c-1 ",
        "A@X.de",
        "a@x",
        "N/A",
        "０１２",
        "ﬁ@x.de",
        "ß",
        "İ@x.de",
        "\u00a01",
        "00",
        "",
    ]
) | st.text(max_size=8)


@settings(max_examples=300, deadline=None)
@given(STEPS, st.lists(TEXTS | st.none(), min_size=1, max_size=5))
def test_a_column_and_a_single_identifier_agree(
    steps: list[object], texts: list[str | None]
) -> None:
    """A search finds exactly the spelling that the sync has stored."""
    identifier = Identifier.model_validate({"normalise": steps, "deny": ["c-9"]})
    column = normalise(pl.Series("v", texts, dtype=pl.String), identifier)
    single = [None if text is None else normalise_one(text, identifier) for text in texts]
    assert column.to_list() == single


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (pl.Series([123, None, 0]), ["123", None, None]),
        (pl.Series([123.0, None, 7.0]), ["123", None, "7"]),
        (pl.Series(["00123", " C-123", "c-000123 "]), ["123", "123", "123"]),
        (pl.Series([None, None]), [None, None]),
    ],
)
def test_every_spelling_comes_to_one_form(raw: pl.Series, expected: list[str | None]) -> None:
    """Numbers, floats of a spreadsheet and padded texts are the same customer."""
    identifier = Identifier.model_validate(
        {"normalise": ["trim", "upper", {"strip_prefix": "C-"}, "strip_leading_zeros"]}
    )
    assert normalise(raw, identifier).to_list() == expected


@pytest.mark.parametrize("text", ["N/A", " null ", "NONE", "0", "-", "null@null.com", "Banned"])
def test_a_placeholder_is_nobody(text: str) -> None:
    """Built-in and declared placeholders identify no customer, in any case."""
    identifier = Identifier.model_validate({"normalise": ["trim"], "deny": ["banned"]})
    assert normalise(pl.Series([text]), identifier).to_list() == [None]
    assert normalise_one(text, identifier) is None


@pytest.mark.parametrize("text", ["a@b", "a b@c.de", "@c.de", "a@@c.de", "a@c.de.", "nobody"])
def test_a_malformed_email_is_nobody(text: str) -> None:
    """What can't be an address matches no customers."""
    identifier = Identifier.model_validate({"normalise": ["email"]})
    assert normalise(pl.Series([text]), identifier).to_list() == [None]
