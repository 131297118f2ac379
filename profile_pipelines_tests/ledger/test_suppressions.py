"""The log of suppressed addresses, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.suppressions import Suppressions, address_form

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
BY = {"by": "ann", "because": "asked"}


@pytest.fixture(params=["sqlite", "postgresql"])
def suppressions(request: pytest.FixtureRequest, tmp_path: Path) -> Suppressions:
    if request.param == "postgresql":
        return Ledger(request.getfixturevalue("postgres_url")).suppressions
    return Ledger(f"sqlite:///{tmp_path / 'ledger.db'}").suppressions


def _reasons(found: Suppressions, purpose: str | None, **how: bool) -> list[str | None]:
    return [each.reason for each in found.of(["a", "b"], purpose, **how).values()]


def test_an_address_is_suppressed_for_its_purpose(suppressions: Suppressions) -> None:
    """Until that is taken back; told twice, it's one act."""
    assert not suppressions.any
    for new in (True, False):
        assert suppressions.add("a", "email", "unsubscribed", at=NOON) is new
    assert _reasons(suppressions, "email") == ["unsubscribed"]
    assert _reasons(suppressions, "sms") == _reasons(suppressions, None) == []
    assert not suppressions.restore("a", "sms", **BY, at=NOON + HOUR)
    assert suppressions.restore("a", "email", **BY, at=NOON - HOUR)
    assert not suppressions.restore("a", "email", **BY, at=NOON + HOUR)
    assert _reasons(suppressions, "email") == []
    assert suppressions.add("a", "email", "unsubscribed", at=NOON + HOUR)
    assert _reasons(suppressions, "email") == ["unsubscribed"]
    told = [(act.suppressed, act.by, act.because) for act in suppressions.acts(["a"])]
    assert told == [(True, None, None), (False, "ann", "asked"), (True, None, None)]


def test_bounces_and_complaints_hold_for_all(suppressions: Suppressions) -> None:
    """Also where no purpose is named, and for transactional messages; a list's line doesn't."""
    suppressions.add("a", None, "complained", at=NOON)
    suppressions.add("b", None, "imported", at=NOON)
    assert _reasons(suppressions, "email") == ["complained", "imported"]
    assert _reasons(suppressions, None) == ["complained", "imported"]
    assert _reasons(suppressions, "service", transactional=True) == ["complained"]
    suppressions.restore("a", "email", **BY, at=NOON + HOUR)
    assert _reasons(suppressions, "email") == ["imported"]
    assert _reasons(suppressions, "sms") == ["complained", "imported"]
    suppressions.restore("a", None, **BY, at=NOON + HOUR)
    assert _reasons(suppressions, "sms") == ["imported"]
    assert [(act.address, act.purpose) for act in suppressions.standing()] == [("b", None)]


def test_what_was_taken_back_isnt_brought_back_by_older_news(suppressions: Suppressions) -> None:
    """A list or an event that tells of an earlier moment comes too late."""
    suppressions.add("a", "email", "unsubscribed", at=NOON)
    suppressions.restore("a", "email", **BY, at=NOON + 2 * HOUR)
    assert suppressions.add("a", None, "imported", at=NOON + HOUR)
    assert _reasons(suppressions, "email") == []
    assert [act.purpose for act in suppressions.standing("email")] == []
    assert _reasons(suppressions, "sms") == ["imported"]


def test_the_hash_is_that_of_the_one_form(suppressions: Suppressions) -> None:
    """Spellings of a mailbox are one; the hash isn't the address's tombstone's."""
    mark = suppressions.mark("a@x.example")
    assert suppressions.mark(" Ann <A@X.Example> ") == mark
    assert suppressions.mark("b@x.example") != mark


@pytest.mark.parametrize(
    ("address", "form"),
    [
        ("+49 (30) 12-34", "+49301234"),
        ("0049301234", "+49301234"),
        ("@handle", "@handle"),
        ("U024BE7LH", "U024BE7LH"),
        ("Ann@Example.org ", "ann@example.org"),
    ],
)
def test_spellings_of_an_address_are_one(address: str, form: str) -> None:
    """Of mail, of telephone numbers; anything else stays as it is."""
    assert address_form(address) == form


@given(st.text())
def test_the_one_form_is_the_form_of_itself(address: str) -> None:
    """Whatever it is."""
    assert address_form(address_form(address)) == address_form(address)
