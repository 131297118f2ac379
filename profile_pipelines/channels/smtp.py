"""Mail by SMTP, over one connection.

The Message-ID is the same whenever a message is sent, so that mailboxes which tell repeats by
it do; SMTP itself does not, so that a message whose fate is unknown is never sent again.
"""

from __future__ import annotations

import hashlib
import re
import smtplib
import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from email.header import Header
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import compat32
from email.utils import format_datetime, formataddr, parseaddr

from profile_pipelines.catalog.channels import SmtpChannel
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.channels.message import Lost, Message, Refused, Sent
from profile_pipelines.errors import ChannelError, SourceError

_BUSY = 421
"""The server closes the connection (RFC 5321, 4.2.2): try later."""

_ADDRESS = re.compile(r"[!-?A-~]+@[!-?A-~]+")
"""An address without blanks, control signs, or letters that need SMTPUTF8."""
_LONGEST_LINE = 990
_WIRE = compat32.clone(linesep="\r\n")


class SmtpSender:
    """One connection to a server; opened with the first message."""

    idempotent = False
    at_once = 50

    def __init__(self, name: str, channel: SmtpChannel) -> None:
        self._where = f"channel {name}"
        self._channel = channel
        self._server: smtplib.SMTP | None = None
        self._domain = parseaddr(channel.sender)[1].rpartition("@")[2] or "localhost"

    def send(self, messages: Sequence[Message], now: datetime) -> Iterator[Sent | Refused | Lost]:
        for message in messages:
            try:
                mail = mail_of(message, self._channel, self._domain, now)
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
        server, code = self._begun(mail)
        if code // 100 != 2:
            self._reset(server)
            return self._refused(message_id, code)
        try:
            code, _ = server.data(mail.as_bytes(policy=_WIRE))
        except smtplib.SMTPDataError as error:  # the server didn't ask for the text
            self._reset(server)
            return self._refused(message_id, error.smtp_code)
        except (smtplib.SMTPException, OSError):
            self._server = None
            return Lost(message_id)
        return Sent(message_id, str(code)) if code // 100 == 2 else self._refused(message_id, code)

    def _begun(self, mail: MIMEBase) -> tuple[smtplib.SMTP, int]:
        """Sender and recipient told; once more where the server had closed the connection."""
        for attempt in (1, 2):
            server = self._connected()
            try:
                code = server.mail(self._envelope_from)[0]
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

    @property
    def _envelope_from(self) -> str:
        return parseaddr(self._channel.sender)[1]

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
        raise ValueError("no address")
    mail: MIMEBase = _part(message.text, "plain")
    if message.html is not None:
        mail = MIMEMultipart("alternative", _subparts=[mail, _part(message.html, "html")])
    subject = " ".join(message.subject.split())
    mail["From"] = _sender(channel.sender)
    mail["To"] = to
    mail["Subject"] = subject if subject.isascii() else Header(subject, "utf-8").encode()
    mail["Date"] = format_datetime(now)
    digest = hashlib.sha256(message.message_id.encode()).hexdigest()[:32]
    mail["Message-ID"] = f"<{digest}@{domain}>"
    if channel.reply_to:
        mail["Reply-To"] = channel.reply_to
    if message.unsubscribe_url:
        mail["List-Unsubscribe"] = f"<{message.unsubscribe_url}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return mail


def _part(text: str, kind: str) -> MIMEText:
    plain = text.isascii() and all(len(line) < _LONGEST_LINE for line in text.splitlines())
    return MIMEText(text, kind, "us-ascii" if plain else "utf-8")


def _sender(text: str) -> str:
    name, address = parseaddr(text)
    return formataddr((name, address), "utf-8") if name else address
