"""A run that was stopped, overtaken and resumed writes nothing late and nothing twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from profile_pipelines_tests.company import HOUR, START, Company, catalogue, stamp

_STOPS_BEFORE_ITS_COMMIT = """
import json, os, signal, sys
from pathlib import Path
from profile_pipelines.lake import delta
from profile_pipelines_tests.company import HOUR, Company, catalogue

commit = delta.commit

def stopping(*args, **kwargs):
    delta.commit = commit
    os.kill(os.getpid(), signal.SIGSTOP)
    return commit(*args, **kwargs)

delta.commit = stopping
company = Company(Path(sys.argv[1]), catalogue(("crm",), ("tier",)))
company.now += int(sys.argv[2]) * HOUR
result = company.sync("crm")
print(json.dumps([result.rows_read, result.changed]))
"""


@pytest.mark.parametrize("first", [True, False])
def test_a_late_commit_is_refused(tmp_path: Path, first: bool) -> None:
    """The zombie's commit fails; it reads again and finds nothing to do, also on a new lake."""
    company = Company(tmp_path, catalogue(("crm",), ("tier",)))
    company.put("crm", "1", no="1", changed=stamp(-9), tier="gold")
    if not first:
        company.run()
    company.put("crm", "1", no="1", changed=stamp(-5), tier="silver")
    company.put("crm", "2", no="2", changed=stamp(-5), tier="silver")
    zombie = subprocess.Popen(
        [sys.executable, "-c", _STOPS_BEFORE_ITS_COMMIT, str(tmp_path), "1"],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        _, status = os.waitpid(zombie.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        company.put("crm", "1", no="1", changed=stamp(-4), tier="bronze")
        company.now = START + 2 * HOUR
        company.sync("crm")
    finally:
        os.kill(zombie.pid, signal.SIGCONT)
        told, _ = zombie.communicate()
    assert json.loads(told)[1] == 0
    pinned = company.workspace.lake.source(company.workspace.catalogue, "crm", "people").pin()
    log = pinned.changes(["record_key", "tier"], "c", since=0 if first else 1)
    rows = company.workspace.lake.engine.query(log.sql, log.relations).to_pylist()
    assert sorted((row["record_key"], row["tier"]) for row in rows) == [
        ("1", "bronze"),
        ("2", "silver"),
    ]
    assert company.sync("crm").changed == 0
