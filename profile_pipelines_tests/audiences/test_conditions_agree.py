"""Compiled conditions against the plain-Python model, on worlds that Hypothesis makes up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profile_pipelines.audiences.compile import compile_condition
from profile_pipelines.audiences.evaluate import (
    changes,
    counting,
    evaluated,
    read_counts,
)
from profile_pipelines.catalog.conditions import Condition, attributes_of, audiences_of
from profile_pipelines_tests.audiences.model import answer, is_stale
from profile_pipelines_tests.audiences.worlds import World, relations, run, state_table, worlds

_PREVIOUS = st.dictionaries(st.integers(0, 8), st.tuples(st.booleans(), st.booleans()))


def _settings(examples: int) -> Callable[[Any], Any]:
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(max_examples=examples, deadline=None, suppress_health_check=slow)


@_settings(120)
@given(worlds())
def test_sql_gives_the_models_answer_for_every_profile(world: World) -> None:
    """A compiled condition is true, false or unknown exactly where the plain model is."""
    tables = relations(world)
    for data in world.conditions:
        compiled = compile_condition(Condition.model_validate(data), world.context)
        found = {row["profile_id"]: row for row in run(evaluated(compiled), tables)}
        assert found.keys() == set(range(len(world.profiles)))
        for number, profile in enumerate(world.profiles):
            assert found[number]["result"] == answer(data, profile, world.context)
            for name in compiled.stale:
                stale = is_stale(name, profile, world.context)
                assert found[number][f"stale__{name}"] == stale
                assert found[number][f"missing__{name}"] == (profile.values[name] is None)


@_settings(30)
@given(worlds(), _PREVIOUS)
def test_unknown_keeps_membership_and_changes_hold_only_what_differs(
    world: World, previous: dict[int, tuple[bool, bool]]
) -> None:
    """Known answers decide, unknown ones hold, vanished profiles leave, and the counts agree."""
    data = world.conditions[-1]
    condition = Condition.model_validate(data)
    compiled = compile_condition(condition, world.context)
    states = state_table([(number, *state) for number, state in previous.items()])
    tables = {**relations(world), "previous": states}
    answers = {i: answer(data, profile, world.context) for i, profile in enumerate(world.profiles)}
    before = {number: previous.get(number, (False, False)) for number in {*answers, *previous}}
    after = {
        number: (
            was_member if answers[number] is None else answers[number],
            answers[number] is None,
        )
        if number in answers
        else (False, False)
        for number, (was_member, _) in before.items()
    }

    found = {row.pop("profile_id"): row for row in run(changes(compiled), tables)}
    assert found == {
        number: {"member": member, "held": held, "removed": not member and not held}
        for number, (member, held) in after.items()
        if (member, held) != before[number]
    }

    (row,) = run(counting(compiled), tables)
    counts = read_counts(row)
    members = {number for number, (member, _) in after.items() if member}
    were = {number for number, (member, _) in before.items() if member}
    held = {number for number, (_, is_held) in after.items() if is_held}
    stale = {
        name: {i for i, p in enumerate(world.profiles) if is_stale(name, p, world.context)}
        for name in attributes_of(condition)
    }
    assert (counts.profiles, counts.members) == (len(world.profiles), len(members))
    assert (counts.entered, counts.exited) == (len(members - were), len(were - members))
    assert counts.held == len(held)
    assert counts.stale == {name: len(numbers) for name, numbers in stale.items()}
    assert counts.held_by == {name: len(numbers & held) for name, numbers in stale.items()}
    assert counts.missing == {
        name: sum(profile.values[name] is None for profile in world.profiles) for name in stale
    }
    assert counts.held_in == {
        name: sum(world.profiles[number].audiences.get(name, (False, False))[1] for number in held)
        for name in audiences_of(condition)
    }
