"""The last look before a message is sent: is its customer still in the journey, by now's facts?"""

# pyarrow has no types, which the strict mode would report at every touch.
# pyright: standard

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from profile_pipelines.catalog.journeys import Journey
from profile_pipelines.journeys.definition import read_definition
from profile_pipelines.journeys.facts import Facts
from profile_pipelines.ledger.enrolments import Enrolments
from profile_pipelines.ledger.outbox import Claimed


def not_wanted(facts: Facts, enrolments: Enrolments, messages: Sequence[Claimed]) -> dict[str, str]:
    """By message id, why it isn't to be sent: `exited`, `gone`, or `stale` where a value that
    decides is too old. The next tick ends the enrolments for the same facts."""
    reasons: dict[str, str] = {}
    for name, version in sorted({(each.journey, each.version) for each in messages}):
        own = [each for each in messages if (each.journey, each.version) == (name, version)]
        known = {each.version: each.definition for each in enrolments.versions.of(name)}
        if version not in known:
            continue
        journey = read_definition(known[version])
        ended = enrolments.left(name, [each.enrolment for each in own])
        ids = [each.profile_id for each in own]
        found = {row["profile_id"]: row for row in facts.of(journey, ids).iter_rows(named=True)}
        for each in own:
            row = found.get(each.profile_id)
            if row is None:
                reasons[each.message_id] = "gone"
            elif each.enrolment in ended or row.get("exit when", False) or _left(journey, row):
                reasons[each.message_id] = "exited"
            elif row.get("exit when", False) is None or row["member now"] is None:
                reasons[each.message_id] = "stale"
    return reasons


def _left(journey: Journey, row: dict[str, Any]) -> bool:
    return journey.leave_with_audience and row["member now"] is False
