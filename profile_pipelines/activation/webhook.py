"""Signed POSTs of JSON, as those of the channels: `channels.webhook` tells of the signature.

    {"id": "…", "destination": "renewals", "operation": "add", "customers": [{"profile_id": 7, …}]}

The id is the Idempotency-Key, too: a call that comes again has the same one. An answer of 2xx
takes all, but for those in its `{"refused": [{"profile_id": 7, "reason": "…"}]}`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from profile_pipelines.activation.api import Api, BatchRefusedError, as_json
from profile_pipelines.activation.service import Operation, Row, Service, said
from profile_pipelines.activation.target import Refusals
from profile_pipelines.catalog.destinations import WebhookTarget
from profile_pipelines.catalog.secrets import resolve
from profile_pipelines.channels.webhook import signature
from profile_pipelines.errors import DestinationError, SourceError


class WebhookService(Service):
    """Calls one address."""

    at_once: int | None = 500

    def __init__(self, name: str, target: WebhookTarget) -> None:
        super().__init__(Api(name, target, target.url, headers=target.headers))
        self._name = name
        try:
            self._secret = resolve(target.secret).encode()
        except SourceError as error:
            raise DestinationError(f"{self._api.where}: {error}") from None

    def _send(self, operation: Operation, rows: Sequence[Row], part: str) -> Refusals:
        customers = [{k: v for k, v in row.items() if k != "key"} for row in rows]
        body = as_json(
            {
                "id": part, "destination": self._name, "operation": operation,
                "customers": customers,
            }
        )  # fmt: skip
        # receivers compare it with their own clock, whatever stands for the present here
        stamp = str(int(time.time()))
        headers = {
            "Idempotency-Key": part,
            "Webhook-Signature": signature(self._secret, stamp, body),
        }
        answer = self._api.call("POST", "", data=body, headers=headers)
        if answer.status >= 300:
            raise BatchRefusedError(f"HTTP {answer.status}")
        known = {row["profile_id"]: row for row in rows}
        refused: dict[int, str] = {}
        told = answer.body.get("refused")
        for each in told if isinstance(told, list) else []:
            profile_id = each.get("profile_id") if isinstance(each, dict) else None
            if isinstance(profile_id, int) and profile_id in known:
                refused[profile_id] = said(each.get("reason", "refused"), known[profile_id])
        return refused
