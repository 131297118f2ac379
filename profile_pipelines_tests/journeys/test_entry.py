"""Entering by a condition in place of an audience, and what a change of either means."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines import journey_steps
from profile_pipelines_tests.catalog.folders import audience, mistakes_in, write_catalogue
from profile_pipelines_tests.journeys.test_journeys import SEND, Journeys

GOLD = {"all": [{"status": {"is": "active"}}, {"tier": {"is": "gold"}}]}
WAIT = {"wait": "9 days"}


def _by_condition(folder: Path, steps: list[Any], **journey: Any) -> Journeys:
    return Journeys(folder, steps, audience=None, enter_when=GOLD, **journey)


def _redeclared(journeys: Journeys, **journey: Any) -> None:
    changed = copy.deepcopy(journeys.company.declared)
    changed["journeys"]["j"] |= journey
    journeys.company.declare(changed)


def test_those_enter_for_whom_it_comes_to_hold(tmp_path: Path) -> None:
    """Today's at the launch, others when it becomes true; nobody twice while it stays true."""
    journeys = _by_condition(tmp_path, [SEND])
    journeys.put("1")
    journeys.put("2", tier="blue")
    assert journeys.run().entered == 1
    assert journeys.run().entered == 0
    journeys.put("2")
    assert journeys.run().entered == 1
    assert journeys.sent == {"1": ["hello"], "2": ["hello"]}


def test_only_newcomers_where_that_is_declared(tmp_path: Path) -> None:
    """The launch notes for whom it holds already, and enrols nobody."""
    journeys = _by_condition(tmp_path, [SEND], launch="newcomers")
    journeys.put("1")
    journeys.put("2", tier="blue")
    assert journeys.run().entered == 0
    journeys.put("2")
    assert journeys.run().entered == 1


@pytest.mark.parametrize(("leaves", "exited"), [(True, 1), (False, 0)])
def test_leaving_is_declared(tmp_path: Path, leaves: bool, exited: int) -> None:
    """Only a journey that says so is left when the condition no longer holds; then nothing is
    sent any more, tick or no tick."""
    steps = [SEND, {"wait": "2 hours"}, SEND, WAIT]
    journeys = _by_condition(tmp_path, steps, leave_with_audience=leaves, reenter="always")
    journeys.put("1")
    journeys.run()
    company = journeys.company
    company.run()
    assert journey_steps.tick_journey(company.workspace, "j", now=company.now).messages == 1
    journeys.put("1", tier="blue")
    company.run()
    journey_steps.dispatch(company.workspace, clock=lambda: company.now)
    assert len(journeys.sent["1"]) == 2 - exited
    assert journeys.run().exited == exited
    journeys.put("1")
    assert journeys.run().entered == exited


def test_a_dry_run_tells_who_would_enter(tmp_path: Path) -> None:
    """By the facts of now, before and after the launch, though nothing is written."""
    journeys = _by_condition(tmp_path, [SEND])
    journeys.put("1")
    company = journeys.company
    for key in ("2", "3"):
        company.run()
        now = company.now
        dry = journey_steps.tick_journey(company.workspace, "j", now=now, dry=True)
        assert dry.entered == 1
        assert (
            journey_steps.tick_journey(company.workspace, "j", now=now, dry=True).steps == dry.steps
        )
        assert journey_steps.tick_journey(company.workspace, "j", now=now).steps == dry.steps
        journeys.put(key)


def test_stale_values_let_nobody_in(tmp_path: Path) -> None:
    """A value that is too old doesn't make anybody enter; once it is fresh again it does."""
    journeys = _by_condition(tmp_path, [SEND])
    changed = copy.deepcopy(journeys.company.declared)
    changed["attributes"]["tier"]["fresh_within"] = "1h"
    journeys.company.declare(changed)
    journeys.put("1")
    company = journeys.company
    company.run()
    company.now += 5 * (company.now - company.now.replace(hour=company.now.hour - 1))
    assert journey_steps.tick_journey(company.workspace, "j", now=company.now).entered == 0
    assert journeys.run().entered == 1


def test_another_audience_is_a_launch_of_its_own(tmp_path: Path) -> None:
    """Its members enter, however long its history and that of the one before are."""
    journeys = Journeys(tmp_path, [WAIT])
    journeys.put("1")
    journeys.put("2", tier="blue")
    for status in ("churned", "active", "churned", "active"):
        journeys.put("1", status=status)
        journeys.run()
    changed = copy.deepcopy(journeys.company.declared)
    changed["audiences"]["blue"] = {"where": {"tier": {"is": "blue"}}}
    changed["journeys"]["j"]["reenter"] = "always"
    journeys.company.declare(changed)
    journeys.put("3", status="churned", tier="blue")
    _redeclared(journeys, audience="blue")
    assert journeys.run().entered == 1
    journeys.put("4", status="churned", tier="blue")
    assert journeys.run().entered == 1
    _redeclared(journeys, audience=None, enter_when=GOLD, launch="newcomers")
    assert journeys.run().entered == 0
    journeys.put("5")
    assert journeys.run().entered == 1


def test_mistakes_are_told_with_their_lines(tmp_path: Path) -> None:
    """Both ways in, none, and a condition that fits nothing."""
    head, steps = "journey: j\n", "steps: [{wait: 1 day}]\n"
    both = f"{head}audience: a\nenter_when: {{status: {{is: active}}}}\n{steps}"
    wrong = f"{head}enter_when: {{colour: {{is: red}}}}\n{steps}"
    for text, told in (
        (both, "needs either audience or enter_when"),
        (head + steps, "needs either audience or enter_when"),
        (wrong, "j.yaml:2: enter_when.colour: unknown attribute colour"),
    ):
        folder = tmp_path / str(hash(text))
        files = {"journeys/j.yaml": text, **audience("{status: {is: active}}")}
        found = mistakes_in(write_catalogue(folder, **files))
        assert any(told in each for each in found), found
