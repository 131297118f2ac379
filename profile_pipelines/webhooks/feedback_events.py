"""What a provider's events say of our messages. What can't be read is kept, without addresses.

- SES: notifications and event publishing.
  https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html
- SendGrid: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
- Postmark: https://postmarkapp.com/developer/webhooks/bounce-webhook and its siblings
- Mailgun: https://documentation.mailgun.com/docs/mailgun/user-manual/events/event-structure

Whether a bounce is for good is the provider's to say: it knows what its servers were told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, cast

from profile_pipelines.ledger.feedback import Kind, Report, Unread
from profile_pipelines.sources.json_records import as_text, parse

Provider = Literal["ses", "sendgrid", "postmark", "mailgun"]

_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_PLAIN = re.compile(r"[\w.+:/ -]{1,100}")
_SHOWN = frozenset({
    "event", "type", "Type", "TypeCode", "RecordType", "eventType", "notificationType",
    "bounceType", "bounceSubType", "complaintFeedbackType", "complaintSubType", "severity",
    "status", "action", "code", "enhanced-code", "timestamp", "bounce_classification", "id", "ID",
    "sg_event_id", "sg_message_id", "MessageID", "messageId", "feedbackId", "BouncedAt",
    "SuppressionReason", "SuppressSending", "Origin", "log-level",
})  # fmt: skip
"""What of an event that can't be read is kept; of everything else only that it is there."""
_DEEPEST = 12


@dataclass
class Read:
    """What events say: reports, what couldn't be read, and how many are of no concern."""

    reports: list[Report] = field(default_factory=list[Report])
    unread: list[Unread] = field(default_factory=list[Unread])
    not_wanted: int = 0


class _CantRead(Exception):  # noqa: N818
    """`why` holds nothing personal."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


def read_events(provider: Provider, events: Iterable[Any], purpose: str | None) -> Read:
    """What a provider's events say. `purpose` is that of the channel: what is unsubscribed from."""
    found = Read()
    for event in events:
        content = event
        try:
            if isinstance(event, str) and provider == "ses":
                content = _ses_message(event)
            if content is None:
                found.not_wanted += 1
                continue
            if not isinstance(content, dict):
                raise _CantRead("no event")
            reports = _READERS[provider](cast(dict[str, Any], content), purpose)
        except _CantRead as error:
            found.unread.append(_unread(content, error.why))
            continue
        found.reports += reports
        found.not_wanted += not reports
    return found


def _ses_message(text: str) -> Any:
    try:
        return parse(text)
    except ValueError:
        if text.startswith("Successfully validated SNS topic"):
            return None
        raise _CantRead("no JSON") from None


def _ses(event: dict[str, Any], purpose: str | None) -> list[Report]:
    kind = _word(event, "notificationType") or _word(event, "eventType")
    message = _word(event, "mail.messageId")

    def told(kind: Kind, part: str, people: Sequence[Any], at: str = "timestamp") -> list[Report]:
        key = _word(event, f"{part}.feedbackId") or f"{part} {message}"
        return [
            Report(
                _address(each if isinstance(each, str) else _at(each, "emailAddress")), kind,
                key, message or key, _moment(_at(event, f"{part}.{at}")),
                _status(_at(each, "status")), purpose if kind == "unsubscribed" else None,
            )
            for each in people
        ]  # fmt: skip

    if kind == "Bounce":
        lasting = _word(event, "bounce.bounceType")
        if lasting not in ("Permanent", "Transient", "Undetermined"):
            raise _CantRead("unknown type of bounce")
        people = _people(event, "bounce.bouncedRecipients")
        return told("hard" if lasting == "Permanent" else "soft", "bounce", people)
    if kind == "Complaint":
        if _word(event, "complaint.complaintFeedbackType") == "not-spam":
            return []
        return told("complaint", "complaint", _people(event, "complaint.complainedRecipients"))
    if kind == "Delivery":
        return told("delivered", "delivery", _people(event, "delivery.recipients"))
    if kind == "Subscription":
        if _at(event, "subscription.newTopicPreferences.unsubscribeAll") is not True:
            return []
        return told("unsubscribed", "subscription", _people(event, "mail.destination"))
    return _of_no_concern(
        kind, "Send", "Reject", "Open", "Click", "Rendering Failure", "DeliveryDelay", "Received",
        "AmazonSnsSubscriptionSucceeded",
    )  # fmt: skip


def _sendgrid(event: dict[str, Any], purpose: str | None) -> list[Report]:
    name = _word(event, "event")
    kinds: dict[str, Kind] = {
        "delivered": "delivered", "spamreport": "complaint", "unsubscribe": "unsubscribed",
        "group_unsubscribe": "unsubscribed",
    }  # fmt: skip
    kind = kinds.get(name)
    status = _status(_at(event, "status"))
    if name == "bounce":
        lasting = _word(event, "type") or "bounce"
        if lasting not in ("bounce", "blocked", "expired"):
            raise _CantRead("unknown type of bounce")
        kind = "hard" if lasting == "bounce" and not (status or "5").startswith("4") else "soft"
    elif name == "dropped":
        dropped: dict[str, Kind] = {
            "bounced address": "hard", "invalid": "hard", "spam reporting address": "complaint",
            "unsubscribed address": "unsubscribed",
        }  # fmt: skip
        kind = dropped.get(_word(event, "reason").lower())
        if kind is None:
            return []
    if kind is None:
        return _of_no_concern(
            name, "processed", "deferred", "open", "click", "group_resubscribe",
            "account_status_change",
        )  # fmt: skip
    sent = re.split(r"\.(?:filter|recvd)", _word(event, "sg_message_id"))[0]
    message = sent or _word(event, "smtp-id")
    key = _word(event, "sg_event_id") or _whole(event)
    return [
        Report(
            _address(_at(event, "email")), kind, key, message or key,
            _moment(_at(event, "timestamp")), status, purpose if kind == "unsubscribed" else None,
        )
    ]  # fmt: skip


_POSTMARK: Mapping[str, Kind | None] = {
    "HardBounce": "hard", "BadEmailAddress": "hard", "ManuallyDeactivated": "hard",
    "SpamComplaint": "complaint", "Unsubscribe": "unsubscribed",
    "Transient": "soft", "SoftBounce": "soft", "DnsError": "soft", "SpamNotification": "soft",
    "Blocked": "soft", "Unknown": "soft", "VirusNotification": "soft", "Undeliverable": "soft",
    "ChallengeVerification": "soft", "Unconfirmed": "soft", "DMARCPolicy": None,
    "Subscribe": None, "AutoResponder": None, "AddressChange": None, "OpenRelayTest": None,
    "SMTPApiError": None, "InboundError": None, "TemplateRenderingFailed": None,
}  # fmt: skip
_POSTMARK_CHANGE: Mapping[str, Kind] = {
    "HardBounce": "hard", "SpamComplaint": "complaint", "ManualSuppression": "unsubscribed",
}  # fmt: skip


def _postmark(event: dict[str, Any], purpose: str | None) -> list[Report]:
    record, name = _word(event, "RecordType"), _word(event, "Type")
    message = _word(event, "MessageID")
    kind: Kind | None
    if record in ("Bounce", "SpamComplaint"):
        name = name or record
        if name not in _POSTMARK:
            raise _CantRead("unknown type of bounce")
        kind, address, at = _POSTMARK[name], "Email", "BouncedAt"
    elif record == "Delivery":
        kind, address, at = "delivered", "Recipient", "DeliveredAt"
    elif record == "SubscriptionChange":
        reason = _word(event, "SuppressionReason")
        stops = _at(event, "SuppressSending") is True
        if stops and reason not in _POSTMARK_CHANGE:
            raise _CantRead("unknown reason")
        kind = _POSTMARK_CHANGE[reason] if stops else None
        address, at = "Recipient", "ChangedAt"
    else:
        return _of_no_concern(record, "Open", "Click", "Inbound")
    if kind is None:
        return []
    moment = as_text(_at(event, at)) or ""
    key = " ".join([record, name, as_text(_at(event, "ID")) or message, moment])
    return [
        Report(
            _address(_at(event, address)), kind, key, message or key, _moment(moment), None,
            purpose if kind == "unsubscribed" else None,
        )
    ]  # fmt: skip


_MAILGUN_FAILED: Mapping[str, Kind] = {
    "suppress-complaint": "complaint", "suppress-unsubscribe": "unsubscribed",
    "old": "soft", "espblock": "soft",
}  # fmt: skip
"""What a failure for good is where it doesn't say that the address is of no use."""


def _mailgun(event: dict[str, Any], purpose: str | None) -> list[Report]:
    name = _word(event, "event")
    kinds: dict[str, Kind] = {
        "delivered": "delivered", "complained": "complaint", "unsubscribed": "unsubscribed",
    }  # fmt: skip
    kind = kinds.get(name)
    if name == "failed":
        lasting = _word(event, "severity")
        if lasting not in ("permanent", "temporary"):
            raise _CantRead("unknown severity")
        told = _MAILGUN_FAILED.get(_word(event, "reason"), "hard")
        kind = told if lasting == "permanent" else "soft"
    if kind is None:
        return _of_no_concern(
            name, "accepted", "rejected", "opened", "clicked", "stored", "list_member_uploaded",
            "list_member_upload_error", "list_uploaded",
        )  # fmt: skip
    at = as_text(_at(event, "timestamp")) or ""
    key = f"{name} {_word(event, 'id') or _whole(event)} {at}"
    message = as_text(_at(_at(_at(event, "message"), "headers"), "message-id")) or key
    status = _status(_at(_at(event, "delivery-status"), "enhanced-code"))
    return [
        Report(
            _address(_at(event, "recipient")), kind, key, message, _moment(at), status,
            purpose if kind == "unsubscribed" else None,
        )
    ]  # fmt: skip


_READERS: Mapping[Provider, Callable[[dict[str, Any], str | None], list[Report]]] = {
    "ses": _ses, "sendgrid": _sendgrid, "postmark": _postmark, "mailgun": _mailgun,
}  # fmt: skip


def _of_no_concern(name: str, *known: str) -> list[Report]:
    if name not in known:
        raise _CantRead("unknown event")
    return []


def _at(value: Any, path: str) -> Any:
    found = value
    for name in path.split("."):
        found = cast(dict[str, Any], found).get(name) if isinstance(found, dict) else None
    return found


def _word(event: Mapping[str, Any], path: str) -> str:
    found = _at(event, path)
    return found.strip() if isinstance(found, str) else ""


def _people(event: Mapping[str, Any], path: str) -> Sequence[Any]:
    found = _at(event, path)
    if not isinstance(found, list) or not found:
        raise _CantRead("no address")
    return cast(list[Any], found)


def _address(value: Any) -> str:
    if not isinstance(value, str) or "@" not in value.strip().strip("@"):
        raise _CantRead("no address")
    return value


def _status(value: Any) -> str | None:
    found = _STATUS.search(value) if isinstance(value, str) else None
    return found[0] if found else None


def _moment(value: Any) -> datetime | None:
    """A time in seconds since 1970, or as ISO 8601 writes it; None for what is none."""
    try:
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            return datetime.fromtimestamp(float(value), UTC)
        if not isinstance(value, str):
            return None
        if re.fullmatch(r"\d{9,11}(\.\d+)?", value):
            return datetime.fromtimestamp(float(value), UTC)
        found = datetime.fromisoformat(value)
        return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _whole(event: Any) -> str:
    return json.dumps(event, sort_keys=True, default=str)


def _unread(event: Any, why: str) -> Unread:
    return Unread(_whole(event), why, json.dumps(_masked(event), sort_keys=True, default=str))


def _masked(value: Any, shown: bool = False, depth: int = 0) -> Any:
    """An event without anything that may be personal: of values that aren't known to be harmless
    it says only that they are there."""
    if isinstance(value, dict) and depth < _DEEPEST:
        named = cast(dict[str, Any], value)
        return {
            name if _PLAIN.fullmatch(name) else "…": _masked(each, name in _SHOWN, depth + 1)
            for name, each in named.items()
        }
    if isinstance(value, list) and depth < _DEEPEST:
        return [_masked(each, shown, depth + 1) for each in cast(list[Any], value)]
    if value is None or isinstance(value, bool):
        return value
    if shown and isinstance(value, int | Decimal):
        return value
    return value if shown and isinstance(value, str) and _PLAIN.fullmatch(value) else "…"
