"""What is decided is sent once, to those who may still be written to, over real connections."""

from __future__ import annotations

import email
import email.policy
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from profile_pipelines import journey_steps
from profile_pipelines.channels.dispatch import DispatchResult
from profile_pipelines.consent.unsubscribe_links import KEY, URL, UnsubscribeLinks
from profile_pipelines.ledger.outbox import LEASE
from profile_pipelines_tests.channels.sinks import Sink, sink
from profile_pipelines_tests.company import HOUR, START, Company, catalogue, stamp

TEXT = "Subject: Hello {{ tier }}\n\nYour status is {{ status }}, {{ email }}.\n"
HTML = "<p>{{ tier }}</p>\n"


def _declared(channels: dict[str, Any], **limits: Any) -> dict[str, Any]:
    declared = catalogue(("crm",), ("status", "tier", "opt_in"))
    declared["attributes"]["opt_in"] |= {"consent": "email", "fresh_within": "3h"}
    declared["attributes"]["status"].pop("valid", None)
    declared["channels"] = {"channels": channels, "limits": limits}
    declared["templates"] = {"hello.txt": TEXT, "hello.html": HTML}
    return declared


def _company(folder: Path, channels: dict[str, Any], **limits: Any) -> Company:
    """Three customers; the third has withdrawn consent."""
    company = Company(folder, _declared(channels, **limits))
    for key in ("1", "2", "3"):
        consent = "no" if key == "3" else "yes"
        company.put(
            "crm", key, no=key, email=f"c{key}@example.com", changed=stamp(-5),
            status="active", tier="gold & more", opt_in=consent,
        )  # fmt: skip
    company.run()
    return company


def _decide(company: Company, channel: str, *keys: str, **more: Any) -> None:
    ids = [
        company.customers.profile(key if "@" in key else f"c{key}@example.com").profile_id
        for key in keys
    ]
    rows = [
        {
            "journey": "renewal", "version": 1, "enrolment": profile_id, "step": "0",
            "channel": channel, "template": "hello", "consent": "email",
            "profile_id": profile_id, "decided_at": company.now,
            "next_attempt_at": company.now, "expires_at": None, **more,
        }
        for profile_id in ids
    ]  # fmt: skip
    outbox = company.workspace.ledger.outbox
    with outbox._engine.begin() as connection:  # pyright: ignore[reportPrivateUsage]
        outbox.decide(connection, rows)


def _dispatch(company: Company, at: datetime | None = None) -> DispatchResult:
    return journey_steps.dispatch(company.workspace, clock=lambda: at or company.now)


def _states(company: Company) -> dict[tuple[str, str | None], int]:
    found: dict[tuple[str, str | None], int] = {}
    for each in company.workspace.ledger.outbox.counts():
        key = (each.state, each.reason)
        found[key] = found.get(key, 0) + each.count
    return found


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sink]:
    with sink("smtp", tmp_path_factory.mktemp("smtp")) as server:
        yield server


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sink]:
    with sink("http", tmp_path_factory.mktemp("http")) as server:
        yield server


@pytest.fixture
def by_mail(mailbox: Sink, tmp_path: Path) -> Callable[..., Company]:
    """A company whose channel `email` goes to the mail server, which forgets what it had."""
    for path in mailbox.folder.iterdir():
        path.unlink()

    def make(**options: Any) -> Company:
        channel = {
            "type": "smtp", "host": "127.0.0.1", "port": mailbox.port, "security": "none",
            "from": "Example <hello@example.org>", "to": "email", **options,
        }  # fmt: skip
        return _company(tmp_path, {"email": channel})

    return make


@pytest.fixture
def by_call(
    endpoint: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Company]:
    """A company whose channel `hook` goes to the HTTP server, which forgets what it had."""
    monkeypatch.setenv("HOOK_SECRET", "hush")
    for path in endpoint.folder.iterdir():
        path.unlink()

    def make(**options: Any) -> Company:
        channel = {
            "type": "webhook", "url": f"http://127.0.0.1:{endpoint.port}/in", "to": "email",
            "secret": {"env": "HOOK_SECRET"}, "attributes": ["tier"],
            "allow_private": ["127.0.0.1"], **options,
        }  # fmt: skip
        return _company(tmp_path, {"hook": channel})

    return make


def test_mail_goes_out_once(by_mail: Callable[..., Company], mailbox: Sink) -> None:
    """With text and HTML, the same Message-ID whenever it's sent, and only with consent."""
    company = by_mail()
    _decide(company, "email", "1", "2", "3")
    result = _dispatch(company)
    assert result.counts == {("email", "sent", None): 2, ("email", "skipped", "consent"): 1}
    assert _dispatch(company).counts == {}
    assert sorted(each["to"][0] for each in mailbox.taken) == ["c1@example.com", "c2@example.com"]
    mail = email.message_from_string(mailbox.taken[0]["mail"], policy=email.policy.default)
    assert mail["Subject"] == "Hello gold & more"
    assert mail["From"] == "Example <hello@example.org>"
    assert mail["Message-ID"].endswith("@example.org>")
    text, html = (part.get_content() for part in mail.iter_parts())  # pyright: ignore
    assert "Your status is active, c" in text
    assert "<p>gold &amp; more</p>" in html


def test_addresses_stand_as_the_standards_say(
    by_mail: Callable[..., Company], mailbox: Sink
) -> None:
    """Names with commas, quotes and letters of any script (RFC 5322, 2047); domains in ASCII."""
    company = by_mail(
        **{"from": 'Müller, "M" & Co. <hello@müller.example>', "reply_to": "Li, Bo <bo@x.example>"}
    )
    _decide(company, "email", "2")
    assert _dispatch(company).total("sent") == 1
    taken = mailbox.taken[-1]
    assert taken["from"] == "hello@xn--mller-kva.example"
    mail = email.message_from_string(taken["mail"], policy=email.policy.default)
    sender, answers = mail["From"].addresses[0], mail["Reply-To"].addresses[0]
    assert (sender.display_name, sender.addr_spec) == (
        'Müller, "M" & Co.', "hello@xn--mller-kva.example"
    )  # fmt: skip
    assert (answers.display_name, answers.addr_spec) == ("Li, Bo", "bo@x.example")


def test_an_address_that_needs_utf8_goes_where_that_is_offered(
    by_mail: Callable[..., Company], tmp_path: Path
) -> None:
    """Another server refuses that one message, with the reason."""
    company = by_mail()
    _decide(company, "email", "1", "2")
    company.put("crm", "1", no="1", email="jörg@example.com", changed=stamp(0.5), opt_in="yes")
    company.run()
    result = _dispatch(company)
    reason = "the mail server takes ASCII addresses only"
    assert result.counts == {("email", "failed", reason): 1, ("email", "sent", None): 1}
    (tmp_path / "utf8").mkdir()
    with sink("smtputf8", tmp_path / "utf8") as server:
        declared = company.declared
        declared["channels"]["channels"]["email"]["port"] = server.port
        company.declare(declared)
        _decide(company, "email", "jörg@example.com", step="1")
        assert _dispatch(company).total("sent") == 1
        (taken,) = server.taken
        assert taken["to"] == ["jörg@example.com"]
        assert "To: jörg@example.com" in taken["mail"]


def test_consent_counts_at_the_moment_of_sending(by_mail: Callable[..., Company]) -> None:
    """A withdrawal after the decision is obeyed; a consent that is too old only puts it off."""
    company = by_mail()
    _decide(company, "email", "1", "2", expires_at=company.now + 9 * HOUR)
    company.put("crm", "1", no="1", email="c1@example.com", changed=stamp(0.5), opt_in="no")
    company.run()
    stale = company.now + 4 * HOUR
    assert _dispatch(company, stale).counts == {("email", "pending", "stale"): 2}
    assert _dispatch(company, stale + timedelta(minutes=1)).counts == {}
    company.now = stale + HOUR
    company.run()
    result = _dispatch(company)
    assert result.counts == {("email", "skipped", "consent"): 1, ("email", "sent", None): 1}


def test_a_mail_servers_refusals(by_mail: Callable[..., Company], mailbox: Sink) -> None:
    """A passing refusal is tried again later, a lasting one never; nothing is retried for ever."""
    company = by_mail(attempts=2)
    company.put("crm", "2", no="2", email="nobody@example.com", changed=stamp(1), opt_in="yes")
    company.run()
    _decide(company, "email", "c1@example.com", "nobody@example.com")
    mailbox.order(451)
    assert _dispatch(company).counts == {
        ("email", "pending", "SMTP 451"): 1, ("email", "failed", "SMTP 550"): 1,
    }  # fmt: skip
    assert _dispatch(company).counts == {}
    mailbox.order(451)
    later = company.now + timedelta(minutes=2)
    assert _dispatch(company, later).counts == {("email", "failed", "SMTP 451"): 1}
    assert mailbox.taken == []


def test_a_mail_whose_answer_is_lost_is_parked(
    by_mail: Callable[..., Company], mailbox: Sink
) -> None:
    """It may have been taken, so it isn't sent again unless an operator says so."""
    company = by_mail()
    _decide(company, "email", "1", "2")
    mailbox.order("hang up")
    result = _dispatch(company)
    assert (result.total("unknown"), result.total("sent")) == (1, 1)
    assert _dispatch(company, company.now + 9 * HOUR).counts == {}
    assert len(mailbox.taken) == 2
    assert company.workspace.ledger.outbox.retry(["unknown"], now=company.now) == 1
    assert _dispatch(company).total("sent") == 1


def test_a_channel_that_cannot_be_reached(tmp_path: Path) -> None:
    """Nothing is lost and no attempt is counted; the error names the channel, not the customer."""
    channel = {"type": "smtp", "host": "127.0.0.1", "port": 9, "security": "none",
               "from": "a@example.org", "to": "email"}  # fmt: skip
    company = _company(tmp_path, {"email": channel})
    _decide(company, "email", "1", "2")
    result = _dispatch(company)
    assert list(result.errors) == ["email"]
    assert "channel email" in result.errors["email"]
    assert "@" not in result.errors["email"]
    assert _states(company) == {("pending", "unavailable"): 2}
    rows = company.workspace.ledger.outbox.messages()
    assert {row["attempts"] for row in rows} == {0}


def test_calls_are_signed_and_repeated_by_key(
    by_call: Callable[..., Company], endpoint: Sink
) -> None:
    """The signature proves the body; passing faults are tried again with the same key."""
    company = by_call(concurrency=1)
    _decide(company, "hook", "1", "2")
    endpoint.order("hang up", 503)
    assert _dispatch(company).counts == {
        ("hook", "pending", "ProtocolError"): 1, ("hook", "pending", "HTTP 503"): 1,
    }  # fmt: skip
    assert _dispatch(company, company.now + timedelta(minutes=2)).total("sent") == 2
    keys = [each["headers"]["Idempotency-Key"] for each in endpoint.taken]
    assert len(keys) == 3
    assert len(set(keys)) == 2
    call = endpoint.taken[-1]
    told = json.loads(call["body"])
    assert told["attributes"] == {"tier": "gold & more"}
    assert told["subject"] == "Hello gold & more"
    stamp_, signed = call["headers"]["Webhook-Signature"].split(",")
    text = f"{stamp_.removeprefix('t=')}.{call['body']}".encode()
    assert signed == "v1=" + hmac.new(b"hush", text, hashlib.sha256).hexdigest()


def test_a_call_that_is_asked_to_wait(by_call: Callable[..., Company], endpoint: Sink) -> None:
    """Retry-After is honoured; a private address is refused unless the catalogue allows it."""
    company = by_call()
    _decide(company, "hook", "1")
    endpoint.order(429)
    assert _dispatch(company).counts == {("hook", "pending", "HTTP 429"): 1}
    assert _dispatch(company, company.now + HOUR).counts == {}
    assert _dispatch(company, company.now + 2 * HOUR).total("sent") == 1
    refused = by_call(allow_private=False)
    _decide(refused, "hook", "2")
    assert "private address" in _dispatch(refused, refused.now).errors["hook"]


def test_files_are_written_once(tmp_path: Path) -> None:
    """A message whose sender was lost is written again to the same file."""
    company = _company(tmp_path, {"drop": {"type": "file", "to": "email"}})
    _decide(company, "drop", "1", "2")
    outbox = company.workspace.ledger.outbox
    [lost, _] = outbox.claim("lost", 2, now=company.now)
    outbox.begin("lost", [lost.message_id], now=company.now)
    assert _dispatch(company).counts == {}
    assert _dispatch(company, company.now + 2 * LEASE).total("sent") == 2
    files = sorted((tmp_path / "outbox" / "drop").iterdir())
    assert [path.suffix for path in files] == [".eml", ".eml"]
    assert "To: c1@example.com" in "".join(path.read_text() for path in files)


def test_services_are_asked_through_apprise(
    endpoint: Sink,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A service that takes it counts as sent; one that refuses is asked again; nothing personal
    is logged."""
    pytest.importorskip("apprise")
    for path in endpoint.folder.iterdir():
        path.unlink()
    monkeypatch.setenv("CHAT_URL", f"json://127.0.0.1:{endpoint.port}/people/{{to}}")
    channel = {"type": "apprise", "url": {"env": "CHAT_URL"}, "to": "email"}
    company = _company(tmp_path, {"chat": channel})
    _decide(company, "chat", "1")
    assert _dispatch(company).counts == {("chat", "sent", None): 1}
    (taken,) = endpoint.taken
    body = json.loads(taken["body"])
    assert body["title"] == "Hello gold & more"
    assert body["message"].strip() == "Your status is active, c1@example.com."
    assert taken["path"] == "/people/c1@example.com"
    endpoint.order(500)
    _decide(company, "chat", "2")
    assert _dispatch(company).counts == {("chat", "pending", "the service refused it"): 1}
    assert _dispatch(company, company.now + HOUR).counts == {("chat", "sent", None): 1}
    assert "example.com" not in caplog.text
    monkeypatch.setenv("CHAT_URL", "nosuch://example")
    _decide(company, "chat", "1", step="1")
    result = _dispatch(company)
    assert result.errors == {"chat": "channel chat: its url is of no service that Apprise knows"}
    assert result.counts == {("chat", "pending", "unavailable"): 1}


def test_caps_and_quiet_hours(tmp_path: Path) -> None:
    """Nothing goes out in quiet hours, nor to those who have had enough."""
    company = _company(
        tmp_path,
        {"drop": {"type": "file", "to": "email", "cap": "1 per 1 day"}},
        quiet_hours="21:00 to 08:00",
        cap="2 per 7 days",
    )
    _decide(company, "drop", "1", step="0")
    _decide(company, "drop", "1", step="1")
    night = START.replace(hour=23)
    company.now = night
    company.run()
    assert _dispatch(company, night).counts == {("drop", "pending", "quiet_hours"): 2}
    morning = START.replace(hour=8) + timedelta(days=1)
    assert _dispatch(company, morning - timedelta(minutes=1)).counts == {}
    company.now = morning
    company.run()
    assert _dispatch(company, morning).counts == {
        ("drop", "sent", None): 1, ("drop", "skipped", "cap"): 1,
    }  # fmt: skip


def test_who_unsubscribes_gets_nothing_from_that_moment(
    by_mail: Callable[..., Company], mailbox: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the link in the mail, before any sync, although the systems still say yes."""
    monkeypatch.setenv(URL, "https://mail.example.org")
    monkeypatch.setenv(KEY, "k" * 32)
    company = by_mail()
    _decide(company, "email", "1")
    _dispatch(company)
    mail = email.message_from_string(mailbox.taken[0]["mail"], policy=email.policy.default)
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    links = UnsubscribeLinks("https://mail.example.org", "k" * 32)
    found = links.read(mail["List-Unsubscribe"].strip("<>").rpartition("/")[2])
    assert found is not None
    company.workspace.ledger.unsubscribes.add(found.profile_id, found.purpose, now=company.now)
    _decide(company, "email", "1", "2", step="1")
    assert _dispatch(company).counts == {
        ("email", "sent", None): 1,
        ("email", "skipped", "consent"): 1,
    }


def test_an_unsubscription_outlives_its_profile(
    by_mail: Callable[..., Company], mailbox: Sink
) -> None:
    """When a profile goes up in another, which one's id stays makes no difference."""
    company = by_mail()
    ids = {key: company.customers.profile(f"c{key}@example.com").profile_id for key in "12"}
    company.workspace.ledger.unsubscribes.add(max(ids.values()), "email", now=company.now)
    _decide(company, "email", "1", "2")
    # both records say the same number now: they are one customer, under the other id
    company.put(
        "crm", "2", no="1", email="c1@example.com", changed=stamp(-1),
        status="active", tier="gold", opt_in="yes",
    )  # fmt: skip
    company.run()
    assert company.customers.profile("c1@example.com").profile_id == min(ids.values())
    counts = _dispatch(company).counts
    assert sum(n for (_, state, _), n in counts.items() if state == "sent") == 0
    assert ("email", "skipped", "consent") in counts


def test_a_template_that_fails_for_one_customer_is_not_sent_to_them(tmp_path: Path) -> None:
    """Whatever its fault with their values; the others get theirs, by their own clocks."""
    declared = _declared({"drop": {"type": "file", "to": "email"}})
    declared["settings"] = {"timezone": "Australia/Sydney", "timezone_attribute": "status"}
    declared["templates"] = {"hello.txt": "Subject: {{ 10 / (tier | int) }} on {{ today }}\n\nx\n"}
    company = Company(tmp_path, declared)
    for key, zone in (("0", "UTC"), ("1", "no zone"), ("2", "Pacific/Pago_Pago")):
        company.put(
            "crm", key, no=key, email=f"c{key}@example.com", changed=stamp(-5),
            status=zone, tier=key, opt_in="yes",
        )  # fmt: skip
    company.now = START.replace(hour=13)
    company.run()
    _decide(company, "drop", "0", "1", "2")
    assert _dispatch(company, START.replace(hour=14)).counts == {
        ("drop", "skipped", "template"): 1, ("drop", "sent", None): 2,
    }  # fmt: skip
    mails = [path.read_text() for path in (tmp_path / "outbox" / "drop").iterdir()]
    subjects = sorted(each.partition("Subject: ")[2].splitlines()[0] for each in mails)
    assert subjects == ["10 on 2026-03-03", "5 on 2026-03-02"]
