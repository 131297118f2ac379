"""A sender that is killed at any moment leaves one mail in doubt, and none comes twice."""

from __future__ import annotations

import email
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from profile_pipelines_tests.channels.sinks import sink


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "every"), [("sqlite", 3), ("postgresql", 7)])
def test_one_mail_is_in_doubt_for_one_kill(
    kind: str, every: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Killed before and after every commit and every mail: the next process sends the rest at
    once, each mail comes once at most, and no more than one is in doubt, which may have come.

    `FAULTS=long` kills at every point and not at some.
    """
    every = 1 if os.environ.get("FAULTS") == "long" else every
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres_url")
    with sink("smtp", tmp_path / "sink") as server:
        program = "profile_pipelines_tests.channels.killed_sending"
        ended = subprocess.run(
            [sys.executable, "-m", program, str(tmp_path), str(server.port), url, str(every)],
            capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr[-2000:]
        came = Counter(
            email.message_from_string(each["mail"])["Message-ID"] for each in server.taken
        )
    killed = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(killed) > 12 // every
    assert set(came.values()) == {1}
    assert {len(each["in_doubt"]) for each in killed} <= {0, 1}
    for each in killed:
        missing = set(each["mails"]) - set(came)
        assert missing <= set(each["in_doubt"]), each
    if every == 1:  # of those in doubt some have come, some haven't: only the server can tell
        assert {doubt in came for each in killed for doubt in each["in_doubt"]} == {True, False}
