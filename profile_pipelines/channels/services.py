"""Text messages, push and chats through Apprise (the extra `apprise`)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

from profile_pipelines.catalog.channels import AppriseChannel
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.channels.message import Lost, Refused, Sent, Take, one_by_one
from profile_pipelines.errors import ChannelError, SourceError


class ServiceSender:
    """Asks one service for each message; Apprise tells no more than whether it went well."""

    idempotent = False

    def __init__(self, name: str, channel: AppriseChannel) -> None:
        where = f"channel {name}"
        try:
            import apprise
        except ImportError:
            raise ChannelError(
                f"{where}: needs Apprise; install it with pip install 'profile-pipelines[apprise]'"
            ) from None
        try:
            self._url = resolve(channel.url)
        except SourceError as error:
            raise ChannelError(f"{where}: {error}") from None
        logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its log quotes addresses
        self._apprise: Any = apprise
        if not len(self._opened("0")):
            raise ChannelError(f"{where}: its url is of no service that Apprise knows")

    def send(self, take: Take, clock: Callable[[], datetime]) -> Iterator[Sent | Refused | Lost]:
        for message in one_by_one(take):
            service = self._opened(message.to or "")
            if not len(service):
                yield Refused(message.message_id, "bad address", again=False)
            elif service.notify(title=message.subject, body=message.text):
                yield Sent(message.message_id, "notified")
            else:
                yield Refused(message.message_id, "the service refused it", again=True)

    def close(self) -> None:
        """Apprise keeps no connection."""

    def _opened(self, to: str) -> Any:
        service = self._apprise.Apprise()
        service.add(self._url.replace("{to}", quote(to, safe="+")))
        return service
