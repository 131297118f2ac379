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
        (META, "EXTERN_ID", " C-1 ", "C-1"),
        (GOOGLE, "email", "Cloudy.San+shopping@Gmail.com", _sha("cloudysan@gmail.com")),
        (GOOGLE, "email", " User.Name+NYC@Example.com ", _sha("user.name+nyc@example.com")),
        (GOOGLE, "phone", "+1 (800) 555-0100", _sha("+18005550100")),
    ],
)  # fmt: skip
def test_normalised(target: Any, kind: str, value: str, expected: str):
    """Each kind of identifier is brought to the form that the platform hashes itself."""
    assert json.loads(hashed_key(target, {kind: value}) or "") == [expected]


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
