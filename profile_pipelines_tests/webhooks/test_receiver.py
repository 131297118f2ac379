"""Signed requests over a real connection: what is taken, what is refused, what is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from profile_pipelines.catalog.models import Catalogue
from profile_pipelines.ledger.inbox import KEPT
from profile_pipelines.webhooks.signatures import Delivery, Refused, verify
from profile_pipelines_tests.webhooks import senders
from profile_pipelines_tests.webhooks.conftest import Receiver
from profile_pipelines_tests.webhooks.senders import NOW, Post

VENDORS: dict[str, Callable[..., Post]] = {
    "stripe": senders.stripe,
    "shopify": senders.shopify,
    "hubspot": senders.hubspot,
    "generic": senders.generic,
}
CATALOGUE = TypeAdapter(Catalogue).validate_python(senders.catalogue())
TIMED = [name for name in VENDORS if name != "shopify"]


@pytest.mark.parametrize("vendor", VENDORS)
def test_what_is_signed_well_is_kept(receiver: Receiver, vendor: str) -> None:
    """A delivery that is signed as the vendor does is in the inbox when 200 is answered."""
    assert receiver.post(VENDORS[vendor]("42")).status_code == 200
    assert receiver.keys(vendor) == ["42"]


@pytest.mark.parametrize("vendor", VENDORS)
def test_what_isnt_signed_so_is_refused(receiver: Receiver, vendor: str) -> None:
    """Another secret, another body, a cut or missing signature: 401, and nothing is kept."""
    good = VENDORS[vendor]("42")
    cut = {name: value[:-9] for name, value in good.headers.items()}
    wrong = [
        VENDORS[vendor]("42", secret="another"),
        good.with_body(good.body.replace(b"42", b"43")),
        Post(vendor, good.body, cut),
        Post(vendor, good.body),
    ]
    assert [receiver.post(each).status_code for each in wrong] == [401] * 4
    assert receiver.keys(vendor) == []
    receiver.post(good)
    counts = receiver.counts(vendor)
    assert counts == {"received": 1, "wrong signature": 3, "no signature": 1}


@pytest.mark.parametrize("vendor", TIMED)
@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_signature_of_another_time_is_refused(
    receiver: Receiver, vendor: str, seconds: int
) -> None:
    """More than the tolerance away, before or after: 401."""
    assert receiver.post(VENDORS[vendor]("42", at=NOW + timedelta(seconds=seconds))).is_error
    assert receiver.keys(vendor) == []


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_repeated_delivery_is_acknowledged_and_not_kept_twice(
    receiver: Receiver, vendor: str
) -> None:
    """The same delivery again is answered with 200, also once its record was read."""
    post = VENDORS[vendor]("42")
    assert [receiver.post(post).status_code for _ in range(2)] == [200, 200]
    [row] = receiver.waiting(vendor)
    receiver.inbox.remove([row.number])
    assert receiver.post(post).status_code == 200
    assert receiver.keys(vendor) == []
    assert receiver.counts(vendor)["repeated"] == 2


@pytest.mark.parametrize("spell", [str.upper, lambda code: bytes.fromhex(code).hex(" ")])
def test_a_signature_spelled_otherwise_is_the_same(
    receiver: Receiver, spell: Callable[[str], str]
) -> None:
    """Hexadecimal digits in capitals, or apart: who repeats a delivery so repeats it all the
    same."""
    post = senders.generic("42")
    digits = post.headers["X-Signature"].removeprefix("sha512=")
    again = Post("generic", post.body, {**post.headers, "X-Signature": f"sha512={spell(digits)}"})
    assert [receiver.post(each).status_code for each in (post, again)] == [200, 200]
    assert receiver.keys("generic") == ["42"]
    assert receiver.counts("generic") == {"received": 2, "repeated": 1}


@pytest.mark.parametrize("vendor", VENDORS)
@given(data=st.data())
@settings(max_examples=40)
def test_every_spelling_of_a_signature_has_one_code(vendor: str, data: st.DataObject) -> None:
    """However a signature is written, whichever secret made it, and whatever else stands beside it
    in the header: what is taken at all has the code of the vendor's own spelling."""
    post = VENDORS[vendor]("42")
    webhook = CATALOGUE.systems[vendor].webhook
    assert webhook is not None
    secret = senders.SECRETS["hmac" if vendor == "generic" else vendor]
    headers = {name.lower(): value for name, value in post.headers.items()}

    def code(text: str, secrets: list[str]) -> str | None:
        delivery = Delivery("POST", senders.HUBSPOT_URL, {**headers, name: text}, post.body)
        try:
            return verify(webhook.signature, secrets, delivery, NOW).code
        except Refused:
            return None

    [name] = [each for each in headers if "signature" in each or "hmac" in each]
    text = headers[name]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(st.sampled_from(["", " ", "=", "A", ",v1=ab"])) + text[at:]
    if data.draw(st.booleans()):
        text = text.swapcase()
    for secrets in ([secret], [secret, "next"], ["next", secret]):
        assert code(text, secrets) in (None, code(headers[name], secrets))


def test_a_later_attempt_of_the_same_event_is_known(receiver: Receiver) -> None:
    """Vendors sign an event anew when they deliver it again: its id tells."""
    receiver.post(senders.stripe("42"))
    receiver.later(minutes=10)
    assert receiver.post(senders.stripe("42", at=receiver.now)).status_code == 200
    assert receiver.keys("stripe") == ["42"]
    receiver.post(senders.stripe("42", "evt_2", at=receiver.now))
    assert receiver.keys("stripe") == ["42", "42"]


def test_events_that_nothing_tells_apart_are_all_kept(receiver: Receiver) -> None:
    """`record 7 changed`, without id or time, may be said twice because it changed twice."""
    for _ in range(2):
        receiver.post(senders.thin("7"))
    assert receiver.keys("thin") == ["7", "7"]


def test_a_batch_names_each_of_its_records(receiver: Receiver) -> None:
    """HubSpot sends events in one list; those of a batch that came before aren't kept again."""
    receiver.post(senders.hubspot("1", "2"))
    receiver.post(senders.hubspot("1", "2", "3"))
    assert receiver.keys("hubspot") == ["1", "2", "3"]


def test_no_more_of_a_record_is_kept_than_the_sync_reads(receiver: Receiver) -> None:
    """Of a record that is carried only the mapped fields lie in the inbox; else only the key."""
    receiver.post(senders.shopify("9"))
    [row] = receiver.waiting("shopify")
    assert json.loads(row.record or "") == {
        "id": "9",
        "email": "secret@example.com",
        "tags": "vip",
    }
    receiver.post(senders.stripe("sub_1"))
    [row] = receiver.waiting("stripe")
    assert (row.key, row.record) == ("sub_1", None)


def test_a_deletion_is_kept_as_such(receiver: Receiver) -> None:
    """An event that says that a record is gone needs nothing but its key."""
    receiver.post(senders.shopify("9", topic="customers/delete"))
    [row] = receiver.waiting("shopify")
    assert (row.key, row.record, row.gone) == ("9", None, True)


def test_an_event_that_isnt_wanted_is_acknowledged(receiver: Receiver) -> None:
    """An event that no rule fits, or that names no record, gets 200 and is counted."""
    assert receiver.post(senders.shopify("9", topic="orders/paid")).status_code == 200
    assert receiver.post(senders.stripe(" ")).status_code == 200
    assert receiver.counts("shopify") == {"not wanted": 1}
    assert receiver.counts("stripe")["no record named"] == 1


def test_requests_that_arent_deliveries(receiver: Receiver) -> None:
    """Unknown systems, other methods, bodies too big or no JSON have their own answers."""
    too_big = senders.stripe("x" * 20_000)
    no_json = Post("thin", b"{", {"X-Hub": senders._sha256("key", b"{").hex()})
    assert receiver.post(Post("nobody", b"{}")).status_code == 404
    assert httpx.get(f"{receiver.url}/webhooks/stripe").status_code == 405
    assert receiver.post(too_big).status_code == 413
    assert receiver.post(no_json).status_code == 400

    def chunks():
        yield from [b"x" * 4000] * 5

    assert httpx.post(f"{receiver.url}/webhooks/stripe", content=chunks()).status_code == 413


def test_answers_tell_nothing(receiver: Receiver) -> None:
    """No answer repeats a secret or anything of the body."""
    posts = [make("42", secret="another") for make in VENDORS.values()]
    posts += [make("42") for make in VENDORS.values()]
    told = " ".join(receiver.post(post).text for post in posts)
    assert "42" not in told
    assert not any(word in told for word in [*senders.SECRETS.values(), "secret@example.com"])


def test_two_hundred_at_once(receiver: Receiver) -> None:
    """Two hundred deliveries at the same time are all kept, each once, though each comes twice."""

    async def send() -> list[int]:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(limits=limits, timeout=60) as client:
            posts = [senders.stripe(f"sub_{n}", f"evt_{n}") for n in range(100)] * 2
            answers = await asyncio.gather(
                *(
                    client.post(
                        f"{receiver.url}/webhooks/stripe",
                        content=post.body,
                        headers=dict(post.headers),
                    )
                    for post in posts
                )
            )
        return [answer.status_code for answer in answers]

    assert set(asyncio.run(send())) == {200}
    assert sorted(map(str, receiver.keys("stripe"))) == sorted(f"sub_{n}" for n in range(100))
    assert receiver.counts("stripe") == {"received": 200, "repeated": 100}


def test_what_nobody_reads_is_dropped_in_the_end(receiver: Receiver) -> None:
    """Rows and ids of events are kept for a bounded time; what was dropped unread is counted."""
    receiver.post(senders.shopify("1"))
    receiver.later(seconds=KEPT.total_seconds() + 1)
    receiver.post(senders.thin("7"))
    assert receiver.keys("shopify") == []
    assert receiver.counts("shopify") == {"received": 1, "expired": 1}
    receiver.post(senders.shopify("1"))
    assert receiver.keys("shopify") == ["1"]


def test_an_event_that_arrives_while_its_record_is_read_is_kept(receiver: Receiver) -> None:
    """What was read is removed by its row: a later event about the same record stays."""
    receiver.post(senders.stripe("1", "evt_1"))
    taken = receiver.waiting("stripe")
    receiver.post(senders.stripe("1", "evt_2"))
    receiver.inbox.remove([row.number for row in taken])
    assert receiver.keys("stripe") == ["1"]
    receiver.inbox.remove([row.number for row in taken])
    assert receiver.keys("stripe") == ["1"]
