"""Four processes that move one journey, deliver to one destination and send, at once; and a twin
that does it alone.

A program of its own: it forks, so nothing in it may have started threads. It prints what the
ledger and the folders hold afterwards, of the four and of the twin.

    python -m profile_pipelines_tests.runs_at_once FOLDER [LEDGER TWIN'S_LEDGER]
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What a step imports late is imported here: the forked processes only run it.
import duckdb as _duckdb
import polars as _polars
import sqlglot.dialects.duckdb as _dialect

from profile_pipelines import destination_steps, journey_steps
from profile_pipelines.journeys import tick as _tick
from profile_pipelines_tests.company import START
from profile_pipelines_tests.privacy.reminders import Reminders, declared

_IMPORTED = (_duckdb, _polars, _dialect, _tick)
CUSTOMERS = 30


def main(folder: Path, ledgers: list[str | None]) -> None:
    """Prints one JSON document of the four, then one of the twin."""
    for name, processes, ledger in zip(("four", "twin"), (4, 1), ledgers, strict=True):
        place = folder / name
        place.mkdir()
        company = Reminders(place, _declared(), ledger=ledger)
        _together([lambda company=company: _begin(company)])
        _together([lambda company=company: _everything(company)] * processes)
        _together([lambda company=company: _tell(company)])


def _declared() -> dict[str, Any]:
    made = declared(("crm",))
    made["channels"]["limits"] = {"cap": "1 per 1 day"}
    made["journeys"]["second"] = {**made["journeys"]["daily"], "priority": 5}
    made["destinations"] = {
        "out": {
            "audience": "active", "consent": "email", "columns": {"email": "mail"},
            "to": {"type": "csv"}, "batch_size": 3,
        }
    }  # fmt: skip
    return made


def _together(steps: list[Callable[[], None]]) -> None:
    """Each step in a process of its own, all at once. What they print comes when they end."""
    children: list[int] = []
    for step in steps:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                step()
                sys.stdout.flush()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        children.append(child)
    for child in children:
        _, status = os.waitpid(child, 0)
        assert os.WIFEXITED(status), status
        assert os.WEXITSTATUS(status) == 0


def _begin(company: Reminders) -> None:
    for number in range(CUSTOMERS):
        company.customer(str(number))
    company.run()


def _everything(company: Reminders) -> None:
    space = company.workspace
    for name in space.catalogue.journeys:
        journey_steps.tick_journey(space, name, now=START)
    found = destination_steps.deliver(space, "out", clock=lambda: START)
    assert found.error is None, found.error
    journey_steps.dispatch(space, clock=lambda: START)


def _without_origin(message_id: str) -> str:
    """The id but for what no other ledger has."""
    return message_id.rpartition(".")[0]


def _tell(company: Reminders) -> None:
    space = company.workspace
    ledger = space.ledger
    messages = [
        {name: row[name] for name in ("message_id", "profile_id", "state", "reason", "attempts")}
        for row in ledger.outbox.messages(limit=None)
    ]
    for row in messages:
        row["message_id"] = _without_origin(row["message_id"])
    [table] = (company.folder / "exports").rglob("out.csv")
    told = {
        "messages": sorted(messages, key=lambda row: row["message_id"]),
        "enrolments": ledger.enrolments.everywhere(range(1, CUSTOMERS + 1)),
        "deliveries": ledger.deliveries.rows("out").sort("profile_id").drop("batch").rows(),
        "table": sorted(table.read_text().splitlines()),
        "files": sorted(
            _without_origin(path.stem) for path in (company.folder / "outbox").rglob("*.eml")
        ),
    }
    sys.stdout.write(json.dumps(told, default=str) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [*sys.argv[2:4]] or [None, None])
