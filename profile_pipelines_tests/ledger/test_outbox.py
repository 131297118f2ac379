"""The outbox, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from profile_pipelines.ledger.outbox import LEASE, Outbox, Outcome, message_id
from profile_pipelines.ledger.storage import open_engine

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> sa.Engine:
    if request.param == "postgresql":
        return open_engine(request.getfixturevalue("postgres_url"))
    return open_engine(f"sqlite:///{tmp_path / 'ledger.db'}")


@pytest.fixture
def outbox(engine: sa.Engine) -> Outbox:
    return Outbox(engine)


def _row(enrolment: int, channel: str = "email", **more: Any) -> dict[str, Any]:
    row = {
        "journey": "renewal", "version": 1, "enrolment": enrolment, "step": "0",
        "channel": channel, "template": "reminder", "consent": "email",
        "profile_id": enrolment, "decided_at": NOON, "next_attempt_at": NOON, "expires_at": None,
    }  # fmt: skip
    return {**row, **more}


def _decide(engine: sa.Engine, outbox: Outbox, *rows: dict[str, Any]) -> int:
    with engine.begin() as connection:
        return outbox.decide(connection, rows)


def _states(outbox: Outbox) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in outbox.counts():
        found[each.state] = found.get(each.state, 0) + each.count
    return found


def test_a_message_is_decided_once(engine: sa.Engine, outbox: Outbox) -> None:
    """Deciding it again adds nothing and changes nothing; a rollback leaves nothing."""
    assert _decide(engine, outbox, _row(1), _row(2)) == 2
    assert _decide(engine, outbox, _row(2, template="other"), _row(3)) == 1
    with engine.connect() as connection:
        outbox.decide(connection, [_row(4)])
        connection.rollback()
    templates = {row["message_id"]: row["template"] for row in outbox.messages()}
    assert templates == {message_id("renewal", 1, n, "0", "email"): "reminder" for n in (1, 2, 3)}


def _had(
    outbox: Outbox, profile_ids: list[int], since: datetime
) -> list[tuple[int, str, str, datetime]]:
    found = outbox.sent_since(profile_ids, [], since)
    return [(each.profile_id, each.journey, each.channel, each.at) for each in found]


def test_claims_exclude_each_other(engine: sa.Engine, outbox: Outbox) -> None:
    """Each message is claimed by one process; one that isn't due yet, or of another channel, by
    none."""
    _decide(engine, outbox, _row(1), _row(2), _row(3, next_attempt_at=NOON + HOUR), _row(4, "sms"))
    first = outbox.claim("a", 1, now=NOON, channels=["email"])
    second = outbox.claim("b", 9, now=NOON, channels=["email"])
    assert [each.profile_id for each in first + second] == [1, 2]
    assert outbox.claim("c", 9, now=NOON, channels=["email"]) == []
    assert outbox.begin("a", [each.message_id for each in first + second], now=NOON) == {
        first[0].message_id
    }
    outbox.leave("b", [], now=NOON)
    assert [each.profile_id for each in outbox.claim("c", 9, now=NOON)] == [2, 4]


def test_outcomes_are_kept(engine: sa.Engine, outbox: Outbox) -> None:
    """What is put off comes again when it's due; what is sent counts for the profile."""
    _decide(engine, outbox, _row(1), _row(2), _row(3))
    ids = [each.message_id for each in outbox.claim("a", 9, now=NOON)]
    outbox.begin("a", ids, now=NOON)
    outbox.settle(
        "a",
        [
            Outcome(ids[0], "sent", receipt="250"),
            Outcome(ids[1], "pending", "451", next_attempt_at=NOON + HOUR, tried=True),
            Outcome(ids[2], "failed", "550", tried=True),
        ],
        now=NOON,
    )
    assert _states(outbox) == {"sent": 1, "pending": 1, "failed": 1}
    assert outbox.claim("a", 9, now=NOON) == []
    assert [each.attempts for each in outbox.claim("a", 9, now=NOON + HOUR)] == [1]
    assert _had(outbox, [1, 2, 3], NOON - HOUR) == [(1, "renewal", "email", NOON)]
    assert _had(outbox, [1, 2, 3], NOON + HOUR) == []
    assert outbox.retry(["failed"], now=NOON) == 1
    assert _states(outbox) == {"sent": 1, "claimed": 1, "pending": 1}


def test_a_lost_sender_leaves_its_messages(engine: sa.Engine, outbox: Outbox) -> None:
    """What it hadn't begun is sent by another; what it had is repeated only over channels that
    know a repeated message, and its late receipt still counts."""
    _decide(engine, outbox, _row(1), _row(2), _row(3, "hook"))
    claimed = {each.profile_id: each.message_id for each in outbox.claim("a", 9, now=NOON)}
    outbox.begin("a", [claimed[2], claimed[3]], now=NOON)
    assert outbox.recover(["hook"], now=NOON + LEASE) == (0, 0)
    later = NOON + LEASE + timedelta(seconds=1)
    assert outbox.recover(["hook"], now=later) == (2, 1)
    assert [each.profile_id for each in outbox.claim("b", 9, now=later)] == [1, 3]
    outbox.settle("a", [Outcome(claimed[2], "sent"), Outcome(claimed[3], "sent")], now=later)
    assert _states(outbox) == {"claimed": 2, "sent": 1}


def test_what_comes_too_late_is_skipped(engine: sa.Engine, outbox: Outbox) -> None:
    """A message isn't sent at or after its end, and the reason for which it waited is told."""
    late = {"expires_at": NOON + HOUR}
    _decide(engine, outbox, _row(1, **late), _row(2), _row(3, **late))
    [first, *_] = outbox.claim("a", 1, now=NOON)
    outbox.settle("a", [Outcome(first.message_id, "pending", "quiet_hours")], now=NOON)
    assert outbox.expire(now=NOON + HOUR) == 2
    reasons = {(each.state, each.reason): each.count for each in outbox.counts()}
    assert reasons == {
        ("skipped", "quiet_hours"): 1, ("skipped", "expired"): 1, ("pending", None): 1,
    }  # fmt: skip


def test_what_went_to_an_address_is_found_by_it(engine: sa.Engine, outbox: Outbox) -> None:
    """Whoever it was for; of who was erased nothing tells any more where it went."""
    _decide(engine, outbox, _row(1), _row(2), _row(3))
    ids = [each.message_id for each in outbox.claim("a", 9, now=NOON)]
    outbox.grant("a", {ids[0]: "h", ids[1]: "h", ids[2]: None})
    granted = outbox.sent_since([], ["h"], NOON)
    outbox.begin("a", ids, now=NOON)
    outbox.settle("a", [Outcome(each, "sent") for each in ids], now=NOON)
    assert [each.profile_id for each in outbox.sent_since([], ["h"], NOON)] == [1, 2]
    assert granted == outbox.sent_since([], ["h"], NOON), "what is about to be sent counts already"
    both = outbox.sent_since([1, 3], ["h"], NOON)
    assert {each.profile_id: each.address for each in both} == {1: "h", 2: "h", 3: None}
    with engine.begin() as connection:
        outbox.forget(connection, [1], now=NOON)
    assert [each.profile_id for each in outbox.sent_since([], ["h"], NOON)] == [2]
