"""Backups and restores in processes that are killed at some line of theirs, and done again.

A program of its own: it forks, so nothing in it may have started threads. For every point it
prints what was found wrong afterwards; nothing, where all is as it should be.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

# what they import late is imported here: the forked processes only run it
import duckdb as _duckdb
import pandera.backends.polars.builtin_checks as _pandera
import scipy.sparse.csgraph as _csgraph
import sqlglot.dialects.duckdb as _dialect

import profile_pipelines
from profile_pipelines import journey_steps, pipeline
from profile_pipelines.backup.place import BackupPlace
from profile_pipelines.backup.prove import prove
from profile_pipelines.backup.restore import restore
from profile_pipelines.backup.take import take
from profile_pipelines.errors import PairError
from profile_pipelines.lake.heads import heads
from profile_pipelines.workspace import Workspace
from profile_pipelines_tests.privacy.reminders import Reminders, declared

_IMPORTED = (_duckdb, _pandera, _csgraph, _dialect, journey_steps, pipeline)
_PACKAGE = Path(profile_pipelines.__file__).parent
_WATCHED = (str(_PACKAGE / "backup"), str(_PACKAGE / "ledger" / "copies.py"))


def main(folder: Path, points: int) -> None:
    """Kill each job at so many lines, spread over all that it passes."""
    before = folder / "before"
    before.mkdir()
    assert _in_process(lambda: _prepare(before)) == 0
    for name, job in JOBS.items():
        counted = folder / "lines"
        place = folder / name
        shutil.copytree(before, place)
        assert _in_process(lambda job=job, at=place, to=counted: _counting(job, at, to)) == 0
        lines = int(counted.read_text())
        shutil.rmtree(place)
        for number in range(points):
            point = 1 + number * (lines - 1) // max(points - 1, 1)
            place = folder / f"{name}-{number}"
            shutil.copytree(before, place)
            ended = _in_process(lambda job=job, place=place, at=point: _killed(job, place, at))
            wrong = place / "wrong.json"
            _in_process(lambda name=name, place=place, wrong=wrong: _look(name, place, wrong))
            told = {"job": name, "killed": ended == -signal.SIGKILL, "point": point}
            found = json.loads(wrong.read_text()) if wrong.exists() else ["it broke off"]
            sys.stdout.write(json.dumps({**told, "wrong": found}) + "\n")
            shutil.rmtree(place)


def _in_process(step: Callable[[], object]) -> int:
    """How a process of its own ended that did this."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            step()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _company(folder: Path) -> Reminders:
    return Reminders(folder, declared())


def _place(folder: Path) -> BackupPlace:
    return BackupPlace(str(folder / "backups"))


def _prepare(folder: Path) -> None:
    """Two customers and their backup, then a third one."""
    company = _company(folder)
    company.customer("1")
    company.customer("2")
    company.remind(full=True)
    take(company.workspace, _place(folder), now=company.now)
    company.customer("3")
    company.remind(full=True)


def _back_up(folder: Path) -> None:
    company = _company(folder)
    take(company.workspace, _place(folder), now=company.now)


def _restore(folder: Path) -> None:
    company = _company(folder)
    place = _place(folder)
    restore(company.workspace, place, place.manifests()[0], now=company.now, replace=True)


JOBS: dict[str, Callable[[Path], None]] = {"backup": _back_up, "restore": _restore}


def _counting(job: Callable[[Path], None], folder: Path, counted: Path) -> None:
    lines = 0

    def passed() -> None:
        nonlocal lines
        lines += 1

    _at_each_line(passed)
    job(folder)
    sys.settrace(None)
    counted.write_text(str(lines))


def _killed(job: Callable[[Path], None], folder: Path, point: int) -> None:
    lines = 0

    def passed() -> None:
        nonlocal lines
        lines += 1
        if lines == point:
            os.kill(os.getpid(), signal.SIGKILL)

    _at_each_line(passed)
    job(folder)


def _at_each_line(passed: Callable[[], None]) -> None:
    """Call this before each line of the watched modules, in whichever thread."""
    import threading

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_WATCHED):
            return None
        if event == "line":
            passed()
        return trace

    threading.settrace(trace)
    sys.settrace(trace)


def _look(name: str, folder: Path, wrong: Path) -> None:
    """What is wrong after a kill, and after it was done again."""
    place, found = _place(folder), list[str]()
    first = place.manifests()[0]
    for each in place.manifests():
        found += prove(place, each).wrong
    company = _company(folder)
    if name == "backup":
        taken = take(company.workspace, place, now=company.now).manifest
        found += prove(place, taken).wrong
        found += [f"{each} lies there" for each in place.present() if each not in
                  {stored.at for one in place.manifests() for stored in one.files}]  # fmt: skip
    else:
        before = heads(company.lake)
        try:
            company.workspace.pairing.check()
        except PairError:
            before = {}
        restore(Workspace(company.workspace.places), place, first, now=company.now, replace=True)
        company = _company(folder)
        company.workspace.pairing.check()
        sent = sum(e.count for e in company.workspace.ledger.outbox.counts() if e.state == "sent")
        asides = list(folder.glob("lake.before-*"))
        if sent != 2 or (before and not asides):
            found.append(f"{sent} messages, {len(asides)} lakes aside")
        if (folder / "lake.restoring").exists():
            found.append("the staged lake lies there")
    wrong.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
