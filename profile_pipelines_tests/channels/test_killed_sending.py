"""A sender that is killed at any moment leaves one message in doubt, and none comes twice."""

from __future__ import annotations

import email
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

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
        killed = _killed(tmp_path, server.port, url, every, "smtp")
        came = Counter(
            email.message_from_string(each["mail"])["Message-ID"] for each in server.taken
        )
    assert len(killed) > 12 // every
    assert set(came.values()) == {1}
    assert {len(each["in_doubt"]) for each in killed} <= {0, 1}
    for each in killed:
        missing = set(each["mails"]) - set(came)
        assert missing <= set(each["in_doubt"]), each
    if every == 1:  # of those in doubt some have come, some haven't: only the server can tell
        assert {doubt in came for each in killed for doubt in each["in_doubt"]} == {True, False}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["webhook", "file", "apprise"])
def test_other_channels(kind: str, tmp_path: Path) -> None:
    """Over those that tell a repeat none is in doubt and each arrives, a webhook perhaps twice
    under its one key; of a service's, one is in doubt, which may have come, and none comes twice.
    """
    if kind == "apprise":
        pytest.importorskip("apprise")
    every = 1 if os.environ.get("FAULTS") == "long" else 4
    with sink("http", tmp_path / "sink") as server:
        ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
        killed = _killed(tmp_path, server.port, ledger, every, kind)
        keys = [each["headers"].get("Idempotency-Key") for each in server.taken]
    assert len(killed) > 3
    for each in killed:
        came = Counter[str](each["came"])
        if kind == "apprise":
            assert max(came.values(), default=1) == 1, each
            assert 2 - len(came) <= len(each["in_doubt"]) <= 1, each
        else:
            assert set(came) == {"1", "2"}, each
            assert each["in_doubt"] == []
    if kind == "webhook":
        assert len(set(keys)) == 2 * len(killed)


def _killed(folder: Path, port: int, ledger: str, every: int, kind: str) -> list[dict[str, Any]]:
    """What there is after each kill, and after another process has gone on."""
    program = [sys.executable, "-m", "profile_pipelines_tests.channels.killed_sending"]
    ended = subprocess.run(
        [*program, str(folder), str(port), ledger, str(every), kind],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    return [json.loads(line) for line in ended.stdout.splitlines()]
