"""The recovery drill that `make drill` runs."""

from __future__ import annotations

import os

import pytest

from profile_pipelines.cli.drill import main


@pytest.mark.slow
def test_the_drill_holds(capsys: pytest.CaptureFixture[str]) -> None:
    """With few customers; it says what it showed."""
    before = dict(os.environ)
    try:
        assert main(customers=60) == 0
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert "The drill held: the backup was sound" in capsys.readouterr().out
