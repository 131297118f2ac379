"""`journey test` tells who would get nothing, by the decisions that sending makes."""

from __future__ import annotations

from pathlib import Path

from profile_pipelines import journey_steps
from profile_pipelines.cli.journey_tables import preview_document
from profile_pipelines_tests.company import Company, catalogue, stamp


def _company(folder: Path, **limits: str) -> Company:
    """Four customers of a journey of two messages: one without consent, one without address."""
    declared = catalogue(("crm",), ("status", "tier", "opt_in"))
    declared["attributes"]["opt_in"] |= {"consent": "email"}
    declared["audiences"] = {"active": {"where": {"status": {"is": "active"}}}}
    channels = {name: {"type": "file", "to": "email"} for name in ("drop", "other")}
    declared["channels"] = {"channels": channels, "limits": limits}
    declared["templates"] = {"hello.txt": "Subject: Hello\n\nYou are {{ tier }}.\n"}
    sends = [{"send": {"channel": name, "template": "hello"}} for name in channels]
    declared["journeys"] = {"j": {"audience": "active", "consent": "email", "steps": sends}}
    company = Company(folder, declared)
    for key in "1234":
        company.put(
            "crm", key, no=key, email=None if key == "3" else f"c{key}@x.example",
            changed=stamp(-5), status="active", tier="gold", opt_in="no" if key == "2" else "yes",
        )  # fmt: skip
    company.run()
    return company


def _preview(company: Company) -> dict[tuple[str, str | None], int]:
    tick = journey_steps.tick_journey(company.workspace, "j", now=company.now, dry=True)
    return journey_steps.preview_decided(company.workspace, tick, now=company.now).counts


def _sent(company: Company) -> dict[tuple[str, str | None], int]:
    journey_steps.tick_journey(company.workspace, "j", now=company.now)
    done = journey_steps.dispatch(company.workspace, clock=lambda: company.now)
    found: dict[tuple[str, str | None], int] = {}
    for (_, state, reason), count in done.counts.items():
        found[state, reason] = found.get((state, reason), 0) + count
    return found


def test_what_is_told_is_what_is_done(tmp_path: Path) -> None:
    """By reason: consent, address and cap, which counts over all channels; and quiet hours."""
    company = _company(tmp_path / "cap", cap="1 per day")
    told = _preview(company)
    assert told["sent", None] == 2
    assert told["skipped", "consent"] == 2
    assert told["skipped", "cap"] >= 2
    assert company.workspace.ledger.outbox.messages() == []
    assert _sent(company)["sent", None] == 2
    company = _company(tmp_path / "free")
    told = _preview(company)
    assert told == {("sent", None): 4, ("skipped", "consent"): 2, ("skipped", "no_address"): 2}
    assert _sent(company) == told
    company = _company(tmp_path / "night", quiet_hours="00:00 to 23:59")
    told = _preview(company)
    assert told == {("pending", "quiet_hours"): 8} == _sent(company)


def test_what_waits_in_the_outbox_counts_in_caps(tmp_path: Path) -> None:
    """It goes first over its channel, so less of what is decided now is sent, as it is then; what
    waits itself isn't told."""
    company = _company(tmp_path, cap="2 per day")
    journey_steps.tick_journey(company.workspace, "j", now=company.now)
    declared = company.declared
    declared["journeys"]["second"] = declared["journeys"]["j"]
    company.declare(declared)
    tick = journey_steps.tick_journey(company.workspace, "second", now=company.now, dry=True)
    told = journey_steps.preview_decided(company.workspace, tick, now=company.now).counts
    assert told["sent", None] == 2
    waiting = company.workspace.ledger.outbox.messages(limit=None)
    assert {each["state"] for each in waiting} == {"pending"}
    journey_steps.tick_journey(company.workspace, "second", now=company.now)
    journey_steps.dispatch(company.workspace, clock=lambda: company.now)
    became: dict[tuple[str, str | None], int] = {}
    for each in company.workspace.ledger.outbox.counts("second"):
        key = (each.state, each.reason)
        became[key] = became.get(key, 0) + each.count
    assert became == told


def test_some_messages_are_shown(tmp_path: Path) -> None:
    """As their customers would get them; their addresses masked."""
    company = _company(tmp_path)
    tick = journey_steps.tick_journey(company.workspace, "j", now=company.now, dry=True)
    preview = journey_steps.preview_decided(company.workspace, tick, now=company.now)
    shown = preview_document(preview)["sample"]
    assert len(shown) == 3
    assert shown[0] == {
        "step": "0", "template": "hello", "to": "c•••@•••", "subject": "Hello",
        "text": shown[0]["text"],
    }  # fmt: skip
    assert shown[0]["text"].strip() == "You are gold."
