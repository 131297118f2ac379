"""Journeys over a real lake and ledger: who enters, moves on, leaves, and what is sent."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from profile_pipelines import journey_steps
from profile_pipelines.cli.main import main
from profile_pipelines.errors import Conflict, UnknownName
from profile_pipelines.journeys.tick import TickResult
from profile_pipelines.ledger import holds
from profile_pipelines.ledger.enrolments import Changes
from profile_pipelines_tests.company import HOUR, START, Company, catalogue, stamp

DAY = timedelta(days=1)
SEND = {"send": {"channel": "drop", "template": "hello"}}
BYE = {"send": {"channel": "drop", "template": "bye"}}


def _declared(steps: list[Any], **journey: Any) -> dict[str, Any]:
    declared = catalogue(("crm",), ("status", "tier", "opt_in", "ends", "seen"))
    for attribute in declared["attributes"].values():
        attribute["fresh_within"] = "400 days"
        attribute["max_changed"] = "100%"
        attribute["max_emptied"] = "100%"
    declared["attributes"]["opt_in"]["consent"] = "email"
    declared["audiences"] = {"active": {"where": {"status": {"is": "active"}}}}
    declared["channels"] = {"channels": {"drop": {"type": "file", "to": "email"}}}
    text = "Subject: {word}\n\n{{{{ tier }}}}\n"
    declared["templates"] = {f"{word}.txt": text.format(word=word) for word in ("hello", "bye")}
    declared["journeys"] = {
        "j": {"audience": "active", "consent": "email", "steps": steps, **journey}
    }
    return declared


class Journeys:
    """A company with one journey, whose runs tick and send."""

    def __init__(
        self, folder: Path, steps: list[Any], ledger: str | None = None, **journey: Any
    ) -> None:
        self.company = Company(folder, _declared(steps, **journey), ledger=ledger)

    def put(self, key: str, status: str = "active", **values: str) -> None:
        """A customer's facts, from now on."""
        hours = (self.company.now - START) / HOUR
        told = {"opt_in": "yes", "tier": "gold", **values}
        self.company.put(
            "crm", key, no=key, email=f"c{key}@example.com", changed=stamp(hours),
            status=status, **told,
        )  # fmt: skip

    def run(self, at: datetime | None = None) -> TickResult:
        """Sync, evaluate, tick and send; then the clock moves on by an hour."""
        company = self.company
        company.now = at or company.now
        now = company.now
        company.run()
        result = journey_steps.tick_journey(company.workspace, "j", now=now)
        journey_steps.dispatch(company.workspace, clock=lambda: now)
        return result

    @property
    def sent(self) -> dict[str, list[str]]:
        """By customer: the templates of what was sent, in order."""
        found: dict[str, list[str]] = {}
        rows = self.company.workspace.ledger.outbox.messages(states=["sent"], limit=999)
        for row in sorted(rows, key=lambda row: row["ended_at"]):
            email = self._email(row["profile_id"])
            found.setdefault(email[1], []).append(row["template"])
        return found

    def _email(self, profile_id: int) -> str:
        view = self.company.customers.profile(f"profile {profile_id}", now=self.company.now)
        return view.identifiers["email"][0]

    @property
    def status(self) -> Any:
        """The journey's numbers."""
        return journey_steps.journey_status(self.company.workspace, "j", now=self.company.now)


def test_entry_message_fact_changes_exit(tmp_path: Path) -> None:
    """Who enters is reminded; once the fact has changed, they leave and get nothing more."""
    journeys = Journeys(
        tmp_path, [SEND, {"wait": "2 days"}, BYE], exit_when={"tier": {"is": "new"}}
    )
    for key in ("1", "2"):
        journeys.put(key)
    journeys.put("3", status="churned")
    first = journeys.run()
    assert (first.entered, first.active, first.messages) == (2, 2, 2)
    again = journeys.run()
    assert (again.entered, again.moved, again.messages, again.wrote) == (0, 0, 0, False)
    journeys.put("1", tier="new")
    assert journeys.run().exited == 1
    later = journeys.run(START + 3 * DAY)
    assert (later.completed, later.active) == (1, 0)
    assert journeys.sent == {"1": ["hello"], "2": ["hello", "bye"]}
    status = journeys.status
    assert (status.completed, status.exited, status.active) == (1, {"exit_when": 1}, 0)
    assert [step.entered for step in status.steps] == [2, 2, 1]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_every_enrolment_is_accounted_for(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """On both databases: who came to a step has left it, waits there, or got through."""
    url = request.getfixturevalue("postgres_url") if kind == "postgresql" else None
    branch = {"branch": [{"when": {"tier": {"is": "gold"}}, "then": [SEND, {"wait": "1 day"}]}]}
    journeys = Journeys(
        tmp_path, [{"wait": "1 day"}, branch, BYE], url, exit_when={"tier": {"is": "new"}}
    )
    for key in range(1, 9):
        journeys.put(str(key), tier="gold" if key % 2 else "blue")
    journeys.run()
    journeys.put("1", tier="new")
    journeys.run(START + DAY + HOUR)
    journeys.put("3", tier="new")
    journeys.run(START + 2 * DAY + 2 * HOUR)
    status = journeys.status
    assert (status.completed, status.exited, status.active) == (6, {"exit_when": 2}, 0)
    entered = {step.path: step.entered for step in status.steps}
    assert entered == {"0": 8, "1": 7, "1.0.0": 3, "1.0.1": 3, "2": 6}
    assert {step.path: step.exited for step in status.steps if step.exited} == {"0": 1, "1.0.1": 1}
    through = {"5": ["hello", "bye"], "7": ["hello", "bye"]}
    blue = {"2": ["bye"], "4": ["bye"], "6": ["bye"], "8": ["bye"]}
    assert journeys.sent == {**blue, **through, "3": ["hello"]}


def test_exit_counts_between_decision_and_sending(tmp_path: Path) -> None:
    """Whoever fits `exit_when` by the moment of sending gets nothing, tick or no tick."""
    journeys = Journeys(tmp_path, [SEND], exit_when={"tier": {"is": "new"}})
    journeys.put("1")
    company = journeys.company
    company.run()
    assert journey_steps.tick_journey(company.workspace, "j", now=company.now).messages == 1
    journeys.put("1", tier="new")
    company.run()
    result = journey_steps.dispatch(company.workspace, clock=lambda: company.now)
    assert result.counts == {("drop", "skipped", "exited"): 1}


def test_leaving_with_the_audience_is_declared(tmp_path: Path) -> None:
    """Only a journey that says so is left with its audience; re-entry is as declared."""
    for leaves, exited in ((True, 1), (False, 0)):
        journeys = Journeys(
            tmp_path / str(leaves),
            [{"wait": "9 days"}],
            leave_with_audience=leaves,
            reenter="always",
        )
        (tmp_path / str(leaves)).mkdir(exist_ok=True)
        journeys.put("1")
        journeys.run()
        journeys.put("1", status="churned")
        assert journeys.run().exited == exited
        journeys.put("1")
        assert journeys.run().entered == exited


@pytest.mark.parametrize(("reenter", "entered"), [("never", 0), ("after 5 days", 1), ("always", 1)])
def test_reentry(tmp_path: Path, reenter: str, entered: int) -> None:
    """One who has been through enters again only by becoming a member anew, and when allowed."""
    journeys = Journeys(tmp_path, [SEND], reenter=reenter)
    journeys.put("1")
    assert journeys.run().completed == 1
    assert journeys.run().entered == 0
    journeys.put("1", status="churned")
    journeys.run()
    journeys.put("1")
    assert journeys.run(START + DAY).entered == (1 if reenter == "always" else 0)
    journeys.put("1", status="churned")
    journeys.run()
    journeys.put("1")
    assert journeys.run(START + 9 * DAY).entered == entered


def test_deleted_and_put_back_is_no_newcomer(tmp_path: Path) -> None:
    """A customer whom the source deleted, and has again, was through with the journey before."""
    journeys = Journeys(tmp_path, [SEND], reenter="never")
    journeys.put("1")
    assert journeys.run().completed == 1
    journeys.put("1", gone="yes")
    journeys.run()
    journeys.put("1")
    assert journeys.run().entered == 0


def test_launch_for_newcomers_only(tmp_path: Path) -> None:
    """Who was a member before the launch doesn't enter; who becomes one does."""
    journeys = Journeys(tmp_path, [SEND], launch="newcomers")
    journeys.put("1")
    assert journeys.run().entered == 0
    journeys.put("2")
    assert journeys.run().entered == 1
    assert journeys.sent == {"2": ["hello"]}


def test_branches_and_dates(tmp_path: Path) -> None:
    """Each waits for their own date, which may move, and takes the first way that holds."""
    branch = {"branch": [{"when": {"tier": {"is": "gold"}}, "then": [SEND]}, {"otherwise": [BYE]}]}
    journeys = Journeys(tmp_path, [{"wait": {"until": "ends - 7 days at 09:00"}}, branch])
    day = START.date()
    journeys.put("1", ends=str(day + timedelta(days=9)))
    journeys.put("2", ends=str(day + timedelta(days=9)), tier="blue")
    journeys.put("3", ends=str(day + timedelta(days=40)))
    assert journeys.run().messages == 0
    due = datetime.combine(day + timedelta(days=2), START.time(), START.tzinfo).replace(hour=9)
    assert journeys.run(due - timedelta(seconds=1)).completed == 0
    assert journeys.run(due).completed == 2
    journeys.put("3", ends=str(day + timedelta(days=10)))
    assert journeys.run(due + DAY).completed == 1
    assert journeys.sent == {"1": ["hello"], "2": ["bye"], "3": ["hello"]}


def test_a_wait_for_a_condition_ends_by_it_or_by_time(tmp_path: Path) -> None:
    """`at_most` ends it for those for whom the condition never holds."""
    wait = {"wait": {"until": {"tier": {"is": "gold"}}, "at_most": "5 days"}}
    journeys = Journeys(tmp_path, [wait, SEND])
    journeys.put("1", tier="blue")
    journeys.put("2", tier="blue")
    journeys.run()
    journeys.put("1")
    assert journeys.run(START + DAY).completed == 1
    assert journeys.run(START + 6 * DAY).completed == 1


def test_a_missed_tick_sends_nothing_too_late(tmp_path: Path) -> None:
    """A message that was due longer ago than `expire_after` is skipped, and told."""
    journeys = Journeys(
        tmp_path, [{"wait": "1 day"}, SEND, {"wait": "1 day"}, BYE], expire_after="3h"
    )
    journeys.put("1")
    journeys.run()
    assert journeys.run(START + 5 * DAY).messages == 0
    assert journeys.run(START + 6 * DAY).messages == 1
    assert journeys.sent == {"1": ["bye"]}
    assert journeys.status.steps[1].skipped == {"expired": 1}


def test_stale_values_hold(tmp_path: Path) -> None:
    """Whom a stale value would decide stays where they are, and is counted."""
    declared = _declared([{"wait": "1 day"}, SEND], exit_when={"tier": {"is": "new"}})
    declared["attributes"]["tier"]["fresh_within"] = "10h"
    journeys = Journeys(tmp_path, [SEND])
    journeys.company.declare(declared)
    journeys.put("1")
    journeys.run()
    stale = START + 2 * DAY
    result = journey_steps.tick_journey(journeys.company.workspace, "j", now=stale)
    assert (result.held, result.moved, result.completed) == (1, 0, 0)
    assert journeys.run(stale + HOUR).completed == 1


def test_holdout_and_splits_are_the_same_always(tmp_path: Path) -> None:
    """Shares hold roughly, nobody in the holdout gets anything, and a second company agrees."""
    split = {"split": [{"share": "30%", "then": [SEND]}, {"share": "70%", "then": [BYE]}]}
    sent: list[dict[str, list[str]]] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        journeys = Journeys(tmp_path / name, [split], holdout="50%")
        for number in range(10, 70):
            journeys.company.add(
                "crm", str(number), no=str(number), email=f"{number}@example.com",
                changed=stamp(0), status="active", opt_in="yes",
            )  # fmt: skip
        result = journeys.run()
        assert 15 < result.messages < 45
        rows = journeys.company.workspace.ledger.outbox.messages(limit=99)
        sent.append({str(row["profile_id"]): row["template"] for row in rows})
        assert 0 < sum(t == "hello" for t in sent[-1].values()) < result.messages / 2
    assert sent[0] == sent[1]


def test_versions(tmp_path: Path) -> None:
    """Who is in it finishes on the version they began with; newcomers take the new one."""
    journeys = Journeys(tmp_path, [{"wait": "1 day"}, SEND])
    journeys.put("1")
    journeys.run()
    company = journeys.company
    changed = copy.deepcopy(company.declared)
    changed["journeys"]["j"]["steps"] = [{"wait": "1 day"}, BYE]
    company.declare(changed)
    difference = journey_steps.journey_difference(company.workspace, "j")
    assert difference.changed
    assert difference.enrolments == 1
    assert list(difference.steps) == ["1"]
    journeys.put("2")
    journeys.run()
    journeys.run(START + 2 * DAY)
    assert journeys.sent == {"1": ["hello"], "2": ["bye"]}
    assert not journey_steps.journey_difference(company.workspace, "j").changed


def test_each_day_begins_at_midnight_in_the_time_zone(tmp_path: Path) -> None:
    """What happened is counted on the day of the catalogue's time zone, also when clocks change."""
    journeys = Journeys(
        tmp_path, [SEND, {"wait": "24 hours"}, BYE], exit_when={"tier": {"is": "new"}}
    )
    declared = journeys.company.declared
    declared["settings"] = {"timezone": "Europe/Berlin"}
    journeys.company.declare(declared)
    # clocks went forward on the 29th: midnight is 23:00 UTC before, and 22:00 after
    for key, at in {
        "1": (28, 22, 59),
        "2": (28, 23, 1),
        "3": (29, 21, 59),
        "4": (29, 22, 1),
    }.items():
        journeys.put(key)
        journeys.run(datetime(2026, 3, *at, tzinfo=UTC))
    journeys.put("4", tier="new")
    journeys.run(datetime(2026, 3, 31, 12, tzinfo=UTC))
    days = journey_steps.journey_days(journeys.company.workspace, "j", 5, now=journeys.company.now)
    whole = {each.day.day: (each.entered, each.sent, each.exited) for each in days if not each.step}
    assert whole == {27: (0, 0, 0), 28: (1, 1, 0), 29: (2, 2, 0), 30: (1, 1, 0), 31: (0, 3, 1)}
    first = {each.day.day: each.entered for each in days if each.step == "0"}
    assert first == {28: 1, 29: 2, 30: 1}


def test_a_step_is_shown_by_day_only(capsys: pytest.CaptureFixture[str]) -> None:
    """Without days, a step would be passed over in silence."""
    assert main(["journey", "status", "j", "--step", "0"]) == 2
    assert "--step needs --days" in capsys.readouterr().err


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    """It tells what the tick then does; an unknown journey is told by its name."""
    journeys = Journeys(tmp_path, [SEND, {"wait": "1 day"}])
    journeys.put("1")
    journeys.company.run()
    space, now = journeys.company.workspace, journeys.company.now
    dry = journey_steps.tick_journey(space, "j", now=now, dry=True)
    assert space.ledger.enrolments.versions.of("j") == []
    assert space.ledger.outbox.counts() == []
    done = journey_steps.tick_journey(space, "j", now=now)
    assert dry.steps == done.steps
    with pytest.raises(UnknownName, match="there is only j"):
        journey_steps.tick_journey(space, "k", now=now)


def test_a_tick_that_is_overtaken_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ticks at once, the first of which was silent for so long that its hold ran out: it finds
    that it came second, and is done again."""
    journeys = Journeys(tmp_path, [SEND])
    journeys.put("1")
    journeys.company.run()
    space, now = journeys.company.workspace, journeys.company.now
    enrolments = space.ledger.enrolments
    apply = enrolments.apply
    overtaken: list[bool] = []

    def late(*arguments: Any, **options: Any) -> None:
        if not overtaken:
            overtaken.append(True)
            monkeypatch.setattr(holds, "LEASE", timedelta(0))
            journey_steps.tick_journey(space, "j", now=now)
        apply(*arguments, **options)

    monkeypatch.setattr(enrolments, "apply", late)
    journey_steps.tick_journey(space, "j", now=now)
    assert sum(each.count for each in space.ledger.outbox.counts()) == 1
    assert journeys.status.completed == 1
    stale = replace(enrolments.tick("j"), tick=0)
    with pytest.raises(Conflict):
        apply("j", stale, Changes([], pl.DataFrame(), [], [], 0, 1, 0), now=now)


def test_explaining(tmp_path: Path) -> None:
    """Where somebody is, what comes next and when, and what was sent."""
    journeys = Journeys(
        tmp_path, [SEND, {"wait": "2 days"}, BYE], exit_when={"tier": {"is": "new"}}
    )
    journeys.put("1")
    journeys.run()
    [found] = journey_steps.explain_journey(
        journeys.company.workspace, "j", "c1@example.com", now=journeys.company.now
    )
    assert (found.state, found.step, found.next) == (
        "active",
        "1 wait 2d",
        "send bye by drop",
    )
    assert found.due_at == START + 2 * DAY
    assert found.exits == ["tier: {is: new}"]
    assert found.exit_now is False
    assert [each["state"] for each in found.messages] == ["sent"]


def test_a_tick_without_news_looks_at_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until a fact, the clock or the declaration gives it something to do."""
    journeys = Journeys(tmp_path, [{"wait": "1 day"}, SEND, {"wait": "9 days"}])
    journeys.put("1")
    journeys.put("2", status="churned")
    assert journeys.run().active == 1
    enrolments = journeys.company.workspace.ledger.enrolments
    active, looks = enrolments.active, []

    def looked(name: str) -> Any:
        looks.append(name)
        return active(name)

    monkeypatch.setattr(enrolments, "active", looked)
    space, now = journeys.company.workspace, journeys.company.now
    for later in (HOUR, DAY - 2 * HOUR):
        assert journey_steps.tick_journey(space, "j", now=now + later).active == 1
    assert looks == []
    assert journey_steps.tick_journey(space, "j", now=START + DAY).messages == 1
    assert len(looks) == 1
    journeys.put("2")
    assert journeys.run(START + 2 * DAY).entered == 1
    assert len(looks) == 2
    assert journeys.run(START + 2 * DAY + HOUR).active == 2
    assert len(looks) == 2
