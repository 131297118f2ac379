"""Who sent this? The signatures of webhooks, checked on the raw body in constant time.

- Stripe: `Stripe-Signature: t=<seconds>,v1=<hex>[,v1=…]`, HMAC-SHA256 over `t.body`; several
  `v1` while the secret is being rolled; five minutes of tolerance in Stripe's own libraries.
  https://docs.stripe.com/webhooks#verify-manually
- Shopify: `X-Shopify-Hmac-SHA256`, the base64 HMAC-SHA256 of the body by the app's client
  secret. Neither a time nor the other headers are signed.
  https://shopify.dev/docs/apps/build/webhooks/verify-deliveries
- HubSpot v3: `X-HubSpot-Signature-v3`, the base64 HMAC-SHA256 over method + URI + body +
  `X-HubSpot-Request-Timestamp` (milliseconds) by the app's client secret; requests older than
  five minutes are to be refused, and certain escapes in the URI decoded.
  https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation
- hmac: as declared.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.catalog.webhooks import (
    HmacSignature,
    HubSpotSignature,
    ShopifySignature,
    Signature,
    StripeSignature,
)

_MILLISECONDS_FROM = 100_000_000_000
_DECODED_BY_HUBSPOT = {
    "%3A": ":", "%2F": "/", "%3F": "?", "%40": "@", "%21": "!", "%24": "$",
    "%27": "'", "%28": "(", "%29": ")", "%2A": "*", "%2C": ",", "%3B": ";",
}  # fmt: skip


class Refused(Exception):  # noqa: N818
    """The request isn't from whom it should be, or not from now; `outcome` says why."""

    def __init__(self, outcome: str) -> None:
        self.outcome = outcome
        super().__init__(outcome)


@dataclass(frozen=True)
class Delivery:
    """A request as it came in. Names of headers are in lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Signed:
    """That a delivery is signed as it should be.

    `code` is the signature itself, the same however it was spelled and whichever of the secrets
    made it. With `once` its time is signed, too: the code tells it from every other delivery.
    """

    code: str
    once: bool


def verify(
    signature: Signature, secrets: Sequence[str], delivery: Delivery, now: datetime
) -> Signed:
    """Check the signature against each secret. Raises Refused."""
    match signature:
        case StripeSignature():
            return _stripe(signature, secrets, delivery, now)
        case ShopifySignature():
            given = _header(delivery, "X-Shopify-Hmac-SHA256")
            code = _compare([_base64(given)], secrets, [delivery.body], "sha256")
            return Signed(code, once=False)
        case HubSpotSignature():
            return _hubspot(signature, secrets, delivery, now)
        case HmacSignature():
            return _declared(signature, secrets, delivery, now)


def _stripe(
    signature: StripeSignature, secrets: Sequence[str], delivery: Delivery, now: datetime
) -> Signed:
    header = _header(delivery, "Stripe-Signature")
    parts = [part.strip().partition("=") for part in header.split(",")]
    given = [value for name, _, value in parts if name == "v1"]
    time = next((value for name, _, value in parts if name == "t"), "")
    signed = [time.encode(), b".", delivery.body]
    code = _compare(map(_hex, given), secrets, signed, "sha256")
    in_time(time, signature.tolerance, now)
    return Signed(code, once=True)


def _hubspot(
    signature: HubSpotSignature, secrets: Sequence[str], delivery: Delivery, now: datetime
) -> Signed:
    given = _header(delivery, "X-HubSpot-Signature-v3")
    time = _header(delivery, "X-HubSpot-Request-Timestamp")
    url = resolve(signature.url) if signature.url is not None else delivery.url
    url = re.sub("%[0-9A-Fa-f]{2}", lambda e: _DECODED_BY_HUBSPOT.get(e[0].upper(), e[0]), url)
    signed = [delivery.method.encode(), url.encode(), delivery.body, time.encode()]
    code = _compare([_base64(given)], secrets, signed, "sha256")
    in_time(time, signature.tolerance, now)
    return Signed(code, once=True)


def _declared(
    signature: HmacSignature, secrets: Sequence[str], delivery: Delivery, now: datetime
) -> Signed:
    header = _header(delivery, signature.header)
    if not header.startswith(signature.prefix):
        raise Refused("wrong signature")
    text = header.removeprefix(signature.prefix)
    given = _hex(text) if signature.encoding == "hex" else _base64(text)
    named, time = signature.timestamp_header, ""
    if named is not None:
        time = _header(delivery, named)
    form = signature.signed or ("{body}" if named is None else "{timestamp}.{body}")
    before, after = (part.replace("{timestamp}", time) for part in form.split("{body}"))
    signed = [before.encode(), delivery.body, after.encode()]
    code = _compare([given], secrets, signed, signature.algorithm)
    if named is not None:
        in_time(time, signature.tolerance, now)
    return Signed(code, once=named is not None)


def _header(delivery: Delivery, name: str) -> str:
    value = delivery.headers.get(name.lower(), "")
    if not value:
        raise Refused("no signature")
    return value.strip()


def _compare(
    given: Iterable[bytes], secrets: Sequence[str], signed: Sequence[bytes], algorithm: str
) -> str:
    """Compares each signature with each secret's, whichever fits, so that time tells nothing.

    Gives the first secret's: while a secret is being changed, what another one signed is told
    by it just the same.
    """
    fits = False
    code = ""
    known = list(given)
    for secret in secrets:
        made = hmac.new(secret.encode(), digestmod=getattr(hashlib, algorithm))
        for part in signed:
            made.update(part)
        digest = made.digest()
        code = code or digest.hex()
        for each in known:
            fits |= hmac.compare_digest(each, digest)
    if not fits:
        raise Refused("wrong signature")
    return code


def in_time(text: str, tolerance: timedelta, now: datetime) -> None:
    """Raises Refused for a time of signing that isn't one, or is further away than that."""
    moment = _moment(text)
    if moment is None:
        raise Refused("wrong signature")
    if abs(now - moment) > tolerance:
        raise Refused("signed at another time")


def _moment(text: str) -> datetime | None:
    try:
        if text.isascii() and text.isdigit():
            number = int(text[:20])
            seconds = number / 1000 if number >= _MILLISECONDS_FROM else number
            return datetime.fromtimestamp(seconds, UTC)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
