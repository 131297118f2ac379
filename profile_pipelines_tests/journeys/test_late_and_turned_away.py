"""Who comes when a moment is over, and who is turned away at the door."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines import journey_steps
from profile_pipelines.catalog.journeys import Journey
from profile_pipelines.cli.main import main
from profile_pipelines.journeys.definition import definition_of
from profile_pipelines_tests.company import START
from profile_pipelines_tests.journeys.test_journeys import BYE, DAY, SEND, Journeys

SEVEN = {"until": "ends - 7 days at 09:00"}
ONE = {"wait": {"until": "ends - 1 day at 09:00"}}
COMPLAINT = {"tier": {"is": "new"}}


def _counts(journeys: Journeys) -> dict[str, int]:
    return {step.path: step.late for step in journeys.status.steps if step.late}


@pytest.mark.parametrize(
    ("late", "sent", "completed"),
    [(None, {}, 0), ("skip", {}, 0), ("send", {"1": ["hello"]}, 0), ("end", {}, 1)],
)
def test_who_comes_when_the_moment_is_over(
    tmp_path: Path, late: str | None, sent: dict[str, list[str]], completed: int
) -> None:
    """Three days before the end nobody is told that it is in seven, unless that is declared."""
    wait = {"wait": {**SEVEN, **({"late": late} if late else {})}}
    journeys = Journeys(tmp_path, [wait, SEND, ONE, BYE])
    journeys.put("1", ends="2026-03-05")
    journeys.run()
    assert journeys.sent == sent
    assert _counts(journeys) == {"0": 1}
    assert journeys.status.completed == completed
    skipped = journeys.status.steps[1].skipped
    assert skipped == ({"late": 1} if late in (None, "skip") else {})
    journeys.run(datetime(2026, 3, 4, 9, tzinfo=UTC))
    assert journeys.sent.get("1", [])[-1:] == ([] if completed else ["bye"])


@pytest.mark.parametrize(
    ("until", "ends", "seen", "late"),
    [
        ("ends - 7 days at 09:00", "2026-03-09", None, False),  # three hours ago, today
        ("ends - 7 days at 09:00", "2026-03-08", None, True),  # yesterday
        ("ends - 7 days", "2026-03-09", None, False),
        ("ends", "0001-01-01", None, True),
        ("seen - 3 hours", None, "2026-03-02T15:00:00Z", False),  # now
        ("seen - 3 hours", None, "2026-03-02T14:59:00Z", True),
        ("seen - 1 day", None, "2026-03-03T09:00:00Z", False),  # three hours ago, today
    ],
)
def test_when_a_moment_is_over(
    tmp_path: Path, until: str, ends: str | None, seen: str | None, late: bool
) -> None:
    """A day's with the day, one in hours as soon as it has passed."""
    journeys = Journeys(tmp_path, [{"wait": {"until": until}}, SEND])
    told = {"ends": ends, "seen": seen}
    journeys.put("1", **{name: text for name, text in told.items() if text})
    journeys.run()
    assert journeys.sent == ({} if late else {"1": ["hello"]})
    assert _counts(journeys) == ({"0": 1} if late else {})


def test_a_missed_tick_makes_nobody_late(tmp_path: Path) -> None:
    """Who was there in time gets the message as long as it hasn't expired."""
    journeys = Journeys(tmp_path, [{"wait": SEVEN}, SEND], expire_after="3 days")
    journeys.put("1", ends="2026-03-10")
    journeys.run()
    journeys.run(START + 2 * DAY)
    assert journeys.sent == {"1": ["hello"]}
    assert _counts(journeys) == {}


def test_late_belongs_to_a_moment_of_the_customer() -> None:
    """Nobody is late for nine o'clock."""
    for until in ("09:00", {"tier": {"is": "gold"}}):
        steps = [{"wait": {"until": until, "late": "skip"}}]
        with pytest.raises(ValueError, match="late belongs to"):
            Journey.model_validate({"journey": "j", "audience": "a", "steps": steps})


@pytest.mark.parametrize("mode", [None, "watch", "forget"])
@pytest.mark.parametrize("by_condition", [False, True])
def test_who_is_turned_away(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    mode: str | None,
    by_condition: bool,
) -> None:
    """They enter once what they'd have left for is over, while they are members; or never."""
    entry: dict[str, Any] = {"turned_away": mode} if mode else {}
    if by_condition:
        entry |= {"audience": None, "enter_when": {"status": {"is": "active"}}}
    journeys = Journeys(tmp_path, [SEND], exit_when=COMPLAINT, **entry)
    for key in "123":
        journeys.put(key, tier="new")
    journeys.run()
    assert journeys.sent == {}
    assert journeys.status.turned_away == {"exit_when": 3}
    watches = mode != "forget"
    assert journeys.status.watched == ({"exit_when": 3} if watches else {})
    places = journeys.company.workspace.places
    for name in ("catalogue", "lake", "ledger"):
        variable = "CATALOG" if name == "catalogue" else name.upper()
        monkeypatch.setenv(f"PROFILE_PIPELINES_{variable}", str(getattr(places, name)))
    assert main(["journey", "status", "j"]) == 0
    assert "turned away: exit_when 3" in capsys.readouterr().out
    journeys.put("1")
    journeys.put("2", status="churned")
    result = journeys.run()
    assert (result.entered, result.wrote) == (int(watches), watches)
    assert journeys.sent == ({"1": ["hello"]} if watches else {})
    assert journeys.status.turned_away == {"exit_when": 3}  # each is told once
    assert journeys.status.watched == ({"exit_when": 1} if watches else {})
    journeys.put("2", status="churned", tier="gold")
    assert not journeys.run().entered
    journeys.put("2")
    assert journeys.run().entered == 1  # a newcomer by now
    assert not journeys.run().wrote


def test_a_member_again_within_reenter(tmp_path: Path) -> None:
    """Enters when the time is up, by the clock alone, if it's a member still."""
    journeys = Journeys(tmp_path, [SEND], reenter="after 3 days")
    for key in "12":
        journeys.put(key)
    journeys.run()
    for key in "12":
        journeys.put(key, status="churned")
    journeys.run()
    for key in "12":
        journeys.put(key)
    assert journeys.run().entered == 0
    assert journeys.status.watched == {"reenter": 2}
    journeys.put("2", status="churned")
    journeys.run()
    assert journeys.status.watched == {"reenter": 1}
    journeys.run(START + 3 * DAY)
    journeys.run(START + 4 * DAY)
    assert journeys.sent == {"1": ["hello", "hello"], "2": ["hello"]}


def test_watching_goes_on_with_the_customer(tmp_path: Path) -> None:
    """Who has gone up in another profile is watched as that, and erased with it."""
    journeys = Journeys(tmp_path, [SEND], exit_when=COMPLAINT)
    journeys.put("1", status="churned", tier="new")
    journeys.run()
    journeys.put("2", tier="new")
    journeys.run()
    journeys.company.put(
        "crm", "2", no="1", email="c1@example.com", changed="2026-03-03T00:00:00+00:00",
        status="active", tier="new", opt_in="yes",
    )  # fmt: skip
    journeys.run()
    watched = journeys.company.workspace.ledger.enrolments.watched
    [profile_id] = watched.of("j")
    found = journeys.company.customers.profile("c1@example.com", now=journeys.company.now)
    assert profile_id == found.profile_id
    journeys.company.workspace.ledger.forget([profile_id], now=journeys.company.now)
    assert watched.of("j") == {}


def test_a_stale_value_decides_nothing_at_the_door(tmp_path: Path) -> None:
    """Who may have to leave at once stands before the first step until that is known."""
    journeys = Journeys(tmp_path, [SEND], exit_when=COMPLAINT)
    declared = journeys.company.declared
    declared["attributes"]["tier"]["fresh_within"] = "5 hours"
    journeys.company.declare(declared)
    journeys.put("1", status="churned")
    journeys.run()
    journeys.put("1")
    company = journeys.company
    company.now = START + 2 * DAY
    company.sync("crm", "status", "opt_in")
    company.now = START + 2 * DAY
    company.settle()
    result = journey_steps.tick_journey(company.workspace, "j", now=START + 2 * DAY)
    assert (result.entered, result.held, result.messages) == (1, 1, 0)
    journeys.put("1", tier="new")
    assert journeys.run(START + 3 * DAY).exited == 1
    assert journeys.sent == {}


def test_a_journey_is_the_same_version_after_an_upgrade() -> None:
    """What an older version of the product wrote of it is what this one writes."""
    steps = [
        {"wait": "3 days"}, {"wait": "90m"}, {"wait": {"until": "monday 09:00"}},
        {"wait": {"until": "ends - 7 days at 09:00", "at_most": "1 week"}},
        {"send": {"channel": "mail", "template": "x", "expire_after": "1 day"}},
    ]  # fmt: skip
    declared = {
        "journey": "j", "audience": "a", "cap": "2 per week", "reenter": "after 30 days",
        "expire_after": "5 hours", "steps": steps,
    }  # fmt: skip
    text = (
        '{"audience": "a", "cap": {"count": 2, "period": "7d"}, "expire_after": "5h", '
        '"holdout": 0.0, "journey": "j", "launch": "members", "leave_with_audience": false, '
        '"leave_with_consent": false, "reenter": {"after": "30d", "kind": "after"}, "steps": '
        '[{"wait": {"for": "3d"}}, {"wait": {"for": "90m"}}, {"wait": {"until": {"at": '
        '"09:00:00", "days": 0, "weekday": 0}}}, {"wait": {"at_most": "7d", "until": {"at": '
        '"09:00:00", "attribute": "ends", "days": -7}}}, {"send": {"channel": "mail", '
        '"expire_after": "1d", "template": "x"}}]}'
    )
    assert definition_of(Journey.model_validate(declared))[0] == text
