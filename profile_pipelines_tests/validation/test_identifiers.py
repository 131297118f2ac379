"""Normalised identifiers: whole columns and single ones alike."""

from __future__ import annotations

import polars as pl
import pytest
from email_validator import SPECIAL_USE_DOMAIN_NAMES, validate_email
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from profile_pipelines.catalog.email_addresses import EMAIL, LONGEST_EMAIL, email_address
from profile_pipelines.catalog.models import Identifier
from profile_pipelines.validation.identifiers import normalise
from profile_pipelines.validation.one_identifier import normalise_one

STEPS = st.lists(
    st.sampled_from(["trim", "upper", "lower", "nfkc", "digits", "email", "strip_leading_zeros"])
    | st.sampled_from(["C-", "c", "0", "."]).map(lambda prefix: {"strip_prefix": prefix})
    | st.just({"phone": "DE"}),
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
        "mailto:A@x.de;",
        "Bo <b@x.de>",
        "030 123456",
        "ß",
        "İ@x.de",
        "\u00a01",
        "00",
        "1.5e16",
        "1.2345678901234568e+16",
        "9007199254740992.0",
        "9007199254740991.0",
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


@pytest.mark.parametrize(
    "text",
    [
        *("N/A", " null ", "NONE", "0", "-", "--", "null@null.com", "Banned", "false", "TRUE"),
        *("0000000000", "00000000-0000-0000-0000-000000000000", "0.0", "-0"),
    ],
)
def test_a_placeholder_is_nobody(text: str) -> None:
    """Built-in and declared placeholders identify no customer, in any case."""
    identifier = Identifier.model_validate({"normalise": ["trim"], "deny": ["banned"]})
    assert normalise(pl.Series([text]), identifier).to_list() == [None]
    assert normalise_one(text, identifier) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Bo@X.example", "bo@x.example"),
        (" mailto:bo@x.example ", "bo@x.example"),
        ("bo@x.example;", "bo@x.example"),
        ("\u200bbo@x.example\ufeff", "bo@x.example"),
        ("Li, Bo <bo@x.example>", "bo@x.example"),
        ("'bo@x.example' <bo@x.example>;", "bo@x.example"),
        ("'bo@x.example'", "bo@x.example"),
        ("<MAILTO:bo%2Bnews@x.example?subject=Hi>", "bo+news@x.example"),
        ("bo@many-hyphens-here.test", "bo@many-hyphens-here.test"),
        ("bo@büro.local", "bo@xn--bro-hoa.local"),
        ("bo@müller.example", "bo@xn--mller-kva.example"),
        ("bo@xn--mller-kva.example", "bo@xn--mller-kva.example"),
        ("bö@x.example", "bö@x.example"),
        ("o'neil+news@sub.x-y.example", "o'neil+news@sub.x-y.example"),
        ("bo..li@x.example", None),
        ("bo@-x.example", None),
        ("bo@x_y.example", None),
        ("bo@x.example, li@x.example", None),
        ("li@x.example, Bo <bo@x.example>", None),
        ("<li@x.example> <bo@x.example>", None),
        ("bo@x.example\r\nBcc: li@x.example", None),
        ("bo@" + "x" * 64 + ".example", None),
    ],
)
def test_an_address_is_what_it_says(text: str, expected: str | None) -> None:
    """What exports leave around an address goes; what is none is nobody."""
    identifier = Identifier.model_validate({"normalise": ["email"]})
    assert normalise(pl.Series([text]), identifier).to_list() == [expected]
    assert normalise_one(text, identifier) == expected


@settings(max_examples=300, deadline=None)
@given(st.from_regex(EMAIL, fullmatch=True).filter(lambda text: len(text) <= LONGEST_EMAIL))
def test_an_obvious_address_is_one(text: str) -> None:
    """What isn't shown to the library, which takes its time, is what the library makes of it."""
    assume(not text.strip().endswith(tuple(f".{name}" for name in SPECIAL_USE_DOMAIN_NAMES)))
    found = validate_email(text.strip(), check_deliverability=False, globally_deliverable=False)
    assert f"{found.local_part}@{found.ascii_domain}" == text.strip() == email_address(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("030 123456", "+4930123456"),
        ("+49 (0)30 / 123456", "+4930123456"),
        ("0043 1 58858 0", "+431588580"),
        ("+1 616 954 7888 x12", "+16169547888"),
        ("tel:+49-30-123456", "+4930123456"),
        ("(0049) 30 123456", "+4930123456"),
        ("+0049 30 123456", "+4930123456"),
        ("0800 REIMANN", "+498007346266"),
        ("030 123456 / 0171 1234567", None),
        ("call me", None),
        ("110", None),
    ],
)
def test_a_telephone_number_has_one_form(text: str, expected: str | None) -> None:
    """National numbers are those of the declared country."""
    identifier = Identifier.model_validate({"normalise": [{"phone": "DE"}]})
    assert normalise(pl.Series([text, None]), identifier).to_list() == [expected, None]


def test_a_number_without_its_area_code_is_nobody() -> None:
    """The same seven digits are somebody else's in the next town."""
    identifier = Identifier.model_validate({"normalise": [{"phone": "US"}]})
    numbers = pl.Series(["555-0171", "(415) 555-0171", "1 415 555 0171", "1-800-FLOWERS"])
    expected = [None, "+14155550171", "+14155550171", "+18003569377"]
    assert normalise(numbers, identifier).to_list() == expected


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("abAÄüßİσ1-_.@'\"<>;, "), max_size=16), st.booleans())
def test_the_form_of_an_address_is_its_own(text: str, is_link: bool) -> None:
    """What was brought to one form stays as it is."""
    found = email_address(f"mailto:{text}@x.example" if is_link else f"{text}.example")
    assert email_address(found) == found


@pytest.mark.parametrize("text", ["a@b", "a b@c.de", "@c.de", "a@@c.de", "a@c.de.", "nobody"])
def test_a_malformed_email_is_nobody(text: str) -> None:
    """What can't be an address matches no customers."""
    identifier = Identifier.model_validate({"normalise": ["email"]})
    assert normalise(pl.Series([text]), identifier).to_list() == [None]
