"""Tombstones that are lifted or end, and opt-outs that are kept or taken back, by processes that
are killed between their writes and run again.

A program of its own: it forks, so nothing in it may have started threads. For every point it
prints whether lake and ledger came out as those of an undisturbed run.

    python -m profile_pipelines_tests.privacy.killed_words FOLDER EVERY
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

# What a run imports late is imported here: the forked processes only run it.
import duckdb as _duckdb
import pandera.backends.polars.builtin_checks as _pandera
import scipy.sparse.csgraph as _csgraph
import sqlglot.dialects.duckdb as _dialect
from sqlalchemy.engine.default import DefaultDialect

from profile_pipelines.errors import NotFound
from profile_pipelines.lake import delta
from profile_pipelines.privacy import erasure as _erasure
from profile_pipelines.privacy_steps import erase_people, lift_tombstones
from profile_pipelines.sources import sql as _sql
from profile_pipelines.validation import records as _records
from profile_pipelines_tests.company import START, Company, catalogue

_IMPORTED = (_duckdb, _pandera, _csgraph, _dialect, _sql, _records, _erasure)
YEARS = timedelta(days=800)


def main(folder: Path, every: int) -> None:
    """Kill each step at its first point, then `every` so many later, until it gets through."""
    before = folder / "before"
    before.mkdir()
    for number, name in enumerate(STEPS):
        undisturbed = folder / name
        shutil.copytree(before, undisturbed)
        expected = _in_process(undisturbed, name, None)
        point = 1 + number % every
        while name != "begin":
            place = folder / f"{name}-{point}"
            shutil.copytree(before, place)
            if _in_process(place, name, point) is not None:
                break
            found = _in_process(place, name, None)
            told = {"step": name, "point": point, "same": found == expected}
            sys.stdout.write(json.dumps(told) + "\n")
            shutil.rmtree(place)
            point += every
        before = undisturbed


def _in_process(folder: Path, step: str, point: int | None) -> Any:
    """What there is after a step in a process of its own; None when it was killed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            company = _company(folder, step)
            if point is not None:
                _kill_at(point)
            STEPS[step](company)
            (folder / "found.json").write_text(json.dumps(_found(company), default=str))
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return None
    assert os.WEXITSTATUS(status) == 0
    return json.loads((folder / "found.json").read_text())


def _kill_at(point: int) -> None:
    """Let this process die before its n-th commit to the ledger or to a table."""
    passed = 0

    def dying(step: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*args: Any, **kwargs: Any) -> Any:
            nonlocal passed
            passed += 1
            if passed == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*args, **kwargs)

        return stepped

    DefaultDialect.do_commit = dying(DefaultDialect.do_commit)
    delta.commit = dying(delta.commit)


def _company(folder: Path, step: str) -> Company:
    """A CRM with customer numbers and a newsletter tool that knows addresses."""
    declared = catalogue(("crm", "news"), ("status", "opt_in"))
    declared["attributes"]["opt_in"] |= {"consent": "email", "fresh_within": "999 days"}
    for attribute in declared["attributes"].values():
        attribute |= {"max_changed": "100%", "max_emptied": "100%"}
    for system in declared["systems"].values():
        system["syncs"]["people"] |= {"max_deleted": "100%"}
    company = Company(folder, declared)
    company.now = START + list(STEPS).index(step) * timedelta(days=2)
    if step in ("end", "take back"):
        company.now += YEARS
    return company


def _say(company: Company, system: str, key: str, address: str, **values: Any) -> None:
    company.put(system, key, email=address, changed=company.now.isoformat(), **values)


def _begin(company: Company) -> None:
    _say(company, "crm", "1", "a@x.example", opt_in="true", no="1")
    _say(company, "news", "n", "a@x.example", opt_in="false")
    for key in ("2", "3"):
        _say(company, "crm", key, f"c{key}@x.example", opt_in="true", no=key)
        _say(company, "news", key, f"c{key}@x.example", opt_in="true")
    company.run()
    for key in ("2", "3"):
        found = company.customers.profile(key, now=company.now).profile_id
        erase_people(
            company.workspace, [found], reference=None, by="officer", now=company.now,
            until="2 years",
        )  # fmt: skip
    company.run()


def _lift(company: Company) -> None:
    now = company.now
    with suppress(NotFound):  # lifted before it was killed
        lift_tombstones(
            company.workspace, [("", "c2@x.example")], by="officer", because="came back", now=now
        )
    company.run()


def _keep(company: Company) -> None:
    _say(company, "crm", "1", "new@x.example", opt_in="true", no="1")
    company.run()


def _end(company: Company) -> None:
    company.run()


def _take_back(company: Company) -> None:
    moment = company.now
    _say(company, "crm", "1", "new@x.example", opt_in="false", no="1")
    company.run()
    company.now = moment + timedelta(hours=6)
    _say(company, "crm", "1", "new@x.example", opt_in="true", no="1")
    company.run()


def _found(company: Company) -> dict[str, Any]:
    space = company.workspace
    lake, declared, ledger = space.lake, space.catalogue, space.ledger
    tables = {
        **{name: lake.source(declared, name, "people") for name in declared.systems},
        "identities": lake.identities(declared),
        "profiles": lake.profiles(declared),
    }
    found: dict[str, Any] = {}
    for name, table in tables.items():
        current = table.pin().current(table.columns, "t")
        rows = lake.engine.query(current.sql, current.relations).to_pylist()
        found[name] = sorted(json.dumps(row, default=str, sort_keys=True) for row in rows)
    register = ledger.erasures.tombstones
    acts = ledger.unsubscribes.since(0)
    return found | {
        "standing": register.standing(),
        "ends": [(each.erasure, each.tombstones, each.because) for each in register.ends()],
        "acts": [(act.profile_id, act.purpose, act.unsubscribed, act.by) for act in acts],
        "read again": [
            register.to_read_again(f"{name}/people", ["status", "opt_in"]) > 0
            for name in declared.systems
        ],
    }


STEPS: dict[str, Callable[[Company], None]] = {
    "begin": _begin,
    "lift": _lift,
    "keep": _keep,
    "end": _end,
    "take back": _take_back,
}


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
