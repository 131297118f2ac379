"""Refusals are kept outside lake and ledger as they happen, and tell nothing personal."""

from __future__ import annotations

from pathlib import Path

import pytest

from profile_pipelines.errors import LakeError
from profile_pipelines.privacy_steps import erase_people, lift_tombstones
from profile_pipelines.refusals import Refusals
from profile_pipelines_tests.privacy.reminders import Reminders, declared

AGAIN = {"by": "somebody@example.com", "because": "Jane Doe asked for it"}


@pytest.fixture
def company(tmp_path: Path) -> Reminders:
    company = Reminders(tmp_path, declared())
    company.customer("1")
    company.customer("2")
    company.run(full=True)
    return company


def _kept(company: Reminders) -> list[str]:
    place = company.workspace.places.refusals
    assert place is not None
    return [kind for kind, _ in Refusals(place).read()]


def test_each_refusal_and_its_end_is_kept_without_names(company: Reminders) -> None:
    """In the order in which they happen."""
    space, now = company.workspace, company.now
    acts, suppressions = space.ledger.unsubscribes, space.ledger.suppressions
    profile = company.unsubscribe("2")
    acts.restore(profile, "email", now=now, **AGAIN)
    mark = suppressions.mark("c2@example.com")
    suppressions.add(mark, None, "imported", at=now, **AGAIN)
    suppressions.restore(mark, None, at=now, **AGAIN)
    erase_people(space, [1], reference="DSR-1", by="tests", now=now)
    lift_tombstones(space, [("", "1")], now=now, **AGAIN)
    assert _kept(company) == ["consent", "consent", "address", "address", "erasure", "let_in"]
    file = company.folder / "lake.refusals" / "refusals.jsonl"
    assert file.stat().st_mode & 0o077 == 0
    content = file.read_text()
    assert "example.com" not in content
    assert "Jane" not in content


def test_a_line_that_was_torn_by_a_kill_hides_no_other(company: Reminders) -> None:
    """What comes after it is read."""
    company.unsubscribe("1")
    file = company.folder / "lake.refusals" / "refusals.jsonl"
    with file.open("ab") as written:
        written.write(b'{"kind": "consent", "profile')
    company.unsubscribe("2")
    assert _kept(company) == ["consent", "consent"]


def test_what_cannot_be_kept_is_not_done(company: Reminders) -> None:
    """Else a restore would take it back: the act fails with the place."""
    (company.folder / "lake.refusals").write_text("no folder")
    with pytest.raises(LakeError, match=r"lake\.refusals"):
        company.unsubscribe("1")
    assert company.workspace.ledger.unsubscribes.of("email") == set()
