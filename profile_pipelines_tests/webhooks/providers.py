"""Mail providers: what they post about messages, signed as each of them does.

The events are the examples of their documentation, with addresses and times of ours.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from profile_pipelines_tests.webhooks.senders import NOW, Post

TOPIC = "arn:aws:sns:eu-central-1:123456789012:ses-feedback"
CERTIFICATE = "/SimpleNotificationService-010a507c1833636cd94bdb98bd93083a.pem"
LOGIN, TOKEN, SIGNING_KEY = (
    "hook:s3cret-password",
    "t0ken-of-ours",
    "signing-key",
)


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    made = x509.CertificateBuilder(name, name, rsa_key().public_key(), 1)
    made = made.not_valid_before(NOW - timedelta(days=30)).not_valid_after(NOW + timedelta(days=30))
    return made.sign(rsa_key(), SHA256()).public_bytes(Encoding.PEM)


def public_key() -> str:
    """As SendGrid shows it."""
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(ec_key().public_key().public_bytes(*form)).decode()


class Sns(ThreadingHTTPServer):
    """SNS: gives its certificate, and confirms subscriptions."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.asked: list[str] = []
        self.up = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Sns)
        self.server.asked.append(self.path)
        known = self.server.up and self.path in (CERTIFICATE, *[p for p in [self.path] if "?" in p])
        body = certificate() if known else b"gone"
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing is told."""


@contextmanager
def serving_sns() -> Iterator[Sns]:
    server = Sns()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sns(
    message: str,
    place: str,
    *,
    at: datetime = NOW,
    kind: str = "Notification",
    version: str = "2",
    **changed: str,
) -> Post:
    """A message of SNS's, signed; `changed` before it's signed."""
    content = {
        "Type": kind, "MessageId": hashlib.sha256(message.encode()).hexdigest()[:16],
        "TopicArn": TOPIC, "Message": message, "Timestamp": _iso(at),
        "SignatureVersion": version, "SigningCertURL": place + CERTIFICATE,
    }  # fmt: skip
    fields = ["Message", "MessageId", "Timestamp", "TopicArn", "Type"]
    if kind == "Notification":
        content["Subject"] = "Amazon SES Email Event Notification"
        fields.insert(2, "Subject")
    else:
        content |= {"Token": "2336412f37", "SubscribeURL": "https://evil.example/?Action=Confirm"}
        fields.insert(2, "SubscribeURL")
        fields.insert(4, "Token")
    content |= changed
    text = "".join(f"{name}\n{content[name]}\n" for name in fields)
    algorithm = SHA1() if version == "1" else SHA256()
    signature = rsa_key().sign(text.encode(), padding.PKCS1v15(), algorithm)
    content["Signature"] = base64.b64encode(signature).decode()
    return Post("ses", json.dumps(content).encode(), {"Content-Type": "text/plain"})


def ses(kind: str, address: str, number: int, at: datetime) -> dict[str, Any]:
    """The content of a notification."""
    mail = {
        "timestamp": _iso(at), "messageId": f"00000138111222aa-33322211-{number}",
        "source": "hello@example.com", "destination": [address],
    }  # fmt: skip
    time = _iso(at)
    person = {"emailAddress": address}
    permanent = kind == "hard"
    told: dict[str, dict[str, Any]] = {
        "bounce": {
            "bounceType": "Permanent" if permanent else "Transient",
            "bounceSubType": "General", "timestamp": time, "feedbackId": f"0100017{number}",
            "reportingMTA": "dns; email.example.com", "remoteMtaIp": "127.0.2.0",
            "bouncedRecipients": [{
                **person, "status": "5.1.1" if permanent else "4.2.2", "action": "failed",
                "diagnosticCode": f"smtp; 550 5.1.1 <{address}>... User",
            }],
        },
        "complaint": {
            "userAgent": "AnyCompany Feedback Loop (V0.01)", "complaintFeedbackType": "abuse",
            "complainedRecipients": [person], "timestamp": time, "arrivalDate": time,
            "feedbackId": f"0100018{number}",
        },
        "delivery": {
            "timestamp": time, "recipients": [address], "processingTimeMillis": 546,
            "smtpResponse": "250 ok:  Message 64111812 accepted",
        },
    }  # fmt: skip
    part = {"complaint": "complaint", "delivered": "delivery"}.get(kind, "bounce")
    return {"notificationType": part.capitalize(), part: told[part], "mail": mail}


def sendgrid_event(kind: str, address: str, number: int, at: datetime) -> dict[str, Any]:
    event: dict[str, Any] = {
        "email": address, "timestamp": int(at.timestamp()),
        "smtp-id": f"<14c5d75ce93.dfd.{number}@ismtpd-555>", "sg_event_id": f"6g4ZI7SA{number}=",
        "sg_message_id": f"14c5d75ce93.{number}.filter0001.16648.5515E0B88.0",
        "category": ["cat facts"], "name": "Somebody",
    }  # fmt: skip
    told: dict[str, dict[str, Any]] = {
        "hard": {"event": "bounce", "type": "bounce", "status": "5.0.0", "reason": "500 unknown"},
        "soft": {"event": "bounce", "type": "blocked", "status": "4.0.0", "reason": "later"},
        "complaint": {"event": "spamreport"},
        "delivered": {"event": "delivered", "response": "250 OK"},
    }
    return event | told[kind]


def sendgrid(*events: dict[str, Any], at: datetime = NOW, key: Any = None) -> Post:
    body = json.dumps(list(events)).encode()
    time = str(int(at.timestamp()))
    made = (key or ec_key()).sign(time.encode() + body, ec.ECDSA(SHA256()))
    return Post("sendgrid", body, {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(made).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": time,
    })  # fmt: skip


def postmark_event(kind: str, address: str, number: int, at: datetime) -> dict[str, Any]:
    time = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.0000000Z")
    if kind == "delivered":
        return {
            "RecordType": "Delivery", "MessageID": f"883953f4-6105-{number}", "ServerID": 23,
            "Recipient": address, "DeliveredAt": time, "Details": "Test delivery webhook details",
            "MessageStream": "outbound", "Tag": "welcome-email", "Metadata": {},
        }  # fmt: skip
    name = {"hard": "HardBounce", "soft": "SoftBounce", "complaint": "SpamComplaint"}[kind]
    return {
        "RecordType": "SpamComplaint" if kind == "complaint" else "Bounce", "ID": 700 + number,
        "Type": name, "TypeCode": 1, "Name": "Hard bounce", "Tag": "Test",
        "MessageID": f"883953f4-6105-{number}", "ServerID": 23, "MessageStream": "outbound",
        "Description": "The server was unable to deliver your message.", "Details": "Test",
        "Email": address, "From": "sender@example.com", "BouncedAt": time, "Inactive": True,
        "DumpAvailable": True, "CanActivate": True, "Subject": "Test subject", "Content": "",
    }  # fmt: skip


def postmark(event: dict[str, Any], login: str = LOGIN) -> Post:
    code = base64.b64encode(login.encode()).decode()
    return Post("postmark", json.dumps(event).encode(), {"Authorization": f"Basic {code}"})


def postmark_token(event: dict[str, Any], token: str = TOKEN) -> Post:
    return Post("postmark_token", json.dumps(event).encode(), {"X-Hook-Token": token})


def mailgun_event(kind: str, address: str, number: int, at: datetime) -> dict[str, Any]:
    event: dict[str, Any] = {
        "id": f"G9Bn5sl1TC6nu79C8C0b{number}", "timestamp": at.timestamp(), "log-level": "error",
        "recipient": address, "recipient-domain": address.rpartition("@")[2],
        "message": {"headers": {
            "to": f"Alice <{address}>", "message-id": f"2013050218{number}.4AC8@example.com",
            "from": "Bob <bob@example.com>", "subject": "Test permanent_fail webhook",
        }},
        "user-variables": {"my_var_1": "Mailgun Variable #1"},
    }  # fmt: skip
    failed: dict[str, Any] = {
        "event": "failed", "delivery-status": {"code": 605, "enhanced-code": "5.1.1"},
    }  # fmt: skip
    told: dict[str, dict[str, Any]] = {
        "hard": {**failed, "severity": "permanent", "reason": "suppress-bounce"},
        "soft": {**failed, "severity": "temporary", "reason": "generic"},
        "complaint": {"event": "complained"},
        "delivered": {"event": "delivered"},
    }
    return event | told[kind]


def mailgun(
    event: dict[str, Any], token: str = "", *, at: datetime = NOW, key: str = SIGNING_KEY
) -> Post:
    time = str(int(at.timestamp()))
    token = token or hashlib.sha256(json.dumps(event).encode()).hexdigest()[:50]
    made = hmac.new(key.encode(), f"{time}{token}".encode(), hashlib.sha256).hexdigest()
    signature = {"timestamp": time, "token": token, "signature": made}
    return Post("mailgun", json.dumps({"signature": signature, "event-data": event}).encode())


def post_of(provider: str, place: str, kind: str, address: str, number: int, at: datetime) -> Post:
    """What a provider posts of a message, signed at that moment."""
    match provider:
        case "ses":
            return sns(json.dumps(ses(kind, address, number, at)), place, at=at)
        case "sendgrid":
            return sendgrid(sendgrid_event(kind, address, number, at), at=at)
        case "postmark":
            return postmark(postmark_event(kind, address, number, at))
        case "postmark_token":
            return postmark_token(postmark_event(kind, address, number, at))
        case _:
            return mailgun(mailgun_event(kind, address, number, at), at=at)


CHANNELS: dict[str, dict[str, Any]] = {
    "ses": {"provider": "ses", "topic": TOPIC, "endpoint": {"env": "SNS_ENDPOINT"}},
    "sendgrid": {"provider": "sendgrid", "public_key": {"env": "SENDGRID_KEY"}},
    "postmark": {
        "provider": "postmark", "username": "hook", "password": {"env": "POSTMARK_PASSWORD"},
    },
    "postmark_token": {
        "provider": "postmark", "header": "X-Hook-Token", "token": {"env": "POSTMARK_TOKEN"},
    },
    "mailgun": {"provider": "mailgun", "signing_key": {"env": "MAILGUN_KEY"}},
}  # fmt: skip
PROVIDERS = list(CHANNELS)


def environment(place: str) -> dict[str, str]:
    return {
        "SNS_ENDPOINT": place, "SENDGRID_KEY": public_key(), "POSTMARK_TOKEN": TOKEN,
        "POSTMARK_PASSWORD": LOGIN.partition(":")[2], "MAILGUN_KEY": SIGNING_KEY,
    }  # fmt: skip


def catalogue() -> dict[str, Any]:
    """A channel for each provider."""
    channels = {
        name: {"type": "file", "to": "email", "consent": "email", "feedback": feedback}
        for name, feedback in CHANNELS.items()
    }
    return {
        "identifiers": {"email": {"normalise": ["email"]}},
        "attributes": {}, "systems": {}, "channels": channels,
    }  # fmt: skip
