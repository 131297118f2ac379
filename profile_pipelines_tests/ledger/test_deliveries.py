"""One run at a time delivers; one that was overtaken writes no more."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from profile_pipelines.errors import Conflict, Held
from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.deliveries import Deliveries
from profile_pipelines.ledger.holds import LEASE, Holds
from profile_pipelines_tests.company import START

SECOND = timedelta(seconds=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def deliveries(request: pytest.FixtureRequest, tmp_path: Path) -> Deliveries:
    """An empty ledger's deliveries."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    return Ledger(url).deliveries


def test_one_run_at_a_time(deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch):
    """While a run lives no other one begins; when it is silent for long, by the database's clock
    and not by what runs take for the present, another takes over."""
    moment = START

    def at(later: timedelta) -> None:
        nonlocal moment
        moment = START + later

    monkeypatch.setattr(Holds, "_present", lambda *_: moment)
    first = deliveries.runs.take("out", "place")
    at(LEASE)
    with pytest.raises(Held, match=f"process {os.getpid()} on .* since 2026-03-02 12:00:00 UTC"):
        deliveries.runs.take("out", "place")
    at(LEASE + SECOND)
    second = deliveries.runs.take("out", "place")
    with pytest.raises(Conflict):
        deliveries.begin("out", first, "b", "add", [(1, "k", "d")], now=START)
    deliveries.runs.release("out", first, now=START, error="late")
    at(2 * LEASE)
    with pytest.raises(Held):
        deliveries.runs.take("out", "place")
    deliveries.begin("out", second, "b", "add", [(1, "k", "d")], now=START)
    with pytest.raises(Conflict):
        deliveries.settle("out", first, "b", {}, now=START)
    at(3 * LEASE)
    deliveries.settle("out", second, "b", {}, now=START)
    deliveries.runs.release("out", second, now=START, counts={"added": 1})
    assert deliveries.counts() == {"out": {("held", None): 1}}
    standing = deliveries.runs.standing("out")
    assert (standing.counts, standing.error) == ({"added": 1}, None)
    deliveries.runs.take("out", "place")


def test_refusals(deliveries: Deliveries):
    """A refused addition isn't held, a refused removal still is; each wait is twice the last."""
    by = deliveries.runs.take("out", "place")
    waits: list[timedelta] = []
    for number in range(3):
        deliveries.begin("out", by, f"b{number}", "add", [(1, "k", "d"), (2, "l", "d")], now=START)
        deliveries.settle("out", by, f"b{number}", {1: "unwanted"}, now=START)
        row = deliveries.rows("out").filter(profile_id=1).row(0, named=True)
        assert (row["digest"], row["operation"], row["reason"]) == (None, None, "unwanted")
        waits.append(row["next_attempt_at"] - START)
    assert waits[2] == 2 * waits[1] == 4 * waits[0]
    deliveries.begin("out", by, "c", "remove", [(2, "l", "")], now=START)
    deliveries.settle("out", by, "c", {2: "busy"}, now=START)
    assert deliveries.rows("out").filter(profile_id=2)["digest"].to_list() == ["d"]
    assert deliveries.counts()["out"] == {("refused", "unwanted"): 1, ("refused", "busy"): 1}
    assert deliveries.retry("out", now=START) == 2


def test_forgetting(deliveries: Deliveries):
    """Of forgotten profiles no row stays, at any destination."""
    for name in ("one", "two"):
        by = deliveries.runs.take(name, "place")
        deliveries.begin(name, by, "b", "add", [(1, "k", "d"), (2, "l", "d")], now=START)
        deliveries.settle(name, by, "b", {}, now=START)
    assert len(deliveries.of_profiles([1])) == 2
    assert deliveries.forget([1]) == 2
    assert deliveries.of_profiles([1]) == []
    assert len(deliveries.of_profiles([2])) == 2
