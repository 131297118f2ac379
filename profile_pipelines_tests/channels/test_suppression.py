"""Who unsubscribes at a mailbox gets nothing there any more, whichever customer it belongs to."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines import privacy_steps
from profile_pipelines.consent.suppression_list import counts, import_list
from profile_pipelines.consent.unsubscribe_links import KEY, URL
from profile_pipelines.errors import NotFound, ProfilePipelinesError, UnknownName
from profile_pipelines_tests.channels.mailings import DAY, LINKS, Mailings


@pytest.fixture(autouse=True)
def _links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, LINKS.url)
    monkeypatch.setenv(KEY, LINKS.key)


def test_a_mailbox_of_two_customers_that_one_unsubscribes_gets_nothing(tmp_path: Path) -> None:
    """Neither does her own next address; his next one does, until that is unsubscribed, too."""
    mailings = Mailings(tmp_path)
    mailings.put("1", "home@x.example")
    mailings.put("2", "home@x.example")
    mailings.run()
    assert mailings.send("1", "2") == {"1": "sent", "2": "sent"}
    mailings.click("hello 1")
    assert mailings.send("1", "2") == {"1": "consent", "2": "suppressed"}
    mailings.run()
    assert mailings.send("1", "2") == {"1": "consent", "2": "suppressed"}
    mailings.put("1", "she@x.example")
    mailings.put("2", "he@x.example")
    mailings.run()
    assert mailings.send("1", "2") == {"1": "consent", "2": "sent"}
    mailings.put("2", "HOME@x.example")
    mailings.run()
    assert mailings.send("2") == {"2": "suppressed"}


def test_an_unsubscribed_address_that_is_imported_again_gets_nothing(tmp_path: Path) -> None:
    """Its owner clicked, whatever number a list brings it under, and also after an erasure."""
    mailings = Mailings(tmp_path)
    mailings.put("1", "a@x.example")
    mailings.run()
    mailings.send("1")
    mailings.put("1", "new@x.example")
    mailings.run()
    # the address that the mail went to, not today's
    mailings.click("hello 1")
    mailings.put("9", "a@x.example")
    mailings.put("8", "new@x.example")
    mailings.run()
    assert mailings.send("9", "8", "1") == {"9": "suppressed", "8": "sent", "1": "consent"}
    company = mailings.company
    ids = [company.customers.profile(no).profile_id for no in ("1", "9")]
    privacy_steps.erase_people(
        company.workspace, ids, reference=None, by="ann", now=company.now
    )  # fmt: skip
    ledger = company.workspace.ledger
    assert ledger.suppressions.of([ledger.suppressions.mark("a@x.example")], "email")
    assert b"a@x.example" not in (tmp_path / "ledger.db").read_bytes()


def test_an_unsubscription_at_a_mailbox_is_taken_back(tmp_path: Path) -> None:
    """By the customer's own button, by a customer, or by the address itself."""
    mailings = Mailings(tmp_path)
    mailings.put("1", "home@x.example")
    mailings.put("2", "home@x.example")
    mailings.run()
    mailings.send("1")
    mailings.click("hello 1")
    assert mailings.send("2") == {"2": "suppressed"}
    mailings.click("hello 1", "?again=yes")
    assert mailings.send("1", "2") == {"1": "sent", "2": "sent"}
    mailings.click("hello 2")
    assert mailings.send("1", "2") == {"1": "suppressed", "2": "consent"}
    one = mailings.company.customers.profile("1").profile_id
    assert mailings.restore("1") == [one]
    # his own unsubscription stands
    assert mailings.send("1", "2") == {"1": "sent", "2": "consent"}
    with pytest.raises(NotFound):
        mailings.restore("1")
    mailings.company.now += DAY
    mailings.click("hello 1")
    for no in "12":
        mailings.put(no, f"{no}@x.example")
    mailings.run()
    assert mailings.restore("home@x.example") == []
    mailings.put("3", "home@x.example")
    mailings.run()
    assert mailings.send("1", "3") == {"1": "consent", "3": "sent"}


def test_caps_count_a_mailbox(tmp_path: Path) -> None:
    """Two customers with one get one mail in all; each of them gets none elsewhere meanwhile."""
    mailings = Mailings(tmp_path, cap="1 per 7 days")
    mailings.put("1", "home@x.example")
    mailings.put("2", "home@x.example")
    mailings.put("3", "c@x.example")
    mailings.run()
    assert mailings.send("1", "2", "3") == {"1": "sent", "2": "cap", "3": "sent"}
    mailings.put("1", "a@x.example")
    mailings.put("3", "home@x.example")
    mailings.run()
    # she has had hers; and the mailbox its own
    assert mailings.send("1", "2", "3") == {"1": "cap", "2": "cap", "3": "cap"}
    mailings.put("2", "b@x.example")
    mailings.run()
    assert mailings.send("2") == {"2": "sent"}
    later = mailings.company.now + 8 * DAY
    assert mailings.send("1", "3", at=later) == {"1": "sent", "3": "sent"}


def test_an_address_is_suppressed_in_all_its_spellings(tmp_path: Path) -> None:
    """As the customer's record, or the list, writes it; and `consent history` says so."""
    mailings = Mailings(tmp_path)
    suppressions = mailings.company.workspace.ledger.suppressions
    spellings = {
        "1": ("bo@müller.example", "BO@xn--mller-kva.example"),
        "2": ("li@x.example", " mailto:Li <LI@X.example>; "),
    }
    for no, (address, told) in spellings.items():
        mailings.put(no, address)
        suppressions.add(suppressions.mark(told), None, "imported", at=mailings.company.now)
    mailings.put("3", "free@x.example")
    mailings.run()
    assert mailings.send("1", "2", "3") == {"1": "suppressed", "2": "suppressed", "3": "sent"}
    company = mailings.company
    for no, missing in (("1", "suppressed"), ("3", None)):
        [found] = company.customers.consent_history(no, now=company.now).values()
        assert [each.missing for each in found] == [missing]
    for one, other in (("+49 30 123456", "0049 (30) 12-34-56"), ("030 123456", "030/123456")):
        assert suppressions.mark(one) == suppressions.mark(other)


def test_a_list_is_brought_in_and_counted(tmp_path: Path) -> None:
    """All of it or nothing; told again it is the same; the customer's history shows it."""
    mailings = Mailings(tmp_path)
    mailings.put("1", "a@x.example")
    mailings.put("2", "b@x.example")
    mailings.run()
    company = mailings.company
    suppressions = company.workspace.ledger.suppressions
    path = tmp_path / "list.csv"
    told: dict[str, Any] = {
        "purpose": None, "reason": "imported", "by": "ann", "now": company.now,
        "when": datetime.fromisoformat,
    }  # fmt: skip

    def bring(content: str) -> int:
        path.write_text("address,purpose,reason,at\n" + content)
        return import_list(company.workspace.catalogue, suppressions, path, **told)

    with pytest.raises(ProfilePipelinesError, match=r"list\.csv:3: there is no address"):
        bring("a@x.example,email,,\n,email,,\n")
    with pytest.raises(UnknownName):
        bring("a@x.example,post,,\n")
    assert not suppressions.any
    lines = "A@x.example,email,,2026-03-01T00:00:00+00:00\nb@x.example,,complained,\n"
    assert (bring(lines), bring(lines)) == (2, 0)
    assert mailings.send("1", "2") == {"1": "suppressed", "2": "suppressed"}
    assert [(each.purpose, each.reason, each.addresses) for each in counts(suppressions, None)] == [
        (None, "complained", 1), ("email", "imported", 1),
    ]  # fmt: skip
    (found,) = company.customers.consent_history("2", now=company.now).values()
    assert [(act.reason, act.by) for act in found[0].addresses] == [("complained", "ann")]
