"""Which messages go first where caps bind, and those that no cap or quiet hours hold back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from profile_pipelines import journey_steps
from profile_pipelines.errors import CatalogueError
from profile_pipelines_tests.company import HOUR, START, Company, catalogue, stamp

CAP = "1 per 7 days"


def _company(
    folder: Path, journeys: dict[str, dict[str, Any]], *, opt_in: str = "yes", **limits: Any
) -> Company:
    """One customer, whom each of the journeys sends one message, over a channel of its own name."""
    declared = catalogue(("crm",), ("status", "opt_in"))
    declared["attributes"]["opt_in"] |= {"consent": "email"}
    declared["audiences"] = {"active": {"where": {"status": {"is": "active"}}}}
    declared["channels"] = {
        "channels": {channel: {"type": "file", "to": "email"} for channel in ("a", "m", "z")},
        "limits": limits,
    }
    declared["templates"] = {"hello.txt": "Subject: Hello\n\nHello\n"}
    declared["journeys"] = {
        name: {
            "audience": "active",
            "consent": "email",
            **{key: value for key, value in each.items() if key != "send"},
            "steps": [{"send": {"channel": name[0], "template": "hello", **each.get("send", {})}}],
        }
        for name, each in journeys.items()
    }
    company = Company(folder, declared)
    company.put(
        "crm", "1", no="1", email="c1@x.example", changed=stamp(-5), status="active", opt_in=opt_in
    )
    company.run()
    return company


def _round(company: Company) -> dict[str, tuple[str, str | None]]:
    """By journey, what became of its message."""
    for name in company.declared["journeys"]:
        journey_steps.tick_journey(company.workspace, name, now=company.now)
    journey_steps.dispatch(company.workspace, clock=lambda: company.now)
    rows = company.workspace.ledger.outbox.messages()
    return {row["journey"]: (row["state"], row["reason"]) for row in rows}


@pytest.mark.parametrize("first", ["a", "m", "z"])
def test_the_highest_priority_goes_first(tmp_path: Path, first: str) -> None:
    """Whatever the order of names and channels; the others tell why they don't go."""
    journeys = {name: {"priority": 5 if name == first else -1} for name in ("a", "m", "z")}
    found = _round(_company(tmp_path, journeys, cap=CAP))
    assert found.pop(first) == ("sent", None)
    assert set(found.values()) == {("skipped", "priority")}


def test_among_equals_the_cap_is_the_reason(tmp_path: Path) -> None:
    """As ever, when no priority is declared."""
    found = _round(_company(tmp_path, {"a": {}, "z": {}}, cap=CAP))
    assert found == {"a": ("sent", None), "z": ("skipped", "cap")}


def test_a_priority_makes_no_other_version(tmp_path: Path) -> None:
    """Who is under way stays where they are."""
    company = _company(tmp_path, {"a": {}})
    _round(company)
    company.declared["journeys"]["a"]["priority"] = 7
    company.declare(company.declared)
    assert not journey_steps.journey_difference(company.workspace, "a").changed


TRANSACTIONAL: dict[str, Any] = {"send": {"transactional": True, "consent": "orders"}}


def test_transactional_messages_are_held_back_by_nothing_of_marketing(tmp_path: Path) -> None:
    """Neither caps, nor quiet hours, nor a consent that isn't theirs; nor do they count."""
    journeys: dict[str, Any] = {"a": TRANSACTIONAL, "m": TRANSACTIONAL, "z": {}}
    company = _company(tmp_path / "day", journeys, cap=CAP)
    assert set(_round(company).values()) == {("sent", None)}
    company = _company(tmp_path / "night", journeys, quiet_hours="00:00 to 23:59", opt_in="no")
    assert _round(company) == {
        "a": ("sent", None), "m": ("sent", None), "z": ("pending", "quiet_hours"),
    }  # fmt: skip
    company = _company(tmp_path / "no", journeys, cap=CAP, opt_in="no")
    assert _round(company)["z"] == ("skipped", "consent")


def test_who_said_no_to_their_purpose_gets_none(tmp_path: Path) -> None:
    """A consent of their own, or an unsubscription from it, counts for them too."""
    company = _company(tmp_path, {"a": TRANSACTIONAL})
    profile_id = company.customers.profile("1", now=company.now).profile_id
    company.workspace.ledger.unsubscribes.add(profile_id, "orders", now=START - HOUR)
    assert _round(company) == {"a": ("skipped", "consent")}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"consent": "email", "send": {"transactional": True}}, "email is also that of"),
        ({"consent": None, "send": {"transactional": True}}, "needs a purpose of its own; write"),
    ],
)
def test_their_purpose_is_their_own(tmp_path: Path, other: dict[str, Any], said: str) -> None:
    """A transactional message without one, or with that of a marketing message, is refused."""
    with pytest.raises(CatalogueError) as error:
        _company(tmp_path, {"a": other, "z": {}})
    assert said in str(error.value)
