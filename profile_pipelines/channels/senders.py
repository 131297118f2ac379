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
