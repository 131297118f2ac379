"""Backups and restores that are killed anywhere (SIGKILL), and done again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_POINTS = 3


@pytest.mark.slow
def test_what_is_killed_at_any_line_is_ended_by_the_next(tmp_path: Path) -> None:
    """Earlier backups stay whole, and nothing of a killed one stays; a restore that was killed
    leaves both halves as they were, or is ended by the same restore."""
    module = "profile_pipelines_tests.backup.killed_backups"
    program = [sys.executable, "-m", module, str(tmp_path), str(_POINTS)]
    ended = subprocess.run(
        program, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    told = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(told) == 2 * _POINTS
    assert [each for each in told if not each["killed"] or each["wrong"]] == []
