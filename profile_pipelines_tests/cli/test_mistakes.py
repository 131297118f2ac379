"""Mistakes in a command are told with what would be right, and end with the code of their kind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from profile_pipelines_tests.cli.conftest import Command

pytestmark = pytest.mark.xdist_group("cli")


def _long_ago() -> str:
    return (datetime.now(UTC) - timedelta(days=1)).isoformat()


def test_ticks_of_a_replay_lie_apart(command: Command, home: Path) -> None:
    """No time between two ticks would be a replay without an end; very much is one of two ticks."""
    replay = ("journey", "simulate", "renewal_reminder", "--from", _long_ago())
    for every in ("0s", "-1d"):
        done = command(*replay, "--every", every)
        assert done.code == 2
        assert "for example" in done.err
    done = command(*replay, "--every", "999999999 days", "--json")
    assert done.code == 0, done.err
    assert len(done.json["ticks"]) == 2
