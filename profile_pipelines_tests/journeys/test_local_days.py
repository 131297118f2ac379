"""Waits, caps, quiet hours and windows by the clock of each customer, also when it is changed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines_tests.journeys.test_journeys import BYE, SEND, Journeys


def _journeys(
    folder: Path,
    steps: list[Any],
    *,
    limits: dict[str, Any] | None = None,
    zone: str | None = None,
    **journey: Any,
) -> Journeys:
    """A journey in Berlin; `zone` is the attribute that tells customers' own zones."""
    journeys = Journeys(folder, steps, **journey)
    declared = journeys.company.declared
    declared["settings"] = {"timezone": "Europe/Berlin"}
    if zone is not None:
        declared["settings"]["timezone_attribute"] = zone
    declared["channels"]["limits"] = limits or {}
    journeys.company.declare(declared)
    return journeys


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _waits_until(journeys: Journeys) -> list[str]:
    """When each message that was put off goes out, and why it waits."""
    rows = journeys.company.workspace.ledger.outbox.messages(states=["pending"])
    return sorted(f"{row['next_attempt_at']:%m-%d %H:%M} {row['reason']}" for row in rows)


def test_who_has_an_open_ended_contract_waits_and_holds_up_nobody(tmp_path: Path) -> None:
    """9999-12-31 is never, and 0001-01-01 was always."""
    wait = {"wait": {"until": "ends + 1 day at 09:00"}}
    journeys = _journeys(tmp_path, [wait, SEND])
    journeys.put("1", ends="2027-06-20")
    journeys.put("2", ends="9999-12-31")
    journeys.put("3", ends="0001-01-01")
    journeys.run(_at("2027-06-10T10:00"))
    result = journeys.run(_at("2027-06-21T07:01"))
    assert (result.active, result.held) == (1, 0)
    assert journeys.sent == {"1": ["hello"]}


@pytest.mark.parametrize(
    ("now", "until"), [("2026-10-25T01:10", "10-25 01:30"), ("2026-10-25T00:10", "10-25 00:30")]
)
def test_quiet_hours_end_in_the_night_in_which_their_end_comes_twice(
    tmp_path: Path, now: str, until: str
) -> None:
    """The message waits for the first moment outside them, and the run ends."""
    journeys = _journeys(tmp_path, [SEND], limits={"quiet_hours": "22:00 to 02:30"})
    journeys.put("1")
    journeys.run(_at(now))
    assert _waits_until(journeys) == [f"{until} quiet_hours"]


def test_one_a_day_is_one_on_each_day(tmp_path: Path) -> None:
    """Over the change to summer time, and where the first day's tick came some minutes late."""
    nine = {"wait": {"until": "09:00"}}
    journeys = _journeys(
        tmp_path, [nine, SEND, nine, BYE, {"wait": "1 day"}, SEND], limits={"cap": "1 per 1 day"}
    )
    journeys.put("1")
    for at in ("26T11:00", "27T08:20", "28T07:00"):
        journeys.run(_at(f"2027-03-{at}"))
    assert journeys.sent == {"1": ["hello", "bye"]}
    journeys.run(_at("2027-03-29T06:59"))
    assert journeys.sent == {"1": ["hello", "bye"]}
    journeys.run(_at("2027-03-29T07:00"))
    assert journeys.sent == {"1": ["hello", "bye", "hello"]}


def test_customers_have_clocks_of_their_own(tmp_path: Path) -> None:
    """They get it at nine where they are; who says no zone, or none that is, at nine in Berlin."""
    journeys = _journeys(tmp_path, [{"wait": {"until": "09:00"}}, SEND], zone="tier")
    for key, zone in {"1": "Asia/Tokyo", "2": "America/New_York", "3": "Mars", "4": ""}.items():
        journeys.put(key, tier=zone)
    journeys.run(_at("2026-06-01T23:00"))
    for at, sent in (("00:00", "1"), ("07:00", "134"), ("13:00", "1234")):
        journeys.run(_at(f"2026-06-02T{at}"))
        assert "".join(sorted(journeys.sent)) == sent


def test_quiet_hours_and_windows_are_those_of_the_customer(tmp_path: Path) -> None:
    """Of two in one batch one is written to, the other waits for their own morning."""
    journeys = _journeys(
        tmp_path, [SEND], zone="tier", limits={"quiet_hours": "22:00 to 08:00"},
        window="mon-fri 09:00-17:00",
    )  # fmt: skip
    journeys.put("1", tier="Asia/Tokyo")  # Saturday, 00:30
    journeys.put("2", tier="America/New_York")  # Friday, 11:30
    journeys.put("3")  # Friday, 17:30
    journeys.run(_at("2026-06-05T15:30"))
    assert list(journeys.sent) == ["2"]
    assert _waits_until(journeys) == ["06-08 00:00 window", "06-08 07:00 window"]
    journeys.run(_at("2026-06-08T07:00"))
    assert "".join(journeys.sent) == "213"  # it hasn't expired over the weekend


def test_hours_before_a_timestamp(tmp_path: Path) -> None:
    """The message goes out so many hours before, and not earlier."""
    journeys = _journeys(tmp_path, [{"wait": {"until": "seen - 3 hours"}}, SEND])
    journeys.put("1", seen="2026-06-05T15:00:00Z")
    journeys.put("2", seen="9999-12-31T00:00:00Z")
    journeys.run(_at("2026-06-05T08:00"))
    journeys.run(_at("2026-06-05T11:59"))
    assert journeys.sent == {}
    journeys.run(_at("2026-06-05T12:00"))
    assert journeys.sent == {"1": ["hello"]}
