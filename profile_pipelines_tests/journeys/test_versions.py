"""Enrolments that move over to a new version by a declared mapping, and those that don't."""

from __future__ import annotations

import copy
from datetime import timedelta
from pathlib import Path
from typing import Any

from profile_pipelines import journey_steps
from profile_pipelines_tests.catalog.folders import audience, mistakes_in, write_catalogue
from profile_pipelines_tests.company import START
from profile_pipelines_tests.journeys.test_journeys import BYE, DAY, SEND, Journeys


def _redeclared(journeys: Journeys, **journey: Any) -> None:
    changed = copy.deepcopy(journeys.company.declared)
    changed["journeys"]["j"] |= journey
    journeys.company.declare(changed)


def test_a_mapping_takes_enrolments_over(tmp_path: Path) -> None:
    """They go on at the new step and have waited there as long as before; others finish as they
    began; everyone stays counted."""
    branch = {"branch": [{"when": {"tier": {"is": "gold"}}, "then": [{"wait": "2 days"}]},
                         {"otherwise": [{"wait": "4 days"}]}]}  # fmt: skip
    journeys = Journeys(tmp_path, [SEND, branch, SEND])
    for key, tier in (("1", "gold"), ("2", "blue"), ("3", "blue")):
        journeys.put(key, tier=tier)
    journeys.run()
    mapping = {"from": 1, "steps": {"1.1.0": 1}}
    _redeclared(journeys, steps=[SEND, {"wait": "3 days"}, BYE], mapping=mapping)
    space = journeys.company.workspace
    difference = journey_steps.journey_difference(space, "j")
    [mapped] = difference.mapping
    assert (mapped.old, mapped.new, mapped.enrolments, mapped.known) == ("1.1.0", "1", 2, True)
    assert (difference.changed, difference.enrolments) == (True, 1)
    dry = journey_steps.tick_journey(space, "j", now=journeys.company.now, dry=True)
    assert dry.steps["1.1.0", "mapped", ""] == 2
    journeys.run()
    after = journey_steps.journey_difference(space, "j")
    assert (after.changed, after.enrolments, after.mapping[0].enrolments) == (False, 1, 0)
    journeys.run(START + 2 * DAY)
    journeys.run(START + 3 * DAY - timedelta(minutes=1))
    assert journeys.status.active == 2
    journeys.run(START + 3 * DAY)
    assert journeys.sent == {
        "1": ["hello", "hello"], "2": ["hello", "bye"], "3": ["hello", "bye"],
    }  # fmt: skip
    steps = {each.path: each for each in journeys.status.steps}
    assert (steps["1.1.0"].entered, steps["1.1.0"].mapped, steps["1.1.0"].waiting) == (2, 2, 0)
    assert journeys.status.completed == 3


def test_a_mapping_to_the_end_or_to_a_message(tmp_path: Path) -> None:
    """The one ends the enrolment, the other sends at once; and each does it once."""
    journeys = Journeys(tmp_path, [SEND, {"wait": "9 days"}])
    journeys.put("1")
    journeys.run()
    _redeclared(journeys, steps=[BYE, {"wait": "8 days"}], mapping={"from": 1, "steps": {"1": "0"}})
    assert journeys.run().messages == 1
    assert journeys.run().messages == 0
    assert journeys.sent == {"1": ["hello", "bye"]}
    _redeclared(
        journeys, steps=[BYE, {"wait": "7 days"}], mapping={"from": 2, "steps": {"1": "end"}}
    )
    assert journeys.run().completed == 1
    assert journeys.status.active == 0


def test_a_mapping_that_is_added_later_takes_over_too(tmp_path: Path) -> None:
    """It makes no version of its own; one from a version that isn't older takes nobody over."""
    journeys = Journeys(tmp_path, [{"wait": "9 days"}])
    journeys.put("1")
    journeys.run()
    _redeclared(journeys, steps=[{"wait": "1 hour"}, SEND])
    assert journeys.run().messages == 0
    _redeclared(journeys, mapping={"from": 2, "steps": {"0": "0"}})
    assert journeys.run().messages == 0
    assert journey_steps.journey_difference(journeys.company.workspace, "j").mapping == []
    _redeclared(journeys, mapping={"from": 1, "steps": {"0": "0", "7": "1"}})
    known = journey_steps.journey_difference(journeys.company.workspace, "j").mapping
    assert [(each.old, each.known) for each in known] == [("0", True), ("7", False)]
    assert journeys.run().messages == 1
    assert journeys.status.version == 2


def test_exits_are_the_new_versions(tmp_path: Path) -> None:
    """Whoever was taken over leaves by what the new version declares."""
    journeys = Journeys(tmp_path, [{"wait": "9 days"}])
    journeys.put("1")
    journeys.run()
    _redeclared(
        journeys, exit_when={"tier": {"is": "gold"}}, mapping={"from": 1, "steps": {"0": "0"}}
    )
    assert journeys.run().exited == 1


def test_mistakes_are_told_with_their_lines(tmp_path: Path) -> None:
    """A step that isn't there, and a path that is none."""
    journey = (
        "journey: j\naudience: a\nsteps: [{wait: 1 day}]\n"
        "mapping:\n  from: 1\n  steps:\n    0: 4\n    first: 0\n"
    )
    files = {"journeys/j.yaml": journey, **audience("{status: {is: active}}")}
    found = mistakes_in(write_catalogue(tmp_path, **files))
    assert any("j.yaml:7: mapping.steps.0: there is no step 4 here" in each for each in found)
    assert any("j.yaml:8: mapping.steps.first: first is no step" in each for each in found), found
