"""The log of consent acts, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.unsubscribes import Unsubscribes

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Unsubscribes]:
    """Opens the same ledger anew, as another process would."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres_url")
    else:
        url = f"sqlite:///{tmp_path / 'ledger.db'}"
    return lambda: Ledger(url).unsubscribes


def test_of_several_clicks_the_first_is_kept(opened: Callable[[], Unsubscribes]) -> None:
    """Until it is taken back; then the next one counts again. Times never go back."""
    acts = opened()
    assert acts.last() == (0, "")
    assert [acts.add(7, "email", now=NOON + n * HOUR) for n in range(2)] == [True, False]
    assert acts.restore(7, "email", by="ann", because="asked", now=NOON - HOUR)
    assert not acts.restore(7, "email", by="ann", because="asked", now=NOON + HOUR)
    assert acts.of("email") == set()
    acts.add(7, "sms", now=NOON + HOUR)
    acts.add(7, "email", now=NOON + 2 * HOUR)
    assert (acts.of("email"), acts.of("sms")) == ({7}, {7})
    told = [(each.purpose, each.unsubscribed, each.at, each.because) for each in acts.since(0)]
    assert told == [
        ("email", True, NOON, None),
        ("email", False, NOON, "asked"),
        ("sms", True, NOON + HOUR, None),
        ("email", True, NOON + 2 * HOUR, None),
    ]
    assert acts.of_profiles([7]) == acts.since(0)
    assert acts.since(3) == acts.since(0)[3:]


def test_clicks_at_once_leave_no_gap(opened: Callable[[], Unsubscribes]) -> None:
    """Numbers are given in the order in which acts can be read, so none is passed over."""
    opened()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: opened().add(n, "email", now=NOON), range(1, 25)))
    found = opened().since(0)
    assert [each.number for each in found] == list(range(1, 25))
    assert {each.profile_id for each in found} == set(range(1, 25))
