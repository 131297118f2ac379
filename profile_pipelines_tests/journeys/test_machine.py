"""Runs, ticks, messages, clicks, crashes and the clock in any order, against a plain model.

`JOURNEY_EXAMPLES=300 pytest --timeout=0 --hypothesis-seed=7
profile_pipelines_tests/journeys/test_machine.py` plays more of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import event

from profile_pipelines import journey_steps
from profile_pipelines.journeys.chance import share_of
from profile_pipelines.lake import delta
from profile_pipelines.ledger.outbox import LEASE
from profile_pipelines.workspace import Workspace
from profile_pipelines_tests.channels.sinks import Sink, sink
from profile_pipelines_tests.company import Company, catalogue, empty_ledger, stamp
from profile_pipelines_tests.journeys.model import BERLIN, QUIET, SENDS, STEPS, WAITS, Facts, Model

KEYS = ("1", "2", "3")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
CHANGES: list[dict[str, Any]] = [
    {"status": "active"}, {"status": "active"}, {"status": "churned"}, {"tier": "new"},
    {"tier": "gold"}, {"tier": None}, {"opt_in": False}, {"opt_in": True}, {"opt_in": None},
    {"gone": True}, {"gone": False, "status": "active"},
    *({"ends": each} for each in (None, date.min, date.max)), {"ends": 0}, {"ends": 1}, {"ends": 3},
]  # fmt: skip
"""The days of an end are counted from today."""
CLOCKS = ["2026-03-28T06:00", "2026-10-23T21:00"]
"""When the company's clock begins: summer time begins and ends soon after."""
_key = st.sampled_from(KEYS)
_crash = st.sampled_from([None, None, 1, 2, 3, 4, 5, 6])
_answers = st.lists(st.sampled_from([500, 503, 429, 400, "close", "hang up"]), max_size=3)


class Crash(BaseException):
    """The process is lost: nothing that it does afterwards is kept."""


class Process:
    """Counts what a process commits to the ledger and the lake, and kills it before one of them."""

    def __init__(self) -> None:
        self._left: int | None = None

    def die_before(self, commit: int | None) -> None:
        """Kill it before this commit, counted from 1; None: let it live."""
        self._left = commit

    def commits(self, *_: Any) -> None:
        """It is about to commit."""
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                raise Crash

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Notice the commits of everything in this interpreter."""
        commit = delta.commit

        def watched(*arguments: Any, **options: Any) -> Any:
            self.commits()
            return commit(*arguments, **options)

        delta.commit = watched
        event.listen(sa.Engine, "commit", self.commits)
        try:
            yield
        finally:
            event.remove(sa.Engine, "commit", self.commits)
            delta.commit = commit


def _declared(port: int, **journey: Any) -> dict[str, Any]:
    declared = catalogue(("crm",), ("status", "tier", "opt_in", "ends"))
    for attribute in declared["attributes"].values():
        attribute |= {"fresh_within": "400 days", "max_changed": "100%", "max_emptied": "100%"}
    declared["attributes"]["tier"]["fresh_within"] = "2850m"
    declared["settings"] = {"timezone": "Europe/Berlin"}
    declared["systems"]["crm"]["syncs"]["people"]["max_deleted"] = "100%"
    declared["attributes"]["opt_in"]["consent"] = "email"
    declared["audiences"] = {"active": {"where": {"status": {"is": "active"}}}}
    hook = {
        "type": "webhook", "url": f"http://127.0.0.1:{port}/in", "secret": {"env": "HOOK_SECRET"},
        "allow_private": ["127.0.0.1"], "attempts": 3, "concurrency": 1, "to": "email",
    }  # fmt: skip
    declared["channels"] = {"channels": {"hook": hook}, "limits": {"quiet_hours": QUIET}}
    declared["templates"] = {"hello.txt": "Subject: Hello\n\n{{ tier }}\n"}
    declared["journeys"] = {
        "j": {
            "consent": "email", "steps": STEPS, "expire_after": "5 hours",
            "exit_when": {"tier": {"is": "new"}}, "holdout": "20%", **journey,
        }
    }  # fmt: skip
    return declared


class JourneyMachine(RuleBasedStateMachine):
    """One company, its journey, and the model of both."""

    def __init__(self, endpoint: Sink, process: Process, ledger: str | None) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._process = process
        self._ledger = ledger
        self._temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._taken = 0
        for taken in endpoint.folder.glob("*.taken"):
            taken.unlink()
        if ledger is not None:
            empty_ledger(ledger)

    @initialize(
        leave_with_audience=st.booleans(),
        leave_with_consent=st.booleans(),
        reenter=st.sampled_from(["never", "always", "after 2 days"]),
        launch=st.sampled_from(["members", "newcomers"]),
        turned_away=st.sampled_from(["watch", "watch", "forget"]),
        by_condition=st.booleans(),
        members=st.sets(_key),
        clock=st.sampled_from(CLOCKS),
    )
    def begin(self, members: set[str], by_condition: bool, clock: str, **journey: Any) -> None:
        """A company whose customers are all known, some of them in the audience."""
        where = {"status": {"is": "active"}}
        entry = {"enter_when": where} if by_condition else {"audience": "active"}
        declared = _declared(self._endpoint.port, **entry, **journey)
        self.company = Company(Path(self._temporary.name), declared, ledger=self._ledger)
        self.company.now = datetime.fromisoformat(clock).replace(tzinfo=UTC)
        says = {key: Facts("active" if key in members else "prospect") for key in KEYS}
        self.model = Model(by_condition, **journey, says=says)
        self._numbers = {key: key for key in KEYS}
        self._mails = {key: f"c{key}@example.com" for key in KEYS}
        self._records: dict[int, str] = {}
        self._changed = 0
        self._latest = self.company.now
        for key in KEYS:
            self._put(key)
        self._run()

    @rule(key=_key, change=st.sampled_from(CHANGES))
    def says(self, key: str, change: dict[str, Any]) -> None:
        """A system says something else, in all records of a customer."""
        if isinstance(change.get("ends"), int):
            today = self.company.now.astimezone(BERLIN).date()
            change = {"ends": today + change["ends"] * DAY}
        own = [each for each in KEYS if self._numbers[each] == self._numbers[key]]
        self.model.change(own, **change)
        for each in own:
            self._put(each)

    @rule(
        pair=st.sampled_from([("1", "2"), ("1", "3"), ("2", "3")]),
        other=st.booleans(),
        at_once=st.sampled_from([True, True, False]),
    )
    def join(self, pair: tuple[str, str], other: bool, at_once: bool) -> None:
        """A record turns out to be another customer's; all say what one of the two said."""
        into, key = pair
        if self._numbers[into] != into or any(
            self._numbers[each] == key for each in KEYS if each != key
        ):
            return
        self._numbers[key] = into
        facts = self.model.says[key if other else into]
        for each in KEYS:
            if self._numbers[each] == into:
                self.model.says[each] = facts
                self._put(each)
        self._follows(at_once)

    @rule(key=_key, at_once=st.sampled_from([True, True, False]))
    def part(self, key: str, at_once: bool) -> None:
        """It was a mistake: the record is a customer's of its own again."""
        self._numbers[key] = key
        self._put(key)
        self._follows(at_once)

    def _follows(self, at_once: bool) -> None:
        if at_once:
            self.run(None)
            self.tick(None)
            self.dispatch([], None)

    @rule(key=_key, mailbox=st.sampled_from(["", "b", "family", "family"]))
    def move(self, key: str, mailbox: str) -> None:
        """A record has another address, perhaps one that several customers share."""
        own = "" if mailbox == "family" else key
        self._mails[key] = f"c{own}{mailbox}@example.com"
        self._put(key)

    @rule(crash=_crash)
    def run(self, crash: int | None) -> None:
        """Syncs, and what follows from them."""
        self._survive(self._run, crash)

    @rule(key=_key, change=st.sampled_from(CHANGES), answers=_answers, crash=_crash)
    def everything(
        self, key: str, change: dict[str, Any], answers: list[int | str], crash: int | None
    ) -> None:
        """A fact changes; a run, a tick and the outbox follow."""
        self.says(key, change)
        self.run(None)
        self.tick(None)
        self.dispatch(answers, crash)

    @rule(crash=_crash)
    def tick(self, crash: int | None) -> None:
        """The journey is moved to the present, and stands as the model has it."""
        now = self.company.now
        self._survive(
            lambda: journey_steps.tick_journey(self.company.workspace, "j", now=now), crash
        )
        chance = share_of(np.array(sorted(self.model.known), np.int64), "j holdout")
        self.model.holdout |= set(np.array(sorted(self.model.known))[chance < 0.2].tolist())
        self.model.seen = self.company.workspace.ledger.clock.seen()
        self.model.tick(now)
        # one that changed nothing leaves no trace, not even its time
        self.model.ticked = self.company.workspace.ledger.enrolments.tick("j").at
        self._agrees()
        again = journey_steps.tick_journey(self.company.workspace, "j", now=now)
        assert not again.wrote

    @rule(answers=_answers, crash=_crash)
    def dispatch(self, answers: list[int | str], crash: int | None) -> None:
        """What is due is sent; only what may be sent at this moment reaches the other end."""
        before = self._messages()
        self._endpoint.order(*answers)
        self._process.die_before(crash)
        lives = self._lives(lambda: self._dispatched())
        self._endpoint.order()
        now = self.company.now
        for taken in self._endpoint.taken[self._taken :]:
            self._taken += 1
            place = self._place(taken["headers"]["Idempotency-Key"])
            assert self.model.may(*place, now), f"{place} was sent at {now}"
            to = json.loads(taken["body"])["to"]
            assert to in self._addresses(place), f"{place} went elsewhere"
        for place, message in self._messages().items():
            if message["state"] == "skipped" != before[place]["state"]:
                assert not self.model.may(*place, now), f"{place} was skipped at {now}"
            if message["state"] == "pending" and lives:
                assert message["next_attempt_at"] > now

    @rule(key=_key)
    def unsubscribe(self, key: str) -> None:
        """By the link, which counts before any run."""
        acts = self.company.workspace.ledger.unsubscribes
        profile_id = self.model.today.get(key)
        if profile_id is not None:
            acts.add(profile_id, "email", now=self.company.now)
            self.model.acts.add(profile_id)

    @rule(length=st.sampled_from([MINUTE, 20 * MINUTE, 2 * HOUR, 6 * HOUR, 7 * HOUR, 3 * DAY]))
    def wait(self, length: timedelta) -> None:
        """The clock moves on."""
        self.company.now += length
        self._latest = max(self._latest, self.company.now)

    @rule(length=st.sampled_from([MINUTE, HOUR]))
    def set_back(self, length: timedelta) -> None:
        """The clock is set back a little."""
        self.company.now -= length

    def teardown(self) -> None:
        """In the end all messages have a fate, and nothing went out twice or without a receipt."""
        try:
            if hasattr(self, "_records"):
                self._end()
        finally:
            if hasattr(self, "company"):
                self._close()
            self._temporary.cleanup()

    def _end(self) -> None:
        # what was claimed by a clock that was set back since is let go when it is that late again
        self.company.now = max(self.company.now, self._latest)
        for _ in range(9):
            self.company.now += LEASE + MINUTE
            self.dispatch([], None)
        for _ in range(5):
            self.company.now += HOUR
            self.dispatch([], None)
        left = self._messages()
        states = {each["state"] for each in left.values()}
        assert states <= {"sent", "failed", "skipped"}, states
        keys = {self._place(each["headers"]["Idempotency-Key"]) for each in self._endpoint.taken}
        sent = {place for place, each in left.items() if each["state"] == "sent"}
        assert sent <= keys

    def _put(self, key: str) -> None:
        facts = self.model.says[key]
        self._changed += 1
        opt_in = {True: "yes", False: "no", None: None}[facts.opt_in]
        ends = None if facts.ends is None else facts.ends.isoformat()
        self.company.put(
            "crm", key, no=self._numbers[key], email=self._mails[key],
            changed=stamp(self._changed / 3600), gone="yes" if facts.gone else None,
            status=facts.status, tier=facts.tier, opt_in=opt_in, ends=ends,
        )  # fmt: skip

    def _run(self) -> None:
        now = self.company.now
        try:
            self.company.run()
        finally:
            self.company.now = now
        coverage = self.company.workspace.ledger.coverage()
        self.model.run(self._profiles(), coverage.get(("crm", "tier")))
        self._sent_to = dict(self._mails)

    def _profiles(self) -> dict[str, int]:
        """By record that is known: its profile."""
        workspace = self.company.workspace
        identities = workspace.lake.identities(workspace.catalogue).pin()
        columns = ["record_id", "profile_id", "id_customer_no"]
        rows = identities.current(columns, "i")
        found = workspace.lake.engine.rows(rows.sql, rows.relations)
        if not self._records:
            self._records = {row["record_id"]: row["id_customer_no"] for row in found}
        return {self._records[row["record_id"]]: row["profile_id"] for row in found}

    def _addresses(self, place: tuple[int, str]) -> set[str]:
        """Those of its customer, at the last run."""
        [profile, *_] = self.model.stands_for(self.model.messages[place][1])
        return {self._sent_to[key] for key, own in self.model.today.items() if own == profile}

    def _dispatched(self) -> None:
        journey_steps.dispatch(self.company.workspace, clock=lambda: self.company.now)

    def _survive(self, step: Callable[[], Any], crash: int | None) -> None:
        """Do it; killed, do it again."""
        self._process.die_before(crash)
        if not self._lives(step):
            step()

    def _lives(self, step: Callable[[], Any]) -> bool:
        try:
            step()
        except Crash:
            self._process.die_before(None)
            self._close()
            self.company.workspace = Workspace(self.company.workspace.places)
            return False
        finally:
            self._process.die_before(None)
        return True

    def _close(self) -> None:
        self.company.workspace.ledger._engine.dispose()  # pyright: ignore[reportPrivateUsage]

    def _messages(self) -> dict[tuple[int, str], dict[str, Any]]:
        rows = self.company.workspace.ledger.outbox.messages(limit=None)
        found = {self._place(each["message_id"]): each for each in rows}
        assert len(found) == len(rows)
        return found

    def _place(self, message_id: str) -> tuple[int, str]:
        """The enrolment, counted as the model does, and the step: who is turned away has an id."""
        parts = message_id.split(".")
        rows = self.company.workspace.ledger.enrolments.everywhere(range(1, 100))
        ids = sorted(each["id"] for each in rows)
        return ids.index(int(parts[2])) + 1, ".".join(parts[3:-2])

    def _agrees(self) -> None:
        rows = self.company.workspace.ledger.enrolments.everywhere(range(1, 100))
        rows.sort(key=lambda each: each["id"])
        keys = ("state", "step", "reason", "holdout", "arrived_at", "ended_at")
        found = [(each["profile_id"], *(each[key] for key in keys)) for each in rows]
        wanted = [
            (each.profile, each.state, each.step, each.reason, each.holdout, each.arrived,
             each.ended) for each in self.model.enrolments
        ]  # fmt: skip
        assert found == wanted
        watched = self.company.workspace.ledger.enrolments.watched.of("j")
        assert set(watched) == self.model.watched
        told = {
            place: (each["expires_at"], each["profile_id"])
            for place, each in self._messages().items()
        }
        assert told == self.model.messages
        self._adds_up()

    def _adds_up(self) -> None:
        """Who came to a step waits there, left there, or went on to the next."""
        status = journey_steps.journey_status(self.company.workspace, "j", now=self.company.now)
        steps = {each.path: each for each in status.steps}
        entered = {path: each.entered for path, each in steps.items()}
        on = {p: each.entered - each.waiting - each.exited for p, each in steps.items()}
        assert entered["0"] == len(self.model.enrolments)
        assert entered["1"] == on["0"]
        assert entered["2"] == on["1"]
        assert entered["2.0.0"] + entered["2.1.0"] == on["2"]
        assert entered["3"] == on["2.0.0"] + on["2.1.0"]
        assert entered["4"] == on["3"]
        assert entered["5"] == on["4"]
        assert status.completed == on["5"]
        assert status.active + status.completed + sum(status.exited.values()) == entered["0"]
        assert status.active == sum(steps[path].waiting for path in ("0", *WAITS))
        days = journey_steps.journey_days(self.company.workspace, "j", 100, now=self.company.now)
        for path, step in steps.items():
            own = [each for each in days if each.step == path]
            assert sum(each.entered for each in own) == step.entered
            assert sum(each.exited for each in own) == step.exited
            assert sum(each.sent for each in own) == step.messages.get("sent", 0)
            assert sum(each.failed for each in own) == step.messages.get("failed", 0)
            assert sum(each.skipped for each in own) == sum(step.skipped.values())
        for path in SENDS:
            step = steps[path]
            undecided = sum(step.skipped.values()) - step.messages.get("skipped", 0)
            assert on[path] == sum(step.messages.values()) + undecided


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "examples"), [("sqlite", 3), ("postgresql", 2)])
def test_any_order_of_events(
    kind: str,
    examples: int,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing twice, nothing after exit or withdrawal, nothing too late, everybody counted."""
    url = request.getfixturevalue("postgres_url") if kind == "postgresql" else None
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    # what a killed process has begun is the work of one that is no more
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    monkeypatch.setattr(os, "getpid", lambda: gone.pid)
    process = Process()
    with sink("http", tmp_path / "sink") as endpoint, process.watched():
        run_state_machine_as_test(
            cast(Any, lambda: JourneyMachine(endpoint, process, url)),
            settings=settings(
                max_examples=int(os.environ.get("JOURNEY_EXAMPLES", examples)),
                derandomize="JOURNEY_EXAMPLES" not in os.environ,
                stateful_step_count=20,
                deadline=None,
                phases=[Phase.generate],  # to shrink a failure takes minutes
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
