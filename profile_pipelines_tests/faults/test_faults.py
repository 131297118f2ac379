"""Whatever write a command is killed at, or fails at, the next run makes it good."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from profile_pipelines_tests.faults.watched import supported
from profile_pipelines_tests.faults.world import STAGES

SEED = int(os.environ.get("FAULTS_SEED", "1"))
TRIALS = 8


@pytest.mark.slow
def test_the_next_run_makes_good_what_was_killed_or_failed(tmp_path: Path) -> None:
    """Runs, a compaction, an erasure, a backup and a restore, killed at a write or a message, twice
    in a row, with half a write, or with a disk that is full or fails: they end with the reason, and
    afterwards tables, deliveries and messages are those of an undisturbed twin. Each message came
    once at most, and no personal data lies in a log, in temporary folders, or anywhere after an
    erasure.

    Some of all such faults, as the seed says (FAULTS_SEED); docs/reliability.md has what more there
    is to try, and how to repeat one.
    """
    if not supported():
        pytest.skip("this machine doesn't tell of system calls: that takes Linux 5.5 or newer")
    program = [sys.executable, "-m", "profile_pipelines_tests.faults.trials", str(tmp_path)]
    ended = subprocess.run(
        [*program, "--seed", str(SEED), "--trials", str(TRIALS)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    begun, *trials = map(json.loads, ended.stdout.splitlines())
    assert [each for each in trials if each["wrong"]] == []
    assert len(trials) == TRIALS
    reached = [each for each in trials if not each["event"].startswith("none")]
    assert len(reached) >= TRIALS - 1  # threads may come to a write more or less
    points = begun["points"]
    assert set(points["kill"]) == {each.name for each in STAGES}
    assert points["kill"]["first"] > 500
