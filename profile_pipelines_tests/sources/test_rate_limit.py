from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from profile_pipelines.catalog.connections import RateLimit
from profile_pipelines.sources.rate_limit import RateLimiter


class Clock:
    """A clock that only sleeping moves on."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def limiter(folder: Path, count: int, seconds: int, clock: Clock) -> RateLimiter:
    limit = RateLimit.model_validate({"count": count, "period": f"{seconds}s"})
    return RateLimiter(limit, "crm", folder=folder, clock=lambda: clock.now, sleep=clock.sleep)


@given(
    count=st.integers(1, 5),
    pauses=st.lists(st.floats(0, 20, allow_nan=False), min_size=1, max_size=40),
)
def test_no_period_ever_holds_more_requests_than_allowed(
    tmp_path_factory, count: int, pauses: list[float]
) -> None:
    """However requests come, any window of the period's length has at most `count`; a limiter
    that was opened anew goes on from what the others did."""
    folder, clock = tmp_path_factory.mktemp("rate"), Clock()
    made: list[float] = []
    for pause in pauses:
        clock.now += pause
        limiter(folder, count, 10, clock).wait()
        made.append(clock.now)
    for earlier, later in zip(made, made[count:], strict=False):
        assert later - earlier >= 10 - 1e-6
    assert made[0] == 1_000_000.0 + pauses[0]


def test_a_pause_holds_for_everyone(tmp_path: Path) -> None:
    """What one was told by Retry-After, the others obey."""
    clock = Clock()
    limiter(tmp_path, 5, 10, clock).pause(7)
    limiter(tmp_path, 5, 10, clock).wait()
    assert clock.now == 1_000_007.0


def test_processes_share_a_limit(tmp_path: Path) -> None:
    """Of several processes at once each enters its requests; none is lost."""
    code = (
        "import sys, pathlib\n"
        "from profile_pipelines.catalog.connections import RateLimit\n"
        "from profile_pipelines.sources.rate_limit import RateLimiter\n"
        "limit = RateLimit.model_validate({'count': 1000, 'period': '1h'})\n"
        "for _ in range(100):\n"
        "    RateLimiter(limit, 'crm', folder=pathlib.Path(sys.argv[1])).wait()\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    [file] = tmp_path.glob("*.rate")
    assert int.from_bytes(file.read_bytes()[:8], "little") == 300
