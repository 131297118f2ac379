"""A journey that is replayed over the history does what its ticks did, and writes nothing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profile_pipelines import journey_steps
from profile_pipelines.errors import NotFound
from profile_pipelines_tests.company import HOUR, START
from profile_pipelines_tests.journeys.test_journeys import BYE, DAY, SEND, Journeys

GOLD = {"all": [{"status": {"is": "active"}}, {"tier": {"is": "gold"}}]}
STEPS = [
    SEND,
    {"wait": "2 hours"},
    {"branch": [{"when": {"tier": {"is": "gold"}}, "then": [BYE]}]},
    {"wait": {"until": {"tier": {"is": "blue"}}, "at_most": "3 hours"}},
    SEND,
]
CHANGES = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from("123"),
            st.sampled_from(
                [{}, {"status": "churned"}, {"tier": "new"}, {"tier": "blue"}, {"opt_in": "no"}]
            ),
        ),
        max_size=2,
    ),
    min_size=2,
    max_size=7,
)
JOURNEYS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "leave_with_audience": st.booleans(),
        "leave_with_consent": st.booleans(),
        "reenter": st.sampled_from(["never", "always", "after 2 hours"]),
        "launch": st.sampled_from(["members", "newcomers"]),
        "holdout": st.sampled_from(["0%", "50%"]),
    }
)


@pytest.mark.slow
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=CHANGES, journey=JOURNEYS, by_condition=st.booleans())
def test_it_is_what_the_ticks_did(
    tmp_path_factory: pytest.TempPathFactory,
    changes: list[list[tuple[str, dict[str, str]]]],
    journey: dict[str, Any],
    by_condition: bool,
) -> None:
    """Tick by tick and step by step, whatever changed in between."""
    entry = {"audience": None, "enter_when": GOLD} if by_condition else {}
    folder = tmp_path_factory.mktemp("company")
    journeys = Journeys(folder, STEPS, exit_when={"tier": {"is": "new"}}, **entry, **journey)
    company = journeys.company
    for key in "123":
        journeys.put(key)
    told: list[dict[tuple[str, str, str], int]] = []
    for batch in changes:
        for key, values in batch:
            journeys.put(key, **values)
        told.append(journeys.run().steps)
    before = company.workspace.ledger.enrolments.everywhere(range(1, 9))
    end = company.now - HOUR
    moments, ticks = journey_steps.simulate_journey(
        company.workspace, "j", START, end, now=company.now, every=HOUR
    )
    found = list(ticks)
    assert moments == [START + n * HOUR for n in range(len(changes))]
    for each, steps in zip(found, told, strict=True):
        sending = ("decided", "sent"), ("skipped", "consent")
        assert _but_for(steps, *sending) == _but_for(each.steps, *sending)
    status = journeys.status
    assert found[-1].active == status.active
    assert {each.path: each.waiting for each in status.steps if each.waiting} == found[-1].waiting
    sent = company.workspace.ledger.outbox.messages(states=["sent"], limit=None)
    assert sum(each.sent for each in found) == len(sent)
    assert company.workspace.ledger.enrolments.everywhere(range(1, 9)) == before


def _but_for(
    steps: dict[tuple[str, str, str], int], events: tuple[str, ...], skipped: tuple[str, str]
) -> dict[tuple[str, str, str], int]:
    return {k: n for k, n in steps.items() if k[1] not in events and k[1:] != skipped}


def test_every_change_is_played(tmp_path: Path) -> None:
    """With the launch and the end, however far they lie apart."""
    journeys = Journeys(tmp_path, [SEND, {"wait": "1 day"}, BYE])
    journeys.put("1")
    journeys.company.run()
    journeys.company.now = START + 5 * DAY
    journeys.put("2")
    journeys.company.run()
    space, now = journeys.company.workspace, START + 9 * DAY
    moments, ticks = journey_steps.simulate_journey(
        space, "j", START + HOUR, now, now=now, every=None
    )
    assert moments == [START + HOUR, START + 5 * DAY, now]
    found = list(ticks)
    assert [each.entered for each in found] == [1, 1, 0]
    assert [each.sent for each in found] == [1, 1, 0]
    # when anybody looked, the second messages had come due too long ago
    assert found[2].steps["2", "skipped", "expired"] == 1
    assert found[1].steps["2", "skipped", "expired"] == 1
    assert space.ledger.enrolments.versions.of("j") == []
    assert space.ledger.outbox.counts() == []


def test_who_is_held_at_the_entry_is_told(tmp_path: Path) -> None:
    """A stale value lets nobody in, and the replay says that it was that."""
    journeys = Journeys(tmp_path, [SEND])
    declared = journeys.company.declared
    declared["attributes"]["status"]["fresh_within"] = "1h"
    journeys.company.declare(declared)
    journeys.put("1")
    journeys.company.run()
    space = journeys.company.workspace
    _, ticks = journey_steps.simulate_journey(
        space, "j", START + 2 * HOUR, START + 3 * HOUR, now=START + DAY, every=HOUR
    )
    assert [(each.entered, each.held) for each in ticks] == [(0, 1), (0, 1)]


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [
        (START - 2 * DAY, START - DAY, "the history begins on 2026-03-02 at 12:00"),
        (START, START, "the end lies before the start"),
        (START, START + 9 * DAY, "no history after 2026-03-03"),
    ],
)
def test_dates_without_a_history(tmp_path: Path, start: Any, end: Any, told: str) -> None:
    """Are told with those that have one."""
    journeys = Journeys(tmp_path, [SEND])
    space, now = journeys.company.workspace, START + DAY
    with pytest.raises(NotFound, match=r"holds no profiles yet|lies before|no history after"):
        journey_steps.simulate_journey(space, "j", start, end, now=now)
    journeys.put("1")
    journeys.company.run()
    with pytest.raises(NotFound, match=told):
        journey_steps.simulate_journey(space, "j", start, end, now=now)


def test_it_begins_with_the_history_and_ends_with_the_present(tmp_path: Path) -> None:
    """Also where an earlier start was asked for, and the stretch isn't of whole days."""
    journeys = Journeys(tmp_path, [SEND])
    journeys.put("1")
    journeys.company.run()
    end = START + DAY + timedelta(hours=5)
    space = journeys.company.workspace
    moments, _ = journey_steps.simulate_journey(space, "j", START - DAY, end, now=end)
    assert moments == [START, START + DAY, end]
