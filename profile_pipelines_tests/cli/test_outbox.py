"""What `outbox` shows of messages in doubt, and what becomes of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines.adoption import PUT_BACK, adopt
from profile_pipelines_tests.cli.conftest import Command
from profile_pipelines_tests.privacy.reminders import Reminders, declared

pytestmark = pytest.mark.xdist_group("cli")
MAIL = {"type": "smtp", "host": "127.0.0.1", "port": 9, "security": "none",
        "from": "a@example.org", "to": "email"}  # fmt: skip


def _gone() -> str:
    """The name of a process that is no more."""
    program = "from profile_pipelines.ledger.holders import own_name; print(own_name())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return done.stdout.decode().strip()


def test_messages_in_doubt(command: Command, tmp_path: Path):
    """They are listed by what the other side's log has, end `outbox send` and `run` with 1, and
    are sent again only where nothing can arrive twice, or somebody insists."""
    made = declared(("crm",))
    made["channels"]["channels"]["mail"] = MAIL
    company = Reminders(tmp_path, made)
    company.customer("1")
    company.run()
    outbox = company.workspace.ledger.outbox
    rows: list[dict[str, Any]] = [
        {
            "journey": "letter", "version": 1, "enrolment": number, "step": "0",
            "channel": channel, "template": "hello", "consent": "email", "profile_id": 1,
            "decided_at": company.now, "next_attempt_at": company.now, "expires_at": None,
        }
        for number, channel in enumerate(["mail", "mail", "drop"], 1)
    ]  # fmt: skip
    with outbox._engine.begin() as connection:  # pyright: ignore[reportPrivateUsage]
        outbox.decide(connection, rows)
    lost = _gone()
    ids = [each.message_id for each in outbox.claim(lost, 9, now=company.now)]
    outbox.begin(lost, ids, now=company.now)
    places = ("--catalog", tmp_path / "catalog", "--lake", company.lake)
    at = (*places, "--ledger", company.ledger, "--now", company.now.isoformat())
    sent = command("outbox", "send", *at)
    assert sent.code == 1
    assert "2 messages are in doubt" in sent.err
    assert [path.name for path in (tmp_path / "outbox" / "drop").iterdir()] == [f"{ids[2]}.eml"]
    listed = command("outbox", "settle", *at)
    assert (listed.code, listed.out.count("@example.org>")) == (0, 2)
    assert "c1@example.com" not in listed.out
    assert "In doubt: 2 messages" in command("run", *at).err
    told = command("outbox", "settle", *at, "--json").json
    assert [each["message_id"] for each in told] == ids[:2]
    assert {each["begun_at"] for each in told} == {company.now.isoformat().replace("+00:00", "Z")}
    again = command("outbox", "settle", "--again", *at)
    assert (again.code, "2 messages aren't sent again" in again.err) == (1, True)
    retried = command("outbox", "retry", "--state", "unknown", *at)
    assert (retried.code, "2 messages stay in doubt" in retried.err) == (0, True)
    assert command("outbox", "settle", told[0]["known_as"], "--arrived", *at).code == 0
    assert command("outbox", "settle", ids[0], "--arrived", *at).code == 3
    forced = command("outbox", "settle", ids[1], "--again", "--even-twice", *at)
    assert (forced.code, "1 message is pending again" in forced.out) == (0, True)
    states = {each["message_id"]: each["state"] for each in outbox.messages()}
    assert [states[each] for each in ids] == ["sent", "pending", "sent"]
    assert command("outbox", "settle", *at).out.strip() == "No message is in doubt"


def test_messages_kept_back(command: Command, tmp_path: Path):
    """After `adopt` nothing goes out before somebody has said so: everything says how many wait,
    some count as sent already, and the others are let go."""
    company = Reminders(tmp_path, declared(("crm",)))
    company.customer("1")
    assert company.remind(full=True).total("sent") == 1
    at = ("--catalog", tmp_path / "catalog", "--lake", company.lake, "--ledger", company.ledger)
    assert "belong to" in command("adopt", *at).out
    assert command("outbox", "settle", *at).out.strip() == "No message is in doubt"
    adopt(company.workspace, now=company.now, put_back=PUT_BACK)
    company.declare(company.declared)
    for key in "23":
        company.customer(key)
    now = ("--now", company.now.isoformat())
    ran = command("run", "--all", *at, *now)
    assert (ran.code, "Kept back: 2 messages are due" in ran.err) == (1, True)
    sent = command("outbox", "send", "--json", *at, *now)
    assert (sent.code, sent.json["kept_back"], sent.json["counts"]) == (1, 2, [])
    pending = [each for each in command("outbox", "status", "--json", *at).json
               if each["state"] == "pending"]  # fmt: skip
    assert [(each["reason"], each["count"]) for each in pending] == [("kept_back", 2)]
    assert "2 messages are kept back" in command("journey", "status", "daily", *at, *now).out
    shown = command("outbox", "settle", *at).out
    assert "both were put back from a copy" in shown
    assert "daily" in shown
    told = command("outbox", "settle", "--kept-back", "--json", *at).json
    ids = sorted(each["message_id"] for each in told)
    assert len(ids) == 2
    assert command("outbox", "settle", "--kept-back", ids[0], *at).out.count("daily") == 2
    word = command("outbox", "settle", "--kept-back", ids[0], "--arrived", *at, *now)
    assert word.out.strip() == "1 message counts as sent"
    assert command("outbox", "settle", "--kept-back", ids[0], "--arrived", *at).code == 3
    assert command("outbox", "settle", "--release", "--arrived", *at).code == 2
    files = len(list((tmp_path / "outbox").rglob("*.eml")))
    released = command("outbox", "settle", "--release", *at, *now)
    assert "1 message is pending again" in released.out
    assert command("outbox", "send", *at, *now).code == 0
    assert len(list((tmp_path / "outbox").rglob("*.eml"))) == files + 1
    assert command("outbox", "settle", "--release", *at).out.strip() == "Nothing is kept back"
