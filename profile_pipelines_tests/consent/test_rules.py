"""No message without a consent that is present, true and fresh at the moment of sending."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from profile_pipelines import journey_steps, privacy_steps
from profile_pipelines_tests.catalog.folders import audience, mistakes_in, write_catalogue
from profile_pipelines_tests.company import HOUR, empty_ledger
from profile_pipelines_tests.privacy.reminders import SEND, Reminders, declared

FRESH = timedelta(hours=3)
SYSTEMS = ("crm", "billing")
KEYS = ("1", "2")
DAY = timedelta(days=1)

_system, _key = st.sampled_from(SYSTEMS), st.sampled_from(KEYS)
STEPS = st.one_of(
    st.tuples(st.just("says"), _system, _key, st.sampled_from(["yes", "no", None])),
    st.tuples(st.just("sync"), _system),
    st.tuples(st.just("merge")),
    st.tuples(st.just("run")),
    st.tuples(st.just("click"), _key),
    st.tuples(st.just("restore"), _key),
    st.tuples(st.just("wait"), st.integers(1, 4)),
    st.tuples(st.just("send")),
)
Step = tuple[Any, ...]


@dataclass
class Model:
    """Consent in plain Python: what systems say, what was synced, what was merged, what counts."""

    says: dict[tuple[str, str], str | None] = field(
        default_factory=lambda: {(s, k): "yes" for s in SYSTEMS for k in KEYS}
    )
    synced: dict[tuple[str, str], str | None] = field(default_factory=dict)
    covered: dict[str, datetime] = field(default_factory=dict)
    merged: dict[str, tuple[bool | None, set[str]]] = field(default_factory=dict)
    unsubscribed: set[str] = field(default_factory=set)

    def sync(self, system: str, now: datetime) -> None:
        """What one system says is known from now on, and as of now."""
        self.synced |= {place: said for place, said in self.says.items() if place[0] == system}
        self.covered[system] = now

    def merge(self) -> None:
        """One no is enough; an unsubscription outranks everything."""
        for key in KEYS:
            given = {s: self.synced[s, key] for s in SYSTEMS if self.synced.get((s, key))}
            if key in self.unsubscribed:
                self.merged[key] = (False, set())
            elif given:
                self.merged[key] = ("no" not in given.values(), set(given))
            else:
                self.merged[key] = (None, set())

    def may(self, key: str, now: datetime) -> bool:
        """Present, true, fresh, and not unsubscribed."""
        value, systems = self.merged.get(key, (None, set()))
        fresh = all(now - self.covered[system] <= FRESH for system in systems)
        return value is True and fresh and key not in self.unsubscribed


def _play(folder: Path, steps: list[Step], ledger: str | None = None) -> None:
    made = declared()
    made["attributes"]["opt_in"]["fresh_within"] = "3h"
    made["journeys"] = {}
    for system in made["systems"].values():
        system["syncs"]["people"]["schedule"] = "0 * * * *"
    company, model = Reminders(folder, made, ledger), Model()
    for system in SYSTEMS:
        for key in KEYS:
            company.customer(key, system)
        model.sync(system, company.now)
    company.run()
    model.merge()
    ids = {k: company.customers.profile(f"c{k}@example.com").profile_id for k in KEYS}
    acts = company.workspace.ledger.unsubscribes
    for number, step in enumerate([*steps, ("send",)]):
        company.now += timedelta(minutes=6)
        now = company.now
        match step:
            case ("says", system, key, opt_in):
                company.customer(key, system, opt_in=opt_in)
                model.says[system, key] = opt_in
            case ("sync", system):
                company.sync(system)
                model.sync(system, now)
            case ("merge",):
                company.settle()
                model.merge()
            case ("run",):
                company.run()
                for system in SYSTEMS:
                    model.sync(system, now)
                model.merge()
            case ("click", key):
                acts.add(ids[key], "email", now=now)
                model.unsubscribed.add(key)
            case ("restore", key):
                acts.restore(ids[key], "email", by="ann", because="asked", now=now)
                model.unsubscribed.discard(key)
            case ("wait", hours):
                company.now += hours * HOUR
            case _:
                expected = {key for key in KEYS if model.may(key, now)}
                assert _sent(company, ids, number) == expected, step
    sent = company.workspace.ledger.outbox.messages(states=["sent"], limit=None)
    written = (company.workspace.places.outbox / "drop").glob("*.eml")
    assert {path.stem for path in written} == {each["message_id"] for each in sent}


def _sent(company: Reminders, ids: dict[str, int], number: int) -> set[str]:
    """Decide a message for everyone, and send; to whom anything went out."""
    rows = [
        {
            "journey": "j", "version": 1, "enrolment": ids[key], "step": str(number),
            "channel": "drop", "template": "hello", "consent": "email", "profile_id": ids[key],
            "decided_at": company.now, "next_attempt_at": company.now, "expires_at": None,
        }
        for key in KEYS
    ]  # fmt: skip
    outbox = company.workspace.ledger.outbox
    with outbox._engine.begin() as connection:  # pyright: ignore[reportPrivateUsage]
        outbox.decide(connection, rows)
    before = {each["message_id"] for each in outbox.messages(states=["sent"], limit=None)}
    journey_steps.dispatch(company.workspace, clock=lambda: company.now)
    after = outbox.messages(states=["sent"], limit=None)
    names = {profile_id: key for key, profile_id in ids.items()}
    return {names[each["profile_id"]] for each in after if each["message_id"] not in before}


@pytest.mark.slow
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=4, max_size=14))
@example([("click", "1"), ("send",), ("run",), ("restore", "1"), ("send",), ("merge",), ("send",)])
@example([("wait", 4), ("sync", "crm"), ("send",), ("sync", "billing"), ("send",)])
@example([("says", "crm", "1", "no"), ("send",), ("sync", "crm"), ("send",), ("merge",)])
def test_exactly_those_who_consent_are_written_to(steps: list[Step]) -> None:
    """However systems, clicks, restores, syncs and the clock interleave."""
    with tempfile.TemporaryDirectory() as folder:
        _play(Path(folder), steps)


@pytest.mark.slow
@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(STEPS, min_size=4, max_size=12))
def test_the_same_on_postgresql(postgres_url: str, steps: list[Step]) -> None:
    """With a ledger that is emptied before."""
    empty_ledger(postgres_url)
    with tempfile.TemporaryDirectory() as folder:
        _play(Path(folder), steps, postgres_url)


@pytest.mark.parametrize("withdrawn", ["by the system", "by a link"])
def test_a_journey_is_left_with_the_consent_where_that_is_declared(
    tmp_path: Path, withdrawn: str
) -> None:
    """For good, also when they consent again; who withdrew before doesn't come in."""
    steps = [SEND, {"wait": "1 day"}, SEND, {"wait": "1 day"}, SEND]
    company = Reminders(tmp_path, declared(leave_with_consent=True, steps=steps))
    began = company.now
    company.customer("1")
    company.customer("2", opt_in="no")
    company.customer("3", opt_in=None)
    company.remind()
    company.now = began + DAY
    if withdrawn == "by a link":
        company.unsubscribe("c1@example.com")
    else:
        company.customer("1", opt_in="no")
    company.remind()
    status = journey_steps.journey_status(company.workspace, "daily", now=company.now)
    assert status.exited == {"consent": 1}
    entry = {
        (each.event, each.reason): each.count
        for each in company.workspace.ledger.enrolments.passages.totals("daily")
        if each.step == "entry"
    }
    assert entry == {("entered", ""): 2, ("turned_away", "consent"): 1}
    if withdrawn == "by the system":
        company.customer("1")
    else:
        privacy_steps.restore_consent(
            company.workspace, "c1@example.com", "email", by="a", because="b", now=company.now
        )
    company.now = began + 2 * DAY
    company.remind()
    sent = company.workspace.ledger.outbox.messages(states=["sent"], limit=None)
    assert [each["step"] for each in sent] == ["0"]


def test_else_messages_are_skipped_until_the_consent_is_back(tmp_path: Path) -> None:
    """The customer stays in the journey, step by step."""
    steps = [SEND, {"wait": "1 day"}, SEND, {"wait": "1 day"}, SEND]
    company = Reminders(tmp_path, declared(steps=steps))
    began = company.now
    company.customer("1")
    company.remind()
    company.now = began + DAY
    company.customer("1", opt_in="no")
    company.remind()
    company.customer("1")
    company.now = began + 2 * DAY
    company.remind()
    messages = company.workspace.ledger.outbox.messages(limit=None)
    told = sorted((each["step"], each["state"], each["reason"]) for each in messages)
    assert told == [("0", "sent", None), ("2", "skipped", "consent"), ("4", "sent", None)]


def test_leaving_with_a_consent_needs_one(tmp_path: Path) -> None:
    """Else the check says what to write."""
    journey = "journey: j\naudience: a\nleave_with_consent: true\nsteps: [{wait: 1 day}]\n"
    files = {"journeys/j.yaml": journey, **audience("{status: {is: active}}")}
    found = mistakes_in(write_catalogue(tmp_path, **files))
    assert any("leave_with_consent: needs a consent" in each for each in found)
