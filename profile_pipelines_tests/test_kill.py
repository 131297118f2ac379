"""A run that is killed at any moment and run again gives the same tables."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_killed_run_that_is_run_again_gives_the_same_tables(tmp_path: Path) -> None:
    """Killed in the middle of every file, before every commit, and at the end, of a first run, one
    with changes, a compaction with the merging of files.

    Every change is recorded once, whatever was there already when the run was killed.
    """
    program = [sys.executable, "-m", "profile_pipelines_tests.killed_runs", str(tmp_path)]
    ended = subprocess.run(
        program, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1]
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    killed = [json.loads(line) for line in ended.stdout.splitlines()]
    points = Counter(each["step"] for each in killed)
    assert points == {"first": 13, "second": 13, "compact": 13}
    assert [each for each in killed if not each["same"]] == []
