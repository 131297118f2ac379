"""A clock that is put forward or back disturbs nothing by more than its own error, and is told."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profile_pipelines import journey_steps
from profile_pipelines.cli.main import main
from profile_pipelines.ledger import Ledger
from profile_pipelines_tests.company import HOUR, START
from profile_pipelines_tests.privacy.reminders import Reminders, declared

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
YEAR = timedelta(days=365)
WAIT = 2 * HOUR
DIFFER = 5 * MINUTE
JUMPS = [timedelta(), timedelta(), timedelta(), timedelta()]
JUMPS += [sign * each for each in (2 * MINUTE, HOUR, 9 * HOUR, YEAR) for sign in (1, -1)]

_step = st.tuples(st.integers(1, 30), st.sampled_from(JUMPS), st.booleans())


@settings(max_examples=300)
@given(st.lists(_step, min_size=5, max_size=40))
def test_waits_by_any_clock(steps: list[tuple[int, timedelta, bool]]) -> None:
    """A wait is shorter than it should be by no more than the clock was put forward meanwhile, and
    longer by no more than it was put back; and never by much once the clock runs evenly."""
    clock = Ledger("sqlite://").clock
    true, error = START, timedelta()
    steady_since = START
    jumps: list[tuple[datetime, timedelta]] = []
    waiting: list[tuple[datetime, datetime]] = []
    for minutes, jump, begins in steps:
        true += minutes * MINUTE
        if jump:
            error += jump
            jumps.append((true, jump))
            steady_since = true
        now = true + error
        seen = clock.look(now)
        assert seen.is_ahead(now) == bool(seen.told(now))
        still: list[tuple[datetime, datetime]] = []
        for began, noted in waiting:
            since = [each for at, each in jumps if at > began]
            ahead = sum((each for each in since if each > timedelta()), timedelta())
            back = -sum((each for each in since if each < timedelta()), timedelta())
            if seen.counted(noted, now) + WAIT <= now:
                assert true - began >= WAIT - ahead
            else:
                assert true - began < WAIT + back + DIFFER
                assert true - steady_since < 2 * WAIT + 30 * MINUTE + DIFFER
                still.append((began, noted))
        waiting = still
        if begins:
            waiting.append((true, now))


@pytest.fixture
def company(tmp_path: Path) -> Reminders:
    """One customer who is written to when they come in, and six hours later."""
    send = {"send": {"channel": "drop", "template": "hello", "expire_after": "900 days"}}
    made = declared(("crm",), steps=[send, {"wait": "6 hours"}, send])
    for attribute in made["attributes"].values():
        attribute["fresh_within"] = "4000 days"
    company = Reminders(tmp_path, made)
    company.customer("1")
    return company


def _sent(company: Reminders, *hours: float, wrong: timedelta = timedelta()) -> int:
    """How many mails there are after runs so many hours after the start, by a clock that is wrong
    by so much."""
    for each in hours:
        company.now = START + each * HOUR + wrong
        company.remind()
    return len(list((company.folder / "outbox/drop").glob("*.eml")))


def test_a_clock_that_was_a_year_ahead(company: Reminders) -> None:
    """Who came in then waits from when it was put right, not for a year; and no cap, message or
    journey goes by that year."""
    assert _sent(company, 0, 1, wrong=YEAR) == 1
    assert _sent(company, 2, 3, 7) == 1
    assert _sent(company, 8) == 2
    company.customer("2")
    assert _sent(company, 9, 14) == 3
    assert _sent(company, 15) == 4


def test_a_clock_that_was_a_year_behind(company: Reminders) -> None:
    """What was noted before is as it was, once the clock is put right; what is new meanwhile
    doesn't wait for that."""
    assert _sent(company, 0) == 1
    company.customer("2")
    assert _sent(company, 1, 3, wrong=-YEAR) == 2
    assert _sent(company, 4, 5) == 3  # whoever came in by the wrong clock is early by its error
    assert _sent(company, 6) == 4
    company.customer("3")
    assert _sent(company, 7, 8, 14, wrong=-YEAR) == 6


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_messages_of_a_clock_that_was_ahead(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Decided, put off or taken back by it, a message is looked at again at once; what it sent
    counts in caps for no longer than the cap says."""
    url = request.getfixturevalue("postgres_url") if kind == "postgresql" else None
    made = declared(("crm",))
    made["channels"]["limits"] = {"cap": "1 per 24 hours", "quiet_hours": "01:00 to 03:00"}
    company = Reminders(tmp_path, made, ledger=url)
    company.customer("1")
    company.run()
    ahead = START + YEAR
    _decide(company, "decided", ahead)
    assert _dispatched(company, START) == {("drop", "sent", None): 1}
    _decide(company, "put off", ahead)
    quiet = ahead + 13.5 * HOUR
    assert _dispatched(company, quiet) == {("drop", "pending", "quiet_hours"): 1}
    # what was sent counts: as of now, where it was sent later than that
    assert _dispatched(company, START + HOUR) == {("drop", "skipped", "cap"): 1}
    _decide(company, "taken", ahead)
    outbox = company.workspace.ledger.outbox
    outbox.claim("host/system:1.1:x", 1, now=ahead)
    outbox.leave("host/system:1.1:x", ["drop"], now=ahead)
    assert _dispatched(company, START + 25 * HOUR) == {("drop", "sent", None): 1}
    _decide(company, "by the cap", ahead)
    assert _dispatched(company, ahead) == {("drop", "sent", None): 1}
    _decide(company, "as of when it was put back", START + 50 * HOUR)
    assert _dispatched(company, START + 50 * HOUR) == {("drop", "skipped", "cap"): 1}
    _decide(company, "and no longer", START + 75 * HOUR)
    assert _dispatched(company, START + 75 * HOUR) == {("drop", "sent", None): 1}


def _decide(company: Reminders, step: str, now: datetime) -> None:
    row = {
        "journey": "renewal", "version": 1, "enrolment": 1, "step": step, "channel": "drop",
        "template": "hello", "consent": "email", "profile_id": 1, "decided_at": now,
        "next_attempt_at": now, "expires_at": None,
    }  # fmt: skip
    outbox = company.workspace.ledger.outbox
    with outbox._engine.begin() as connection:  # pyright: ignore[reportPrivateUsage]
        outbox.decide(connection, [row])


def _dispatched(company: Reminders, now: datetime) -> dict[Any, int]:
    return journey_steps.dispatch(company.workspace, clock=lambda: now).counts


def test_it_is_told(
    company: Reminders, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By `run`, `outbox` and `journey status`, for as long as the clock is behind."""
    _sent(company, 0, wrong=70 * YEAR)
    for name, place in (
        ("CATALOG", company.folder / "catalog"), ("LAKE", company.lake), ("LEDGER", company.ledger),
    ):  # fmt: skip
        monkeypatch.setenv(f"PROFILE_PIPELINES_{name}", str(place))
    capsys.readouterr()
    for command in (["outbox", "status"], ["outbox", "send"], ["journey", "status", "daily"]):
        main(command)
        told = capsys.readouterr()
        said = " ".join((told.err + told.out).split())
        assert f"the ledger was written when it was {START + 70 * YEAR:%Y-%m-%d}" in said
        assert "was put back" in said
    main(["run"])
    assert "clock: the ledger was written when" in capsys.readouterr().out
    main(["run", "--json"])
    assert "was put back" in json.loads(capsys.readouterr().out)["clock"]
