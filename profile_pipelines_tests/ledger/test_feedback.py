"""The log of what became of messages: what follows doesn't depend on when it is told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profile_pipelines.ledger import Ledger
from profile_pipelines.ledger.feedback import KINDS, Report, SoftRule

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
RULES = {"mail": SoftRule(3, 10 * HOUR), "other": SoftRule(2, 100 * HOUR)}
END = NOON + 60 * HOUR

_reports = st.tuples(
    st.sampled_from(list(RULES)),
    st.builds(
        Report,
        address=st.sampled_from(["a@x.example", "A@X.example", "b@x.example"]),
        kind=st.sampled_from([*KINDS, "soft", "soft", "soft"]),
        key=st.integers(1, 1000).map(str),
        message=st.integers(1, 9).map(str),
        at=st.integers(0, 40).map(lambda hours: NOON + hours * HOUR),
        code=st.sampled_from([None, "5.1.1", "4.2.2"]),
    ),
)


def _told(parts: Sequence[Sequence[tuple[str, Report]]]) -> tuple[object, object]:
    """What stands, by address, for marketing and for transactional messages, after each part."""
    ledger = Ledger("sqlite://")
    found = ledger.suppressions
    for part in parts:
        for channel in RULES:
            own = [report for name, report in part if name == channel]
            ledger.feedback.record(channel, own, rules=RULES, now=END)
    marks = {each: found.mark(each) for each in ("a@x.example", "b@x.example")}
    standing = {
        (name, act.purpose, act.at, act.reason, act.because, act.by)
        for name, mark in marks.items()
        for act in found.acts([mark])
    }
    strict = {
        name: [act.reason for act in found.of([mark], "service", transactional=True).values()]
        for name, mark in marks.items()
    }
    return standing, strict


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_reports, max_size=25), st.randoms(use_true_random=False), st.integers(1, 9))
def test_any_order_and_repetition_comes_to_the_same(
    reports: list[tuple[str, Report]], random: object, size: int
) -> None:
    """All at once in order, or one by one, shuffled and several times."""
    unique = list({(channel, each.key): (channel, each) for channel, each in reports}.values())
    shuffled = [*unique, *unique[:5]]
    random.shuffle(shuffled)  # pyright: ignore[reportAttributeAccessIssue]
    parts = [shuffled[start : start + size] for start in range(0, len(shuffled), size)]
    assert _told(parts) == _told([unique])


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 6)), max_size=20))
def test_soft_bounces_are_counted_like_this(events: list[tuple[int, int]]) -> None:
    """In plain Python: distinct messages since the last delivery, within ten hours."""
    reports: list[tuple[str, Report]] = []
    since: dict[int, int] = {}
    expected: set[datetime] = set()
    for hour, (delivered, message) in enumerate(events):
        at, key = END - (25 - hour) * HOUR / 2.5, str(hour)
        kind = "delivered" if delivered else "soft"
        reports.append(("mail", Report("a@x.example", kind, key, str(message), at)))
        if delivered:
            since = {}
            continue
        since = {m: h for m, h in since.items() if hour - h <= 25}
        since.setdefault(message, hour)
        if len(since) == 3:
            expected.add(at)
            since = {}
    standing, _ = _told([reports])
    assert {act[2] for act in standing} == expected  # pyright: ignore[reportGeneralTypeIssues]


@pytest.mark.parametrize("place", ["sqlite", "postgresql"])
def test_reports_are_forgotten_when_they_cant_count_any_more(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Soft bounces and deliveries are; what suppressed an address stays, and so does the act."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    if place == "postgresql":
        url = request.getfixturevalue("postgres_url")
    reports = [Report("a@x.example", kind, kind, kind, NOON) for kind in KINDS]
    softs = [Report("b@x.example", "soft", str(n), str(n), NOON) for n in range(3)]
    ledger = Ledger(url)
    mark = ledger.suppressions.mark
    ledger.feedback.record("mail", [*reports, *softs], rules=RULES, now=NOON)
    later = NOON + timedelta(days=100)
    again = Ledger(url)
    found = again.feedback.record("mail", reports, rules=RULES, now=later)
    assert dict(found.new) == {"soft": 1, "delivered": 1}
    kept = {each.kind for each in again.feedback.of([mark("a@x.example")])}
    assert {"hard", "complaint", "unsubscribed"} <= kept
    assert [act.reason for act in again.suppressions.acts([mark("b@x.example")])] == ["bounced"]
