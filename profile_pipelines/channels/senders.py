"""The sender for each kind of channel."""

from __future__ import annotations

from pathlib import Path

from profile_pipelines.catalog.channels import (
    AppriseChannel,
    Channel,
    FileChannel,
    SmtpChannel,
    WebhookChannel,
)
from profile_pipelines.channels.message import Sender


def open_sender(name: str, channel: Channel, outbox: Path) -> Sender:
    """The sender of a channel; files go below `outbox` unless it names a folder.

    Raises ChannelError when a secret isn't set.
    """
    match channel:
        case SmtpChannel():
            from profile_pipelines.channels.smtp import SmtpSender

            return SmtpSender(name, channel)
        case WebhookChannel():
            from profile_pipelines.channels.webhook import WebhookSender

            return WebhookSender(name, channel)
        case AppriseChannel():
            from profile_pipelines.channels.services import ServiceSender

            return ServiceSender(name, channel)
        case FileChannel():
            from profile_pipelines.channels.files import FileSender, folder_of

            return FileSender(name, folder_of(name, channel, outbox))


def is_idempotent(channel: Channel) -> bool:
    """Whether a message that is sent twice over the channel arrives once."""
    return isinstance(channel, WebhookChannel | FileChannel)


def known_as(channel: Channel | None, message_id: str, code: str) -> str | None:
    """By what the other side's log tells a message: a mail's Message-ID, a call's Idempotency-Key,
    a file's name. `code` is the message's, by the ledger's suppressions. None where it is told no
    such thing, or the channel isn't declared any more."""
    match channel:
        case SmtpChannel():
            from profile_pipelines.channels import smtp

            return smtp.known_as(code, smtp.domain_of(channel))
        case WebhookChannel():
            return message_id
        case FileChannel():
            return f"{message_id}.eml"
        case _:
            return None
