"""Mails that servers send back suppress the addresses of our mails that they answer."""

from __future__ import annotations

import email
import mailbox
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from profile_pipelines import privacy_steps
from profile_pipelines.consent.bounce_mails import CantRead, returned_in
from profile_pipelines.consent.bounces import BouncesResult, read_bounces, read_declared
from profile_pipelines.errors import ProfilePipelinesError
from profile_pipelines_tests.channels.mailings import Mailings
from profile_pipelines_tests.channels.sinks import sink
from profile_pipelines_tests.consent import bounce_samples as samples

BO, LI = "bo@x.example", "li@x.example"


class Returns:
    """Two customers who got a mail each, and a mailbox for what comes back of it."""

    def __init__(self, folder: Path) -> None:
        self.mailings = Mailings(folder)
        self.company = self.mailings.company
        self.mailings.put("1", BO)
        self.mailings.put("2", LI)
        self.mailings.run()
        self.box = folder / "back"
        self.box.mkdir()
        self.steps: dict[str, int] = {}
        self.send("1", "2")
        self.ledger = self.company.workspace.ledger
        self.took = 0

    def send(self, *numbers: str) -> dict[str, str]:
        """Send a mail to each; what became of it."""
        found = self.mailings.send(*numbers)
        self.steps |= {no: self.mailings.sent for no, became in found.items() if became == "sent"}
        return found

    def id_of(self, no: str) -> str:
        """The Message-ID of the last mail to a customer."""
        profile_id = self.company.customers.profile(no).profile_id
        message_id = f"welcome.1.{profile_id}.{self.steps[no]}.drop"
        return f"<{self.ledger.suppressions.code(message_id)}@example.com>"

    def put(self, content: bytes) -> Path:
        self.took += 1
        path = self.box / f"{self.took}.eml"
        path.write_bytes(content)
        return path

    def read(self, path: Path | None = None) -> BouncesResult:
        catalogue = self.company.workspace.catalogue
        return read_bounces(catalogue, self.ledger, path or self.box, now=self.company.now)

    def suppressed(self, address: str = BO, **how: bool) -> list[str | None]:
        found = self.ledger.suppressions
        return [act.reason for act in found.of([found.mark(address)], "email", **how).values()]


@pytest.fixture(scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Returns:
    return Returns(tmp_path_factory.mktemp("returns"))


@pytest.fixture
def returns(_shared: Returns) -> Iterator[Returns]:
    """As it was before anything came back."""
    assert _shared.ledger.feedback.counts() == {}
    yield _shared
    with _shared.ledger._engine.begin() as connection:  # pyright: ignore[reportPrivateUsage]
        for table in ("suppression_acts", "feedback_reports", "feedback_files"):
            connection.execute(sa.text(f"delete from {table}"))
    for path in _shared.box.iterdir():
        path.unlink()


@pytest.mark.parametrize("server", samples.HARD)
def test_a_bounce_for_good_suppresses_the_address(returns: Returns, server: str) -> None:
    """Whichever server wrote it; for all messages; read twice it's one."""
    returns.put(samples.HARD[server](returns.id_of("1"), BO))
    found = returns.read()
    assert (dict(found.new), found.unproven, found.unreadable) == ({"hard": 1}, [], [])
    assert returns.suppressed() == returns.suppressed(transactional=True) == ["bounced"]
    assert returns.suppressed(LI) == returns.suppressed("away@y.example") == []
    again = returns.read()
    assert (dict(again.new), again.repeated) == ({}, 1)
    assert len(returns.ledger.suppressions.standing()) == 1
    assert returns.send("1", "2") == {"1": "suppressed", "2": "sent"}


@pytest.mark.parametrize("server", samples.SOFT)
def test_a_bounce_for_the_time_being_is_counted(returns: Returns, server: str) -> None:
    """By message: five of them, and not five reports of one."""
    for _ in range(6):
        returns.put(samples.SOFT[server](returns.id_of("1"), BO))
    assert returns.read().new == {"soft": 1}
    for _ in range(3):
        returns.send("1")
        returns.put(samples.SOFT[server](returns.id_of("1"), BO))
    returns.read()
    assert returns.suppressed() == []
    returns.send("1")
    returns.put(samples.SOFT[server](returns.id_of("1"), BO))
    assert returns.read().new == {"soft": 1}
    assert returns.suppressed() == ["bounced"]


def test_a_complaint_that_is_passed_on_suppresses_the_address(returns: Returns) -> None:
    """Unless it says that the mail was no spam."""
    told = samples.complaint(returns.id_of("1"), BO)
    returns.put(told.replace(b"abuse\r", b"not-spam\r"))
    returns.read()
    assert returns.suppressed() == []
    returns.put(told)
    assert returns.read().new == {"complaint": 1}
    assert returns.suppressed(transactional=True) == ["complained"]


def test_what_is_no_report_suppresses_nobody(returns: Returns) -> None:
    """Absence notices, receipts, warnings that it takes longer, and nonsense."""
    for other in samples.OTHERS.values():
        returns.put(other(returns.id_of("1"), BO))
    returns.put(samples.postfix_delayed(returns.id_of("1"), BO))
    for nonsense in (b"", b"\xff\x00" * 99, b"Content-Type: multipart/report\n\n--"):
        returns.put(nonsense)
    found = returns.read()
    assert (found.mails, found.others, found.delayed) == (6, 5, 1)
    assert not returns.ledger.suppressions.any


def test_a_report_that_says_nothing_is_told(returns: Returns) -> None:
    """By its place; what is beside it is read."""
    path = returns.put(
        samples.postfix(returns.id_of("1"), BO)
        .replace(b"Final-Recipient", b"X-Final")
        .replace(b"Original-Recipient", b"X-Original")
    )
    returns.put(samples.postfix(returns.id_of("2"), LI))
    found = returns.read()
    assert (found.unreadable, dict(found.new)) == ([str(path)], {"hard": 1})


@pytest.mark.parametrize("server", [*samples.HARD, *samples.SOFT, "complaint"])
def test_a_forged_report_suppresses_nobody(returns: Returns, server: str) -> None:
    """Without a Message-ID of ours, with one that is made up, or with that of somebody else's
    mail: it is listed as unproven."""
    made = getattr(samples, server)
    theirs = returns.id_of("1")
    known = f"welcome.1.1.{returns.steps['1']}.drop"
    for message_id in ("", "<x@example.com>", f"<{known}@example.com>", theirs.upper()[:20]):
        returns.put(made(message_id, BO))
    # who got a mail can't have somebody else's address suppressed by it
    forged = made(theirs, LI)
    returns.put(forged)
    found = returns.read()
    assert len(found.unproven) == 5
    assert (dict(found.new), found.unreadable) == ({}, [])
    assert not returns.ledger.suppressions.any


def test_a_message_that_was_erased_proves_nothing(tmp_path: Path) -> None:
    """Its suppression from before stays, though."""
    returns = Returns(tmp_path)
    told = samples.postfix(returns.id_of("1"), BO)
    other = samples.postfix(returns.id_of("2"), LI)
    returns.put(told)
    returns.read()
    ids = [returns.company.customers.profile(no).profile_id for no in "12"]
    privacy_steps.erase_people(
        returns.company.workspace, ids, reference=None, by="ann", now=returns.company.now
    )
    returns.put(other)
    assert len(returns.read().unproven) == 2
    assert returns.suppressed() == ["bounced"]
    assert returns.suppressed(LI) == []


@pytest.mark.parametrize("kind", ["maildir", "mbox", "file"])
def test_mailboxes_of_each_kind_are_read(returns: Returns, kind: str, tmp_path: Path) -> None:
    """A Maildir, an mbox and a file; a missing one is a mistake that is told."""
    contents = [samples.postfix(returns.id_of("1"), BO), samples.exim(returns.id_of("2"), LI)]
    place = tmp_path / "box"
    if kind == "maildir":
        box: Any = mailbox.Maildir(place)
    elif kind == "mbox":
        box = mailbox.mbox(place)
    else:
        place.write_bytes(contents[0])
        assert returns.read(place).new == {"hard": 1}
        return
    for content in contents:
        box.add(content.replace(b"\r\n", b"\n"))
    box.flush()
    before = sorted((path, path.stat().st_size) for path in place.parent.rglob("*"))
    found = returns.read(place)
    assert (found.mails, dict(found.new)) == (2, {"hard": 2})
    assert sorted((path, path.stat().st_size) for path in place.parent.rglob("*")) == before
    with pytest.raises(ProfilePipelinesError, match="no mailbox can be read there"):
        returns.read(tmp_path / "none")


def test_what_a_run_has_read_isnt_read_again(returns: Returns, tmp_path: Path) -> None:
    """Nor when a mail program has seen it; a mailbox that isn't there is told."""
    declared = returns.company.declared
    channel = declared["channels"]["channels"]["drop"]
    place = tmp_path / "Maildir"
    box = mailbox.Maildir(place)
    try:
        channel["feedback"] = {"provider": "mailbox", "path": str(place)}
        returns.company.declare(declared)
        workspace, now = returns.company.workspace, returns.company.now
        told = (workspace.catalogue, workspace.ledger)
        key = box.add(samples.postfix(returns.id_of("1"), BO))
        [[first], none] = read_declared(*told, now=now)
        assert (first.mails, none) == (1, [])
        message = box[key]
        message.set_subdir("cur")
        message.add_flag("S")
        box[key] = message
        box.add(samples.postfix(returns.id_of("2"), LI))
        [[second], _] = read_declared(*told, now=now)
        assert (second.mails, dict(second.new)) == (1, {"hard": 1})
        channel["feedback"]["path"] = str(tmp_path / "gone")
        returns.company.declare(declared)
        workspace = returns.company.workspace
        _, [error] = read_declared(workspace.catalogue, workspace.ledger, now=now)
        assert error.startswith("channel drop: feedback: ")
    finally:
        del channel["feedback"]
        returns.company.declare(declared)


@pytest.mark.parametrize("server", [*samples.HARD, *samples.SOFT, *samples.OTHERS, "complaint"])
def test_what_is_cut_off_is_never_taken_for_something_else(server: str) -> None:
    """A mail's first bytes say the same as the whole of it, nothing, or that they can't be read;
    and never of other addresses or messages."""
    content = getattr(samples, server)("<0123@example.com>", BO)
    whole = returned_in(content)
    known = {address for each in whole for address in each.recipients} | {BO}
    for end in range(0, len(content), 7):
        try:
            found = returned_in(content[:end])
        except CantRead:
            continue
        for each in found:
            proven = set(each.message_ids) & {"0123@example.com"} and BO in each.recipients
            assert not proven or each.kind in {one.kind for one in whole}, content[:end]
            assert set(each.recipients) - known == set() or not proven


def test_a_mail_that_was_sent_for_real_comes_back(tmp_path: Path) -> None:
    """Over SMTP, with its own return path; what comes back of it with its own headers is proof."""
    with sink("smtp", tmp_path / "sink") as server:
        mailings = Mailings(tmp_path)
        declared = mailings.company.declared
        place = tmp_path / "Maildir"
        declared["channels"]["channels"]["drop"] = {
            "type": "smtp", "host": "127.0.0.1", "port": server.port, "security": "none",
            "from": "hello@example.org", "return_path": "bounces@example.org", "to": "email",
            "feedback": {"provider": "mailbox", "path": str(place)},
        }  # fmt: skip
        mailings.company.declare(declared)
        mailings.put("1", BO)
        mailings.run()
        assert mailings.send("1") == {"1": "sent"}
        [taken] = server.taken
        mail = email.message_from_string(taken["mail"])
    assert taken["from"] == "bounces@example.org"
    content = samples.exchange(mail["Message-ID"], BO)
    mailbox.Maildir(place).add(content)
    workspace = mailings.company.workspace
    [[found], _] = read_declared(workspace.catalogue, workspace.ledger, now=mailings.company.now)
    assert found.new == {"hard": 1}
    assert mailings.send("1") == {"1": "suppressed"}
