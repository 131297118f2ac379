"""One file a message: the embedded default, which needs no server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path

from profile_pipelines.catalog.channels import Channel, FileChannel
from profile_pipelines.channels.message import Lost, Message, Refused, Sent, Take
from profile_pipelines.errors import ChannelError

_TOGETHER = 50
"""How many are begun together: what is written again takes its own place."""


class FileSender:
    """Writes `<message id>.eml`, which mail programs open; a repeated message replaces itself."""

    idempotent = True

    def __init__(self, name: str, folder: Path) -> None:
        self._where = f"channel {name}"
        self._folder = folder

    def send(self, take: Take, clock: Callable[[], datetime]) -> Iterator[Sent | Refused | Lost]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            while messages := take(_TOGETHER):
                for message in messages:
                    path, part = files_of(self._folder, message.message_id)
                    part.write_bytes(_mail(message, clock()).as_bytes())
                    os.replace(part, path)
                    yield Sent(message.message_id, "written")
        except OSError as error:
            raise ChannelError(
                f"{self._where}: the folder {self._folder} can't be written ({error.strerror})"
            ) from None

    def close(self) -> None:
        """Nothing is open."""


def folder_of(name: str, channel: Channel | None, outbox: Path) -> Path:
    """Where a channel's files lie: below `outbox`, unless it names a folder.

    What isn't declared any more, or sends in another way by now, may have written files before.
    """
    if isinstance(channel, FileChannel) and channel.folder:
        return Path(channel.folder)
    return outbox / name


def files_of(folder: Path, message_id: str) -> tuple[Path, Path]:
    """A message's file, and what it is called while it is being written."""
    path = folder / f"{message_id}.eml"
    return path, path.with_suffix(".part")


def _mail(message: Message, now: datetime) -> EmailMessage:
    mail = EmailMessage(policy=SMTP)
    if message.to is not None:
        mail["To"] = " ".join(message.to.split())
    mail["Subject"] = " ".join(message.subject.split())
    mail["Date"] = format_datetime(now)
    if message.unsubscribe_url:
        mail["List-Unsubscribe"] = f"<{message.unsubscribe_url}>"
    mail.set_content(message.text)
    if message.html is not None:
        mail.add_alternative(message.html, subtype="html")
    return mail
