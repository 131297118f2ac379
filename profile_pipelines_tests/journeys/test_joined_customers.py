"""Customers who turn out to be another profile's: their journeys go on with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from profile_pipelines import journey_steps
from profile_pipelines_tests.company import HOUR, START, joining, stamp
from profile_pipelines_tests.journeys.test_journeys import BYE, DAY, SEND, Journeys


def _join(journeys: Journeys, **values: str) -> None:
    """The second customer's record gets the first one's number: both are profile 1 from now on."""
    hours = (journeys.company.now - START) / HOUR
    told = {"status": "active", "opt_in": "yes", "tier": "gold", **values}
    journeys.company.put(
        "crm", "2", no="1", email="c1@example.com", changed=stamp(hours), **told
    )  # fmt: skip


def _sent(journeys: Journeys) -> list[str]:
    """The templates of what was sent, in order."""
    rows = journeys.company.workspace.ledger.outbox.messages(states=["sent"])
    return [row["template"] for row in sorted(rows, key=lambda row: row["ended_at"])]


def _two(tmp_path: Path, steps: list[Any], first: str, **journey: Any) -> Journeys:
    """Profile 1 with the status `first`, and profile 2, which enters."""
    journeys = Journeys(tmp_path, steps, **journey)
    journeys.company.declare(joining(journeys.company.declared))
    journeys.put("1", status=first)
    journeys.run()
    journeys.put("2")
    assert journeys.run().entered == 1
    return journeys


def _again(journeys: Journeys) -> int:
    """The customer leaves the audience and comes back; how many enter then."""
    _join(journeys, status="churned")
    assert journeys.run().entered == 0
    _join(journeys)
    return journeys.run().entered


@pytest.mark.parametrize("reenter", ["after 9 days", "always"])
def test_who_was_in_it_as_another_profile_was_in_it(tmp_path: Path, reenter: str) -> None:
    """Who is a member already is no newcomer as another profile; whether they enter again when
    they come back is decided by all that they have been."""
    journeys = _two(tmp_path, [SEND], "churned", reenter=reenter)
    _join(journeys)
    assert journeys.run().entered == 0
    assert _sent(journeys) == ["hello"]
    entered = _again(journeys)
    assert entered == (1 if reenter == "always" else 0)
    explained = journey_steps.explain_journey(
        journeys.company.workspace, "j", "c1@example.com", now=journeys.company.now
    )
    assert len(explained) == 1 + entered


def test_a_members_other_record_makes_no_newcomer(tmp_path: Path) -> None:
    """Nor does a member who never was in the journey enter it by being joined."""
    journeys = Journeys(tmp_path, [SEND], reenter="always", launch="newcomers")
    journeys.put("1", status="churned")
    journeys.put("2")
    journeys.run()
    _join(journeys)
    assert journeys.run().entered == 0
    assert _again(journeys) == 1


def test_who_parts_from_a_member_is_no_newcomer(tmp_path: Path) -> None:
    """They were greeted as one; who comes back to the audience as a customer of their own is."""
    journeys = Journeys(tmp_path, [SEND], reenter="always")
    journeys.put("1")
    _join(journeys)
    assert journeys.run().entered == 1
    journeys.put("2")
    assert journeys.run().entered == 0
    assert journeys.status.active + journeys.status.completed == 1
    journeys.put("2", status="churned")
    journeys.run()
    journeys.put("2")
    assert journeys.run().entered == 1


def test_an_enrolment_goes_on_with_its_customer(tmp_path: Path) -> None:
    """Neither begun anew nor ended: what comes next comes when it was due, and once."""
    journeys = _two(tmp_path, [SEND, {"wait": "2 days"}, BYE], "churned")
    _join(journeys)
    joined = journeys.run()
    assert (joined.entered, joined.exited, joined.active, joined.wrote) == (0, 0, 1, True)
    assert not journeys.run().wrote
    later = journeys.run(START + 3 * DAY)
    assert (later.completed, later.active) == (1, 0)
    assert _sent(journeys) == ["hello", "bye"]
    assert (journeys.status.steps[0].entered, journeys.status.exited) == (1, {})


def test_a_message_that_was_put_off_goes_to_the_profile_of_today(tmp_path: Path) -> None:
    """It was decided for a profile that is no more."""
    journeys = Journeys(tmp_path, [SEND])
    declared = {**journeys.company.declared}
    declared["channels"]["channels"]["drop"]["quiet_hours"] = {"start": "10:00", "end": "20:00"}
    journeys.company.declare(declared)
    journeys.put("1", status="churned")
    journeys.run()
    journeys.put("2")
    assert journeys.run().messages == 1
    assert _sent(journeys) == []
    _join(journeys)
    journeys.run()
    journeys.run(START + 10 * HOUR)
    assert _sent(journeys) == ["hello"]


def test_of_two_enrolments_one_goes_on(tmp_path: Path) -> None:
    """Who is in the journey as both profiles gets its messages once."""
    journeys = _two(tmp_path, [{"wait": "2 days"}, BYE], "active")
    _join(journeys)
    joined = journeys.run()
    assert (joined.exited, joined.active) == (1, 1)
    assert journeys.status.exited == {"gone": 1}
    journeys.run(START + 3 * DAY)
    assert _sent(journeys) == ["bye"]


def test_caps_count_what_a_customer_got_as_another_profile(tmp_path: Path) -> None:
    """One message in ten days is one, whatever profile it went to."""
    journeys = _two(tmp_path, [SEND], "churned", reenter="always", cap="1 per 10 days")
    _join(journeys)
    journeys.run()
    assert _again(journeys) == 1
    assert _sent(journeys) == ["hello"]
    [(_, skipped)] = [
        (row["state"], row["reason"])
        for row in journeys.company.workspace.ledger.outbox.messages(states=["skipped"])
    ]
    assert skipped == "cap"
