"""Two runs at once: the second waits for journeys and deliveries, and says for whom."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from profile_pipelines import destination_steps, journey_steps
from profile_pipelines.errors import Held
from profile_pipelines_tests.activation.delivering import Delivering
from profile_pipelines_tests.privacy.reminders import Reminders

HOLDER = """
import sys
from profile_pipelines.ledger import Ledger
with Ledger(sys.argv[1]).holds.holding(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path / 'ledger.db'}"


def _holder(ledger: str, thing: str) -> subprocess.Popen[str]:
    """A process that is at a thing, until it's told to end or killed."""
    command = [sys.executable, "-c", HOLDER, ledger, thing]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def _release(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize("end", [_release, subprocess.Popen[str].kill])
def test_the_second_goes_on_when_the_first_has_ended(
    ledger: str, tmp_path: Path, end: Callable[[subprocess.Popen[str]], None]
) -> None:
    """Whether it ended well or was killed; meanwhile it says for whom it waits, and since when."""
    company = Reminders(tmp_path, ledger=ledger)
    company.customer("1")
    now = company.now
    company.run()
    first = _holder(ledger, "journey daily")
    told: list[str] = []

    def waits(said: str) -> None:
        told.append(said)
        end(first)

    with first:
        result = journey_steps.tick_journey(company.workspace, "daily", now=now, waits=waits)
    assert result.entered == 1
    (said,) = told
    assert said.startswith(f"waiting for process {first.pid} on ")
    assert "which is at the journey daily since 20" in said


def test_a_wait_has_an_end(tmp_path: Path) -> None:
    """After `wait_for_runs` the run fails, and says who is at it and since when; another thing
    is free."""
    company = Delivering(tmp_path, {"type": "csv"})
    company.declare({**company.declared, "settings": {"wait_for_runs": "0s"}})
    company.customer("1")
    now = company.now
    company.run()
    with _holder(company.ledger, "destination out") as first:
        with pytest.raises(Held, match=rf"process {first.pid} on .* at the destination out since"):
            destination_steps.deliver(company.workspace, "out", clock=lambda: now)
        with company.workspace.ledger.holds.holding("destination other"):
            _release(first)
    assert destination_steps.deliver(company.workspace, "out", clock=lambda: now).added == 1


@pytest.mark.slow
def test_four_at_once_do_what_one_does(ledger: str, tmp_path: Path) -> None:
    """None of them fails, and journeys, deliveries and messages are as a single run leaves them,
    caps kept: each message is sent once."""
    ledgers: list[str] = []
    if ledger.startswith("postgresql"):
        url = sa.make_url(ledger).set(drivername="postgresql+psycopg2")
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.execute(sa.text(f"create database {url.database}_twin"))
        twin = sa.make_url(ledger).set(database=f"{url.database}_twin")
        ledgers = [ledger, twin.render_as_string(hide_password=False)]
    ended = subprocess.run(
        [sys.executable, "-m", "profile_pipelines_tests.runs_at_once", str(tmp_path), *ledgers],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    four, twin = (json.loads(line) for line in ended.stdout.splitlines())
    assert four == twin
    states = Counter((each["state"], each["reason"]) for each in four["messages"])
    assert states == {("sent", None): 30, ("skipped", "priority"): 30}
