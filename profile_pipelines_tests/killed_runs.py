"""Steps of the pipeline in processes that are killed everywhere, and run again to the end.

A program of its own: it forks, so nothing in it may have started threads. For every point it
prints whether the tables came out as those of an undisturbed run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What a run imports late is imported here: the forked processes only run it.
import duckdb as _duckdb
import pandera.backends.polars.builtin_checks as _pandera
import scipy.sparse.csgraph as _csgraph
import sqlglot.dialects.duckdb as _dialect

from profile_pipelines import pipeline
from profile_pipelines.engine import DuckDBEngine
from profile_pipelines.lake import delta
from profile_pipelines.lake.table import LakeTable
from profile_pipelines.lake.upkeep import merge_small_files
from profile_pipelines.ledger import Ledger
from profile_pipelines.sources import sql as _sql
from profile_pipelines.validation import records as _records
from profile_pipelines_tests.company import HOUR, Company, catalogue, stamp

_IMPORTED = (_duckdb, _pandera, _csgraph, _dialect, _sql, _records)


def main(folder: Path) -> None:
    """Kill each step at its first point, its second, …, until it gets through."""
    before = folder / "before"
    before.mkdir()
    for name in STEPS:
        undisturbed = folder / name
        shutil.copytree(before, undisturbed)
        expected = _in_process(undisturbed, name, None)
        point = 0
        while True:
            point += 1
            place = folder / f"{name}-{point}"
            shutil.copytree(before, place)
            if _in_process(place, name, point) is not None:
                break
            same = _in_process(place, name, None) == expected
            sys.stdout.write(json.dumps({"step": name, "point": point, "same": same}) + "\n")
            shutil.rmtree(place)
        before = undisturbed


def _in_process(folder: Path, step: str, point: int | None) -> Any:
    """What the tables hold after a step in a process of its own; None when it was killed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if point is not None:
                _kill_at(point)
            (folder / "tables.json").write_text(json.dumps(_run(folder, step), default=str))
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return None
    assert os.WEXITSTATUS(status) == 0
    return json.loads((folder / "tables.json").read_text())


def _kill_at(point: int) -> None:
    """Let this process die at its n-th point: in the middle of writing a file, before a commit or
    an entry in the ledger, or at its end.

    Dying leaves files behind, whole and half, and everything that was committed until then.
    """
    passed = 0

    def dies() -> bool:
        nonlocal passed
        passed += 1
        return passed == point

    def after_passing(step: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*args: Any, **kwargs: Any) -> Any:
            if dies():
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*args, **kwargs)

        return stepped

    def half_written(write: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(engine: Any, sql: Any, relations: Any, path: str) -> Any:
            written = write(engine, sql, relations, path)
            if dies():
                if written.rows:
                    os.truncate(path, written.size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            return written

        return stepped

    global _tables
    DuckDBEngine.write = half_written(DuckDBEngine.write)
    delta.commit = after_passing(delta.commit)
    Ledger.record = after_passing(Ledger.record)
    _tables = after_passing(_tables)


def _run(folder: Path, step: str) -> dict[str, Any]:
    declared = catalogue(("crm", "billing"), ("status", "tier"))
    declared["audiences"]["active"] = {"where": {"status": {"is": "active"}}}
    company = Company(folder, declared)
    company.now += list(STEPS).index(step) * HOUR
    STEPS[step](company)
    return _tables(company)


def _first(company: Company) -> None:
    for key in ("1", "2", "3"):
        company.put("crm", key, no=key, changed=stamp(-5), status="active", tier="gold")
        company.put("billing", key, no=key, changed=stamp(-4), status="active", tier="silver")
    company.put("crm", "4", no="4", changed=stamp(-4), status="Nonsense")
    company.run()


def _second(company: Company) -> None:
    company.put("crm", "1", no="1", changed=stamp(0.5), status="churned", tier="gold")
    company.put("crm", "4", no="4", changed=stamp(0.5), status="active")
    company.put("billing", "2", no="2", changed=stamp(0.5), gone="yes")
    company.put("billing", "9", no="9", email="nine@x.de", changed=stamp(0.5), tier="bronze")
    company.run()


def _compact(company: Company) -> None:
    tables, engine = _all_tables(company), company.workspace.lake.engine
    for table in tables.values():
        table.pin().compact(engine, force=True)
    merge_small_files(tables["profiles"], engine, many=1)


def _all_tables(company: Company) -> dict[str, LakeTable]:
    lake, declared = company.workspace.lake, company.workspace.catalogue
    return {
        **{name: lake.source(declared, name, "people") for name in declared.systems},
        "identities": lake.identities(declared),
        "profiles": lake.profiles(declared),
        "active": lake.audience("active"),
    }


def _tables(company: Company) -> dict[str, Any]:
    engine = company.workspace.lake.engine
    found: dict[str, Any] = {}
    for name, table in _all_tables(company).items():
        pinned = table.pin()
        current = pinned.current(table.columns, "t")
        rows = engine.query(current.sql, current.relations).to_pylist()
        found[name] = sorted(json.dumps(row, default=str, sort_keys=True) for row in rows)
        log = pinned.changes(table.columns, "t")
        changes = engine.query(log.sql, log.relations).drop_columns(["run_id"]).to_pylist()
        found[f"{name}/log"] = sorted(
            json.dumps(row, default=str, sort_keys=True) for row in changes
        )
    found["coverage"] = {
        f"{system}.{attribute}": moment.isoformat()
        for (system, attribute), moment in sorted(company.workspace.ledger.coverage().items())
    }
    found["due"] = len(pipeline.due_syncs(company.workspace, company.now))
    return found


STEPS: dict[str, Callable[[Company], None]] = {
    "first": _first,
    "second": _second,
    "compact": _compact,
}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
