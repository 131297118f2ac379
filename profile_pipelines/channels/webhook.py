"""Signed POSTs of JSON.

`Webhook-Signature: t=<seconds>,v1=<hex>` signs `<seconds>.<body>` with HMAC-SHA256, as Stripe's
webhooks do, so that what verifies those verifies ours (`webhooks/signatures.py` does, too).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime

import certifi
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import HTTPError

from profile_pipelines.catalog.channels import WebhookChannel
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.catalog.spelling import json_text
from profile_pipelines.channels.message import Lost, Message, Refused, Sent, Take
from profile_pipelines.errors import ChannelError, SourceError
from profile_pipelines.sources.rest_adapter import GuardedAdapter, retry_after

_PASSING = frozenset({408, 409, 425, 429})


class WebhookSender:
    """Calls one address, several at a time."""

    idempotent = True

    def __init__(self, name: str, channel: WebhookChannel) -> None:
        self._where = f"channel {name}"
        self._channel = channel
        try:
            self._url = resolve(channel.url)
            self._secret = resolve(channel.secret).encode()
            self._headers = {
                "User-Agent": "profile-pipelines",
                "Content-Type": "application/json",
                **{key: resolve(value) for key, value in channel.headers.items()},
            }
        except SourceError as error:
            raise ChannelError(f"{self._where}: {error}") from None
        adapter = GuardedAdapter(self._where, channel.allow_private, [])
        size = channel.concurrency
        adapter.init_poolmanager(size, size, block=True, ca_certs=certifi.where())
        proxy = select_proxy(self._url, get_environ_proxies(self._url))
        self._pool = adapter.proxy_manager_for(proxy) if proxy else adapter.poolmanager
        self._timeout = channel.timeout.total_seconds()
        self._workers = ThreadPoolExecutor(channel.concurrency, thread_name_prefix=name)

    def send(self, take: Take, clock: Callable[[], datetime]) -> Iterator[Sent | Refused | Lost]:
        size = self._channel.concurrency
        running: set[Future[Sent | Refused | Lost]] = set()
        try:
            while True:
                # a few at a time, which are begun by one commit
                if size - len(running) >= max(1, size // 4):
                    stamp = str(int(clock().timestamp()))
                    for message in take(size - len(running)):
                        running.add(self._workers.submit(self._call, message, stamp))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for call in done:
                    yield call.result()
        except SourceError as error:  # a private address
            raise ChannelError(str(error)) from None
        finally:
            for call in running:
                call.cancel()

    def close(self) -> None:
        self._workers.shutdown(cancel_futures=True)
        self._pool.clear()

    def _call(self, message: Message, stamp: str) -> Sent | Refused | Lost:
        body = body_of(message)
        headers = {
            **self._headers,
            "Idempotency-Key": message.message_id,
            "Webhook-Signature": signature(self._secret, stamp, body),
        }
        try:
            answer = self._pool.urlopen(
                "POST",
                self._url,
                body=body,
                headers=headers,
                timeout=self._timeout,
                retries=False,
                redirect=False,
            )
        except (HTTPError, OSError) as error:
            return Refused(message.message_id, type(error).__name__, again=True)
        status = answer.status
        if status // 100 == 2:
            return Sent(message.message_id, f"HTTP {status}")
        again = status in _PASSING or status // 100 == 5
        wait = retry_after(answer.headers.get("Retry-After", "")) if again else 0.0
        return Refused(message.message_id, f"HTTP {status}", again=again, after=wait)


def body_of(message: Message) -> bytes:
    """What is posted; the same bytes whenever the same is said."""
    told = {
        "id": message.message_id,
        "journey": message.journey,
        "step": message.step,
        "template": message.template,
        "to": message.to,
        "subject": message.subject,
        "text": message.text,
        "html": message.html,
        "unsubscribe_url": message.unsubscribe_url,
        "attributes": message.attributes,
    }
    return json_text(told, compact=True).encode()


def signature(secret: bytes, stamp: str, body: bytes) -> str:
    """The header that proves who sent it, and when."""
    signed = hmac.new(secret, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={signed}"
