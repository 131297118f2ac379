"""Mail by SMTP, over one connection.

The Message-ID is the same whenever a message is sent, so that mailboxes which tell repeats by
it do; SMTP itself does not, so that a message whose fate is unknown is never sent again.
"""

from __future__ import annotations

import re
import smtplib
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from email.header import Header
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import SMTPUTF8, compat32
from email.utils import format_datetime

from profile_pipelines.catalog.channels import SmtpChannel
from profile_pipelines.catalog.email_addresses import named_address
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.channels.message import Lost, Message, Refused, Sent, Take, one_by_one
from profile_pipelines.errors import ChannelError, SourceError

_BUSY = 421
"""The server closes the connection (RFC 5321, 4.2.2): try later."""

_ADDRESS = re.compile(r"[!-?A-~]+@[!-?A-~]+")
"""An address without blanks, control signs, or letters outside of ASCII."""
_UTF8 = ["SMTPUTF8", "BODY=8BITMIME"]
_SPECIAL = re.compile(r'[][\\()<>@,:;".]')
_LONGEST_LINE = 990
_WIRE = compat32.clone(linesep="\r\n")
_WIRE_UTF8 = SMTPUTF8.clone(linesep="\r\n")


class SmtpSender:
    """One connection to a server; opened with the first message."""

    idempotent = False

    def __init__(self, name: str, channel: SmtpChannel) -> None:
        self._where = f"channel {name}"
        self._channel = channel
        self._server: smtplib.SMTP | None = None
        self._sender = named_address(channel.sender)[1]
        self._return_path = named_address(channel.return_path or channel.sender)[1]
        self._domain = domain_of(channel)

    def send(self, take: Take, clock: Callable[[], datetime]) -> Iterator[Sent | Refused | Lost]:
        self._connected()  # before any message is begun
        for message in one_by_one(take):
            try:
                mail = mail_of(message, self._channel, self._domain, clock())
            except ValueError:
                yield Refused(message.message_id, "bad address", again=False)
                continue
            yield self._send(message.message_id, mail)

    def close(self) -> None:
        if self._server is not None:
            with suppress(smtplib.SMTPException, OSError):
                self._server.quit()
            self._server = None

    def _send(self, message_id: str, mail: MIMEBase) -> Sent | Refused | Lost:
        as_utf8 = not (str(mail["To"]) + self._sender + self._return_path).isascii()
        if as_utf8 and not self._connected().has_extn("smtputf8"):
            return Refused(message_id, "the mail server takes ASCII addresses only", again=False)
        server, code = self._begun(mail, _UTF8 if as_utf8 else [])
        if code // 100 != 2:
            self._reset(server)
            return self._refused(message_id, code)
        try:
            code, _ = server.data(mail.as_bytes(policy=_WIRE_UTF8 if as_utf8 else _WIRE))
        except smtplib.SMTPDataError as error:  # the server didn't ask for the text
            self._reset(server)
            return self._refused(message_id, error.smtp_code)
        except (smtplib.SMTPException, OSError):
            self._server = None
            return Lost(message_id)
        return Sent(message_id, str(code)) if code // 100 == 2 else self._refused(message_id, code)

    def _begun(self, mail: MIMEBase, options: Sequence[str]) -> tuple[smtplib.SMTP, int]:
        """Sender and recipient told; once more where the server had closed the connection."""
        for attempt in (1, 2):
            server = self._connected()
            try:
                code = server.mail(self._return_path, options)[0]
                if code // 100 == 2:
                    code = server.rcpt(str(mail["To"]))[0]
            except (smtplib.SMTPException, OSError) as error:
                self._server = None
                if attempt == 2:
                    raise ChannelError(
                        f"{self._where}: the mail server closes the connection "
                        f"({type(error).__name__})"
                    ) from None
            else:
                return server, code
        raise AssertionError("unreachable")

    def _refused(self, message_id: str, code: int) -> Refused:
        if code == _BUSY:
            self.close()
        return Refused(message_id, f"SMTP {code}", again=code // 100 == 4)

    def _reset(self, server: smtplib.SMTP) -> None:
        try:
            server.rset()
        except (smtplib.SMTPException, OSError):
            self._server = None

    def _connected(self) -> smtplib.SMTP:
        if self._server is None:
            self._server = self._connect()
        return self._server

    def _connect(self) -> smtplib.SMTP:
        channel = self._channel
        try:
            host, timeout = resolve(channel.host), channel.timeout.total_seconds()
            context = ssl.create_default_context()
            if channel.security == "tls":
                server: smtplib.SMTP = smtplib.SMTP_SSL(
                    host, channel.port, timeout=timeout, context=context
                )
            else:
                server = smtplib.SMTP(host, channel.port, timeout=timeout)
            server.ehlo_or_helo_if_needed()
            if channel.security == "starttls":
                server.starttls(context=context)
            if channel.username is not None and channel.password is not None:
                server.login(resolve(channel.username), resolve(channel.password))
        except SourceError as error:
            raise ChannelError(f"{self._where}: {error}") from None
        except smtplib.SMTPAuthenticationError as error:
            raise ChannelError(
                f"{self._where}: the mail server refuses the login ({error.smtp_code}); "
                "check username and password"
            ) from None
        except (smtplib.SMTPException, OSError) as error:
            raise ChannelError(
                f"{self._where}: no mail server can be talked to at port {channel.port} "
                f"({type(error).__name__}); check host, port and security"
            ) from None
        return server


def mail_of(message: Message, channel: SmtpChannel, domain: str, now: datetime) -> MIMEBase:
    """The mail, with the headers by which mailboxes let one unsubscribe (RFC 2369, RFC 8058).

    Made of the older classes of `email`, which cost a quarter of EmailMessage's. Raises ValueError
    for an address that isn't one.
    """
    to = message.to or ""
    if _ADDRESS.fullmatch(to) is None:
        to = named_address(to)[1]
    mail: MIMEBase = _part(message.text, "plain")
    if message.html is not None:
        mail = MIMEMultipart("alternative", _subparts=[mail, _part(message.html, "html")])
    subject = " ".join(message.subject.split())
    mail["From"] = _structured(channel.sender)
    mail["To"] = to
    mail["Subject"] = subject if subject.isascii() else Header(subject, "utf-8").encode()
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = known_as(message.code, domain)
    if channel.reply_to:
        mail["Reply-To"] = _structured(channel.reply_to)
    if message.unsubscribe_url:
        mail["List-Unsubscribe"] = f"<{message.unsubscribe_url}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return mail


def known_as(code: str, domain: str) -> str:
    """The Message-ID of the mail of a message with this code, by which mail servers' logs, and the
    mails that they send back, tell what became of it."""
    return f"<{code}@{domain}>"


def domain_of(channel: SmtpChannel) -> str:
    """The domain from which a channel's mail comes."""
    return named_address(channel.sender)[1].rpartition("@")[2]


def _part(text: str, kind: str) -> MIMEText:
    plain = text.isascii() and all(len(line) < _LONGEST_LINE for line in text.splitlines())
    return MIMEText(text, kind, "us-ascii" if plain else "utf-8")


def _structured(text: str) -> str:
    """An address with its name as RFC 5322 and 2047 write them."""
    name, address = named_address(text)
    name = " ".join(name.split())
    shown = name if name.isascii() else Header(name, "utf-8").encode()
    if name.isascii() and _SPECIAL.search(name):
        shown = '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    return f"{shown} <{address}>" if name else address
