"""What mails that servers send back say of ours.

- Delivery reports: multipart/report with message/delivery-status (RFC 3464, codes of RFC 3463),
  also in UTF-8 (RFC 6533). Postfix, Exchange, Gmail, Sendmail and Exim of today write these, in
  whatever language their text is; the text isn't read.
- What Exim (`X-Failed-Recipients`) and qmail wrote without it.
- Complaints that providers pass on: message/feedback-report (RFC 5965).

Whether it is an answer to a mail of ours, the Message-ID in it tells; the reader only collects.
"""

from __future__ import annotations

import binascii
import quopri
import re
from base64 import b64decode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from email.parser import HeaderParser
from email.utils import getaddresses, parsedate_to_datetime
from typing import Literal

from profile_pipelines.ledger.feedback import Kind

Action = Literal["failed", "delayed", "delivered"]

_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_REPLY = re.compile(r"(?<![\d.])([45])\d\d(?=[ -])")
_GENERIC = re.compile(r"[45]\.0\.0")
_MESSAGE_ID = re.compile(r"<([^<>\s@]+@[^<>\s@]+)>")
_TOLD_BY_TEXT = re.compile(r"^<([^<>\s]+@[^<>\s]+)>:\s*$", re.MULTILINE)
_INLINE_ID = re.compile(r"^message-id:\s*<([^<>\s]+)>", re.MULTILINE | re.IGNORECASE)
_INLINE_TO = re.compile(r"^(?:to|x-original-to|envelope-to):(.*)$", re.MULTILINE | re.IGNORECASE)
_SERVER = re.compile(r"(mailer[-_ ]?daemon|mail[-_ ]?daemon|postmaster|mdaemon)", re.IGNORECASE)
_COPY = re.compile(
    r"^(-{2,} ?(this is a copy|below this line|original message|undelivered message)"
    r"|return-path:|received:)", re.MULTILINE | re.IGNORECASE,
)  # fmt: skip
_ENCODED = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")

NOT_THE_ADDRESS = frozenset({"5.2.2", "5.2.3", "5.3.1", "5.3.2", "5.3.4", "5.4.5", "5.4.7"})
"""Codes for good that don't say that an address is of no use: full, too big, busy, too late."""
_NOT_THE_ADDRESS = ("5.6.", "5.7.")
"""What is said of the text or of the sender, such as that it's taken for spam."""


@dataclass(frozen=True)
class Returned:
    """What a mail says of one recipient of one mail, which may be ours.

    `recipients` are the addresses that it may have gone to, `message_ids` those that it may be an
    answer to, without their angle brackets. `kind` is None for what only says that it takes longer.
    """

    kind: Kind | None
    code: str | None
    at: datetime | None
    recipients: tuple[str, ...]
    message_ids: tuple[str, ...]


class CantRead(Exception):  # noqa: N818
    """It is a report, and doesn't say what became of which recipient."""


def returned_in(content: bytes) -> list[Returned]:
    """What a mail says; nothing where it is no report. Raises CantRead."""
    mail = message_from_bytes(content)
    status, complaint = None, None
    for part in mail.walk():
        kind = part.get_content_type()
        if kind in ("message/delivery-status", "message/global-delivery-status"):
            status = status or part
        elif kind == "message/feedback-report":
            complaint = complaint or part
    at = _date(mail)
    ids, to = _original(mail)
    if complaint is not None:
        return [_complained(_blocks(complaint), at, ids, to)]
    if status is not None:
        return _reported(_blocks(status), mail, at, ids, to)
    return list(_told_by_text(mail, at, ids, to))


def _complained(
    blocks: Sequence[Message], at: datetime | None, ids: Sequence[str], to: Sequence[str]
) -> Returned:
    told = next((each for each in blocks if each["Feedback-Type"]), None)
    if told is None:
        raise CantRead
    kinds: dict[str, Kind | None] = {"not-spam": None, "opt-out": "unsubscribed"}
    kind = kinds.get(_value(told, "Feedback-Type").lower(), "complaint")
    names = ("Original-Rcpt-To", "Removal-Recipient")
    recipients = [_address(value) for name in names for value in told.get_all(name, [])]
    return Returned(kind, None, at, _unique([*recipients, *to]), _unique(ids))


def _reported(
    blocks: Sequence[Message],
    mail: Message,
    at: datetime | None,
    ids: Sequence[str],
    to: Sequence[str],
) -> list[Returned]:
    people = [each for each in blocks if each["Final-Recipient"] or each["Original-Recipient"]]
    if not people:
        raise CantRead
    failed = _failed(mail)
    found: list[Returned] = []
    for each in people:
        names = ("Original-Recipient", "Final-Recipient")
        own = [_address(value) for name in names for value in each.get_all(name, [])]
        action = _value(each, "Action").lower().split(" ")[0]
        code = _code(_value(each, "Status"), _value(each, "Diagnostic-Code"))
        if action not in ("failed", "delayed", "delivered", "relayed", "expanded"):
            if code is None:
                raise CantRead
            action = "delivered" if code.startswith("2") else "failed"
        # who forwards a mail has its copy bounce from where it went
        others = [*to, *failed] if len(people) == 1 else []
        found.append(
            Returned(
                _kind(action, code), code, _moment(_value(each, "Last-Attempt-Date")) or at,
                _unique([*own, *others]), _unique(ids),
            )
        )  # fmt: skip
    return found


def _told_by_text(
    mail: Message, at: datetime | None, ids: Sequence[str], to: Sequence[str]
) -> Iterator[Returned]:
    """What servers wrote before there were delivery reports."""
    failed = _failed(mail)
    sender = _value(mail, "From")
    bounced = _value(mail, "Return-Path") == "<>" or _SERVER.search(sender) is not None
    if not bounced and not failed:
        return
    text = _text(mail)
    copy = _COPY.search(text)
    said = text[: copy.start()] if copy else text
    people = failed or _TOLD_BY_TEXT.findall(said)
    if not people:
        return
    ids = [*ids, *_INLINE_ID.findall(text)]
    to = [*to, *(address for line in _INLINE_TO.findall(text) for address in _addresses(line))]
    code = _code("", said)
    kind = _kind("failed", code)
    others = to if len(people) == 1 else []
    for each in people:
        yield Returned(kind, code, at, _unique([each, *others]), _unique(ids))


def _kind(action: str, code: str | None) -> Kind | None:
    """What a report says of the address: failed for good, or for the time being."""
    if action != "failed":
        return "delivered" if action == "delivered" else None
    lasting = code is None or code.startswith("5")
    if not lasting or code in NOT_THE_ADDRESS or (code or "").startswith(_NOT_THE_ADDRESS):
        return "soft"
    return "hard"


def _code(status: str, diagnostic: str) -> str | None:
    """The status; where it is a general one or missing, what the server said by itself."""
    given = _STATUS.search(status)
    said = _STATUS.search(diagnostic)
    if given is not None and (said is None or not _GENERIC.fullmatch(given[1])):
        return given[1]
    if said is not None:
        return said[1]
    reply = _REPLY.search(diagnostic)
    return f"{reply[1]}.0.0" if reply else None


def _original(mail: Message) -> tuple[list[str], list[str]]:
    """The Message-IDs that a mail may be an answer to, and the addresses in the headers of what
    it brings back."""
    ids: list[str] = []
    to: list[str] = []
    for name in ("In-Reply-To", "References", "X-Original-Message-ID"):
        ids += _ids(mail, name)
    for part in mail.walk():
        if part is mail:
            continue
        if part.get_content_type() in ("text/rfc822-headers", "message/global-headers"):
            returned = HeaderParser().parsestr(_decoded(part))
        elif part.get_content_type() in ("message/rfc822", "message/global"):
            inner = part.get_payload()
            if not isinstance(inner, list) or not inner or not isinstance(inner[0], Message):
                continue
            returned = inner[0]
            if not returned.keys():  # base64, which such a part must not have, and some have
                returned = HeaderParser().parsestr(_decoded(part))
        else:
            continue
        ids += _ids(returned, "Message-ID")
        for name in ("To", "X-Original-To", "Delivered-To", "Envelope-To"):
            to += [a for value in returned.get_all(name, []) for a in _addresses(str(value))]
    return ids, to


def _ids(message: Message, name: str) -> list[str]:
    values = [str(value) for value in message.get_all(name, [])]
    return [found for value in values for found in _MESSAGE_ID.findall(value)]


def _blocks(part: Message) -> list[Message]:
    """The groups of fields of a report."""
    inner = part.get_payload()
    given = inner if isinstance(inner, list) else []
    blocks = [each for each in given if isinstance(each, Message)]
    encoded = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
    flat = part.get_content_type() != "message/delivery-status"
    if encoded in ("base64", "quoted-printable") or flat or not any(each.keys() for each in blocks):
        text = _decoded(part)
        groups = re.split(r"\r?\n[ \t]*\r?\n", text.strip())
        return [HeaderParser().parsestr(group) for group in groups]
    return blocks


def _decoded(part: Message) -> str:
    """The text of a part as it was meant, whatever its type forbids."""
    inner = part.get_payload()
    if isinstance(inner, list):
        raw = b"\n".join(each.as_bytes() for each in inner if isinstance(each, Message))
    else:
        # what was read from bytes is ASCII but for what stands for other bytes
        raw = str(inner).encode("ascii", "surrogateescape")
    encoded = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
    if encoded == "base64":
        try:
            raw = b64decode(re.sub(rb"\s", b"", raw))
        except (binascii.Error, ValueError):
            return ""
    elif encoded == "quoted-printable":
        raw = quopri.decodestring(raw)
    charset = part.get_content_charset() or "utf-8"
    try:
        return raw.decode(charset, "replace").strip()
    except LookupError:
        return raw.decode("utf-8", "replace").strip()


def _text(mail: Message) -> str:
    """The plain text of a mail."""
    parts = [each for each in mail.walk() if each.get_content_type() == "text/plain"]
    found: list[str] = []
    for each in parts:
        payload = each.get_payload(decode=True)
        raw = payload if isinstance(payload, bytes) else b""
        try:
            found.append(raw.decode(each.get_content_charset() or "utf-8", "replace"))
        except LookupError:
            found.append(raw.decode("utf-8", "replace"))
    return "\n".join(found).replace("\r\n", "\n")


def _failed(mail: Message) -> list[str]:
    return [a for value in mail.get_all("X-Failed-Recipients", []) for a in _addresses(str(value))]


def _value(message: Message, name: str) -> str:
    value = message.get(name)
    if value is None:
        return ""
    try:
        return " ".join(str(make_header(decode_header(str(value)))).split())
    except (LookupError, UnicodeError, ValueError):
        return " ".join(str(value).split())


def _address(value: object) -> str:
    """The address of `rfc822; bo@x.example`, or of its relatives."""
    text = " ".join(str(value).split())
    kind, semicolon, address = text.partition(";")
    if semicolon and kind.strip().lower().startswith("utf-8"):
        address = _ENCODED.sub(lambda found: chr(min(int(found[1], 16), 0x10FFFF)), address)
    return (address if semicolon else text).strip().strip("<>")


def _addresses(value: str) -> list[str]:
    return [address for _, address in getaddresses([value]) if "@" in address]


def _unique(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if "@" in value))


def _date(mail: Message) -> datetime | None:
    return _moment(_value(mail, "Date"))


def _moment(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
