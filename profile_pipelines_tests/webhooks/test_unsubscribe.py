"""The pages at which customers unsubscribe, over a real connection."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from profile_pipelines.consent.unsubscribe_links import KEY, URL, UnsubscribeLinks
from profile_pipelines.errors import ChannelError
from profile_pipelines_tests.webhooks.conftest import LINKS, Receiver


def _at(receiver: Receiver, link: str) -> str:
    return receiver.url + urlsplit(link).path


def test_opening_a_link_only_asks(receiver: Receiver) -> None:
    """Scanners follow links: a GET or HEAD changes nothing, and isn't kept by caches."""
    at = _at(receiver, LINKS.link(7, "email"))
    page = httpx.get(at)
    assert (page.status_code, httpx.head(at).status_code) == (200, 200)
    assert '<form method="post">' in page.text
    assert page.headers["cache-control"] == "no-store"
    assert receiver.unsubscribes.of("email") == set()


def test_one_click_unsubscribes_from_that_purpose_alone(receiver: Receiver) -> None:
    """A mailbox's POST (RFC 8058), also a second one, is kept when it's answered with 200."""
    at = _at(receiver, LINKS.link(7, "email"))
    for _ in range(2):
        assert httpx.post(at, data={"List-Unsubscribe": "One-Click"}).status_code == 200
        receiver.later(hours=1)
    assert receiver.unsubscribes.of("email") == {7}
    assert receiver.unsubscribes.of("sms") == set()


def test_who_didnt_mean_it_takes_it_back(receiver: Receiver) -> None:
    """By the button of the page that says it's done; a GET or another token does nothing."""
    at = _at(receiver, LINKS.link(7, "email"))
    done = httpx.post(at)
    action = re.search(r'<form method="post" action="([^"]+)">', done.text)
    assert action is not None
    again = urljoin(at, action[1])
    assert httpx.get(again).status_code == 200
    assert httpx.post(again.replace("/7.", "/8.")).status_code == 404
    assert receiver.unsubscribes.of("email") == {7}
    assert "as before" in httpx.post(again).text
    assert receiver.unsubscribes.of("email") == set()
    assert receiver.unsubscribes.since(0)[-1].by == "the customer"
    httpx.post(at)
    assert receiver.unsubscribes.of("email") == {7}


@pytest.mark.parametrize(
    "link",
    [
        LINKS.link(7, "email").replace("/7.", "/8."),
        LINKS.link(7, "email").replace(".email.", ".sms."),
        LINKS.link(7, "email")[:-1],
        UnsubscribeLinks(LINKS.url, "another" * 5).link(7, "email"),
        f"{LINKS.url}/unsubscribe/nonsense",
        f"{LINKS.url}/unsubscribe/7.email.%C3%A9",
    ],
)
def test_a_link_that_isnt_signed_so_does_nothing(receiver: Receiver, link: str) -> None:
    """Another profile, purpose or key, a cut link, nonsense: 404, and nothing is kept."""
    assert httpx.post(_at(receiver, link)).status_code == 404
    for purpose in ("email", "sms"):
        assert receiver.unsubscribes.of(purpose) == set()


@pytest.mark.parametrize(
    ("url", "key"),
    [("https://a.example", ""), ("", "k" * 32), ("https://a.example", "k"), ("http://a", "k" * 32)],
)
def test_links_that_are_set_up_in_part_are_a_mistake(
    url: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the settings, a short key or an address without TLS is told, never passed over."""
    monkeypatch.setenv(URL, url)
    monkeypatch.setenv(KEY, key)
    with pytest.raises(ChannelError):
        UnsubscribeLinks.from_environment()
