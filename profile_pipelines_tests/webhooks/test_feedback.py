"""Bounces and complaints that providers post, over a real connection and really signed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import TypeAdapter

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.errors import ProfilePipelinesError, SourceError
from profile_pipelines.ledger import Ledger
from profile_pipelines.webhooks.feedback import counted_as, declared_feedback, feedback_route
from profile_pipelines.webhooks.receiver import create_app
from profile_pipelines.webhooks.server import Limits
from profile_pipelines_tests.webhooks import providers
from profile_pipelines_tests.webhooks.conftest import served
from profile_pipelines_tests.webhooks.providers import PROVIDERS, Sns, post_of, serving_sns, sns
from profile_pipelines_tests.webhooks.senders import NOW, Post

BO = "Bo@X.example"


@dataclass
class Door:
    """A receiver for each provider's channel; its clock stands still unless a test moves it."""

    ledger: Ledger
    sns: Sns
    now: datetime = NOW
    url: str = ""
    catalogue: Catalogue = field(
        default_factory=lambda: TypeAdapter(Catalogue).validate_python(providers.catalogue())
    )

    def post(self, post: Post) -> int:
        at = f"{self.url}/feedback/{post.system}"
        return httpx.post(at, content=post.body, headers=dict(post.headers)).status_code

    def made(self, provider: str, kind: str, number: int = 1, address: str = BO) -> Post:
        return post_of(provider, self.sns.url, kind, address, number, self.now)

    def tell(self, provider: str, kind: str, number: int = 1, address: str = BO) -> int:
        return self.post(self.made(provider, kind, number, address))

    def suppressed(self, address: str = "bo@x.example", **how: bool) -> list[str | None]:
        found = self.ledger.suppressions
        purpose = "service" if how else "email"
        return [act.reason for act in found.of([found.mark(address)], purpose, **how).values()]

    def counts(self, channel: str) -> dict[str, int]:
        return self.ledger.inbox.status([counted_as(channel)])[0].counts


@pytest.fixture(params=["sqlite", "postgresql"])
def door(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Door]:
    """A receiver over each of the ledger's databases."""
    urls: dict[str, Callable[[], str]] = {
        "sqlite": lambda: f"sqlite:///{tmp_path / 'ledger.db'}",
        "postgresql": lambda: request.getfixturevalue("postgres_url"),
    }
    with serving_sns() as server:
        for name, value in providers.environment(server.url).items():
            monkeypatch.setenv(name, value)
        made = Door(Ledger(urls[request.param]()), server)
        route = feedback_route(made.catalogue, lambda: made.ledger, lambda: made.now)
        app = create_app(
            made.catalogue, lambda: made.ledger.inbox, clock=lambda: made.now, more=[route]
        )
        with served(app, Limits()) as made.url:
            yield made


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_hard_bounce_suppresses_the_address_at_once(door: Door, provider: str) -> None:
    """For every message, in all its spellings, when 200 is answered; told twice it's one."""
    post = door.made(provider, "hard")
    assert [door.post(post), door.post(post)] == [200, 200]
    assert door.suppressed() == door.suppressed(transactional=True) == ["bounced"]
    assert door.suppressed("other@x.example") == []
    assert len(door.ledger.suppressions.standing()) == 1
    assert door.counts(provider) == {"received": 1, "repeated": 1}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_complaint_suppresses_the_address_at_once(door: Door, provider: str) -> None:
    """For every message: who complains isn't written to any more, not even about an order."""
    assert door.tell(provider, "complaint") == 200
    assert door.suppressed() == door.suppressed(transactional=True) == ["complained"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_soft_bounces_suppress_when_they_are_many_in_a_row(door: Door, provider: str) -> None:
    """Five messages without a delivery between; of one message any number counts once."""
    for number in (1, 2, 3, 4, 4, 4):
        door.now += timedelta(hours=1)
        assert door.tell(provider, "soft", number) == 200
    door.tell(provider, "delivered", 5)
    for number in range(6, 10):
        door.now += timedelta(hours=1)
        door.tell(provider, "soft", number)
    assert door.suppressed() == []
    door.now += timedelta(hours=1)
    door.tell(provider, "soft", 10)
    assert door.suppressed() == ["bounced"]


def test_old_soft_bounces_dont_count(door: Door) -> None:
    """Nor those before somebody restored the address."""
    for number in range(1, 5):
        door.tell("postmark", "soft", number)
    door.now += timedelta(days=31)
    door.tell("postmark", "soft", 5)
    assert door.suppressed() == []
    for number in range(6, 10):
        door.tell("postmark", "soft", number)
    assert door.suppressed() == ["bounced"]
    found = door.ledger.suppressions
    door.now += timedelta(days=1)
    restored = {"by": "ann", "because": "has room again"}
    assert found.restore(found.mark(BO), None, **restored, at=door.now)
    for number in range(10, 14):
        door.now += timedelta(minutes=1)
        door.tell("postmark", "soft", number)
    assert door.suppressed() == []
    door.tell("postmark", "soft", 14)
    assert door.suppressed() == ["bounced"]


def _without(post: Post) -> Post:
    """The same events without any proof."""
    body = json.loads(post.body)
    if isinstance(body, dict):
        body = {name: each for name, each in body.items() if name.lower() != "signature"}
    return Post(post.system, json.dumps(body).encode())


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_isnt_proven_is_refused(door: Door, provider: str) -> None:
    """Without proof, or with another's: 401, and nothing is suppressed."""
    event = getattr(providers, f"{provider.removesuffix('_token')}_event", None)
    told = event("hard", BO, 1, NOW) if event else {}
    wrong: dict[str, list[Post]] = {
        "ses": [
            sns("{}", door.sns.url, TopicArn=providers.TOPIC[:-1]),
            sns("{}", door.sns.url, SignatureVersion="3"),
            sns("{}", "https://evil.example"),
            sns("{}", door.sns.url + ".evil.example"),
            sns("{}", door.sns.url + "/other"),
            Post("ses", door.made("ses", "hard").body.replace(b"X.example", b"Y.example")),
        ],
        "sendgrid": [
            providers.sendgrid(told, key=ec.generate_private_key(ec.SECP256R1())),
            Post("sendgrid", b"[]", providers.sendgrid(told).headers),
        ],
        "postmark": [providers.postmark(told, "hook:wrong"), providers.postmark(told, "hook")],
        "postmark_token": [providers.postmark_token(told, "wrong")],
        "mailgun": [providers.mailgun(told, key="another")],
    }
    for post in [*wrong[provider], _without(door.made(provider, "hard"))]:
        assert door.post(post) == 401
    assert not door.ledger.suppressions.any
    # whoever names another place isn't followed there
    assert set(door.sns.asked) <= {providers.CERTIFICATE}


@pytest.mark.parametrize("provider", ["ses", "sendgrid", "mailgun"])
@pytest.mark.parametrize("seconds", [-3601, 3601])
def test_what_was_signed_at_another_time_is_refused(
    door: Door, provider: str, seconds: int
) -> None:
    """More than the tolerance away, before or after: 401; and it can be declared."""
    post = door.made(provider, "hard")
    door.now += timedelta(seconds=seconds)
    assert door.post(post) == 401
    assert not door.ledger.suppressions.any


def test_a_token_is_used_once(door: Door) -> None:
    """Mailgun signs no events: with a token that was seen, other events are refused."""
    first = providers.mailgun_event("delivered", BO, 1, NOW)
    forged = providers.mailgun_event("hard", "ceo@x.example", 2, NOW)
    assert door.post(providers.mailgun(first, "token")) == 200
    assert door.post(providers.mailgun(first, "token")) == 200
    assert door.post(providers.mailgun(forged, "token")) == 401
    assert not door.ledger.suppressions.any


def test_a_subscription_is_confirmed_at_sns_alone(door: Door) -> None:
    """By the token, once it is proven; the address that the message names is never called."""
    kind = "SubscriptionConfirmation"
    assert door.post(sns("x", door.sns.url, kind=kind, TopicArn=providers.TOPIC + "x")) == 401
    assert door.sns.asked == []
    assert door.post(sns("You have chosen to subscribe", door.sns.url, kind=kind)) == 200
    confirmed = [each for each in door.sns.asked if "ConfirmSubscription" in each]
    assert len(confirmed) == 1
    assert "Token=2336412f37" in confirmed[0]
    assert door.counts("ses") == {"another topic": 1, "subscription confirmed": 1}
    assert door.post(sns("bye", door.sns.url, kind="UnsubscribeConfirmation")) == 200
    assert door.counts("ses")["subscription ended"] == 1


def test_sns_signs_in_two_versions(door: Door) -> None:
    """SHA1 as it has always been, and SHA256; the certificate is fetched once."""
    for version, address in (("1", "a@x.example"), ("2", "b@x.example")):
        told = json.dumps(providers.ses("hard", address, 1, NOW))
        assert door.post(sns(told, door.sns.url, version=version)) == 200
        assert door.suppressed(address) == ["bounced"]
    assert door.sns.asked == [providers.CERTIFICATE]


def test_where_sns_cant_be_asked_it_is_to_try_again(door: Door) -> None:
    """503, and nothing is lost; names that are made up aren't asked for one by one."""
    door.sns.up = False
    for _ in range(3):
        assert door.tell("ses", "hard") == 503
    assert len(door.sns.asked) == 1
    door.sns.up = True
    door.now += timedelta(seconds=11)
    assert door.tell("ses", "hard") == 200
    assert door.suppressed() == ["bounced"]


UNREADABLE: dict[str, list[dict[str, Any]]] = {
    "ses": [
        {"notificationType": "Novelty", "mail": {"destination": [BO]}},
        {"notificationType": "Bounce", "bounce": {"bounceType": "Permanent"}},
        {"notificationType": "Bounce", "bounce": {"bounceType": "Other"}},
    ],
    "sendgrid": [{"event": "bounce", "email": "nobody"}, {"event": "novelty", "email": BO}],
    "postmark": [{"RecordType": "Bounce", "Type": "Novel", "Email": BO}],
    "postmark_token": [{"RecordType": "Novelty", "Email": BO}],
    "mailgun": [{"event": "failed", "severity": "novel", "recipient": BO}, {"x": [BO, {"y": BO}]}],
}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_cant_be_read_is_kept_without_the_address(door: Door, provider: str) -> None:
    """It is answered with 200, counted and listed, and what is beside it is read."""
    for event in UNREADABLE[provider]:
        post = {
            "ses": lambda event: sns(json.dumps(event), door.sns.url),
            "sendgrid": lambda event: providers.sendgrid(
                event, providers.sendgrid_event("hard", BO, 1, NOW)
            ),
            "postmark": providers.postmark,
            "postmark_token": providers.postmark_token,
            "mailgun": providers.mailgun,
        }[provider](event)
        assert [door.post(post), door.post(post)] == [200, 200]
    kept = door.ledger.feedback.unread()
    assert {(each.channel) for each in kept} == {provider}
    assert len(kept) == len(UNREADABLE[provider])
    assert "x.example" not in str(kept).lower()
    assert door.counts(provider)["unreadable"] == 2 * len(kept)
    assert door.suppressed() == (["bounced"] if provider == "sendgrid" else [])


def test_events_of_no_concern_are_acknowledged(door: Door) -> None:
    """Opens and clicks, and a complaint that a message was no spam, suppress nobody."""
    told = providers.ses("complaint", BO, 1, NOW)
    told["complaint"]["complaintFeedbackType"] = "not-spam"
    posts = [
        sns(json.dumps(told), door.sns.url),
        sns(json.dumps({"eventType": "Open", "mail": {}}), door.sns.url),
        sns("Successfully validated SNS topic for Amazon SES event publishing.", door.sns.url),
        providers.sendgrid({"event": "open", "email": BO}, {"event": "deferred", "email": BO}),
        providers.postmark({"RecordType": "Open", "Recipient": BO}),
        providers.mailgun({"event": "opened", "recipient": BO}),
    ]
    assert [door.post(each) for each in posts] == [200] * 6
    assert not door.ledger.suppressions.any
    assert door.ledger.feedback.unread() == []


def test_who_unsubscribes_at_the_provider_gets_no_marketing(door: Door) -> None:
    """For the channel's purpose, and not for messages that their order asks for."""
    event = {"email": BO, "timestamp": int(NOW.timestamp()), "sg_event_id": "1"}
    assert door.post(providers.sendgrid({**event, "event": "group_unsubscribe"})) == 200
    assert door.suppressed() == ["unsubscribed"]
    assert door.suppressed(transactional=True) == []


def test_other_requests_have_their_own_answers(door: Door) -> None:
    """Unknown channels, other methods, no JSON, bodies too big."""
    assert door.post(Post("nobody", b"{}")) == 404
    assert httpx.get(f"{door.url}/feedback/ses").status_code == 405
    assert door.post(Post("ses", b"{")) == 400
    assert door.post(Post("mailgun", b"x" * (1024 * 1024 + 1))) == 413
    code = base64.b64encode(providers.LOGIN.encode()).decode()
    assert door.post(Post("postmark", b"{", {"Authorization": f"Basic {code}"})) == 400


def test_a_clock_that_is_ahead_doesnt_outrank_a_restore(door: Door) -> None:
    """An event of the future counts as of the moment it came."""
    event = providers.postmark_event("hard", BO, 1, NOW + timedelta(days=900))
    assert door.post(providers.postmark(event)) == 200
    found = door.ledger.suppressions
    restored = {"by": "ann", "because": "a mistake"}
    found.restore(found.mark(BO), None, **restored, at=NOW + timedelta(hours=1))
    assert door.suppressed() == []


def test_secrets_are_looked_at_before_anything_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that isn't set, or a key that is none, is told at the start."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    declared = TypeAdapter(Catalogue).validate_python(providers.catalogue())
    for name, value in providers.environment("http://127.0.0.1:1").items():
        monkeypatch.setenv(name, value)
    assert len(declared_feedback(declared, lambda: ledger)) == 1
    monkeypatch.setenv("SENDGRID_KEY", "SG.not-a-key")
    with pytest.raises(ProfilePipelinesError, match="channel sendgrid: feedback: public_key"):
        declared_feedback(declared, lambda: ledger)
    monkeypatch.delenv("MAILGUN_KEY")
    monkeypatch.setenv("SENDGRID_KEY", providers.public_key())
    with pytest.raises(SourceError, match="MAILGUN_KEY"):
        declared_feedback(declared, lambda: ledger)
