"""What a person says of tombstones and opt-outs holds, whenever the process is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_killed_and_done_again_it_is_as_if_undisturbed(tmp_path: Path) -> None:
    """Killed before some of the commits of lifting a tombstone, of ending one, of keeping an
    opt-out and of taking it back: done again, lake, register and acts are those of a twin.

    `FAULTS=long` kills before each commit.
    """
    every = 1 if os.environ.get("FAULTS") == "long" else 11
    program = "profile_pipelines_tests.privacy.killed_words"
    ended = subprocess.run(
        [sys.executable, "-m", program, str(tmp_path), str(every)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    killed = [json.loads(line) for line in ended.stdout.splitlines()]
    assert {each["step"] for each in killed} == {"lift", "keep", "end", "take back"}
    assert [each for each in killed if not each["same"]] == []
    last = json.loads((tmp_path / "take back" / "found.json").read_text())
    assert last["standing"] == []
    assert [end[2] for end in last["ends"]] == ["came back", "2 years have passed"]
    assert [act[2:] for act in last["acts"]] == [[True, "news"], [False, "crm"]]
