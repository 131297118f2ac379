"""Mails as servers send them back: of several makes, languages and encodings.

Each is made for a mail with this Message-ID to this address; names and machines are made up.
"""

from __future__ import annotations

import base64
import quopri
from collections.abc import Callable

Sample = Callable[[str, str], bytes]


def _report(
    text: str, status: str, returned: str, *, to: str, head: str = "", extra: str = "",
    part: str = "text/rfc822-headers", report: str = "message/delivery-status",
) -> bytes:  # fmt: skip
    """multipart/report of three parts."""
    lines = [
        "Return-Path: <>", "Date: Mon, 2 Mar 2026 12:30:00 +0000 (UTC)",
        "From: MAILER-DAEMON@mx.example.net (Mail Delivery System)",
        "To: hello@example.com", "Auto-Submitted: auto-replied", "MIME-Version: 1.0",
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b1/mx"',
        *head.splitlines(), "", "This is a MIME-encapsulated message.", "", "--b1/mx",
        *text.splitlines(), "", "--b1/mx", *extra.splitlines(),
        f"Content-Type: {report}", "", *status.splitlines(), "", "--b1/mx",
        f"Content-Type: {part}", "", *returned.splitlines(), "", "--b1/mx--", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode("utf-8").replace(b"{to}", to.encode())


def _headers(message_id: str, to: str) -> str:
    return (
        "Received: from app.example.com (app [192.0.2.7])\n\tby mx.example.net; 2 Mar 2026\n"
        f"From: Example <hello@example.com>\nTo: {to}\nSubject: hello\nMessage-ID: {message_id}\n"
    )


def postfix(message_id: str, to: str) -> bytes:
    return _report(
        "Content-Description: Notification\nContent-Type: text/plain; charset=us-ascii\n\n"
        "This is the mail system at host mx.example.net.\n\nI'm sorry to have to inform you\n"
        "<{to}>: host mail.x.example[198.51.100.4] said: 550 5.1.1\n    <{to}>: User unknown\n",
        "Reporting-MTA: dns; mx.example.net\nX-Postfix-Queue-ID: 4BXYZ\n"
        "X-Postfix-Sender: rfc822; hello@example.com\nArrival-Date: Mon,  2 Mar 2026 12:29:58\n\n"
        "Final-Recipient: rfc822; {to}\nOriginal-Recipient: rfc822;{to}\nAction: failed\n"
        "Status: 5.1.1\nRemote-MTA: dns; mail.x.example\n"
        "Diagnostic-Code: smtp; 550 5.1.1 <{to}>: Recipient address rejected: User unknown",
        _headers(message_id, to), to=to,
    )  # fmt: skip


def postfix_full(message_id: str, to: str) -> bytes:
    """It was tried for five days."""
    return postfix(message_id, to).replace(b"5.1.1", b"4.2.2").replace(b"550", b"452")


def postfix_delayed(message_id: str, to: str) -> bytes:
    return postfix_full(message_id, to).replace(b"Action: failed", b"Action: delayed")


def postfix_utf8(message_id: str, to: str) -> bytes:
    """RFC 6533: fields in UTF-8, and addresses in them."""
    return _report(
        "Content-Type: text/plain; charset=utf-8\n\nZustellung an müller nicht möglich\n",
        "Reporting-MTA: dns; mx.example.net\n\nFinal-Recipient: utf-8; {to}\n"
        "Action: failed\nStatus: 5.1.1",
        _headers(message_id, to), to=to,
        report="message/global-delivery-status", part="message/global-headers",
    )  # fmt: skip


def exim(message_id: str, to: str) -> bytes:
    """Its status is a general one; the server's own words say more."""
    return _report(
        "Content-type: text/plain; charset=us-ascii\n\nThis message was created automatically by "
        "mail delivery software.\n\n  {to}\n    host mx.x.example [198.51.100.9]\n"
        "    SMTP error from remote mail server after RCPT TO:<{to}>:\n    550 5.1.1 No such user",
        "Reporting-MTA: dns; relay.example.net\n\nAction: failed\n"
        "Final-Recipient: rfc822;{to}\nStatus: 5.0.0\nRemote-MTA: dns; mx.x.example\n"
        "Diagnostic-Code: smtp; 550 5.1.1 No such user",
        _headers(message_id, to) + "\n\nhello", to=to, head=f"X-Failed-Recipients: {to}",
        part="message/rfc822",
    )  # fmt: skip


def exim_full(message_id: str, to: str) -> bytes:
    return exim(message_id, to).replace(b"550 5.1.1 No such user", b"552 5.2.2 Mailbox full")


def exim_old(message_id: str, to: str) -> bytes:
    """Plain text, before there were reports."""
    return (
        "Return-path: <>\nFrom: Mail Delivery System <Mailer-Daemon@relay.example.net>\n"
        f"X-Failed-Recipients: {to}\nAuto-Submitted: auto-replied\nTo: hello@example.com\n"
        "Subject: Mail delivery failed: returning message to sender\n"
        "Date: Mon, 02 Mar 2026 13:30:00 +0100\n\n"
        "This message was created automatically by mail delivery software.\n\n"
        f"  {to}\n    SMTP error from remote mail server after RCPT TO:<{to}>:\n"
        "    host mx.x.example [198.51.100.9]: 550 unknown user\n\n"
        "------ This is a copy of the message, including all the headers. ------\n\n"
        f"Return-path: <hello@example.com>\n{_headers(message_id, to)}\nhello\n"
    ).encode()


def qmail(message_id: str, to: str) -> bytes:
    return (
        "Return-Path: <>\nDate: 2 Mar 2026 12:30:00 -0000\nFrom: MAILER-DAEMON@example.org\n"
        "To: hello@example.com\nSubject: failure notice\n\n"
        "Hi. This is the qmail-send program at example.org.\nI'm afraid I wasn't able to deliver "
        "your message to the following addresses.\n\n"
        f"<{to}>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n"
        "--- Below this line is a copy of the message.\n\n"
        f"Return-Path: <hello@example.com>\n{_headers(message_id, to)}\nhello\n"
    ).encode()


def exchange(message_id: str, to: str) -> bytes:
    """In German, with text in base64, a page beside it, and the whole mail behind."""
    text = base64.encodebytes("Fehler bei der Nachrichtenübermittlung: müller".encode()).decode()
    page = quopri.encodestring(b"<p>Fehler bei der Nachrichten\xfcbermittlung</p>").decode()
    body = (
        'Content-Type: multipart/alternative; boundary="b2"\n\n--b2\n'
        'Content-Type: text/plain; charset="utf-8"\nContent-Transfer-Encoding: base64\n\n'
        f'{text}\n--b2\nContent-Type: text/html; charset="iso-8859-1"\n'
        f"Content-Transfer-Encoding: quoted-printable\n\n{page}\n--b2--\n"
    )
    return _report(
        body,
        "Reporting-MTA: dns;EXCH01.corp.example\n\nFinal-recipient: RFC822;{to}\n"
        "Action: failed\nStatus: 5.1.10\n"
        "Diagnostic-code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by\n"
        " SMTP address lookup\nX-Display-Name: {to}",
        _headers(message_id, to) + "Content-Type: text/plain\n\nhello", to=to,
        head="Subject: =?utf-8?B?VW56dXN0ZWxsYmFyOiBoZWxsbw==?=\nContent-Language: de-DE",
        part="message/rfc822",
    )  # fmt: skip


def exchange_encoded(message_id: str, to: str) -> bytes:
    """The report itself in base64, which it mustn't be, and is."""
    status = (
        f"Reporting-MTA: dns;GW\n\nFinal-Recipient: rfc822;{to}\nAction: failed\nStatus: 5.1.1\n"
    )
    returned = base64.encodebytes(_headers(message_id, to).encode()).decode()
    return _report(
        "Content-Type: text/plain; charset=us-ascii\n\nUndeliverable\n",
        base64.encodebytes(status.encode()).decode(), returned, to=to,
        report="message/delivery-status\nContent-Transfer-Encoding: base64",
        part="text/rfc822-headers; charset=utf-8\nContent-Transfer-Encoding: base64",
    )  # fmt: skip


def gmail(message_id: str, to: str) -> bytes:
    """With a picture, and the Message-ID in In-Reply-To alone, since the mail comes back empty."""
    picture = (
        "Content-Type: image/png; name=icon.png\nContent-Transfer-Encoding: base64\n"
        "Content-ID: <icon.png>\n\niVBORw0KGgo=\n\n--b1/mx\n"
    )
    return _report(
        "Content-Type: text/html; charset=UTF-8\n\n<p>Adresse nicht gefunden</p>\n",
        "Reporting-MTA: dns; googlemail.com\nReceived-From-MTA: dns; hello@example.com\n"
        "Arrival-Date: Mon, 02 Mar 2026 04:29:00 -0800 (PST)\n\n"
        "Final-Recipient: rfc822; {to}\nAction: failed\nStatus: 5.1.1\n"
        "Remote-MTA: dns; mx.x.example. (198.51.100.4, the server for the domain x.example.)\n"
        "Diagnostic-Code: smtp; 550-5.1.1 The email account that you tried to reach does not exist."
        "\n 550 5.1.1 https://support.google.com/mail/?p=NoSuchUser - gsmtp\n"
        "Last-Attempt-Date: Mon, 02 Mar 2026 04:29:01 -0800 (PST)",
        "Subject: hello\n", to=to, extra=picture,
        head=f"X-Failed-Recipients: {to}\nIn-Reply-To: {message_id}\nReferences: {message_id}",
        part="message/rfc822",
    )  # fmt: skip


def sendmail_japanese(message_id: str, to: str) -> bytes:
    text = "宛先不明".encode("iso-2022-jp").decode("ascii")
    return _report(
        f"Content-Type: text/plain; charset=iso-2022-jp\n\n{text}\n",
        "Reporting-MTA: dns; mx.example.jp\n\nFinal-Recipient: RFC822; {to}\nAction: failed\n"
        "Status: 5.1.1\nDiagnostic-Code: SMTP; 550 5.1.1 <{to}>... User unknown",
        _headers(message_id, to), to=to,
    )  # fmt: skip


def forwarded(message_id: str, to: str) -> bytes:
    """It was forwarded, and the other mailbox is gone: that one isn't ours."""
    return postfix(message_id, to).replace(
        f"Final-Recipient: rfc822; {to}".encode(), b"Final-Recipient: rfc822; away@y.example"
    ).replace(f"Original-Recipient: rfc822;{to}".encode(), b"X-Other: none")  # fmt: skip


def blocked(message_id: str, to: str) -> bytes:
    """A server that takes it for spam says nothing of the address."""
    return exim(message_id, to).replace(b"5.1.1 No such user", b"5.7.1 Message blocked")


def complaint(message_id: str, to: str) -> bytes:
    """Passed on by a mailbox provider (ARF)."""
    return _report(
        "Content-Type: text/plain; charset=us-ascii\n\nThis is an email abuse report.\n",
        "Feedback-Type: abuse\nUser-Agent: SomeGenerator/1.0\nVersion: 1\n"
        "Original-Mail-From: <hello@example.com>\nOriginal-Rcpt-To: <{to}>\n"
        "Arrival-Date: Mon, 2 Mar 2026 12:00:00 GMT",
        _headers(message_id, to), to=to, part="message/rfc822", report="message/feedback-report",
    )  # fmt: skip


def absence(message_id: str, to: str) -> bytes:
    return (
        f"From: {to}\nTo: hello@example.com\nAuto-Submitted: auto-replied\n"
        f"Subject: Abwesend\nIn-Reply-To: {message_id}\n\nIch bin nicht da (5.1.1).\n<{to}>:\n"
    ).encode()


def receipt(message_id: str, to: str) -> bytes:
    """It was read (RFC 8098)."""
    return _report(
        "Content-Type: text/plain\n\nRead\n",
        f"Final-Recipient: rfc822;{to}\nOriginal-Message-ID: {message_id}\n"
        "Disposition: manual-action/MDN-sent-manually; displayed",
        _headers(message_id, to), to=to, report="message/disposition-notification",
    )  # fmt: skip


HARD: dict[str, Sample] = {
    "postfix": postfix, "postfix_utf8": postfix_utf8, "exim": exim, "exim_old": exim_old,
    "qmail": qmail, "exchange": exchange, "exchange_encoded": exchange_encoded, "gmail": gmail,
    "sendmail_japanese": sendmail_japanese, "forwarded": forwarded,
}  # fmt: skip
SOFT: dict[str, Sample] = {
    "postfix_full": postfix_full, "exim_full": exim_full, "blocked": blocked,
}  # fmt: skip
OTHERS: dict[str, Sample] = {"absence": absence, "receipt": receipt}
