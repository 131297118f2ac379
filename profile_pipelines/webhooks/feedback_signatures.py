"""Who tells this of our messages? The proof that each provider gives, and the events within.

- Amazon SES tells through SNS, which signs `key\\nvalue\\n` of certain fields by RSA (SHA1 in
  version 1, SHA256 in version 2) with the key of a certificate that the message names. It is
  fetched from the address of SNS in the topic's region and from nowhere else; messages of
  other topics are refused before anything is fetched.
  https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
- SendGrid signs timestamp + body by ECDSA (P-256, SHA256); the public key is base64 of its DER.
  https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
- Postmark signs nothing: basic authentication, or a header of one's own.
  https://postmarkapp.com/developer/webhooks/webhooks-overview
- Mailgun signs timestamp + token, by HMAC-SHA256, and not the events: a token is used once.
  https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import (
    load_der_public_key,
    load_pem_public_key,
)

from profile_pipelines.catalog.declaration import Text
from profile_pipelines.catalog.feedback import (
    MailgunFeedback,
    PostmarkFeedback,
    SendGridFeedback,
    SesFeedback,
)
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.sources.json_records import parse
from profile_pipelines.webhooks.signatures import Delivery, Refused, in_time

_CERTIFICATE = re.compile(r"/SimpleNotificationService-[0-9A-Za-z]{1,64}\.pem")
_LARGEST_CERTIFICATE = 64 * 1024
_CERTIFICATES = 20
_SECONDS = 10
_NEXT_TRY = timedelta(seconds=10)
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": (
        "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type",
    ),
}  # fmt: skip
_SIGNED["UnsubscribeConfirmation"] = _SIGNED["SubscriptionConfirmation"]


class Unavailable(Exception):  # noqa: N818
    """The proof can't be checked at the moment; the provider is to try again."""


@dataclass(frozen=True)
class Told:
    """What a proven delivery tells: events as they came, or what is to be done with a topic.

    `token` is one that mustn't come again with other events.
    """

    events: Sequence[Any] = ()
    token: str | None = None
    confirms: bool = False
    ended: bool = False


class SnsTopic:
    """A topic of SNS: the keys that sign its messages, and its confirmation."""

    def __init__(self, feedback: SesFeedback) -> None:
        self._feedback = feedback
        self._keys: dict[str, x509.Certificate] = {}
        self._refused_at: datetime | None = None
        self._lock = threading.Lock()

    def told(self, delivery: Delivery, now: datetime) -> Told:
        """What SNS delivers; a subscription to the topic is confirmed. Raises Refused, Unavailable.

        Nothing that the message names is called: the confirmation goes to the address of SNS.
        """
        message = _object(delivery.body)
        kind, topic = _text(message, "Type"), _text(message, "TopicArn")
        if kind not in _SIGNED or not _text(message, "Signature"):
            raise Refused("no signature")
        if topic != self._feedback.topic:
            raise Refused("another topic")
        self._verify(message, _SIGNED[kind], now)
        in_time(_text(message, "Timestamp"), self._feedback.tolerance, now)
        if kind == "UnsubscribeConfirmation":
            return Told(ended=True)
        if kind == "SubscriptionConfirmation":
            self._confirm(_text(message, "Token"))
            return Told(confirms=True)
        return Told([_text(message, "Message")])

    @property
    def _place(self) -> str:
        """Where SNS is."""
        if self._feedback.endpoint is not None:
            return resolve(self._feedback.endpoint).rstrip("/")
        end = "amazonaws.com.cn" if self._feedback.region.startswith("cn-") else "amazonaws.com"
        return f"https://sns.{self._feedback.region}.{end}"

    def _verify(self, message: Mapping[str, Any], fields: Sequence[str], now: datetime) -> None:
        versions = {"1": SHA1, "2": SHA256}
        version = versions.get(_text(message, "SignatureVersion"))
        if version is None:
            raise Refused("wrong signature")
        certificate = self._certificate(_text(message, "SigningCertURL"), now)
        key = certificate.public_key()
        valid = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
        if not valid or not isinstance(key, rsa.RSAPublicKey):
            raise Refused("wrong signature")
        signed = "".join(
            f"{name}\n{_text(message, name)}\n" for name in fields if message.get(name) is not None
        )
        try:
            signature = _base64(_text(message, "Signature"))
            key.verify(signature, signed.encode(), padding.PKCS1v15(), version())
        except InvalidSignature:
            raise Refused("wrong signature") from None

    def _certificate(self, url: str, now: datetime) -> x509.Certificate:
        parts, place = urlsplit(url), urlsplit(self._place)
        ours = (parts.scheme, parts.netloc) == (place.scheme, place.netloc)
        if not ours or parts.query or _CERTIFICATE.fullmatch(parts.path) is None:
            raise Refused("wrong signature")
        with self._lock:
            known = self._keys.get(parts.path)
            if known is not None:
                return known
            if self._refused_at is not None and now - self._refused_at < _NEXT_TRY:
                raise Unavailable  # whoever makes names up mustn't make us ask for each
            try:
                content = _fetched(f"{self._place}{parts.path}")
                found = x509.load_pem_x509_certificate(content)
            except (requests.RequestException, ValueError):
                self._refused_at = now
                raise Unavailable from None
            if len(self._keys) >= _CERTIFICATES:
                self._keys.clear()
            self._keys[parts.path] = found
            return found

    def _confirm(self, token: str) -> None:
        topic = self._feedback.topic
        asked = {"Action": "ConfirmSubscription", "TopicArn": topic, "Token": token}
        try:
            _fetched(f"{self._place}/", asked)
        except (requests.RequestException, ValueError):
            raise Unavailable from None


def sendgrid(feedback: SendGridFeedback, delivery: Delivery, now: datetime) -> Told:
    """The events of a signed delivery of SendGrid's. Raises Refused."""
    given = _base64(_header(delivery, "X-Twilio-Email-Event-Webhook-Signature"))
    time = _header(delivery, "X-Twilio-Email-Event-Webhook-Timestamp")
    for text in feedback.public_key:
        try:
            public_key(text).verify(given, time.encode() + delivery.body, ec.ECDSA(SHA256()))
        except InvalidSignature:
            continue
        in_time(time, feedback.tolerance, now)
        events = _json(delivery.body)
        return Told(cast(list[Any], events) if isinstance(events, list) else [events])
    raise Refused("wrong signature")


def public_key(text: Text) -> ec.EllipticCurvePublicKey:
    """SendGrid's verification key: base64 of DER, or PEM. Raises ValueError where it is none."""
    given = resolve(text).strip()
    if given.startswith("-----BEGIN"):
        key = load_pem_public_key(given.encode())
    else:
        key = load_der_public_key(base64.b64decode(given, validate=True))
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("isn't an ECDSA key")
    return key


def postmark(feedback: PostmarkFeedback, delivery: Delivery) -> Told:
    """The events of a delivery with Postmark's login or token. Raises Refused."""
    if feedback.header is not None and feedback.token is not None:
        given, wanted = _header(delivery, feedback.header), resolve(feedback.token)
    else:
        scheme, _, code = _header(delivery, "Authorization").partition(" ")
        if scheme.lower() != "basic":
            raise Refused("no signature")
        given = _base64(code.strip()).decode("utf-8", "replace")
        login = [resolve(each) for each in (feedback.username, feedback.password) if each]
        wanted = ":".join(login)
    if not hmac.compare_digest(given.encode(), wanted.encode()):
        raise Refused("wrong signature")
    return Told([_json(delivery.body)])


def mailgun(feedback: MailgunFeedback, delivery: Delivery, now: datetime) -> Told:
    """The event of a delivery that Mailgun signed, with its token. Raises Refused."""
    body = _object(delivery.body)
    signed: object = body.get("signature")
    if not isinstance(signed, dict):
        raise Refused("no signature")
    parts = cast(dict[str, Any], signed)
    time, token = _text(parts, "timestamp"), _text(parts, "token")
    given = _text(parts, "signature").lower()
    fits = False
    for secret in feedback.signing_key:
        made = hmac.new(resolve(secret).encode(), f"{time}{token}".encode(), "sha256").hexdigest()
        fits |= hmac.compare_digest(given.encode(), made.encode())
    if not fits or not token:
        raise Refused("wrong signature")
    in_time(time, feedback.tolerance, now)
    return Told([body.get("event-data")], token)


def _header(delivery: Delivery, name: str) -> str:
    value = delivery.headers.get(name.lower(), "").strip()
    if not value:
        raise Refused("no signature")
    return value


def _json(body: bytes) -> Any:
    try:
        return parse(body)
    except ValueError:
        raise Refused("no JSON") from None


def _object(body: bytes) -> Mapping[str, Any]:
    found = _json(body)
    if not isinstance(found, dict):
        raise Refused("no signature")
    return cast(dict[str, Any], found)


def _text(message: Mapping[str, Any], name: str) -> str:
    value = message.get(name)
    return "" if value is None or isinstance(value, dict | list) else str(value)


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _fetched(url: str, query: Mapping[str, str] | None = None) -> bytes:
    """What an address of SNS gives. Raises RequestException, or ValueError for more than that."""
    with requests.get(
        url, params=query, timeout=_SECONDS, allow_redirects=False, stream=True
    ) as answer:
        answer.raise_for_status()
        if answer.is_redirect:
            raise ValueError("is elsewhere")
        content = answer.raw.read(_LARGEST_CERTIFICATE + 1, decode_content=True)
    if len(content) > _LARGEST_CERTIFICATE:
        raise ValueError("is too large")
    return content
