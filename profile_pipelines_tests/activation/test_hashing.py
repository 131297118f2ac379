"""Identifiers are normalised by the platforms' published rules, and hashed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from profile_pipelines.activation.hashing import hashed_key, telephone
from profile_pipelines.catalog.destinations import GoogleCustomerMatch, MetaAudience

META = MetaAudience.model_validate(
    {
        "type": "meta_audience",
        "access_token": {"env": "T"},
        "audience_id": "1",
        "calling_code": "49",
    }
)
GOOGLE = GoogleCustomerMatch.model_validate(
    {
        "type": "google_customer_match", "client_id": "c", "client_secret": {"env": "S"},
        "refresh_token": {"env": "R"}, "account_id": "1", "audience_id": "2",
    }
)  # fmt: skip


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("target", "kind", "value", "expected"),
    [
        (META, "EMAIL", " Mary@Example.com ", _sha("mary@example.com")),
        (META, "PHONE", "+1 (616) 954-78 88", _sha("16169547888")),
        (META, "PHONE", "030 123456", _sha("4930123456")),
        (META, "FN", " Anne-Marie ", _sha("annemarie")),
        (META, "LN", "O'Brién", _sha("obrién")),
        (META, "FN", "प्रिया", _sha("प्रिया")),
        (META, "FN", "สมศรี", _sha("สมศรี")),
        (META, "EXTERN_ID", " C-1 ", "C-1"),
        (GOOGLE, "email", "Cloudy.San+shopping@Gmail.com", _sha("cloudysan@gmail.com")),
        (GOOGLE, "email", " User.Name+NYC@Example.com ", _sha("user.name+nyc@example.com")),
        (GOOGLE, "phone", "+1 (800) 555-0100", _sha("+18005550100")),
    ],
)  # fmt: skip
def test_normalised(target: Any, kind: str, value: str, expected: str):
    """Each kind of identifier is brought to the form that the platform hashes itself."""
    assert json.loads(hashed_key(target, {kind: value}) or "") == [expected]


META_EXAMPLES = [
    ("EMAIL", "John_Smith@gmail.com",
     "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"),
    ("PHONE", "1 (650)555-1212",
     "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"),
    ("FN", "Mary", "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec"),
    ("FN", "정", "8fa8cd9c440be61d0151429310034083132b35975c4bea67fdd74158eb51db14"),
    ("LN", "Valéry", "08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c"),
    ("COUNTRY", "US", "79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"),
    ("CT", "New York", _sha("newyork")),
    ("ST", "AZ", _sha("az")),
    ("ZIP", "94035-1234", _sha("94035")),
    ("ZIP", "M1 1AE", _sha("m11ae")),
    ("ZIP", "100-0001", _sha("1000001")),
    ("GEN", "Female", _sha("f")),
    ("GEN", "weiblich", ""),
    ("DOBM", "2", _sha("02")),
]  # fmt: skip
"""What Meta publishes, with the digests where it does:
https://developers.facebook.com/documentation/ads-commerce/conversions-api/parameters/customer-information-parameters"""


@pytest.mark.parametrize(("kind", "text", "digest"), META_EXAMPLES)
def test_metas_published_examples(kind: str, text: str, digest: str):
    """Each is hashed to what Meta hashes it to, beside something that matches by itself."""
    target = META.model_copy(update={"calling_code": "1"})
    found = json.loads(hashed_key(target, {"EXTERN_ID": "1", kind: text}) or "")
    assert found == ["1", digest]


@pytest.mark.parametrize(
    ("kind", "text", "normal"),
    [
        ("email", "cloudy.sanfrancisco+shopping@gmail.com", "cloudysanfrancisco@gmail.com"),
        ("email", "user.name+NYC@Example.com", "user.name+nyc@example.com"),
        ("phone", "(800)555-0100", "+18005550100"),
        ("given_name", "Mrs. Anna Drew", "anna drew"),
        ("given_name", "Drew", "drew"),
        ("family_name", "Lee, Jr.", "lee"),
        ("family_name", "Müller-Junior", "müller-junior"),
        ("family_name", "प्रिया", "प्रिया"),
    ],
)
def test_googles_published_examples(kind: str, text: str, normal: str):
    """Their source: https://developers.google.com/data-manager/api/devguides/concepts/formatting"""
    target = GOOGLE.model_copy(update={"calling_code": "1"})
    address = {"given_name": "A", "family_name": "B", "region_code": "US", "postal_code": "1"}
    found = json.loads(hashed_key(target, {**address, kind: text}) or "")
    assert found[[*{**address, kind: text}].index(kind)] == _sha(normal)


@pytest.mark.parametrize(("city", "told"), [("दिल्ली", "दिल्ली"), ("St. Louis 2", "stlouis")])
def test_places_keep_their_letters(city: str, told: str):
    """Punctuation, digits and spaces go; the vowel signs of a script are letters."""
    found = json.loads(hashed_key(META, {"FN": "Anna", "CT": city}) or "")
    assert found == [_sha("anna"), _sha(told)]


def test_known_digest():
    """The digest is plain SHA-256 in lower-case hexadecimal digits."""
    assert hashed_key(META, {"EMAIL": "test@example.com"}) == json.dumps(
        ["973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"]
    )


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        ("0049 30 123456", None, "+4930123456"),
        ("+49 (0) 30 123456", None, "+4930123456"),
        ("030 123456", "49", "+4930123456"),
        ("030 123456", None, ""),
        ("4930123456", None, "+4930123456"),
        ("4930123456", "49", "+4930123456"),
        ("1-415-555-0171", "1", "+14155550171"),
        ("14155550171", "1", "+14155550171"),
        ("06 6982 1234", "39", "+390669821234"),
        ("8 (912) 345-67-89", "7", "+79123456789"),
        ("06 20 123 4567", "36", "+36201234567"),
        ("0044 20 7946 0958", "49", "+442079460958"),
        ("+1 616 954 7888 ext. 12", None, "+16169547888"),
        ("12", "49", ""),
        ("no number", "49", ""),
        ("", None, ""),
    ],
)
def test_telephone(text: str, code: str | None, expected: str):
    """A number without a calling code gets the declared one, or counts as none."""
    assert telephone(text, code) == expected


def test_google_addresses_are_whole():
    """An address is told as a whole, with country and postcode as they are, or not at all."""
    told = {
        "given_name": " Ann ", "family_name": "Lee", "region_code": "de", "postal_code": "10115",
        "email": "a@b.c",
    }  # fmt: skip
    found = json.loads(hashed_key(GOOGLE, told) or "")
    assert found == [_sha("ann"), _sha("lee"), "DE", "10115", _sha("a@b.c")]
    assert json.loads(hashed_key(GOOGLE, {**told, "family_name": None}) or "")[:4] == [""] * 4


def test_nothing_to_match_by():
    """Who has no identifier, or only a postcode, isn't told."""
    assert hashed_key(META, {"EMAIL": None}) is None
    assert hashed_key(META, {"EMAIL": None, "ZIP": "10115"}) is None
    assert hashed_key(GOOGLE, {"email": None, "phone": "abc"}) is None
